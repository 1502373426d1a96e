"""The Frechet distance on features."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from samplerhub import Component, Estimate, Evidence, Need, Target, stream
from samplerhub.errors import Mismatch
from samplerhub_metrics.batches import Batches
from samplerhub_metrics.frechet import Coordinates, Known, Law, Sample, at_equality, frechet, influence

LEAST = 4
"""Two groups of two samples, of which a covariance can be had."""


class FD(Component):
    r"""Frechet distance between the samples and the target, on features.

        FD = |m - mu|^2 + tr(S + C - 2 (C^1/2 S C^1/2)^1/2)

    m and S are mean and covariance of the samples' features; mu and C those of the target's, in closed form where they
    are known, else of as many samples of it. It is the squared 2-Wasserstein distance between the Gaussians of those
    moments, and it is called FID only on the features of the Inception network; compare figures only of the same
    features and numbers of samples, which are reported with it.

    The plug-in value is too high by a term in 1/n. Three estimators:

        jackknife    a line in 1/n through all samples, and all but one group: F = G F_n - (G - 1) mean F_(n - n/G)
        infinity     a straight line in 1/n, fitted to sizes n/G, 2n/G, ..., n; at each the mean over G subsets
        plug-in      the value as it is

    infinity is what is published as FID-infinity. Where n/G is not far above the number of dimensions the curve
    is no line yet at its small sizes: the jackknife has the smaller bias there, and the same elsewhere. With fewer
    samples than dimensions neither takes all of the bias, which the standard error does not contain; compare such
    figures at equal numbers of samples only.

    Features are summed a batch at a time: of more than 256 MB of them none are held, and a second pass computes them
    anew for the standard error.

    The standard error is that of the influence function (how far each sample moves the distance, in closed form), but
    no less than what the distance varies by at equal laws, where that vanishes.

    References:
        GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium (Heusel et al., 2017),
            arXiv:1706.08500
        Effectively Unbiased FID and Inception Score and where to find them (Chong and Forsyth, 2020), arXiv:1911.07023
        The Jackknife, the Bootstrap and Other Resampling Plans (Efron, 1982), doi:10.1137/1.9781611970319
    """

    estimator: Literal["jackknife", "infinity", "plug-in"] = "jackknife"
    """How the bias is removed."""
    groups: int = Field(10, ge=3)
    """Number G of groups: G evaluations of the distance for the jackknife, G (G - 1) for infinity."""
    bootstrap: int = Field(0, ge=0)
    """Resamples whose spread is the standard error; with 0 it is that of the influence function, which costs less."""

    @property
    def needs(self) -> frozenset[Need]:
        """Features of the samples and of the target, and these themselves, from which their groups are drawn."""
        return frozenset({Need.FEATURES, Need.SAMPLES, Need.REFERENCE})

    def least(self, target: Target) -> int:
        """Return 4: two groups of which a covariance can be had."""
        return LEAST

    def __call__(self, evidence: Evidence) -> Estimate:
        """Return the distance and its standard error.

        Raises:
            Mismatch: There are fewer than 4 samples, or some are not finite.
        """
        n, known = len(evidence.samples), evidence.feature_moments
        m = math.inf if known is not None else len(evidence.reference)
        for count, what in ((n, "samples"), (m, "samples of the target")):
            if count < LEAST:
                raise Mismatch(f"the Frechet distance needs {LEAST} {what} or more; there are {count}")
        G = int(min(self.groups, n // 2, m // 2))
        x = Batches(evidence.feature_batches, evidence.samples, G, "samples")
        y = None
        if known is None:
            y = Batches(evidence.reference_feature_batches, evidence.reference, G, "samples of the target")
        sample = Sample(x)
        target = Sample(y) if y else Known(Law.normal(*(moment.to("cpu", torch.float64) for moment in known or ())))
        p, q = sample.law(range(G)), target.law(range(G))
        at = Coordinates.between(p, q)
        if self.estimator == "jackknife":
            value = G * at.distance - (G - 1) * mean_distance(sample, target, G - 1, G)
        elif self.estimator == "infinity":
            value = intercept([mean_distance(sample, target, j, G) for j in range(1, G)] + [at.distance])
        else:
            value = at.distance

        if self.bootstrap:
            variance = bootstrapped(x.rows(), y.rows() if y else None, q, self.bootstrap)
        else:
            shift = p.mean - q.mean
            variance = influence(x, p, shift, at.W).square().sum().item() / n**2
            if y is not None:
                variance += influence(y, q, -shift, at.V).square().sum().item() / m**2
            variance = max(variance, at_equality(at.s, p, q, n, m))
        details: dict[str, float | str] = {"estimator": self.estimator, "features": evidence.embedding}
        details |= {"dimensions": len(p.mean), "plug-in": at.distance, "bias": at.distance - value, "samples": n}
        details |= {"against": "closed form"} if y is None else {"against": "samples of the target", "reference": m}
        return Estimate(value, math.sqrt(variance), details=details)


def mean_distance(x: Sample, y: Sample | Known, j: int, G: int) -> float:
    """Return the mean distance over the G unions of j groups that follow each other in a circle."""
    windows = [[(g + i) % G for i in range(j)] for g in range(G)]
    return sum(frechet(x.law(window), y.law(window)) for window in windows) / G


def intercept(values: list[float]) -> float:
    """Return the least-squares line in 1/n at 1/n = 0, through values at sizes proportional to 1, 2, ..., G."""
    f = torch.tensor(values, dtype=torch.float64)
    h = 1 / torch.arange(1, len(f) + 1, dtype=torch.float64)
    slope = ((h - h.mean()) * f).sum() / (h - h.mean()).square().sum()
    return (f.mean() - slope * h.mean()).item()


def bootstrapped(x: Tensor, y: Tensor | None, q: Law, resamples: int) -> float:
    """Return the variance of the plug-in distance between samples drawn again, with replacement."""
    rng = stream(0, "bootstrap")

    def again(x: Tensor) -> Law:
        return Law.of(x[torch.randint(len(x), (len(x),), generator=rng)])

    values = [frechet(again(x), q if y is None else again(y)) for _ in range(resamples)]
    return torch.tensor(values, dtype=torch.float64).var().item()
