"""Single-step DPM-Solver++ (Lu et al., 2022)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from pydantic import Field
from torch import Tensor

from samplerhub import ForwardProcess, GridSampler, Leg, Run
from samplerhub_samplers.single_step import shares, stages, through


class DPMSolverPPSingle(GridSampler):
    r"""Single-step exponential Runge-Kutta method for predicted data: DPM-Solver++ 2S and 3S.

    In lambda = -log rho, h = lambda_s - lambda_t and rho_k = rho_t e^(-r_k h), with y = x/alpha,

        2S:  u = rho_1/rho_t y - (e^(-r_1 h) - 1) D(y)
             y_s = rho_s/rho_t y - (e^(-h) - 1) [(1 - 1/(2 r_1)) D(y) + 1/(2 r_1) D(u)]
        3S:  u_1 = u
             u_2 = rho_2/rho_t y - (e^(-r_2 h) - 1) D(y) + r_2/r_1 ((e^(-r_2 h) - 1)/(r_2 h) + 1) (D(u_1) - D(y))
             y_s = rho_s/rho_t y - (e^(-h) - 1) D(y) + 1/r_2 ((e^(-h) - 1)/h + 1) (D(u_2) - D(y)),    r_2 = 2/3.

    References:
        DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models (Lu et al., 2022),
            arXiv:2211.01095
    """

    order: int = Field(2, ge=2, le=3)
    """Order, and evaluations a step."""
    r_1: float | None = Field(None, gt=0, le=1)
    """Where the first stage lies, as a share of the step in log rho; none: 1/2 at order 2 and 1/3 at order 3."""

    def evaluations(self, process: ForwardProcess, times: Tensor) -> int:
        """As many a step as the order."""
        return self.order * (len(times) - 1) + (self.last == "denoise")

    def weights(self, process: ForwardProcess, legs: Sequence[Leg]) -> list[tuple[float, ...]]:
        """Return the numbers of all stages in a row."""
        r = shares(self.order, self.r_1)
        return [tuple(itertools.chain(*stages(leg.rho_t, leg.rho_s, r, "data"))) for leg in legs]

    def step(self, run: Run, y: Tensor, leg: Leg) -> Tensor:
        """As many evaluations as the order."""
        return through(run.problem.x0, y, leg.rho_t, leg.weights)
