"""The three conventions for choosing rows of a discrete schedule (Lin et al., 2024), for any process."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from pydantic import Field
from torch import Tensor

from samplerhub import Component, HasTable, Problem
from samplerhub_grids.spaced import equal_steps

CLOSE = 1e-9
"""A row that is so near to an end of the run, relatively, is that end: the time of a noise level is rounded."""


class RowGrid(Component, ABC):
    """A grid of whole rows of a table."""

    rows: int = Field(1000, ge=2)
    """M for a process that has no table: so many times, equally spaced over its span."""

    @abstractmethod
    def chosen(self, M: int, steps: int) -> Tensor:
        """Return steps + 1 whole rows from M - 1 down to 0, the noisiest first, float64."""

    def __call__(self, problem: Problem, steps: int) -> Tensor:
        """Return steps + 1 times, strictly decreasing, shape (steps + 1,)."""
        times = self._times(problem)
        M = len(times)
        rows = equal_steps(M - 1, 0, steps)
        if steps < M:
            whole = self.chosen(M, steps)
            rows = whole if bool((whole.diff() < 0).all()) else rows
        below = rows.floor().long().clamp(max=M - 2)
        return torch.lerp(times[below], times[below + 1], rows - below)

    def _times(self, problem: Problem) -> Tensor:
        """Return the times of the rows, increasing, from one end of the span to the other."""
        t_min, t_max = problem.span
        if not isinstance(problem.process, HasTable):
            return equal_steps(t_min, t_max, self.rows - 1)
        table = problem.process.table
        inner = table[(table > t_min * (1 + CLOSE)) & (table < t_max * (1 - CLOSE))]
        return torch.cat([table.new_tensor([t_min]), inner, table.new_tensor([t_max])])


class Linspace(RowGrid):
    r"""Whole rows of a discrete schedule, equally spaced from the last to the first.

        t_i = row round((M - 1)(N - i)/N),    i = 0, ..., N

    Rows are those of the process's table between the ends of the span (row 0 has the least noise), or M equal parts of
    the span of a process that has none. N steps are N + 1 of the inference steps of diffusers' timestep_spacing
    "linspace". With so many steps that a row would be visited twice, the rows are equally spaced and not rounded.

    References:
        Common Diffusion Noise Schedules and Sample Steps are Flawed (Lin et al., 2024), arXiv:2305.08891, Table 2
    """

    def chosen(self, M: int, steps: int) -> Tensor:
        """Return round((M - 1)(N - i)/N)."""
        i = torch.arange(steps + 1, dtype=torch.float64)
        return ((M - 1) * (steps - i) / steps).round()


class Leading(RowGrid):
    r"""Every k-th row of a discrete schedule, counted from the first: the start is one longer step.

        t_0 = row M - 1,    t_i = row (N - i) floor(M/N),    i = 1, ..., N

    Rows are those of the process's table between the ends of the span (row 0 has the least noise), or M equal parts of
    the span of a process that has none. t_1, ..., t_N are diffusers' timestep_spacing "leading" with N inference steps
    and no offset. They begin below the largest noise level, which is the flaw that the paper names; here sampling
    begins at it all the same, with a step from t_0 to t_1. With so many steps that a row would be visited twice, the
    rows are equally spaced and not rounded.

    References:
        Denoising Diffusion Implicit Models (Song, Meng and Ermon, 2021), arXiv:2010.02502
        Common Diffusion Noise Schedules and Sample Steps are Flawed (Lin et al., 2024), arXiv:2305.08891, Table 2
    """

    def chosen(self, M: int, steps: int) -> Tensor:
        """Return M - 1, then (N - i) floor(M/N)."""
        multiples = torch.arange(steps - 1, -1, -1, dtype=torch.float64) * (M // steps)
        return torch.cat([multiples.new_tensor([M - 1]), multiples])


class Trailing(RowGrid):
    r"""Every k-th row of a discrete schedule, counted from the last, and the first row as the end.

        t_i = row round(M (N - i)/N) - 1,    i = 0, ..., N - 1,    t_N = row 0

    Rows are those of the process's table between the ends of the span (row 0 has the least noise), or M equal parts of
    the span of a process that has none. t_0, ..., t_(N-1) are diffusers' timestep_spacing "trailing" with N inference
    steps; where its last step goes to noise level 0, this grid's goes to row 0. With so many steps that a row would be
    visited twice (N > 2M/3), the rows are equally spaced and not rounded.

    References:
        Common Diffusion Noise Schedules and Sample Steps are Flawed (Lin et al., 2024), arXiv:2305.08891, Table 2
    """

    def chosen(self, M: int, steps: int) -> Tensor:
        """Return round(M (N - i)/N) - 1, then 0."""
        i = torch.arange(steps, dtype=torch.float64)
        rows = (M - i * (M / steps)).round() - 1
        return torch.cat([rows, rows.new_zeros(1)])
