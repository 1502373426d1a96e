"""Score models: predictions of the data, the noise or the score from (y, rho)."""

from samplerhub.plugin import Entry, hookimpl


@hookimpl
def samplerhub_entries() -> list[Entry]:
    """Offer the models."""
    return [
        Entry(
            "model",
            "exact",
            "samplerhub_models.exact:Exact",
            "The exact posterior mean of the target, in closed form.",
        ),
    ]
