"""SDE-DPM-Solver++, multistep (Lu et al., 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor

from samplerhub import ForwardProcess, Leg
from samplerhub_samplers.dpm_solver_pp import data_differences
from samplerhub_samplers.sde_multistep import SDEMultistep


class DPMSolverPPSDE(SDEMultistep):
    r"""SDE-DPM-Solver++ in its multistep forms: first order, 2M and 3M.

        y_s = exp(-h_gamma) y_t + (1 - exp(-h_gamma)) D_0 + ... + rho_s sqrt(1 - r^(2 gamma)) z,    r = rho_s/rho_t

    h_gamma = (1 + gamma) h, h = -log(r), and the differences that follow D_0 are those of `dpm-solver-pp` with h_gamma
    in place of h. `churn` is gamma, `eta` elsewhere; with gamma = 0 this is `dpm-solver-pp`. With noise the weak order
    is 2 at most.

    References:
        DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models (Lu et al., 2022),
            arXiv:2211.01095
    """

    memory: int = Field(2, ge=1, le=3)
    """Number of evaluations that a step combines: 1, 2 (called 2M) or 3 (called 3M)."""
    variant: Literal["midpoint", "taylor"] = "midpoint"
    """Factor of the first difference where a step combines two evaluations; taylor is called heun in some programs."""
    third: Literal["official", "corrected"] = "official"
    """Factor of the second difference in 3M: as in the paper's code (order 2), or as it must be."""

    @property
    def order(self) -> int:
        """As many as evaluations, but 2 for the official 3M, and weak and at most 2 with noise."""
        return min(self.memory, 2) if self.churn or self.third == "official" else self.memory

    @property
    def depth(self) -> int:
        """As many evaluations as are combined."""
        return self.memory

    def clock(self, process: ForwardProcess, rho: Tensor) -> Tensor:
        """Return lambda = -log(rho)."""
        return -rho.log()

    def drift_weights(self, process: ForwardProcess, legs: Sequence[Leg]) -> list[tuple[float, ...]]:
        """Return (a, w_0, w_1, w_2) for each leg."""
        return [
            data_differences(leg, past, self.gamma(leg.rho_t), self.variant, self.third)
            for leg, past in zip(legs, self.nodes(process, legs))
        ]
