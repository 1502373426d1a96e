"""The Kullback-Leibler divergence, by whichever way suits a run best."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from samplerhub import (
    Component,
    Estimate,
    Evidence,
    Inspects,
    Metric,
    Need,
    NeedsSamples,
    Part,
    Setup,
    Target,
    fits,
)
from samplerhub.errors import Mismatch
from samplerhub_metrics.kl_exact import KLExact
from samplerhub_metrics.kl_gaussian import KLGaussian
from samplerhub_metrics.kl_histogram import KLHistogram
from samplerhub_metrics.kl_knn import KLKnn


class KL(Component):
    r"""Kullback-Leibler divergence between the samples and the target, in nats.

        forward: H(generated | target) = E_generated log(generated/target),    reverse: the roles exchanged

    It is the first of these that can be had for the run, and says which ("method"): `kl-exact` where the law of the run
    can be computed without sampling, `kl-gaussian` for a Gaussian target, `kl-histogram` on the line, `kl-knn`
    elsewhere; "not kl-exact because" says why it is another. Each has settings of its own under its own name.

    References:
        The Effect of Stochasticity in Score-Based Diffusion Sampling (Schaeffer et al., 2025), arXiv:2506.11378
    """

    direction: Literal["forward", "reverse"] = "forward"
    """forward: H(generated | target), quality; reverse: H(target | generated), coverage."""

    @property
    def candidates(self) -> tuple[KLExact, KLGaussian, KLHistogram, KLKnn]:
        """All of them, the most exact first."""
        given = self.direction
        return (
            KLExact(direction=given),
            KLGaussian(direction=given),
            KLHistogram(direction=given),
            KLKnn(direction=given),
        )

    def choose(self, setup: Setup) -> Metric:
        """Return the first that fits the run, or the last, which says why it does not."""
        exact, gaussian, histogram, knn = self.candidates
        if setup.target is None:
            return knn
        try:
            exact.inspect(setup)
        except Mismatch as refusal:
            ways: tuple[Metric, ...] = gaussian, histogram
            way = next((way for way in ways if fits(way, setup)), knn)
            return Instead(metric=way, because=str(refusal))
        return exact


class Instead(Component):
    """A metric that was chosen in the place of `kl-exact`, and why."""

    metric: Annotated[Metric, Part("metric")]
    """The metric that is evaluated."""
    because: str
    """Why it is not `kl-exact`."""

    @property
    def needs(self) -> frozenset[Need]:
        """What the metric needs."""
        return self.metric.needs

    def least(self, target: Target) -> int:
        """Return the smallest number of samples for which the metric is defined."""
        return self.metric.least(target) if isinstance(self.metric, NeedsSamples) else 1

    def inspect(self, setup: Setup) -> None:
        """Return if the metric is defined for the run.

        Raises:
            Mismatch: It is not.
        """
        if isinstance(self.metric, Inspects):
            self.metric.inspect(setup)

    def __call__(self, evidence: Evidence) -> Estimate:
        """Return the metric's estimate, with the reason among its details."""
        estimate = self.metric(evidence)
        return replace(estimate, details={**estimate.details, "not kl-exact because": self.because})
