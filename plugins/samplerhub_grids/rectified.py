"""Uniform in the time of the straight path, for any process."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from samplerhub import Component, Problem, rho, time_at
from samplerhub.errors import InvalidSetting


class Rectified(Component):
    r"""Uniform in the time u = rho/(rho + center) of the straight path from data to noise of that scale.

        rho_i = center u_i/(1 - u_i),    u_i = u_0 + i/N (u_N - u_0),    t_i = t(rho_i),    i = 0, ..., N

    u_0 and u_N belong to the largest and the smallest noise level. Half of the steps are below `center`.

    References:
        Flow Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow (Liu et al., 2023),
        arXiv:2209.03003
    """

    center: float = Field(0.3, gt=0)
    """Noise level in the middle of the grid."""

    def __call__(self, problem: Problem, steps: int) -> Tensor:
        """Return steps + 1 times, strictly decreasing, shape (steps + 1,)."""
        if steps < 1:
            raise InvalidSetting(f"a grid of {steps} steps is not possible; give 1 or more")
        c, (t_min, t_max) = self.center, problem.span
        start, end = (level / (level + c) for level in rho(problem.process, [t_max, t_min]).tolist())
        times = torch.empty(steps + 1, dtype=torch.float64)
        times[0], times[-1] = t_max, t_min
        u = start + torch.arange(1, steps, dtype=torch.float64) / steps * (end - start)
        times[1:-1] = time_at(problem.process, c * u / (1 - u))
        return times
