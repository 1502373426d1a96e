"""Gaussians on a ring."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor

from samplerhub_targets.gaussian_mixture import GaussianMixture


class Ring(GaussianMixture):
    r"""Gaussians on a ring in the plane: 8 of them, of equal weight.

        mu_k = radius (cos 2 pi k/modes, sin 2 pi k/modes),    S_k = width^2 I

    References:
        VEEGAN: Reducing Mode Collapse in GANs using Implicit Variational Learning (Srivastava et al., 2017),
            arXiv:1705.07761
    """

    modes: int = Field(8, ge=1)
    """Number of Gaussians."""
    radius: float = Field(2.0, ge=0)
    """Radius of the ring."""
    width: float = Field(0.1, gt=0)
    """Standard deviation of each of them."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(2,)."""
        return (2,)

    def components(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return weights (K,), means (K, 2) and variances (K,), float64."""
        angle = 2 * math.pi * torch.arange(self.modes, dtype=torch.float64) / self.modes
        ones = torch.ones_like(angle)
        return ones, self.radius * torch.stack([angle.cos(), angle.sin()], 1), self.width**2 * ones
