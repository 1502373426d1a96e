"""Samplers of k-diffusion that remember their evaluations."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable
from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from samplerhub_peers.kdiffusion.function import Multistep


class Stochastic(Multistep, ABC):
    """A multistep method of the reverse SDE."""

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


class LMS(Multistep):
    r"""Adams-Bashforth in the noise level, by k-diffusion's sample_lms.

    References:
        Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022), arXiv:2206.00364
    """

    function: ClassVar[str] = "sample_lms"

    order: int = Field(4, ge=1, le=4)
    """Number of evaluations that the polynomial passes through."""

    def options(self, steps: int, draw: Callable[[], Tensor]) -> dict[str, Any]:
        """Return the order."""
        return {"order": self.order}


class DPMPP2M(Multistep):
    r"""DPM-Solver++(2M), by k-diffusion's sample_dpmpp_2m.

    References:
        DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models (Lu et al., 2022),
            arXiv:2211.01095
    """

    function: ClassVar[str] = "sample_dpmpp_2m"
    order: ClassVar[int] = 2


class DPMPP2MSDE(Stochastic):
    r"""SDE-DPM-Solver++(2M), by k-diffusion's sample_dpmpp_2m_sde.

    References:
        DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models (Lu et al., 2022),
            arXiv:2211.01095
    """

    function: ClassVar[str] = "sample_dpmpp_2m_sde"
    order: ClassVar[int] = 2

    solver_type: Literal["midpoint", "heun"] = "midpoint"
    """How the slope enters the step."""

    def options(self, steps: int, draw: Callable[[], Tensor]) -> dict[str, Any]:
        """Return the fields and the source of noise."""
        return {**super().options(steps, draw), "solver_type": self.solver_type}


class DPMPP3MSDE(Stochastic):
    r"""SDE-DPM-Solver++(3M), by k-diffusion's sample_dpmpp_3m_sde.

    References:
        DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models (Lu et al., 2022),
            arXiv:2211.01095
    """

    function: ClassVar[str] = "sample_dpmpp_3m_sde"
    order: ClassVar[int] = 3
