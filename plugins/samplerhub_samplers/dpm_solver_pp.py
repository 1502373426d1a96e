"""DPM-Solver++, multistep (Lu et al., 2022)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor

from samplerhub import ForwardProcess, Leg, MultistepSampler, Problem
from samplerhub_samplers.phi import phi


class DPMSolverPP(MultistepSampler):
    r"""DPM-Solver++ in its multistep forms: first order, 2M and 3M.

    In lambda = -log(rho), with h = lambda_s - lambda_t, r = rho_s/rho_t = exp(-h) and predicted data D_0, D_1, D_2,
    newest first, h r_0 and h r_1 apart:

        1:     y_s = r y_t + (1 - r) D_0
        2M:    ... + (1 - r)/2 D'   (midpoint)   or   ... + (1 - (1 - r)/h) D'   (taylor),    D' = (D_0 - D_1)/r_0
        3M:    ... + phi_2 D' - c phi_3 D'',    phi_2 = 1 - (1 - r)/h, phi_3 = phi_2/h - 1/2

    D' and D'' in 3M are the differences of second order. The paper's code has c = 1, which is consistent to second
    order only; c = 2 is the method of third order. At ten steps over the full range the official form has the smaller
    error all the same. The first steps are of lower order.

    References:
        DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models (Lu et al., 2022),
            arXiv:2211.01095
    """

    memory: int = Field(2, ge=1, le=3)
    """Number of evaluations that a step combines: 1, 2 (called 2M) or 3 (called 3M)."""
    variant: Literal["midpoint", "taylor"] = "midpoint"
    """Factor of the first difference where a step combines two evaluations; taylor is called heun in some programs."""
    third: Literal["official", "corrected"] = "official"
    """Factor of the second difference in 3M: as in the paper's code (order 2), or as it must be (order 3)."""

    @property
    def order(self) -> int:
        """Order of convergence: as many as evaluations, but 2 for the official 3M."""
        return 2 if self.memory == 3 and self.third == "official" else self.memory

    @property
    def depth(self) -> int:
        """As many evaluations as are combined."""
        return self.memory

    def clock(self, process: ForwardProcess, rho: Tensor) -> Tensor:
        """Return lambda = -log(rho)."""
        return -rho.log()

    def evaluate(self, problem: Problem, y: Tensor, rho: float) -> Tensor:
        """Return the predicted data."""
        return problem.x0(y, rho)

    def weights(self, process: ForwardProcess, legs: Sequence[Leg]) -> list[tuple[float, ...]]:
        """Return (r, w_0, w_1, w_2) for each leg."""
        return [
            data_differences(leg, past, 0.0, self.variant, self.third)
            for leg, past in zip(legs, self.nodes(process, legs))
        ]


def data_differences(
    leg: Leg,
    past: tuple[float, ...],
    gamma: float,
    variant: Literal["midpoint", "taylor"],
    third: Literal["official", "corrected"],
) -> tuple[float, ...]:
    r"""Return (a, w_0, w_1, w_2) of y_s = a y_t + sum_j w_j D_j; gamma as part of the drift makes h (1 + gamma) of h.

    Args:
        leg: The leg.
        past: lambda of the evaluations, newest first.
        gamma: Stochasticity; 0 is the ODE.
        variant: Form of the step of two evaluations.
        third: Form of the step of three.
    """
    h = math.log(leg.rho_t / leg.rho_s)
    h_gamma = (1 + gamma) * h
    a, phi_1 = math.exp(-h_gamma), -math.expm1(-h_gamma)
    if len(past) == 1:
        return a, phi_1

    r_0 = (past[0] - past[1]) / h
    phi_2 = h_gamma * phi(2, -h_gamma)  # 1 - phi_1/h_gamma
    if len(past) == 2:
        w = (phi_1 / 2 if variant == "midpoint" else phi_2) / r_0
        return a, phi_1 + w, -w

    r_1 = (past[1] - past[2]) / h
    minus_phi_3 = h_gamma * phi(3, -h_gamma)  # 1/2 - phi_2/h_gamma
    c = 1 if third == "official" else 2
    # D' = D'_0 + r_0 D'' and D'' = (D'_0 - D'_1)/(r_0 + r_1), where D'_0 = (D_0 - D_1)/r_0 and D'_1 = (D_1 - D_2)/r_1
    w_second = (phi_2 * r_0 + c * minus_phi_3) / (r_0 + r_1)
    u, v = (phi_2 + w_second) / r_0, w_second / r_1
    return a, phi_1 + u, -u - v, v
