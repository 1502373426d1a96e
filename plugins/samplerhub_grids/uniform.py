"""Equal steps of the process's own time."""

from __future__ import annotations

from torch import Tensor

from samplerhub import Component, Problem
from samplerhub_grids.spaced import equal_steps


class Uniform(Component):
    r"""Uniform in the process's own time t.

        t_i = t_max + i/N (t_min - t_max),    i = 0, ..., N

    On `vp` it is the VP column of EDM's Table 1.

    References:
        Score-Based Generative Modeling through Stochastic Differential Equations (Song et al., 2021), arXiv:2011.13456
    """

    def __call__(self, problem: Problem, steps: int) -> Tensor:
        """Return steps + 1 times, strictly decreasing, shape (steps + 1,)."""
        t_min, t_max = problem.span
        return equal_steps(t_max, t_min, steps)
