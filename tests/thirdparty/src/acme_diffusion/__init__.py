"""Components for samplerhub, one of each role."""

from samplerhub.plugin import Entry, hookimpl


@hookimpl
def samplerhub_entries() -> list[Entry]:
    """Say what there is, by name: nothing is imported until it is used."""
    return [
        Entry("process", "sigmoid", "acme_diffusion.sigmoid:Sigmoid", "Variance preserving with the sigmoid schedule."),
        Entry(
            "target", "laplace", "acme_diffusion.laplace:Laplace", "A Laplace law on the line, score in closed form."
        ),
        Entry(
            "model",
            "soft-threshold",
            "acme_diffusion.soft_threshold:SoftThreshold",
            "The most probable data under a Laplace prior: soft thresholding.",
            aliases=("lasso",),
        ),
        Entry(
            "sampler",
            "er-sde",
            "acme_diffusion.er_sde:ERSDE",
            "First-order solver of the extended reverse-time SDE, with the paper's noise scale.",
        ),
        Entry(
            "grid",
            "cauchy",
            "acme_diffusion.cauchy:Cauchy",
            "Quantiles of a Cauchy law of the log-SNR, for any process.",
        ),
        Entry("prior", "truncated", "acme_diffusion.truncated:Truncated", "Noise whose tails are cut off."),
        Entry(
            "features",
            "random-signs",
            "acme_diffusion.random_signs:RandomSigns",
            "Projections on random signs, which nearly keep distances.",
        ),
        Entry(
            "metric",
            "fssd",
            "acme_diffusion.fssd:FSSD",
            "Finite-set Stein discrepancy: the target's score in place of its samples.",
        ),
        Entry("trainer", "em", "acme_diffusion.em:EM", "Fits a mixture of Gaussians by expectation-maximisation."),
        Entry(
            "model",
            "em",
            "acme_diffusion.em:EMModel",
            "The exact denoiser of the mixture that the trainer of the same name has fitted.",
            files=((".em.safetensors", "weights"),),
        ),
        Entry("engine", "threads", "acme_diffusion.threads:Threads", "Several threads of this process at a time."),
    ]
