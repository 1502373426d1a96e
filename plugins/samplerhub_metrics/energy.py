"""The energy distance."""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from samplerhub import Component, Estimate, Evidence, Need, Target
from samplerhub_metrics.discrepancy import LEAST, Sums, discrepancy, squared_distances
from samplerhub_metrics.vectors import Array, feature_pair


class Energy(Component):
    r"""Energy distance between the samples and the target, in units of the features.

        D = 2 E|x - y| - E|x - x'| - E|y - y'|

    On the line D = 2 int (F - G)^2, F and G the distribution functions; scipy's `energy_distance` is the root of it. It
    is 0 for equal laws only, and has no bandwidth to choose. The estimate is the U-statistic, which has no bias and so
    may be negative; its standard error is that of Hoeffding's decomposition, which holds at equal laws as well. On the
    line it takes O(n log n), and all samples are used. Computed on the features; by default those are the samples.

    References:
        Energy statistics: A class of statistics based on distances (Székely and Rizzo, 2013),
            doi:10.1016/j.jspi.2013.03.018
    """

    most: int = Field(10_000, ge=LEAST)
    """In two dimensions or more, compare so many of the samples, and of the target's."""

    @property
    def needs(self) -> frozenset[Need]:
        """Samples, and features."""
        return frozenset({Need.SAMPLES, Need.FEATURES})

    def least(self, target: Target) -> int:
        """Return 4: the variance needs four different samples."""
        return LEAST

    def __call__(self, evidence: Evidence) -> Estimate:
        """Return the distance and its standard error.

        Raises:
            Mismatch: There are fewer than 4 samples, or some are not finite.
        """
        x, y = feature_pair(evidence, LEAST)
        if x.shape[1] == 1:
            sums = line_sums(np.sort(x[:, 0]), np.sort(y[:, 0]))
        else:
            centre = y.mean(0)
            x, y = (z[: self.most] - centre for z in (x, y))
            sums = Sums.of(negative_distance, torch.from_numpy(x), torch.from_numpy(y))
        value, stderr = discrepancy(sums)
        return Estimate(value, stderr, details={"samples": len(x), "features": evidence.embedding})


def negative_distance(a: Tensor, b: Tensor) -> Tensor:
    """Return -|a - b|, shape (p, q)."""
    return squared_distances(a, b).sqrt_().neg_()


def line_sums(x: Array, y: Array) -> Sums:
    """Return the sums of -|x - y| over all pairs of sorted numbers x (n,) and y (m,), without the pairs."""
    centre = y.mean()
    x, y = x - centre, y - centre
    squares = float(len(y) * (x * x).sum() + len(x) * (y * y).sum() - 2 * x.sum() * y.sum())
    pairs = ((x, x), (y, y), (x, y), (y, x))
    of_x, of_y = (float(2 * len(z) * ((z - z.mean()) ** 2).sum()) for z in (x, y))
    xx, yy, xy, yx = (torch.from_numpy(-_distances(a, b)) for a, b in pairs)
    return Sums(xx, yy, xy, yx, squares=(of_x, of_y, squares))


def _distances(x: Array, y: Array) -> Array:
    """Return sum_j |x_i - y_j| for each x_i, y sorted: the j below count with +, the j above with -."""
    below = np.searchsorted(y, x)
    totals = np.concatenate([[0.0], np.cumsum(y)])
    return np.asarray(x * (2 * below - len(y)) - 2 * totals[below] + totals[-1])
