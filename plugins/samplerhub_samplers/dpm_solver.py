"""DPM-Solver (Lu et al., 2022)."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Literal

from pydantic import Field, model_validator
from torch import Tensor

from samplerhub import ForwardProcess, GridSampler, Leg, Run
from samplerhub_samplers.single_step import shares, stages, through


class DPMSolver(GridSampler):
    r"""Single-step exponential Runge-Kutta method for predicted noise: DPM-Solver-1, -2 and -3.

    In lambda = -log rho, h = lambda_s - lambda_t and rho_k = rho_t e^(-r_k h), with y = x/alpha,

        1:  y_s = y - rho_s (e^h - 1) eps(y)
        2:  u = y - rho_1 (e^(r_1 h) - 1) eps(y)
            y_s = y - rho_s (e^h - 1) eps(y) - rho_s/(2 r_1) (e^h - 1) (eps(u) - eps(y))
        3:  u_1 = u,   u_2 = y - rho_2 (e^(r_2 h) - 1) eps(y) - rho_2 r_2/r_1 ((e^(r_2 h) - 1)/(r_2 h) - 1) (eps(u_1) - eps(y))
            y_s = y - rho_s (e^h - 1) eps(y) - rho_s/r_2 ((e^h - 1)/h - 1) (eps(u_2) - eps(y)),    r_2 = 2/3.

    Order 1 is DDIM. With `orders = "fast"` a grid of N steps is a budget of N evaluations: K = floor(N/3) + 1 steps, all
    of order 3 but the last, which make up the rest (2 and 1, or 1, or 2). A step of order k spans k intervals. As the
    mesh shrinks a last step of order 1 leaves order 2.

    References:
        DPM-Solver: A Fast ODE Solver for Diffusion Probabilistic Model Sampling in Around 10 Steps (Lu et al., 2022),
            arXiv:2206.00927
    """  # noqa: E501

    order: int = Field(3, ge=1, le=3)
    """Order, and evaluations a step."""
    r_1: float | None = Field(None, gt=0, le=1)
    """Where the first stage lies, as a share of the step in log rho; none: 1/2 at order 2 and 1/3 at order 3."""
    orders: Literal["constant", "fast"] = "constant"
    """Every step of the same order, or DPM-Solver-fast, which spends exactly one evaluation an interval of the grid."""

    @model_validator(mode="after")
    def _stage_exists(self) -> DPMSolver:
        if self.order == 1 and self.r_1 is not None:
            raise ValueError(f"r_1 = {self.r_1:g}: at order 1 a step has no first stage; leave r_1 out")
        return self

    @model_validator(mode="after")
    def _fast_is_of_order_3(self) -> DPMSolver:
        if self.orders == "fast" and self.order != 3:
            raise ValueError(f'orders = "fast" mixes steps of order 3, 2 and 1: order = {self.order} must be 3')
        return self

    def plan(self, steps: int) -> list[int]:
        """Return the order of each step for a grid of so many intervals."""
        if self.orders == "constant":
            return [self.order] * steps
        K = steps // 3 + 1
        return [*[3] * (K - 2), *[2, 1][:K]] if steps % 3 == 0 else [*[3] * (K - 1), steps % 3]

    def legs(self, process: ForwardProcess, times: Tensor) -> list[Leg]:
        """Return the legs; with "fast" a leg of order k spans k intervals of the grid."""
        orders = self.plan(len(times) - 1)
        if self.orders == "fast":
            times = times[[0, *itertools.accumulate(orders)]]
        return [
            replace(leg, weights=self._numbers(leg, order)) for leg, order in zip(super().legs(process, times), orders)
        ]

    def _numbers(self, leg: Leg, order: int) -> tuple[float, ...]:
        return tuple(itertools.chain(*stages(leg.rho_t, leg.rho_s, shares(order, self.r_1), "noise")))

    def evaluations(self, process: ForwardProcess, times: Tensor) -> int:
        """As many a step as its order."""
        return sum(self.plan(len(times) - 1)) + (self.last == "denoise")

    def step(self, run: Run, y: Tensor, leg: Leg) -> Tensor:
        """As many evaluations as the order."""
        return through(run.problem.eps, y, leg.rho_t, leg.weights)
