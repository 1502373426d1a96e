"""The maximum mean discrepancy."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from pydantic import Field
from scipy.spatial.distance import pdist
from torch import Tensor

from samplerhub import Component, Estimate, Evidence, Need, Target
from samplerhub_metrics.discrepancy import LEAST, Kernel, Sums, discrepancy, squared_distances
from samplerhub_metrics.vectors import Array, feature_pair

SEEN = 1000
"""Samples of the target whose distances give the bandwidth."""


class MMD(Component):
    r"""Squared maximum mean discrepancy between samples and target, Gaussian or Laplace kernel.

        MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y)
        gaussian: k(x, y) = exp(-|x - y|^2/(2 h^2)),    laplace: k(x, y) = exp(-|x - y|/h)

    It is 0 for equal laws only, and has no unit; its size depends on the bandwidth h, so compare figures at the same h.
    The estimate is the U-statistic, which has no bias and so may be negative; its standard error is that of Hoeffding's
    decomposition, which holds at equal laws as well. Computed on the features; by default those are the samples.

    References:
        A Kernel Two-Sample Test (Gretton et al., 2012), JMLR 13, 723-773
    """

    kernel: Literal["gaussian", "laplace"] = "gaussian"
    """gaussian: smooth, blind to fine differences; laplace: heavier tails, sees finer ones."""
    bandwidth: float | None = Field(None, gt=0)
    """h, in units of the features; by default the median distance between samples of the target."""
    most: int = Field(10_000, ge=LEAST)
    """Compare so many of the samples, and of the target's: the time grows with the square."""

    @property
    def needs(self) -> frozenset[Need]:
        """Samples, and features."""
        return frozenset({Need.SAMPLES, Need.FEATURES})

    def least(self, target: Target) -> int:
        """Return 4: the variance needs four different samples."""
        return LEAST

    def __call__(self, evidence: Evidence) -> Estimate:
        """Return the squared discrepancy and its standard error.

        Raises:
            Mismatch: There are fewer than 4 samples, or some are not finite.
        """
        x, y = feature_pair(evidence, LEAST, self.most)
        h = self.bandwidth or median_distance(y)
        centre = y.mean(0)
        scaled = (torch.from_numpy((z - centre) / h) for z in (x, y))
        value, stderr = discrepancy(Sums.of(KERNELS[self.kernel], *scaled))
        details: dict[str, float | str] = {"bandwidth": h, "samples": len(x), "features": evidence.embedding}
        return Estimate(value, stderr, details=details)


def gaussian(a: Tensor, b: Tensor) -> Tensor:
    """Return exp(-|a - b|^2/2), shape (p, q)."""
    return squared_distances(a, b).mul_(-0.5).exp_()


def laplace(a: Tensor, b: Tensor) -> Tensor:
    """Return exp(-|a - b|), shape (p, q)."""
    return squared_distances(a, b).sqrt_().neg_().exp_()


KERNELS: dict[str, Kernel] = {"gaussian": gaussian, "laplace": laplace}


def median_distance(y: Array) -> float:
    """Return the median of the distances between the first rows; where most of them coincide the mean, or 1."""
    distances = pdist(y[:SEEN])
    return float(np.median(distances)) or float(distances.mean()) or 1.0
