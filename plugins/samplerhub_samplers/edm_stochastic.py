"""EDM's stochastic sampler, to the letter (Karras et al., 2022)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from samplerhub import Component, ForwardProcess, Problem, Step, alpha, normal, rho


class EDMStochastic(Component):
    r"""EDM's Algorithm 2: noise by its own S_churn, Heun's method, and a last Euler step to noise level 0.

        gamma_i = min(S_churn/N, sqrt(2) - 1) if S_min <= rho_i <= S_max else 0
        rho_hat = rho_i (1 + gamma_i),    y_hat = y_i + S_noise sqrt(rho_hat^2 - rho_i^2) z
        d = (y_hat - D(y_hat, rho_hat))/rho_hat,    y' = y_hat + (rho_s - rho_hat) d
        d' = (y' - D(y', rho_s))/rho_s,    y_s = y_hat + (rho_s - rho_hat) (d + d')/2     unless rho_s = 0

    N counts the step to 0 as well: a grid of 17 steps is EDM's N = 18 and spends 35 evaluations. S_churn is a total
    over the run and not `churn`, the gamma of the reverse SDE; on EDM's grid the two are related by

        churn(rho) = S_churn rho^(1/7) / (7 (rho_max^(1/7) - rho_min^(1/7)))      as N grows.

    References:
        Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022), arXiv:2206.00364
    """

    s_churn: float = Field(0.0, ge=0)
    """Total amount of noise, divided by the number of steps; at most sqrt(2) - 1 a step."""
    s_min: float = Field(0.0, ge=0)
    """Lowest noise level at which noise is added."""
    s_max: float | None = Field(None, ge=0)
    """Highest noise level at which noise is added; none: no limit."""
    s_noise: float = Field(1.0, ge=0)
    """Factor on the added noise; the published values are slightly above 1."""

    order: ClassVar[int] = 2

    def evaluations(self, process: ForwardProcess, times: Tensor) -> int:
        """Two a step, and one for the step to 0."""
        return 2 * (len(times) - 1) + 1

    def __call__(self, problem: Problem, x: Tensor, times: Tensor, rng: torch.Generator) -> Iterator[Step]:
        """Yield the state after each step; the last is the estimate of x_0."""
        N = len(times)
        t, scale = times.tolist(), alpha(problem.process, times).tolist()
        level = [*rho(problem.process, times).tolist(), 0.0]
        y = x / scale[0]
        for i in range(N):
            rho_i, rho_s = level[i], level[i + 1]
            in_window = self.s_min <= rho_i <= (math.inf if self.s_max is None else self.s_max)
            gamma = min(self.s_churn / N, math.sqrt(2) - 1) if in_window else 0.0

            rho_hat, y_hat = rho_i, y
            if gamma > 0:
                rho_hat = rho_i * (1 + gamma)
                y_hat = y + self.s_noise * math.sqrt(rho_hat**2 - rho_i**2) * normal(y, rng)

            d = problem.eps(y_hat, rho_hat)
            y = y_hat + (rho_s - rho_hat) * d
            if rho_s == 0:
                yield Step(t[-1], y, 0.0)
            else:
                d_s = problem.eps(y, rho_s)
                y = y_hat + (rho_s - rho_hat) * (d + d_s) / 2
                if i + 1 < N - 1:
                    yield Step(t[i + 1], y * scale[i + 1], rho_s)
