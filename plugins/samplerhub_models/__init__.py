"""Models: the exact score of a target, trained networks, and their training."""

from samplerhub.plugin import Entry, hookimpl


@hookimpl
def samplerhub_entries() -> list[Entry]:
    """Offer the models and the trainer."""
    return [
        Entry(
            "model",
            "callable",
            "samplerhub_models.callable:CallableModel",
            "Any Python function or torch module, with what it takes and what it returns said in words.",
        ),
        Entry(
            "model",
            "empirical",
            "samplerhub_models.empirical:Empirical",
            "The exact model of the target's data: it knows them by heart, and its samples are copies of them.",
        ),
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
            "guided",
            "samplerhub_models.guided:Guided",
            "Classifier-free guidance: a model is led away from another one, inside an interval of noise levels.",
        ),
        Entry("model", "mixed", "samplerhub_models.mixed:Mixed", "One model above a noise level, another below."),
        Entry(
            "model",
            "network",
            "samplerhub_models.network:Network",
            "A trained denoising network, read from a safetensors file.",
            files=((".safetensors", "weights"),),
        ),
        Entry(
            "model",
            "perturbed",
            "samplerhub_models.perturbed:Perturbed",
            "Any model, with a known error of its score: bias, scale and noise, at chosen noise levels.",
        ),
        Entry(
            "trainer",
            "denoising",
            "samplerhub_models.training:DenoisingScoreMatching",
            "Denoising score matching with EDM's noise levels, weighting and preconditioning.",
            default=True,
        ),
    ]
