"""The Gaussian: the one target for which everything is known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from samplerhub import Component, broadcast
from samplerhub_targets.covariance import Covariance, check_covariance, matrix


@dataclass(frozen=True, slots=True, eq=False)
class _Axes:
    """The mean, and the covariance as variances along orthonormal axes; without axes, along the coordinates."""

    mean: Tensor
    variances: Tensor
    axes: Tensor | None

    def to(self, y: Tensor) -> _Axes:
        return _Axes(self.mean.to(y), self.variances.to(y), None if self.axes is None else self.axes.to(y))


class Gaussian(Component):
    r"""A Gaussian N(mean, covariance) of any dimension, everything in closed form.

    With covariance U diag(l) U^T, y = x_0 + rho eps is N(mean, U diag(l + rho^2) U^T), and

        E[x_0 | y] = mean + U diag(l/(l + rho^2)) U^T (y - mean).

    References:
        The Hidden Linear Structure in Score-Based Models and its Application (Wang and Vastola, 2023), arXiv:2311.10892
    """

    mean: tuple[float, ...] = Field((0.0,), min_length=1)
    """The mean; its length is the dimension."""
    covariance: Covariance = 1.0
    """The covariance: a variance (times the identity), or a symmetric positive definite matrix, row by row."""

    @model_validator(mode="after")
    def _covariance_fits(self) -> Gaussian:
        check_covariance(self.covariance, len(self.mean))
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        """(d,)."""
        return (len(self.mean),)

    @property
    def gaussian(self) -> Literal[True]:
        """The law is Gaussian."""
        return True

    @property
    def suggests(self) -> Mapping[str, str | int]:
        """The exact model, judged by the Kullback-Leibler divergence."""
        return {"model": "exact", "metric": "kl", "samples": 100_000}

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """Return n samples, shape (n, d), float64."""
        z = torch.randn(n, len(self.mean), generator=rng, device=rng.device, dtype=torch.float64)
        law = self._axes.to(z)
        x = law.variances.sqrt() * z
        return law.mean + (x if law.axes is None else x @ law.axes.T)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Return mean (d,) and covariance (d, d), float64."""
        return torch.tensor(self.mean, dtype=torch.float64), matrix(self.covariance, len(self.mean))

    def denoise(self, y: Tensor, rho: Tensor) -> Tensor:
        """Return E[x_0 | x_0 + rho eps = y], shape (n, d)."""
        law, rho = self._law(y), broadcast(rho, y)
        gain = law.variances / (law.variances + rho * rho)
        if law.axes is None:
            return torch.addcmul(law.mean, gain, y - law.mean)
        return torch.addmm(law.mean, gain * ((y - law.mean) @ law.axes), law.axes.T)

    def log_prob(self, y: Tensor, rho: Tensor) -> Tensor:
        """Return the log-density of x_0 + rho eps at y, shape (n,)."""
        law, rho = self._law(y), broadcast(rho, y)
        z = y - law.mean if law.axes is None else (y - law.mean) @ law.axes
        s = law.variances + rho * rho
        return -(z * z / s + (2 * math.pi * s).log()).sum(1) / 2

    def log_sobolev(self, rho: float) -> float:
        """Return the log-Sobolev constant of x_0 + rho eps: its largest variance, which is the best constant."""
        return self._axes.variances.max().item() + rho**2

    def _law(self, y: Tensor) -> _Axes:
        kind = y.dtype, y.device
        if kind not in self._laws:
            self._laws[kind] = self._axes.to(y)
        return self._laws[kind]

    @cached_property
    def _laws(self) -> dict[tuple[torch.dtype, torch.device], _Axes]:
        return {}

    @cached_property
    def _axes(self) -> _Axes:
        mean, S = self.moments()
        if S.equal(S.diagonal().diag()):
            return _Axes(mean, S.diagonal(), None)
        variances, axes = torch.linalg.eigh(S)
        return _Axes(mean, variances, axes)
