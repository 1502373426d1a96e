"""The variance-preserving process with the cosine schedule (Nichol and Dhariwal, 2021)."""

from __future__ import annotations

import math

from pydantic import Field
from torch import Tensor

from samplerhub_processes.timed import TimedProcess


class VPCosine(TimedProcess):
    r"""Variance preserving with the cosine schedule: alpha = cos(theta)/cos(theta_0), theta linear in t.

        theta(t) = pi/2 (t + offset)/(1 + offset),    theta_0 = theta(0)
        alpha = cos(theta)/cos(theta_0),    sigma = sqrt(sin(theta - theta_0) sin(theta + theta_0))/cos(theta_0)

    alpha(0) = 1, as in the paper, where alpha-bar = f(t)/f(0); some codes leave the division out, and have a noise
    level of 0.0125 at time 0. At t = 1 no data are left and the noise level is infinite: DPM-Solver starts at 0.9946,
    where it is 118.8.

    References:
        Improved Denoising Diffusion Probabilistic Models (Nichol and Dhariwal, 2021), arXiv:2102.09672, eq. 17
        DPM-Solver: A Fast ODE Solver for Diffusion Probabilistic Model Sampling in Around 10 Steps (Lu et al., 2022),
            arXiv:2206.00927
    """

    offset: float = Field(0.008, ge=0)
    """What keeps the noise from growing too slowly near time 0."""
    t_min: float = Field(1e-3, gt=0)
    """Time at which sampling ends."""
    t_max: float = Field(0.9946, gt=0, lt=1)
    """Time at which sampling starts."""

    def alpha(self, t: Tensor) -> Tensor:
        """Return cos(theta)/cos(theta_0)."""
        return self._theta(t).cos() / math.cos(self._theta_0)

    def sigma(self, t: Tensor) -> Tensor:
        """Return sqrt(1 - alpha^2), without cancellation near 0."""
        return ((self._slope * t).sin() * (self._theta(t) + self._theta_0).sin()).sqrt() / math.cos(self._theta_0)

    def _theta(self, t: Tensor) -> Tensor:
        return self._slope * t + self._theta_0

    @property
    def _slope(self) -> float:
        return math.pi / 2 / (1 + self.offset)

    @property
    def _theta_0(self) -> float:
        return self._slope * self.offset
