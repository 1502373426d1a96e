"""The Kullback-Leibler divergence, by whichever way suits a run best."""

from __future__ import annotations

from typing import Literal

from samplerhub import Component, Metric, Setup, fits
from samplerhub_metrics.kl_exact import KLExact
from samplerhub_metrics.kl_gaussian import KLGaussian
from samplerhub_metrics.kl_histogram import KLHistogram
from samplerhub_metrics.kl_knn import KLKnn


class KL(Component):
    r"""Kullback-Leibler divergence between the samples and the target, in nats.

        forward: H(generated | target) = E_generated log(generated/target),    reverse: the roles exchanged

    It is the first of these that can be had for the run, and says which ("method"): `kl-exact` where the law of the run
    can be computed without sampling, `kl-gaussian` for a Gaussian target, `kl-histogram` on the line, `kl-knn`
    elsewhere. Each has settings of its own under its own name.

    References:
        The Effect of Stochasticity in Score-Based Diffusion Sampling (Schaeffer et al., 2025), arXiv:2506.11378
    """

    direction: Literal["forward", "reverse"] = "forward"
    """forward: H(generated | target), quality; reverse: H(target | generated), coverage."""

    @property
    def candidates(self) -> tuple[Metric, ...]:
        """All of them, the most exact first."""
        ways = KLExact, KLGaussian, KLHistogram, KLKnn
        return tuple(way(direction=self.direction) for way in ways)

    def choose(self, setup: Setup) -> Metric:
        """Return the first that fits the run, or the last, which says why it does not."""
        *others, last = self.candidates
        return next((way for way in others if fits(way, setup)), last)
