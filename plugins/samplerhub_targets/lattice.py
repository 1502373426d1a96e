"""Gaussians on a square lattice."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from samplerhub_targets.gaussian_mixture import GaussianMixture


class Lattice(GaussianMixture):
    r"""Gaussians on a square lattice in the plane: 25 of them, of equal weight.

        mu_ij = spacing (i - (side - 1)/2, j - (side - 1)/2),    S_ij = width^2 I,    i, j = 0, ..., side - 1

    References:
        VEEGAN: Reducing Mode Collapse in GANs using Implicit Variational Learning (Srivastava et al., 2017),
            arXiv:1705.07761
    """

    side: int = Field(5, ge=1)
    """Number of Gaussians along each side."""
    spacing: float = Field(1.0, ge=0)
    """Distance of neighbours."""
    width: float = Field(0.1, gt=0)
    """Standard deviation of each of them."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(2,)."""
        return (2,)

    def components(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return weights (K,), means (K, 2) and variances (K,), float64."""
        line = self.spacing * (torch.arange(self.side, dtype=torch.float64) - (self.side - 1) / 2)
        mu = torch.cartesian_prod(line, line)
        ones = torch.ones(len(mu), dtype=torch.float64)
        return ones, mu, self.width**2 * ones
