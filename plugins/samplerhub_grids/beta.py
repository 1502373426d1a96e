"""Quantiles of a beta distribution as times."""

from __future__ import annotations

import torch
from pydantic import Field
from scipy.special import betaincinv
from torch import Tensor

from samplerhub import Component, Problem
from samplerhub_grids.spaced import between, equal_steps


class Beta(Component):
    r"""Quantiles of a beta distribution in the process's own time, dense at both ends of the span.

        t_i = t_min + (t_max - t_min) F^(-1)(1 - i/N),    i = 0, ..., N

    F is the distribution function of Beta(a, b). The paper takes quantiles of the rows of a discrete process; on
    `discrete` these are its times, not rounded to whole rows. With a = b = 1 it is `uniform`.

    References:
        Beta Sampling is All You Need: Efficient Image Generation Strategy for Diffusion Models using Stepwise Spectral
            Analysis (Lee et al., 2024), arXiv:2407.12173
    """

    a: float = Field(0.6, ge=0.3, le=20)
    """First parameter: below 1 the nodes gather at low noise."""
    b: float = Field(0.6, ge=0.3, le=20)
    """Second parameter: below 1 the nodes gather at high noise."""

    def __call__(self, problem: Problem, steps: int) -> Tensor:
        """Return steps + 1 times, strictly decreasing, shape (steps + 1,)."""
        t_min, t_max = problem.span
        quantiles = torch.from_numpy(betaincinv(self.a, self.b, equal_steps(1, 0, steps)[1:-1].numpy()))
        return between(problem, t_min + (t_max - t_min) * quantiles)
