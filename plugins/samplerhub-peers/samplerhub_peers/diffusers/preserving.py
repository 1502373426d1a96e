"""Schedulers of diffusers whose state is (x_0 + rho eps)/sqrt(1 + rho^2)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from torch import Tensor

from samplerhub import Problem
from samplerhub_peers.diffusers.scheduler import Preserving
from samplerhub_peers.noise import Noise


class DPM(Preserving):
    r"""DPM-Solver and DPM-Solver++, multistep, by diffusers' DPMSolverMultistepScheduler.

    References:
        DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models (Lu et al., 2022),
            arXiv:2211.01095
    """

    scheduler: ClassVar[str] = "DPMSolverMultistepScheduler"

    solver_order: int = Field(2, ge=1, le=3)
    """Order of the method."""
    algorithm_type: Literal["dpmsolver++", "dpmsolver", "sde-dpmsolver++", "sde-dpmsolver"] = "dpmsolver++"
    """Method: in data (++) or noise, of the probability flow or of the reverse SDE."""
    solver_type: Literal["midpoint", "heun"] = "midpoint"
    """How the slope enters a step of order 2."""
    lower_order_final: bool = True
    """Whether the last steps are of lower order in runs of less than 15."""
    euler_at_final: bool = False
    """Whether the last step is of order 1."""

    @model_validator(mode="after")
    def _has_a_method(self) -> Self:
        if self.algorithm_type == "sde-dpmsolver" and self.solver_order == 3:
            raise ValueError("solver_order 3 is not there for sde-dpmsolver: take 1 or 2, or another algorithm_type")
        return self

    @property
    def order(self) -> int:
        """Order of the method."""
        return self.solver_order

    @property
    def draws(self) -> bool:
        """Whether noise is drawn."""
        return self.algorithm_type.startswith("sde")

    def settings(self) -> dict[str, Any]:
        """Return the fields."""
        return self.model_dump()


class DPMSingle(Preserving):
    r"""DPM-Solver and DPM-Solver++, single step, by diffusers' DPMSolverSinglestepScheduler.

    A step of order k is k steps of the grid, of orders 1 to k; it is the last that has order k.

    References:
        DPM-Solver: A Fast ODE Solver for Diffusion Probabilistic Model Sampling in Around 10 Steps (Lu et al., 2022),
            arXiv:2206.00927
    """

    scheduler: ClassVar[str] = "DPMSolverSinglestepScheduler"

    solver_order: int = Field(2, ge=1, le=3)
    """Order of the method."""
    algorithm_type: Literal["dpmsolver++", "dpmsolver", "sde-dpmsolver++"] = "dpmsolver++"
    """Method: in data (++) or noise, of the probability flow or of the reverse SDE."""
    solver_type: Literal["midpoint", "heun"] = "midpoint"
    """How the slope enters a step of order 2."""
    lower_order_final: bool = False
    """Whether the last steps are of lower order; they are anyway if their number is no multiple of solver_order."""

    @property
    def order(self) -> int:
        """Order of the method."""
        return self.solver_order

    @property
    def draws(self) -> bool:
        """Whether noise is drawn."""
        return self.algorithm_type.startswith("sde")

    def settings(self) -> dict[str, Any]:
        """Return the fields."""
        return self.model_dump()


class DEIS(Preserving):
    r"""DEIS in log-SNR, by diffusers' DEISMultistepScheduler.

    References:
        Fast Sampling of Diffusion Models with Exponential Integrator (Zhang and Chen, 2023), arXiv:2204.13902
    """

    scheduler: ClassVar[str] = "DEISMultistepScheduler"

    solver_order: int = Field(2, ge=1, le=3)
    """Order of the method."""
    lower_order_final: bool = True
    """Whether the last steps are of lower order in runs of less than 15."""

    @property
    def order(self) -> int:
        """Order of the method."""
        return self.solver_order

    def settings(self) -> dict[str, Any]:
        """Return the fields."""
        return self.model_dump()


class UniPC(Preserving):
    r"""UniPC, by diffusers' UniPCMultistepScheduler.

    Its documentation gives solver_order + 1 as the order with the corrector, and that is declared here.

    References:
        UniPC: A Unified Predictor-Corrector Framework for Fast Sampling of Diffusion Models (Zhao et al., 2023),
            arXiv:2302.04867
    """

    scheduler: ClassVar[str] = "UniPCMultistepScheduler"

    solver_order: int = Field(2, ge=1, le=3)
    """Order of the predictor."""
    solver_type: Literal["bh1", "bh2"] = "bh2"
    """Which function of the step is B(h)."""
    predict_x0: bool = True
    """Whether the method is written in the data instead of in the noise."""
    lower_order_final: bool = True
    """Whether the last steps are of lower order, the very last of order 1."""

    @property
    def order(self) -> int:
        """Order of the method, with its corrector."""
        return self.solver_order + 1

    def settings(self) -> dict[str, Any]:
        """Return the fields."""
        return self.model_dump()


class SA(Preserving):
    r"""SA-Solver, a stochastic Adams method, by diffusers' SASolverScheduler.

    References:
        SA-Solver: Stochastic Adams Solver for Fast Sampling of Diffusion Models (Xue et al., 2023), arXiv:2309.05019
    """

    scheduler: ClassVar[str] = "SASolverScheduler"

    predictor_order: int = Field(2, ge=1, le=3)
    """Number of evaluations that the predictor's polynomial passes through."""
    corrector_order: int = Field(2, ge=1, le=3)
    """Number of evaluations that the corrector's polynomial passes through."""
    tau: float = Field(1.0, ge=0)
    """Stochasticity at every noise level: 0 is the probability flow, 1 the reverse SDE."""
    algorithm_type: Literal["data_prediction", "noise_prediction"] = "data_prediction"
    """Whether the method is written in the data or in the noise."""
    lower_order_final: bool = True
    """Whether the last steps are of lower order."""

    @property
    def order(self) -> int:
        """Order of the predictor."""
        return self.predictor_order

    @property
    def draws(self) -> bool:
        """Whether noise is drawn."""
        return self.tau > 0

    def settings(self) -> dict[str, Any]:
        """Return the fields, with tau as a function of time."""
        return {**self.model_dump(exclude={"tau"}), "tau_func": lambda t: self.tau}


class IPNDM(Preserving):
    r"""Improved pseudo linear multistep, by diffusers' IPNDMScheduler.

    Adams-Bashforth with the weights of equal steps, whatever the steps are.

    References:
        Pseudo Numerical Methods for Diffusion Models on Manifolds (Liu et al., 2022), arXiv:2202.09778
    """

    scheduler: ClassVar[str] = "IPNDMScheduler"
    order: ClassVar[int] = 4

    def place(self, scheduler: Any, levels: Tensor, noise: Noise, like: Tensor) -> Tensor:
        """Give cosine and sine of the angle whose tangent is the noise level."""
        angle = levels.atan()
        scheduler.alphas, scheduler.betas = angle.cos(), angle.sin()
        return levels[:-1]

    def output(self, problem: Problem, y: Tensor, rho: float) -> Tensor:
        """Return v = cos eps - sin x_0."""
        eps = problem.eps(y, rho)
        return ((1 + rho**2) * eps - rho * y) * self.scale(rho)
