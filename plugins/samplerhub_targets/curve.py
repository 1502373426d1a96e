"""Laws on a curve in the plane, smeared by Gaussian noise."""

from __future__ import annotations

import math
from abc import abstractmethod
from functools import cached_property

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from samplerhub_targets.gaussian_mixture import GaussianMixture
from samplerhub_targets.log_sobolev import radius

NODES = 20
"""Nodes of Gauss's rule on each piece of the curve."""
PANEL = 4.0
"""Length of a piece in widths, at most."""


class Curve(GaussianMixture):
    r"""A curve gamma in the plane, smeared: x_0 = gamma(v) + width z, v on [0, 1], z standard normal.

    The density of y = x_0 + rho eps is the integral of N(y; gamma(v), (width^2 + rho^2) I) along the curve.
    Gauss's rule on short pieces makes a mixture of Gaussians of it, which is exact to 1e-10 but for places so far off,
    more than some units and twenty standard deviations, that no sample is ever there.

    A subclass says what its branches are.
    """

    width: float = Field(0.1, ge=0.01)
    """Standard deviation of the noise around the curve."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(2,)."""
        return (2,)

    @abstractmethod
    def branches(self, v: Tensor) -> list[Tensor]:
        """Return the points of each branch, of equal weight, at v in [0, 1] (m,), shape (m, 2)."""

    @abstractmethod
    def speed(self) -> float:
        """Return the largest |d gamma/dv|."""

    def density(self, v: Tensor) -> Tensor:
        """Return the density of v, (m,): uniform."""
        return torch.ones_like(v)

    def quantile(self, u: Tensor) -> Tensor:
        """Return v of a uniform number u, (m,): itself."""
        return u

    def components(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return weights (K,), means (K, 2) and variances (K,) of the Gaussians, one for each node, float64."""
        x, w = np.polynomial.legendre.leggauss(NODES)
        panels = math.ceil(self.speed() / (PANEL * self.width))
        v = ((torch.arange(panels)[:, None] + (1 + torch.from_numpy(x)) / 2) / panels).flatten()
        mu = self.branches(v)
        p = torch.from_numpy(w).repeat(panels) * self.density(v)
        return p.repeat(len(mu)), torch.cat(mu), torch.full((len(mu) * len(p),), self.width**2, dtype=torch.float64)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """Return n samples, shape (n, 2), float64."""
        u = torch.rand(n, generator=rng, device=rng.device, dtype=torch.float64)
        mu = torch.stack(self.branches(self.quantile(u)))
        i = torch.randint(len(mu), (n,), generator=rng, device=rng.device)
        z = torch.randn(n, 2, generator=rng, device=rng.device, dtype=torch.float64)
        return mu[i, torch.arange(n, device=rng.device)] + self.width * z

    @cached_property
    def _radius(self) -> float:
        """Radius of a ball around the curve: around points on it, and half their distance more."""
        points = self.branches(torch.linspace(0, 1, 1001, dtype=torch.float64))
        return radius(torch.cat(points)) + self.speed() / 2000
