"""Schedulers of diffusers after k-diffusion and EDM, whose state is x_0 + rho eps."""

from __future__ import annotations

import math
from abc import ABC
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from samplerhub_peers.diffusers.scheduler import Exploding, Preconditioned, Scheduler, between, twice
from samplerhub_peers.noise import Increments, Noise


class Churned(Scheduler, ABC):
    """A deterministic method, with the noise of EDM's Algorithm 2, which is added after the model has been asked."""

    s_churn: float = Field(0.0, ge=0)
    """EDM's S_churn: noise added in all, divided among the steps."""
    s_tmin: float = Field(0.0, ge=0)
    """Noise level below which none is added."""
    s_tmax: float | None = Field(None, ge=0)
    """Noise level above which none is added; none: no such level."""
    s_noise: float = Field(1.0, ge=0)
    """Factor on the noise."""

    @property
    def draws(self) -> bool:
        """Whether noise is drawn."""
        return self.s_churn > 0

    def arguments(self) -> dict[str, Any]:
        """Return the four fields."""
        return {**self.model_dump(), "s_tmax": math.inf if self.s_tmax is None else self.s_tmax}


class Euler(Churned, Exploding):
    r"""Euler's method of EDM, by diffusers' EulerDiscreteScheduler.

    References:
        Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022), arXiv:2206.00364
    """

    scheduler: ClassVar[str] = "EulerDiscreteScheduler"
    order: ClassVar[int] = 1


class EDMEuler(Churned, Preconditioned):
    r"""Euler's method with EDM's preconditioning, by diffusers' EDMEulerScheduler.

    References:
        Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022), arXiv:2206.00364
    """

    scheduler: ClassVar[str] = "EDMEulerScheduler"
    order: ClassVar[int] = 1


class EulerAncestral(Exploding):
    r"""Ancestral sampling by Euler steps, by diffusers' EulerAncestralDiscreteScheduler.

    References:
        Denoising Diffusion Implicit Models (Song, Meng and Ermon, 2021), arXiv:2010.02502
    """

    scheduler: ClassVar[str] = "EulerAncestralDiscreteScheduler"
    order: ClassVar[int] = 1
    draws: ClassVar[bool] = True


class Heun(Exploding):
    r"""Heun's method of EDM, by diffusers' HeunDiscreteScheduler.

    References:
        Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022), arXiv:2206.00364
    """

    scheduler: ClassVar[str] = "HeunDiscreteScheduler"
    order: ClassVar[int] = 2
    stages: ClassVar[int] = 2

    def place(self, scheduler: Any, levels: Tensor, noise: Noise, like: Tensor) -> Tensor:
        """Give each step two entries: the model is asked at its start and at its end."""
        scheduler.sigmas = twice(levels)
        return twice(levels)


class KDPM2(Exploding):
    r"""A midpoint method after DPM-Solver-2 and EDM, by diffusers' KDPM2DiscreteScheduler.

    References:
        DPM-Solver: A Fast ODE Solver for Diffusion Probabilistic Model Sampling in Around 10 Steps (Lu et al., 2022),
            arXiv:2206.00927
    """

    scheduler: ClassVar[str] = "KDPM2DiscreteScheduler"
    order: ClassVar[int] = 2
    stages: ClassVar[int] = 2

    def place(self, scheduler: Any, levels: Tensor, noise: Noise, like: Tensor) -> Tensor:
        """Give the nodes, and the geometric mean of each with the one before it."""
        inner = levels.log().lerp(levels.roll(1).log(), 0.5).exp()
        scheduler.sigmas, scheduler.sigmas_interpol = stretched(levels), stretched(inner)
        return between(levels, inner[1:])


