"""The times of the cosine schedule, for any process."""

from __future__ import annotations

import math

from pydantic import Field
from torch import Tensor

from samplerhub_grids.spaced import SpacedGrid


class Cosine(SpacedGrid):
    r"""Uniform in the time of `vp-cosine`, whatever the process is.

        rho_i = sqrt(sin(v_i) sin(v_i + 2 theta_0))/cos(v_i + theta_0),    v_i = v_0 + i/N (v_N - v_0)

    v = pi/2 u/(1 + offset) in the time u of `vp-cosine`, theta_0 = pi/2 offset/(1 + offset); v_0 and v_N belong to the
    largest and the smallest noise level. On `vp-cosine` itself it is `uniform`, with offset 0 `angle` with center 1.

    References:
        Improved Denoising Diffusion Probabilistic Models (Nichol and Dhariwal, 2021), arXiv:2102.09672, eq. 17
    """

    offset: float = Field(0.008, ge=0)
    """What keeps the noise from growing too slowly near time 0."""

    def variable(self, rho: Tensor) -> Tensor:
        """Return v, from rho^2/cos^2(theta_0) = tan^2(v + theta_0) - tan^2(theta_0), without cancellation near 0."""
        tan_0 = math.tan(self._theta_0)
        difference = (rho / math.cos(self._theta_0)) ** 2
        tan = (difference + tan_0**2).sqrt()
        return (difference / ((tan + tan_0) * (1 + tan * tan_0))).atan()

    def level(self, v: Tensor) -> Tensor:
        """Return sqrt(sin(v) sin(v + 2 theta_0))/cos(v + theta_0)."""
        return (v.sin() * (v + 2 * self._theta_0).sin()).sqrt() / (v + self._theta_0).cos()

    @property
    def _theta_0(self) -> float:
        return math.pi / 2 * self.offset / (1 + self.offset)
