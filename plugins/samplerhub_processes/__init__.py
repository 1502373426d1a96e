"""Forward processes x_t = alpha(t) x_0 + sigma(t) eps."""

from samplerhub.plugin import Entry, hookimpl


@hookimpl
def samplerhub_entries() -> list[Entry]:
    """Offer the processes."""
    return [
        Entry(
            "process",
            "edm",
            "samplerhub_processes.edm:EDM",
            "Variance exploding with the noise level as time: alpha = 1, sigma = t.",
            default=True,
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
    ]
