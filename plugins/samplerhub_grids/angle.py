"""Uniform in an angle of the noise level, for any process."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from samplerhub_grids.spaced import SpacedGrid


class AngleGrid(SpacedGrid):
    r"""Uniform in the angle atan(rho/center), dense where the noise level is near `center`, for any process.

        rho_i = center tan(phi_0 + i/N (phi_N - phi_0)),    t_i = t(rho_i),    i = 0, ..., N

    phi_0 and phi_N are the angles of the largest and the smallest noise level.

    References:
        Simplifying, Stabilizing and Scaling Continuous-Time Consistency Models (Lu and Song, 2025), arXiv:2410.11081,
            TrigFlow's angle
    """

    center: float = Field(0.3, gt=0)
    """Noise level around which the nodes gather."""

    def variable(self, rho: Tensor) -> Tensor:
        """Return atan(rho/center)."""
        return (rho / self.center).atan()

    def level(self, v: Tensor) -> Tensor:
        """Return center tan(v)."""
        return self.center * v.tan()
