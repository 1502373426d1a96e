"""Uniform in an angle of the noise level, for any process."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor

from samplerhub import Component, Problem, rho, time_at
from samplerhub.errors import InvalidSetting


class AngleGrid(Component):
    r"""Uniform in the angle atan(rho/center), dense where the noise level is near `center`, for any process.

        rho_i = center tan(phi_0 + i/N (phi_N - phi_0)),    t_i = t(rho_i),    i = 0, ..., N

    phi_0 and phi_N are the angles of the largest and the smallest noise level.

    References:
        The angle is that of TrigFlow: Simplifying, Stabilizing and Scaling Continuous-Time Consistency Models (Lu and
        Song, 2025), arXiv:2410.11081
    """

    center: float = Field(0.3, gt=0)
    """Noise level around which the nodes gather."""

    def __call__(self, problem: Problem, steps: int) -> Tensor:
        """Return steps + 1 times, strictly decreasing, shape (steps + 1,)."""
        if steps < 1:
            raise InvalidSetting(f"a grid of {steps} steps is not possible; give 1 or more")
        t_min, t_max = problem.span
        start, end = (math.atan(rho(problem.process, t).item() / self.center) for t in (t_max, t_min))
        times = torch.empty(steps + 1, dtype=torch.float64)
        times[0], times[-1] = t_max, t_min
        i = torch.arange(1, steps, dtype=torch.float64)
        times[1:-1] = time_at(problem.process, self.center * (start + i / steps * (end - start)).tan())
        return times
