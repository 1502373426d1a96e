"""Laws of the starting state."""

from samplerhub.plugin import Entry, hookimpl


@hookimpl
def samplerhub_entries() -> list[Entry]:
    """Offer the priors."""
    return [
        Entry(
            "prior",
            "exact",
            "samplerhub_priors.exact:ExactPrior",
            "The target itself, noised to the level at which sampling starts.",
        ),
        Entry(
            "prior",
            "gaussian",
            "samplerhub_priors.gaussian:GaussianPrior",
            "Pure noise, x = sigma(t_max) z with z standard normal.",
            default=True,
        ),
        Entry(
            "prior",
            "matched",
            "samplerhub_priors.matched:MatchedPrior",
            "The normal law with mean and covariance of the noised target, or off them by as much as is asked for.",
        ),
    ]
