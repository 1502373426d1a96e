"""Two moons."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from samplerhub_targets.curve import Curve


class Moons(Curve):
    r"""Two interleaving half circles in the plane, smeared by noise, score and density exact.

        gamma_1(v) = (cos pi v, sin pi v),    gamma_2(v) = (1 - cos pi v, 1/2 - sin pi v)

    x_0 = gamma(v) + width z, v uniform on [0, 1], z standard normal: scikit-learn's `make_moons`. The density is an
    integral along the curves, done by Gauss's rule to 1e-10.
    """

    def branches(self, v: Tensor) -> list[Tensor]:
        """Return the points of both moons at v in [0, 1] (m,), shape (m, 2)."""
        x, y = (math.pi * v).cos(), (math.pi * v).sin()
        return [torch.stack([x, y], 1), torch.stack([1 - x, 0.5 - y], 1)]

    def speed(self) -> float:
        """Return the largest |d gamma/dv|."""
        return math.pi
