"""Models: the exact score of a target, trained networks, and their training."""

from samplerhub.plugin import Entry, hookimpl


@hookimpl
def samplerhub_entries() -> list[Entry]:
    """Offer the models and the trainer."""
    return [
        Entry(
            "model", "exact", "samplerhub_models.exact:Exact", "The exact posterior mean of the target, in closed form."
        ),
        Entry(
            "model",
            "gaussian",
            "samplerhub_models.gaussian:GaussianScore",
            "The score of a Gaussian with the moments of the target, or off them by as much as is asked for.",
        ),
        Entry(
            "model",
            "network",
            "samplerhub_models.network:Network",
            "A trained denoising network, read from a safetensors file.",
            files=((".safetensors", "weights"),),
        ),
        Entry(
            "trainer",
            "denoising",
            "samplerhub_models.training:DenoisingScoreMatching",
            "Denoising score matching with EDM's noise levels, weighting and preconditioning.",
            default=True,
        ),
    ]
