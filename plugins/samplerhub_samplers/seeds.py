"""SEEDS: exponential SDE solvers (Gonzalez et al., 2023)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Literal

from pydantic import Field, model_validator
from torch import Tensor

from samplerhub import ForwardProcess, Leg, Run, weighted_sum
from samplerhub_samplers.reverse_sde import ReverseSDE
from samplerhub_samplers.single_step import shares, stages


class SEEDS(ReverseSDE):
    r"""Single-step exponential method for the reverse SDE, its noise shared by the stages: SEEDS-1, -2 and -3.

    The stages are those of DPM-Solver (predicted noise) or DPM-Solver++ (predicted data) with drift times 1 + gamma,
    and every stage u_k at rho_k carries the noise W_k of the SDE up to there, one path through all the stages:

        noise:  W_k = W_{k-1} + sqrt(gamma (rho_{k-1}^2 - rho_k^2)) z_k
        data:   W_k = (rho_k/rho_{k-1})^(1 + gamma) W_{k-1} + rho_k sqrt(1 - (rho_k/rho_{k-1})^(2 gamma)) z_k

    gamma is `churn`, in drift and noise; 0 gives DPM-Solver and DPM-Solver++. The weak order is `order`, but at most 2
    as soon as gamma > 0: three evaluations cannot see the area under the path.

    References:
        SEEDS: Exponential SDE Solvers for Fast High-Quality Sampling from Diffusion Models (Gonzalez et al., 2023),
            arXiv:2305.14267
    """

    order: int = Field(2, ge=1, le=3)
    """Evaluations a step; the order at churn 0, and the weak order up to 2."""
    prediction: Literal["noise", "data"] = "data"
    """What is held or interpolated over a step: the predicted noise, or the predicted data."""
    r_1: float | None = Field(None, gt=0, lt=1)
    """Where the first stage lies, as a share of the step in log rho; none: 1/2 at order 2 and 1/3 at order 3."""

    @model_validator(mode="after")
    def _stages_in_order(self) -> SEEDS:
        if self.order == 1 and self.r_1 is not None:
            raise ValueError(f"r_1 = {self.r_1:g}: at order 1 a step has no first stage; leave r_1 out")
        if self.order == 3 and self.r_1 is not None and self.r_1 >= 2 / 3:
            raise ValueError(f"r_1 = {self.r_1:g}: at order 3 it must lie before the second stage, at 2/3")
        return self

    def evaluations(self, process: ForwardProcess, times: Tensor) -> int:
        """As many a step as the order."""
        return self.order * (len(times) - 1) + (self.last == "denoise")

    def weights(self, process: ForwardProcess, legs: Sequence[Leg]) -> list[tuple[float, ...]]:
        """Return (rho_k, A, B, C, n_1, n_2, ...) of every stage in a row: A y + B e_0 + C e_{k-1} + sum_j n_j z_j."""
        return [tuple(itertools.chain(*self._stages(leg))) for leg in legs]

    def _stages(self, leg: Leg) -> list[tuple[float, ...]]:
        gamma = self.gamma(leg.rho_t)
        rows = stages(leg.rho_t, leg.rho_s, shares(self.order, self.r_1), self.prediction, gamma)
        noise = [0.0] * self.order
        numbers = []
        for k, (a, row) in enumerate(zip([leg.rho_t, *(row[0] for row in rows)], rows)):
            b = row[0]
            if self.prediction == "noise":
                m, n = 1.0, math.sqrt(gamma * (a**2 - b**2))
            else:
                m, n = (b / a) ** (1 + gamma), b * math.sqrt(-math.expm1(2 * gamma * math.log(b / a)))
            noise = [*(m * n_j for n_j in noise[:k]), self.churn_noise * n, *noise[k + 1 :]]
            numbers.append((*row, *noise))
        return numbers

    def step(self, run: Run, y: Tensor, leg: Leg) -> Tensor:
        """As many evaluations, and draws of noise where gamma is positive, as the order."""
        evaluate = run.problem.eps if self.prediction == "noise" else run.problem.x0
        e = e_u = evaluate(y, leg.rho_t)
        u, z, row = y, [], 4 + self.order
        for k in range(0, len(leg.weights), row):
            rho_k, A, B, C, *n = leg.weights[k : k + row]
            u = weighted_sum(y, (A, B, C), (e, e_u)) if C else weighted_sum(y, (A, B), (e,))
            if n[0]:
                z.append(run.noise(y))
                for n_j, z_j in zip(n, z):
                    u.add_(z_j, alpha=n_j)
            if k + row < len(leg.weights):
                e_u = evaluate(u, rho_k)
        return u
