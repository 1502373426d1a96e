"""What the grids of this package share: equal steps of a variable of the noise level."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from samplerhub import Component, Problem, rho, time_at
from samplerhub.errors import InvalidSetting


def equal_steps(start: float, end: float, steps: int) -> Tensor:
    """Return steps + 1 numbers from start to end, both of them exactly, float64, shape (steps + 1,).

    Raises:
        InvalidSetting: There is no step.
    """
    if steps < 1:
        raise InvalidSetting(f"a grid of {steps} steps is not possible; give 1 or more")
    numbers = start + torch.arange(steps + 1, dtype=torch.float64) / steps * (end - start)
    numbers[-1] = end
    return numbers


def between(problem: Problem, inner: Tensor) -> Tensor:
    """Return the times of a grid, shape (steps + 1,): the ends of the span, and what lies between them."""
    t_min, t_max = (torch.tensor([t], dtype=torch.float64) for t in problem.span)
    return torch.cat([t_max, inner, t_min])


class SpacedGrid(Component, ABC):
    """A grid that is uniform in a variable of the noise level, on any process."""

    @abstractmethod
    def variable(self, rho: Tensor) -> Tensor:
        """Return the variable at noise levels: strictly monotone, elementwise."""

    @abstractmethod
    def level(self, v: Tensor) -> Tensor:
        """Return the noise levels at which the variable has these values."""

    def __call__(self, problem: Problem, steps: int) -> Tensor:
        """Return steps + 1 times, strictly decreasing, shape (steps + 1,)."""
        t_min, t_max = problem.span
        start, end = self.variable(rho(problem.process, [t_max, t_min])).tolist()
        v = equal_steps(start, end, steps)
        return between(problem, time_at(problem.process, self.level(v[1:-1])))
