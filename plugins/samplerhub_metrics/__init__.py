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
    ]
