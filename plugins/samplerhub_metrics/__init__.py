"""Figures of merit, each with its standard error."""

from samplerhub.plugin import Entry, hookimpl


@hookimpl
def samplerhub_entries() -> list[Entry]:
    """Offer the metrics."""
    return [
        Entry(
            "metric",
            "fd",
            "samplerhub_metrics.fd:FD",
            "Frechet distance between the samples and the target, on features.",
        ),
        Entry(
            "metric",
            "kl-exact",
            "samplerhub_metrics.kl_exact:KLExact",
            "KL divergence of the run's exact law from the target, by quadrature instead of samples, in nats.",
        ),
        Entry(
            "metric",
            "kl",
            "samplerhub_metrics.kl:KL",
            "Kullback-Leibler divergence between the samples and the target, in nats.",
        ),
        Entry(
            "metric",
            "antisymmetry",
            "samplerhub_metrics.antisymmetry:Antisymmetry",
            "Relative antisymmetry of the Jacobian of the model's score, 0 for a gradient and at most 1.",
        ),
        Entry(
            "metric",
            "error-terms",
            "samplerhub_metrics.error_terms:ErrorTerms",
            "Initialisation, discretisation and score terms of the KL divergence between paths, on the grid of the run.",
        ),
        Entry(
            "metric",
            "kl-nll",
            "samplerhub_metrics.kl_nll:KLNll",
            "Kullback-Leibler divergence from densities, that of a deterministic sampler or of the ODE, in nats.",
        ),
        Entry(
            "metric",
            "nll",
            "samplerhub_metrics.nll:NLL",
            "Negative log-likelihood of data under the model's probability-flow ODE, in bits per dimension.",
        ),
        Entry(
            "metric",
            "score-error",
            "samplerhub_metrics.score_error:ScoreError",
            "Mean square of the score's error along time, and its integral, the score's part of the path KL divergence.",
        ),
    ]
