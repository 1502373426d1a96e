"""Forward processes x_t = alpha(t) x_0 + sigma(t) eps."""

from samplerhub.plugin import Entry, hookimpl


@hookimpl
def samplerhub_entries() -> list[Entry]:
    """Offer the processes."""
    return [
        Entry(
            "process",
            "discrete",
            "samplerhub_processes.discrete:Discrete",
            "Variance preserving through a table of betas or alpha-bars, made continuous.",
            files=((".json", "file"), (".npy", "file"), (".txt", "file")),
        ),
        Entry(
            "process",
            "edm",
            "samplerhub_processes.edm:EDM",
            "Variance exploding with the noise level as time: alpha = 1, sigma = t.",
            default=True,
        ),
        Entry(
            "process",
            "flow",
            "samplerhub_processes.flow:Flow",
            "Rectified flow, the straight path from data to noise: alpha = 1 - t, sigma = t.",
            aliases=("rectified-flow",),
        ),
        Entry(
            "process",
            "iddpm",
            "samplerhub_processes.iddpm:IDDPM",
            "The noise levels of iDDPM with EDM's floor under the steps of alpha-bar, variance preserving.",
        ),
        Entry(
            "process",
            "ou",
            "samplerhub_processes.ou:OU",
            "Ornstein-Uhlenbeck: alpha = exp(-t), sigma = sqrt(1 - exp(-2t)).",
        ),
        Entry(
            "process",
            "sub-vp",
            "samplerhub_processes.sub_vp:SubVP",
            "Sub-variance preserving with linear beta(t) = beta_min + beta_d t: the noise of `vp`, squared.",
        ),
        Entry(
            "process",
            "ve",
            "samplerhub_processes.ve:VE",
            "Variance exploding with constant diffusion: alpha = 1, sigma = sqrt(t).",
        ),
        Entry(
            "process",
            "ve-geometric",
            "samplerhub_processes.geometric:VEGeometric",
            "Variance exploding with a geometric noise level: alpha = 1, sigma = sigma_min (sigma_max/sigma_min)^t.",
        ),
        Entry(
            "process",
            "vp",
            "samplerhub_processes.vp:VP",
            "Variance preserving with linear beta(t) = beta_min + beta_d t.",
        ),
        Entry(
            "process",
            "vp-cosine",
            "samplerhub_processes.cosine:VPCosine",
            "Variance preserving with the cosine schedule: alpha = cos(theta)/cos(theta_0), theta linear in t.",
        ),
    ]
