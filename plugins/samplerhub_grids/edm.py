"""The grid of EDM (Karras et al., 2022), for any process."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from samplerhub import Component, Problem, rho, time_at
from samplerhub.errors import InvalidSetting


class EDMGrid(Component):
    r"""Uniform in a root of the noise level, rho^(1/exponent), for any process.

        rho_i = (rho_max^(1/p) + i/N (rho_min^(1/p) - rho_max^(1/p)))^p,    t_i = t(rho_i),    i = 0, ..., N

    p is the exponent (Karras's rho). N steps go from rho_max to rho_min and stop there: EDM's "N steps" are N - 1 of
    them and a last one to noise level 0.

    References:
        Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022), arXiv:2206.00364, eq. 5
    """

    exponent: float = Field(7.0, gt=0)
    """p: 1 is uniform in the noise level, larger puts more steps at low noise."""

    def __call__(self, problem: Problem, steps: int) -> Tensor:
        """Return steps + 1 times, strictly decreasing, shape (steps + 1,)."""
        if steps < 1:
            raise InvalidSetting(f"a grid of {steps} steps is not possible; give 1 or more")
        p, (t_min, t_max) = self.exponent, problem.span
        start, end = (rho(problem.process, t) ** (1 / p) for t in (t_max, t_min))
        times = torch.empty(steps + 1, dtype=torch.float64)
        times[0], times[-1] = t_max, t_min
        i = torch.arange(1, steps, dtype=torch.float64)
        times[1:-1] = time_at(problem.process, (start + i / steps * (end - start)) ** p)
        return times
