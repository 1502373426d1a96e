"""Features: the vectors of which samples are compared."""

from samplerhub.plugin import Entry, hookimpl


@hookimpl
def samplerhub_entries() -> list[Entry]:
    """Offer the features."""
    return [
        Entry(
            "features",
            "identity",
            "samplerhub_features.identity:Identity",
            "The samples as they are, as vectors.",
            default=True,
        ),
    ]
