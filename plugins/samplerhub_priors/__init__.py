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
            "flow",
            "samplerhub_priors.flow:FlowPrior",
            "A normalising flow, fitted to noised data by maximum likelihood.",
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
        Entry(
            "prior",
            "mixture-fit",
            "samplerhub_priors.mixture_fit:MixtureFit",
            "A mixture of Gaussians, fitted to clean data by expectation-maximisation and convolved with the noise.",
        ),
        Entry(
            "prior",
            "student-t",
            "samplerhub_priors.student_t:StudentT",
            "A multivariate Student-t law, fitted to noised data by maximum likelihood.",
        ),
    ]
