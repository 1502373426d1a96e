"""Equal steps of a root of the process's own time."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from samplerhub import Component, Problem
from samplerhub_grids.spaced import between, equal_steps, going_down


class Power(Component):
    r"""Uniform in a root of the process's own time, t^(1/exponent).

        t_i = (t_max^(1/k) + i/N (t_min^(1/k) - t_max^(1/k)))^k,    i = 0, ..., N

    With k = 2 it is the quadratic grid of DDIM and DEIS; with k = 1 it is `uniform`. On `edm`, whose time is the noise
    level, it is the grid `edm`.

    References:
        Denoising Diffusion Implicit Models (Song, Meng and Ermon, 2021), arXiv:2010.02502, appendix D.2
        Fast Sampling of Diffusion Models with Exponential Integrator (Zhang and Chen, 2023), arXiv:2204.13902
    """

    exponent: float = Field(2.0, gt=0)
    """k: 1 is uniform in time, larger puts more steps at low noise."""

    def __call__(self, problem: Problem, steps: int) -> Tensor:
        """Return steps + 1 times, strictly decreasing, shape (steps + 1,)."""
        k, (t_min, t_max) = self.exponent, problem.span
        start, end = (torch.tensor([t_max, t_min], dtype=torch.float64) ** (1 / k)).tolist()
        inner = equal_steps(start, end, steps)[1:-1] ** k
        return between(problem, going_down(self, "t", inner, t_max, t_min))
