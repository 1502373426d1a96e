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
            "efficientnet",
            "samplerhub_features.efficientnet:Efficientnet",
            "What EfficientNet-Lite0, trained on ImageNet, sees: its last layer before the classifier.",
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
            "inception",
            "samplerhub_features.inception:Inception",
            "What the Inception network of the FID sees: its pooled last layer.",
        ),
        Entry(
            "features",
            "pca",
            "samplerhub_features.pca:PCA",
            "The first principal components of the target.",
        ),
    ]
