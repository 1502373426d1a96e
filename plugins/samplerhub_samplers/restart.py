"""Restart sampling (Xu et al., 2023)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Annotated, ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from samplerhub import ForwardProcess, GridSampler, Leg, Run

Interval = tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=0)], float, float]


class Restart(GridSampler):
    r"""Heun's method that goes back to more noise, and down again, several times in chosen intervals.

    When the node nearest to rho_min is reached, repeat K times: add noise up to rho_max, and return by N_restart steps,

        y <- y + sqrt(rho_max^2 - rho^2) z,    y <- Heun(y; rho_max -> rho)      on EDM's grid with exponent 7,

    or by as many as the grid has in the interval, where these are more, so that it converges with the grid.

    The added noise contracts what errors have built up; the steps down add little new. An interval outside of the
    grid is left out, one that reaches above it is cut off where the run starts. A step is yielded after the last
    return. With a budget of evaluations there are fewer repeats where, by N_restart steps each, they would take more
    than half of it; on a grid fine enough to have more steps in the interval they take more. `churn` is something else,
    noise before every step; here it is 0 unless asked for. The paper's settings, as (N_restart, K, rho_min, rho_max):
    CIFAR-10 by default; ImageNet-64 has several intervals.

    References:
        Restart Sampling for Improving Generative Processes (Xu et al., 2023), arXiv:2306.14878, algorithm 1
    """

    intervals: tuple[Interval, ...] = ((3, 2, 0.06, 0.3),)
    """Restart intervals (N_restart, K, rho_min, rho_max): steps down, repeats, and noise levels."""

    order: ClassVar[int] = 2
    own_noise: ClassVar[bool] = True

    @model_validator(mode="after")
    def _intervals_go_up(self) -> Restart:
        for _, _, low, high in self.intervals:
            if not 0 < low < high:
                raise ValueError(f"the interval ({low:g}, {high:g}) must go from low to high noise level, above 0")
        return self

    def within(self, nfe: int) -> Self:
        """Return the sampler with no more repeats than fit into half of a budget by N_restart steps each.

        The grid is not known here. One that has more than N_restart steps in an interval returns by as many, and then
        the repeats take more than half: of 1000 evaluations, 20 repeats from 0.06 to 0.3 leave it about a quarter.
        """
        intervals = self.intervals
        while intervals and sum(2 * steps * repeats for steps, repeats, _, _ in intervals) > nfe // 2:
            intervals = tuple((steps, repeats - 1, low, high) for steps, repeats, low, high in intervals if repeats > 1)
        return self.replace(intervals=intervals)

    def weights(self, process: ForwardProcess, legs: Sequence[Leg]) -> list[tuple[float, ...]]:
        """Return the noise levels to visit after each step: up to rho_max at one stroke, and down to the node again."""
        nodes, ceiling = [leg.rho_s for leg in legs], legs[0].rho_before
        visits: list[tuple[float, ...]] = [()] * len(legs)
        for steps, repeats, low, high in self.intervals:
            i = min(range(len(nodes)), key=lambda i: abs(math.log(nodes[i] / low)))
            if low < ceiling and nodes[i] < min(high, ceiling):
                between = sum(nodes[i] < leg.rho_before <= high for leg in legs)
                visits[i] += repeats * self._returns(nodes[i], min(high, ceiling), max(steps, between))
        return visits

    @staticmethod
    def _returns(low: float, high: float, steps: int) -> tuple[float, ...]:
        """Return EDM's grid of so many steps, from high to low."""
        a, b = high ** (1 / 7), low ** (1 / 7)
        return (high, *((a + i / steps * (b - a)) ** 7 for i in range(1, steps)), low)

    def evaluations(self, process: ForwardProcess, times: Tensor) -> int:
        """Two for each step down, of the grid and of the restarts."""
        paths = [(leg.rho_s, *leg.weights) for leg in self.legs(process, times)]
        returns = sum(b < a for path in paths for a, b in itertools.pairwise(path))
        return 2 * (len(paths) + returns) + (self.last == "denoise")

    def step(self, run: Run, y: Tensor, leg: Leg) -> Tensor:
        """One step of Heun's method, then the restarts that belong to its end."""
        y = self._heun(run, y, leg.rho_t, leg.rho_s)
        for a, b in itertools.pairwise((leg.rho_s, *leg.weights)):
            y = self._heun(run, y, a, b) if b < a else torch.add(y, run.noise(y), alpha=math.sqrt(b**2 - a**2))
        return y

    @staticmethod
    def _heun(run: Run, y: Tensor, a: float, b: float) -> Tensor:
        d = run.problem.eps(y, a)
        d_s = run.problem.eps(torch.add(y, d, alpha=b - a), b)
        return torch.add(y, d, alpha=(b - a) / 2).add_(d_s, alpha=(b - a) / 2)
