"""A spiral."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor

from samplerhub_targets.curve import Curve


class Spiral(Curve):
    r"""An Archimedean spiral in the plane, smeared by noise, score and density exact.

        gamma(v) = radius v (cos 2 pi turns v, sin 2 pi turns v)

    x_0 = gamma(v) + width z, z standard normal, and v = u^1/2 with u uniform on [0, 1], which spreads it almost evenly
    along the spiral. The density is an integral along the curve, done by Gauss's rule to 1e-10.
    """

    turns: float = Field(1.5, gt=0, le=20)
    """Number of turns."""
    radius: float = Field(2.0, gt=0)
    """Distance of its end from the centre."""

    def branches(self, v: Tensor) -> list[Tensor]:
        """Return the points at v in [0, 1] (m,), shape (m, 2)."""
        angle = 2 * math.pi * self.turns * v
        return [(self.radius * v)[:, None] * torch.stack([angle.cos(), angle.sin()], 1)]

    def speed(self) -> float:
        """Return the largest |d gamma/dv|."""
        return self.radius * math.hypot(1, 2 * math.pi * self.turns)

    def density(self, v: Tensor) -> Tensor:
        """Return the density of v, (m,)."""
        return 2 * v

    def quantile(self, u: Tensor) -> Tensor:
        """Return v of a uniform number u, (m,)."""
        return u.sqrt()
