"""What components are tried on where nothing else is named: three processes and a target of the kit's own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor

from samplerhub.protocols import ForwardProcess
from samplerhub.testing.exact import Bells


class Plain:
    """The process without a scale, x_t = x_0 + t eps."""

    span: ClassVar[tuple[float, float]] = (0.002, 80.0)

    def alpha(self, t: Tensor) -> Tensor:
        """1."""
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        """Return t."""
        return t.clone()


class Turning:
    """The process that preserves variance, x_t = cos(t) x_0 + sin(t) eps."""

    span: ClassVar[tuple[float, float]] = (0.01, math.pi / 2 - 0.01)

    def alpha(self, t: Tensor) -> Tensor:
        """Return cos t."""
        return torch.cos(t)

    def sigma(self, t: Tensor) -> Tensor:
        """Return sin t."""
        return torch.sin(t)


class Straight:
    """The straight path from data to noise, x_t = (1 - t) x_0 + t eps."""

    span: ClassVar[tuple[float, float]] = (0.01, 0.99)

    def alpha(self, t: Tensor) -> Tensor:
        """Return 1 - t."""
        return 1 - t

    def sigma(self, t: Tensor) -> Tensor:
        """Return t."""
        return t.clone()


PROCESSES: Mapping[str, ForwardProcess] = MappingProxyType(
    {"plain": Plain(), "turning": Turning(), "straight": Straight()}
)
"""One of each kind: that keeps the data, that keeps the variance, that does neither."""


class BellsTarget(Bells):
    """Three round Gaussian bells in the plane as a target, everything in closed form."""

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """Return n samples."""
        i = torch.multinomial(self.weights, n, replacement=True, generator=rng)
        return self.means[i] + self.variances[i, None].sqrt() * torch.randn(n, 2, generator=rng, dtype=torch.float64)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Return mean (2,) and covariance (2, 2)."""
        w, mean = self.weights, self.weights @ self.means
        spread = self.means - mean
        return mean, (w * self.variances).sum() * torch.eye(2, dtype=torch.float64) + (w * spread.T) @ spread

    def log_prob(self, y: Tensor, rho: Tensor) -> Tensor:
        """Return the log-density at noise level rho."""
        v = self.variances.to(y) + rho.reshape(-1, 1) ** 2
        gap = (y[:, None] - self.means.to(y)).square().sum(-1)
        return (self.weights.to(y).log() - (2 * math.pi * v).log() - gap / (2 * v)).logsumexp(1)

    def denoise(self, y: Tensor, rho: Tensor) -> Tensor:
        """Return E[x_0 | y]."""
        return self(y, rho)
