"""Equal ratios of the noise level: equal steps of log-SNR."""

from __future__ import annotations

import torch
from torch import Tensor

from samplerhub import Component, Problem, rho, time_at
from samplerhub.errors import InvalidSetting


class Exponential(Component):
    r"""Uniform in the log of the noise level.

        log rho_i = log rho_max + i/N (log rho_min - log rho_max),    t_i = t(rho_i),    i = 0, ..., N

    Equal steps of log-SNR = -2 log rho, the variable of the DPM-Solver family.

    References:
        DPM-Solver: A Fast ODE Solver for Diffusion Probabilistic Model Sampling (Lu et al., 2022), arXiv:2206.00927
    """

    def __call__(self, problem: Problem, steps: int) -> Tensor:
        """Return steps + 1 times, strictly decreasing, shape (steps + 1,)."""
        if steps < 1:
            raise InvalidSetting(f"a grid of {steps} steps is not possible; give 1 or more")
        t_min, t_max = problem.span
        start, end = rho(problem.process, [t_max, t_min]).log()
        times = torch.empty(steps + 1, dtype=torch.float64)
        times[0], times[-1] = t_max, t_min
        i = torch.arange(1, steps, dtype=torch.float64)
        times[1:-1] = time_at(problem.process, (start + i / steps * (end - start)).exp())
        return times
