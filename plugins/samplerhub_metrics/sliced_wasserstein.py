"""The sliced Wasserstein distance."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from pydantic import Field

from samplerhub import Component, Estimate, Evidence, Need, Target, stream
from samplerhub_metrics.transport import debiased
from samplerhub_metrics.vectors import Array, feature_pair


class SlicedWasserstein(Component):
    r"""Sliced Wasserstein distance: of projections on random lines, the mean or the largest.

        SW_p^p = E_theta W_p^p(theta.x, theta.y),    max-SW_p^p = max_theta W_p^p(theta.x, theta.y)

    theta is uniform on the unit sphere, W_p^p on a line as in the metric `wasserstein`; in one dimension the two are
    the same. With p = 1 it has the unit of the features, with p = 2 its square: of two Gaussians that differ by a shift
    of length s in D dimensions, SW_2^2 = s^2/D. The floor at equal laws and the bias away from them are taken away. The
    lines are the same in every run, so that runs can be compared, and orthogonal, D at a time, which makes that
    formula exact for every multiple of D lines. The standard error of the mean is over samples, and over lines as if
    they were independent, which is more than it is. The largest is over the lines drawn: the sphere may have a larger.

    References:
        Sliced and Radon Wasserstein Barycenters of Measures (Bonneel et al., 2015), doi:10.1007/s10851-014-0506-3
        Orthogonal Estimation of Wasserstein Distances (Rowland et al., 2019), arXiv:1903.03784
        Max-Sliced Wasserstein Distance and its use for GANs (Deshpande et al., 2019), arXiv:1904.05877
    """

    order: Literal[1, 2] = 2
    """p: 1 is the mean distance that mass is moved, 2 weighs long moves more."""
    lines: int = Field(50, ge=2)
    """Number of random lines."""
    over: Literal["mean", "max"] = "mean"
    """The mean over the lines, or the largest."""
    relabellings: int = Field(25, ge=20)
    """Random relabellings of the samples that stand for equal laws."""
    most: int = Field(20_000, ge=10)
    """Compare so many of the samples, and of the target's."""

    @property
    def needs(self) -> frozenset[Need]:
        """Samples, and features."""
        return frozenset({Need.SAMPLES, Need.FEATURES})

    def least(self, target: Target) -> int:
        """Return 10: halves of 5."""
        return 10

    def __call__(self, evidence: Evidence) -> Estimate:
        """Return the distance to the power `order` and its standard error.

        Raises:
            Mismatch: There are fewer than 10 samples, or some are not finite.
        """
        x, y = feature_pair(evidence, 10, self.most)
        theta = directions(x.shape[1], self.lines)
        d = debiased(np.concatenate([x, y]) @ theta, len(x), self.order, self.relabellings, 1, self.over)
        details: dict[str, float | str] = {"plug-in": d.plug_in, "floor": d.floor, "p-value": d.p_value}
        details |= {"lines": theta.shape[1], "samples": len(x), "features": evidence.embedding}
        return Estimate(d.value, d.stderr, details=details)


def directions(d: int, lines: int) -> Array:
    """Return random unit vectors as columns, orthogonal d at a time, shape (d, lines); for d = 1 the only one."""
    if d == 1:
        return np.ones((1, 1))
    g = torch.randn(-(-lines // d), d, d, generator=stream(0, "lines"), dtype=torch.float64)
    q, r = torch.linalg.qr(g)
    frames = q * r.diagonal(dim1=1, dim2=2).sign()[:, None, :]
    theta: Array = frames.permute(1, 0, 2).reshape(d, -1)[:, :lines].numpy()
    return theta
