"""Mixtures drawn at random."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from samplerhub import stream
from samplerhub_targets.gaussian_mixture import GaussianMixture


class RandomMixture(GaussianMixture):
    r"""A mixture of Gaussians drawn at random, in any number of dimensions.

        mu_i ~ N(0, spread^2 I),    S_i = width^2 I,    weights uniform on the simplex

    The seed is that of the mixture, and has nothing to do with the seed of a run: the same fields are the same law.
    """

    dimension: int = Field(10, ge=1)
    """Number of dimensions."""
    modes: int = Field(10, ge=1)
    """Number of Gaussians."""
    spread: float = Field(1.0, ge=0)
    """Standard deviation of each coordinate of the means."""
    width: float = Field(0.2, gt=0)
    """Standard deviation of each Gaussian."""
    seed: int = Field(0, ge=0)
    """Which of these mixtures."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(d,)."""
        return (self.dimension,)

    def components(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return weights (K,), means (K, d) and variances (K,), float64."""
        rng = stream(self.seed, "random mixture")
        mu = self.spread * torch.randn(self.modes, self.dimension, generator=rng, dtype=torch.float64)
        # Independent exponential numbers over their sum are uniform on the simplex.
        w = -torch.log1p(-torch.rand(self.modes, generator=rng, dtype=torch.float64))
        return w, mu, torch.full_like(w, self.width**2)
