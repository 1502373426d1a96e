"""Samplers of k-diffusion that remember nothing from step to step."""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Callable
from typing import Any, ClassVar

from pydantic import Field
from torch import Tensor

from samplerhub_peers.kdiffusion.function import OneStep
from samplerhub_peers.noise import Increments


class Churned(OneStep, ABC):
    """Deterministic steps, with the noise of EDM's Algorithm 2 before each."""

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

    def options(self, steps: int, draw: Callable[[], Tensor]) -> dict[str, Any]:
        """Return the four fields; the function divides s_churn by the number of steps that it sees, which is one."""
        return {
            "s_churn": self.s_churn / steps,
            "s_tmin": self.s_tmin,
            "s_tmax": math.inf if self.s_tmax is None else self.s_tmax,
            "s_noise": self.s_noise,
        }


class Ancestral(OneStep, ABC):
    """Deterministic steps to a lower noise level than the next, and noise back up to it."""

    eta: float = Field(1.0, ge=0)
    """Stochasticity; 0 is the deterministic method."""
    s_noise: float = Field(1.0, ge=0)
    """Factor on the noise."""

    @property
    def draws(self) -> bool:
        """Whether noise is drawn."""
        return self.eta > 0

    def options(self, steps: int, draw: Callable[[], Tensor]) -> dict[str, Any]:
        """Return the two fields and the source of noise."""
        return {"eta": self.eta, "s_noise": self.s_noise, "noise_sampler": lambda a, b: draw()}


class Euler(Churned):
    r"""Euler's method of EDM, by k-diffusion's sample_euler.

    References:
        Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022), arXiv:2206.00364
    """

    function: ClassVar[str] = "sample_euler"
    order: ClassVar[int] = 1


class Heun(Churned):
    r"""Heun's method of EDM, by k-diffusion's sample_heun.

    References:
        Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022), arXiv:2206.00364
    """

    function: ClassVar[str] = "sample_heun"
    order: ClassVar[int] = 2
    stages: ClassVar[int] = 2


class DPM2(Churned):
    r"""A midpoint method after DPM-Solver-2 and EDM, by k-diffusion's sample_dpm_2.

    References:
        DPM-Solver: A Fast ODE Solver for Diffusion Probabilistic Model Sampling in Around 10 Steps (Lu et al., 2022),
            arXiv:2206.00927
    """

    function: ClassVar[str] = "sample_dpm_2"
    order: ClassVar[int] = 2
    stages: ClassVar[int] = 2


class EulerAncestral(Ancestral):
    r"""Ancestral sampling by Euler steps, by k-diffusion's sample_euler_ancestral.

    References:
        Denoising Diffusion Implicit Models (Song, Meng and Ermon, 2021), arXiv:2010.02502
    """

    function: ClassVar[str] = "sample_euler_ancestral"
    order: ClassVar[int] = 1


class DPM2Ancestral(Ancestral):
    r"""Ancestral sampling by steps of second order, by k-diffusion's sample_dpm_2_ancestral.

    References:
        DPM-Solver: A Fast ODE Solver for Diffusion Probabilistic Model Sampling in Around 10 Steps (Lu et al., 2022),
            arXiv:2206.00927
    """

    function: ClassVar[str] = "sample_dpm_2_ancestral"
    order: ClassVar[int] = 2
    stages: ClassVar[int] = 2


class DPMPP2SAncestral(Ancestral):
    r"""Ancestral sampling by DPM-Solver++(2S), by k-diffusion's sample_dpmpp_2s_ancestral.

    References:
        DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models (Lu et al., 2022),
            arXiv:2211.01095
    """

    function: ClassVar[str] = "sample_dpmpp_2s_ancestral"
    order: ClassVar[int] = 2
    stages: ClassVar[int] = 2


class DPMPPSDE(Ancestral):
    r"""Stochastic DPM-Solver++ with an evaluation inside each step, by k-diffusion's sample_dpmpp_sde.

    The noise of the two stages is of one Brownian motion, in the noise level, as k-diffusion has it.

    References:
        DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models (Lu et al., 2022),
            arXiv:2211.01095
    """

    function: ClassVar[str] = "sample_dpmpp_sde"
    order: ClassVar[int] = 2
    stages: ClassVar[int] = 2

    r: float = Field(0.5, gt=0, le=1)
    """Where in a step the second evaluation is, as a share of it in log-SNR."""

    def options(self, steps: int, draw: Callable[[], Tensor]) -> dict[str, Any]:
        """Return the fields and the source of noise."""
        return {**super().options(steps, draw), "r": self.r, "noise_sampler": Increments(draw)}
