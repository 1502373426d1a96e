"""Features: the vectors of which samples are compared."""

from samplerhub.plugin import Entry, hookimpl


@hookimpl
def samplerhub_entries() -> list[Entry]:
    """Offer the features."""
    return [
        Entry(
            "features",
            "digits",
            "samplerhub_features.digits:Digits",
            "What a small classifier of handwritten digits sees: its last hidden layer.",
        ),
        Entry(
            "features",
            "identity",
            "samplerhub_features.identity:Identity",
            "The samples as they are, as vectors.",
            default=True,
        ),
        Entry(
            "features",
            "pca",
            "samplerhub_features.pca:PCA",
            "The first principal components of the target.",
        ),
    ]
