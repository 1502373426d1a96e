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
            "kl-gaussian",
            "samplerhub_metrics.kl_gaussian:KLGaussian",
            "KL divergence between the Gaussian fitted to the samples and a Gaussian target, in nats.",
        ),
        Entry(
            "metric",
            "kl-histogram",
            "samplerhub_metrics.kl_histogram:KLHistogram",
            "KL divergence between the samples and the target on the line, by histograms, in nats.",
        ),
        Entry(
            "metric",
            "kl-knn",
            "samplerhub_metrics.kl_knn:KLKnn",
            "KL divergence between the samples and the target in any dimension, by nearest neighbours, in nats.",
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
            "Initialisation, discretisation and score terms of the KL divergence between paths, for any grid.",
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
            "Mean square of the score's error along time, and its integral, the score's part of a path's KL.",
        ),
        Entry(
            "metric",
            "gaussian-closed-form",
            "samplerhub_metrics.gaussian_closed_form:GaussianClosedForm",
            "KL divergence from a Gaussian target in the limit of small steps, in closed form.",
        ),
        Entry(
            "metric",
            "kl-continuous",
            "samplerhub_metrics.kl_continuous:KLContinuous",
            "KL divergence from the target in the limit of small steps, on the line, without sampling.",
        ),
        Entry(
            "metric",
            "lsi-bound",
            "samplerhub_metrics.lsi_bound:LSIBound",
            "Upper bound of H(generated | target) in continuous time, by a log-Sobolev inequality.",
        ),
        Entry(
            "metric",
            "lsi-bound-reverse",
            "samplerhub_metrics.lsi_bound_reverse:LSIBoundReverse",
            "Upper bound of H(target | generated) in continuous time, from the start and the score error.",
        ),
        Entry(
            "metric",
            "pinsker",
            "samplerhub_metrics.pinsker:Pinsker",
            "Upper bound of the L1 distance between generated and target densities, from their KL divergence.",
        ),
        Entry(
            "metric",
            "c2st",
            "samplerhub_metrics.c2st:C2ST",
            "Classifier two-sample test: how often a classifier tells samples from the target.",
        ),
        Entry(
            "metric",
            "coverage",
            "samplerhub_metrics.density_coverage:Coverage",
            "Share of the target's neighbourhoods that hold a generated sample: variety.",
            aliases=("density-coverage",),
        ),
        Entry(
            "metric",
            "density",
            "samplerhub_metrics.density_coverage:Density",
            "Number of the target's neighbourhoods that a generated sample is in, over its expectation: fidelity.",
            aliases=("density-coverage",),
        ),
        Entry(
            "metric",
            "energy",
            "samplerhub_metrics.energy:Energy",
            "Energy distance between the samples and the target, in units of the features.",
        ),
        Entry(
            "metric",
            "kid",
            "samplerhub_metrics.kid:KID",
            "Kernel distance: squared maximum mean discrepancy of the features, cubic kernel.",
        ),
        Entry(
            "metric",
            "mmd",
            "samplerhub_metrics.mmd:MMD",
            "Squared maximum mean discrepancy between samples and target, Gaussian or Laplace kernel.",
        ),
        Entry(
            "metric",
            "nearest",
            "samplerhub_metrics.nearest:Nearest",
            "Distance to the nearest training datum, over that of data held out: memorisation.",
        ),
        Entry(
            "metric",
            "precision",
            "samplerhub_metrics.precision_recall:Precision",
            "Share of generated samples that lie where the target lives: fidelity.",
            aliases=("precision-recall",),
        ),
        Entry(
            "metric",
            "recall",
            "samplerhub_metrics.precision_recall:Recall",
            "Share of the target's samples that lie where generated samples live: variety.",
            aliases=("precision-recall",),
        ),
        Entry(
            "metric",
            "sliced-wasserstein",
            "samplerhub_metrics.sliced_wasserstein:SlicedWasserstein",
            "Sliced Wasserstein distance: of projections on random lines, the mean or the largest.",
        ),
        Entry(
            "metric",
            "wasserstein",
            "samplerhub_metrics.wasserstein:Wasserstein",
            "Wasserstein distance on the line, exact: W_1, or W_2 squared.",
        ),
    ]
