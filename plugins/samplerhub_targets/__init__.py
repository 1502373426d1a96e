"""Distributions of data."""

from samplerhub.plugin import Entry, hookimpl


@hookimpl
def samplerhub_entries() -> list[Entry]:
    """Offer the targets."""
    return [
        Entry(
            "target",
            "digits",
            "samplerhub_targets.digits:Digits",
            "1,797 real 8x8 images of handwritten digits, scaled to [-1, 1].",
            default=True,
        ),
        Entry(
            "target",
            "gaussian",
            "samplerhub_targets.gaussian:Gaussian",
            "A Gaussian N(mean, covariance) of any dimension, everything in closed form.",
        ),
        Entry(
            "target",
            "mixture",
            "samplerhub_targets.mixture:Mixture",
            "A mixture of Gaussians of any dimension, score and density in closed form.",
        ),
    ]
