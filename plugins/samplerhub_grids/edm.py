"""The grid of EDM (Karras et al., 2022), for any process."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from samplerhub_grids.spaced import SpacedGrid


class EDMGrid(SpacedGrid):
    r"""Uniform in a root of the noise level, rho^(1/exponent), for any process.

        rho_i = (rho_max^(1/p) + i/N (rho_min^(1/p) - rho_max^(1/p)))^p,    t_i = t(rho_i),    i = 0, ..., N

    p is the exponent (Karras's rho). N steps go from rho_max to rho_min and stop there: EDM's "N steps" are N - 1 of
    them and a last one to noise level 0.

    References:
        Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022), arXiv:2206.00364, eq. 5
    """

    exponent: float = Field(7.0, gt=0)
    """p: 1 is uniform in the noise level, larger puts more steps at low noise."""

    def variable(self, rho: Tensor) -> Tensor:
        """Return rho^(1/p)."""
        return rho ** (1 / self.exponent)

    def level(self, v: Tensor) -> Tensor:
        """Return v^p."""
        return v**self.exponent
