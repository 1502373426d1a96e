"""Annealed Langevin dynamics (Song and Ermon, 2019)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from samplerhub import Component, ForwardProcess, Problem, Step, alpha, normal, rho


class AnnealedLangevin(Component):
    r"""Annealed Langevin dynamics: at each noise level some Langevin steps, and nothing in between.

        a_i = e rho_i^2,    y <- y + a_i/2 score(y, rho_i) + sqrt(a_i) z        repeated, for each level but the first

    e is the paper's epsilon/sigma_L^2, 0.2 there. The state is taken from one level to the next as it is, so that only
    many repeats at close levels lead to the right law; a Gaussian of variance v is left with the variance
    v/(1 - a_i/(4 v)). There is no flow behind it, and hence no `churn` and no order: it is kept as a baseline.

    References:
        Generative Modeling by Estimating Gradients of the Data Distribution (Song and Ermon, 2019), arXiv:1907.05600,
            algorithm 1
    """

    step_size: float = Field(0.2, gt=0, lt=4)
    """Length e of a Langevin step in units of the squared noise level; from 4 on it would be unstable."""
    repeats: int = Field(5, ge=1)
    """Langevin steps at each level; the paper has 100 at each of 10 levels."""
    last: Literal["stop", "denoise"] = "stop"
    """What happens at the end of the grid: stop, or replace the state by its posterior mean (one evaluation more)."""

    def evaluations(self, process: ForwardProcess, times: Tensor) -> int:
        """One for each Langevin step."""
        return self.repeats * (len(times) - 1) + (self.last == "denoise")

    def __call__(self, problem: Problem, x: Tensor, times: Tensor, rng: torch.Generator) -> Iterator[Step]:
        """Yield the state after the Langevin steps at each level."""
        t, scale, level = times.tolist(), alpha(problem.process, times).tolist(), rho(problem.process, times).tolist()
        y = x / scale[0]
        for i in range(1, len(t)):
            rho_i = level[i]
            for _ in range(self.repeats):  # score = -eps/rho
                y = torch.add(y, problem.eps(y, rho_i), alpha=-self.step_size * rho_i / 2)
                y.add_(normal(y, rng), alpha=math.sqrt(self.step_size) * rho_i)
            if i == len(t) - 1 and self.last == "denoise":
                yield Step(t[i], problem.x0(y, rho_i), 0.0)
            else:
                yield Step(t[i], y * scale[i], rho_i)