class KDPM2Ancestral(Exploding):
    r"""Ancestral sampling by steps of second order, by diffusers' KDPM2AncestralDiscreteScheduler.

    References:
        DPM-Solver: A Fast ODE Solver for Diffusion Probabilistic Model Sampling in Around 10 Steps (Lu et al., 2022),
            arXiv:2206.00927
    """

    scheduler: ClassVar[str] = "KDPM2AncestralDiscreteScheduler"
    order: ClassVar[int] = 2
    stages: ClassVar[int] = 2
    draws: ClassVar[bool] = True

    def place(self, scheduler: Any, levels: Tensor, noise: Noise, like: Tensor) -> Tensor:
        """Give the nodes, how far down and up again each step goes, and its geometric mean."""
        after = levels.roll(-1)
        after[-1] = 0
        up = after * (1 - (after / levels) ** 2).sqrt()
        down = (after**2 - up**2).sqrt()
        inner = levels.log().lerp(down.log(), 0.5).exp()
        scheduler.sigmas, scheduler.sigmas_interpol = stretched(levels), stretched(inner)
        scheduler.sigmas_up, scheduler.sigmas_down = stretched(up), stretched(down)
        return between(levels, inner[:-1])


class DPMSDE(Exploding):
    r"""Stochastic DPM-Solver++ with an evaluation inside each step, by diffusers' DPMSolverSDEScheduler.

    The noise of the two stages is of one Brownian motion, in the noise level, as diffusers has it.

    References:
        DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models (Lu et al., 2022),
            arXiv:2211.01095
    """

    scheduler: ClassVar[str] = "DPMSolverSDEScheduler"
    order: ClassVar[int] = 2
    stages: ClassVar[int] = 2
    draws: ClassVar[bool] = True

    s_noise: float = Field(1.0, ge=0)
    """Factor on the noise."""

    def arguments(self) -> dict[str, Any]:
        """Return the field."""
        return {"s_noise": self.s_noise}

    def place(self, scheduler: Any, levels: Tensor, noise: Noise, like: Tensor) -> Tensor:
        """Give each step two entries, and the noise of both."""
        scheduler.sigmas, scheduler.noise_sampler = twice(levels), Increments(lambda: noise.like(like))
        return between(levels, (levels[:-1] * levels[1:]).sqrt())


class LMS(Exploding):
    r"""Adams-Bashforth in the noise level, by diffusers' LMSDiscreteScheduler.

    References:
        Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022), arXiv:2206.00364
    """

    scheduler: ClassVar[str] = "LMSDiscreteScheduler"

    order: int = Field(4, ge=1, le=4)
    """Number of evaluations that the polynomial passes through."""

    def arguments(self) -> dict[str, Any]:
        """Return the order."""
        return {"order": self.order}


class EDMDPM(Preconditioned):
    r"""DPM-Solver++ with EDM's preconditioning, by diffusers' EDMDPMSolverMultistepScheduler.

    References:
        DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models (Lu et al., 2022),
            arXiv:2211.01095
    """

    scheduler: ClassVar[str] = "EDMDPMSolverMultistepScheduler"

    solver_order: int = Field(2, ge=1, le=3)
    """Order of the method."""
    algorithm_type: Literal["dpmsolver++", "sde-dpmsolver++"] = "dpmsolver++"
    """Method: of the probability flow, or of the reverse SDE."""
    solver_type: Literal["midpoint", "heun"] = "midpoint"
    """How the slope enters a step of order 2."""
    lower_order_final: bool = True
    """Whether the last steps are of lower order in runs of less than 15."""

    @model_validator(mode="after")
    def _has_a_method(self) -> Self:
        if self.draws and self.solver_order == 3:
            raise ValueError("solver_order 3 is not there for sde-dpmsolver++: take 1 or 2, or diffusers-dpm")
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


def stretched(a: Tensor) -> Tensor:
    """Return a_0, a_1, a_1, a_2, a_2, ..., a_N, a_N, a_N, as these schedulers keep their tables."""
    return torch.cat([a[:1], a[1:].repeat_interleave(2), a[-1:]])
