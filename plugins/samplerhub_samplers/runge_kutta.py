"""Runge-Kutta methods, any tableau in any clock."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from samplerhub import ForwardProcess, GridSampler, Leg, Problem, Run, Step
from samplerhub_samplers.clocks import Clock, ClockName, clock_of, data_scale
from samplerhub_samplers.tableaux import TABLEAUX, Tableau


class RungeKutta(GridSampler, ABC):
    """A Runge-Kutta method whose steps are tables of numbers: each stage and the result are a y + sum_j w_j eps_j."""

    @property
    @abstractmethod
    def method(self) -> Tableau:
        """The method."""

    @abstractmethod
    def clock(self, process: ForwardProcess) -> Clock:
        """Return the variable of integration."""

    def evaluations(self, process: ForwardProcess, times: Tensor) -> int:
        """As many as the method has stages, for each step."""
        return len(self.method.b) * (len(times) - 1) + (self.last == "denoise")

    def weights(self, process: ForwardProcess, legs: Sequence[Leg]) -> list[tuple[float, ...]]:
        """Return the rows (rho_i, a_i, w_i0, w_i1, ...) of all stages and of the result, one after the other."""
        clock, stages = self.clock(process), len(self.method.b)
        ends = clock.at(torch.tensor([[leg.rho_t, leg.rho_s] for leg in legs], dtype=torch.float64))
        h = ends[:, 1:] - ends[:, :1]
        c = torch.cat([ends[:, :1] + h * torch.tensor(self.method.c, dtype=torch.float64), ends[:, 1:]], 1)
        Phi, A, B = clock.frame(c)
        rho = clock.level(c)
        rho[:, 0] = torch.tensor([leg.rho_t for leg in legs], dtype=torch.float64)

        # z and the slopes k in the basis (y, eps_0, eps_1, ...), for all legs at once.
        basis = torch.eye(1 + stages, dtype=torch.float64).expand(len(legs), -1, -1)
        z_t = basis[:, 0] / Phi[:, :1]
        k: list[Tensor] = []
        rows = []
        for i, a in enumerate((*self.method.a, self.method.b)):
            z = z_t + h * sum((a_j * k_j for a_j, k_j in zip(a, k)), torch.zeros_like(z_t))
            rows.append(torch.cat([rho[:, i : i + 1], Phi[:, i : i + 1] * z], 1))
            if i < stages:
                k.append(A[:, i : i + 1] * z + B[:, i : i + 1] * basis[:, i + 1])
        return [tuple(row) for row in torch.cat(rows, 1).tolist()]

    def step(self, run: Run, y: Tensor, leg: Leg) -> Tensor:
        """One evaluation a stage."""
        width, eps = len(self.method.b) + 2, [run.problem.eps(y, leg.rho_t)]
        for start in range(width, len(leg.weights) - width, width):
            eps.append(run.problem.eps(_combined(y, leg.weights[start + 1 : start + width], eps), leg.weights[start]))
        return _combined(y, leg.weights[1 - width :], eps)


def _combined(y: Tensor, weights: Sequence[float], eps: Sequence[Tensor]) -> Tensor:
    """Return a y + sum_j w_j eps_j, without the terms that are 0."""
    total = None if weights[0] == 1 else y * weights[0]
    for w, e in zip(weights[1:], eps):
        if w:
            total = torch.add(y, e, alpha=w) if total is None else total.add_(e, alpha=w)
    return y if total is None else total


class RK(RungeKutta):
    r"""Explicit Runge-Kutta methods: a tableau, in the variable of your choice.

        k_i = f(c + c_i h, z + h sum_j a_ij k_j),    z_s = z + h sum_i b_i k_i

    where dz/dc = f(c, z) is the probability-flow ODE in the variable c: the noise level, its logarithm, the process's
    own time, or the angle atan(rho/sigma_data), in which the flow of Gaussian data stands still.

    References:
        Solving Ordinary Differential Equations I: Nonstiff Problems (Hairer, Nørsett and Wanner, 1993), Springer,
            doi:10.1007/978-3-540-78862-1, chapter II
        Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022), arXiv:2206.00364
    """

    tableau: Literal[
        "euler",
        "midpoint",
        "heun",
        "ralston",
        "kutta3",
        "heun3",
        "ssprk3",
        "bogacki-shampine",
        "rk4",
        "dormand-prince",
        "dop853",
    ] = "rk4"
    """The method: of order 1 (euler), 2 (midpoint, heun, ralston), 3, 4 (rk4), 5 (dormand-prince) or 8 (dop853)."""
    variable: ClockName = "rho"
    """The variable of integration: noise level, its logarithm, time, or the angle atan(rho/sigma_data)."""
    sigma_data: float | None = Field(None, gt=0)
    """Scale of the data, for the angle; none: as the model or the target says, else 1."""

    @property
    def method(self) -> Tableau:
        """The tableau of that name."""
        return TABLEAUX[self.tableau]

    @property
    def order(self) -> int:
        """The order of the tableau."""
        return self.method.order

    def clock(self, process: ForwardProcess) -> Clock:
        """Return the clock of that name."""
        return clock_of(self.variable, process, self.sigma_data)

    def __call__(self, problem: Problem, x: Tensor, times: Tensor, rng: torch.Generator) -> Iterator[Step]:
        """Yield the state after each leg of the grid."""
        if self.variable == "angle" and self.sigma_data is None:
            return self.replace(sigma_data=data_scale(problem))(problem, x, times, rng)
        return super().__call__(problem, x, times, rng)
