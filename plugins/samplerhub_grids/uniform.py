"""Equal steps of the process's own time."""

from __future__ import annotations

import torch
from torch import Tensor

from samplerhub import Component, Problem
from samplerhub.errors import InvalidSetting


class Uniform(Component):
    r"""Uniform in the process's own time t.

        t_i = t_max + i/N (t_min - t_max),    i = 0, ..., N

    References:
        Score-Based Generative Modeling through Stochastic Differential Equations (Song et al., 2021), arXiv:2011.13456
    """

    def __call__(self, problem: Problem, steps: int) -> Tensor:
        """Return steps + 1 times, strictly decreasing, shape (steps + 1,)."""
        if steps < 1:
            raise InvalidSetting(f"a grid of {steps} steps is not possible; give 1 or more")
        t_min, t_max = problem.span
        times = t_max + torch.arange(steps + 1, dtype=torch.float64) / steps * (t_min - t_max)
        times[0], times[-1] = t_max, t_min
        return times
