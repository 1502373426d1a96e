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


def at_levels(grid: Component, problem: Problem, levels: Tensor) -> Tensor:
    """Return the times of a grid whose inner nodes have these noise levels, shape (steps + 1,).

    Raises:
        InvalidSetting: The levels do not go down between those of the ends.
    """
    ends = rho(problem.process, [problem.span[1], problem.span[0]])
    return between(problem, time_at(problem.process, going_down(grid, "rho", levels, *ends.tolist())))


def going_down(grid: Component, what: str, inner: Tensor, start: float, end: float) -> Tensor:
    """Return inner nodes as they are, or raise `InvalidSetting` where the grid's formula has lost its digits."""
    nodes = torch.cat([inner.new_tensor([start]), inner, inner.new_tensor([end])])
    if not bool((nodes.diff() < 0).all()):
        fields = ", ".join(f"{name} = {value}" for name, value in grid)
        raise InvalidSetting(
            f"grid {type(grid).__name__}{f' with {fields}' if fields else ''}: {len(inner) + 1} steps from {what} = "
            f"{start:g} to {end:g} cannot be told apart in float64; give a less extreme value, or fewer steps"
        )
    return inner


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
        return at_levels(self, problem, self.level(v[1:-1]))
