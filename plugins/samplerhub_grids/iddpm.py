"""The rows of iDDPM's table, for any process."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor

from samplerhub import Problem, rho
from samplerhub_grids.cosine import Cosine
from samplerhub_grids.spaced import at_levels, equal_steps


class IDDPMGrid(Cosine):
    r"""Whole rows of iDDPM's table of noise levels, equally spaced but for rounding, for any process.

        rho_i = u_(j_i),    j_i = floor(j_0 + i/N (j_N - j_0) + 1/2),    i = 1, ..., N - 1

    u_j, j = 0, ..., M, is EDM's table of iDDPM's noise levels, that of `vp-cosine` at time 1 - j/M (u_0 is lower there,
    and no node is at it). j_0 and j_N are the places of the largest and the smallest noise level in it, whole or not;
    from u_8 to u_(M - 1) these are the time steps of the iDDPM column of EDM's Table 1. With so many steps that a row
    would be visited twice, the rows are not rounded.

    References:
        Improved Denoising Diffusion Probabilistic Models (Nichol and Dhariwal, 2021), arXiv:2102.09672
        Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022), arXiv:2206.00364,
            Table 1
    """

    rows: int = Field(1000, ge=10)
    """M, the number of rows."""

    def __call__(self, problem: Problem, steps: int) -> Tensor:
        """Return steps + 1 times, strictly decreasing, shape (steps + 1,)."""
        t_min, t_max = problem.span
        scale = math.pi / 2 / (1 + self.offset)
        ends = self.rows * (1 - self.variable(rho(problem.process, [t_max, t_min])) / scale)
        whole = ends.round()
        first, last = torch.where((ends - whole).abs() < 1e-3, whole, ends).tolist()
        j = equal_steps(first, last, steps)
        rounded = torch.cat([j[:1], (j[1:-1] + 0.5).floor(), j[-1:]])
        if bool((rounded.diff() > 0).all()):
            j = rounded
        return at_levels(self, problem, self.level(scale * (1 - j[1:-1] / self.rows)))
