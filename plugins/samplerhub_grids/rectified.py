"""Uniform in the time of the straight path, for any process."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from samplerhub_grids.spaced import SpacedGrid


class Rectified(SpacedGrid):
    r"""Uniform in the time u = rho/(rho + center) of the straight path from data to noise of that scale.

        rho_i = center u_i/(1 - u_i),    u_i = u_0 + i/N (u_N - u_0),    t_i = t(rho_i),    i = 0, ..., N

    u_0 and u_N belong to the largest and the smallest noise level. Half of the steps are below `center`.

    References:
        Flow Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow (Liu et al., 2023),
            arXiv:2209.03003
    """

    center: float = Field(0.3, gt=0)
    """Noise level in the middle of the grid."""

    def variable(self, rho: Tensor) -> Tensor:
        """Return rho/(rho + center)."""
        return rho / (rho + self.center)

    def level(self, v: Tensor) -> Tensor:
        """Return center v/(1 - v)."""
        return self.center * v / (1 - v)
