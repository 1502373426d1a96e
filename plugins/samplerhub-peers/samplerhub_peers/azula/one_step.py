"""Samplers of azula that remember nothing from step to step."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from samplerhub import ForwardProcess
from samplerhub_peers.azula.sampler import OneStep


class DDPM(OneStep):
    r"""Ancestral sampling, by azula's DDPMSampler.

    References:
        Denoising Diffusion Probabilistic Models (Ho, Jain and Abbeel, 2020), arXiv:2006.11239
    """

    sampler: ClassVar[str] = "DDPMSampler"
    order: ClassVar[int] = 1
    draws: ClassVar[bool] = True


class DDIM(OneStep):
    r"""DDIM, by azula's DDIMSampler.

    References:
        Denoising Diffusion Implicit Models (Song, Meng and Ermon, 2021), arXiv:2010.02502
    """

    sampler: ClassVar[str] = "DDIMSampler"
    order: ClassVar[int] = 1

    eta: float = Field(0.0, ge=0)
    """Stochasticity: 0 is deterministic, 1 ancestral; between them it is the square of the paper's eta."""

    @property
    def draws(self) -> bool:
        """Whether noise is drawn."""
        return self.eta > 0


class Euler(OneStep):
    r"""Euler's method in the noise level, by azula's EulerSampler.

    References:
        Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022), arXiv:2206.00364
    """

    sampler: ClassVar[str] = "EulerSampler"
    order: ClassVar[int] = 1


class Heun(OneStep):
    r"""Heun's method in the noise level, by azula's HeunSampler.

    References:
        Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022), arXiv:2206.00364
    """

    sampler: ClassVar[str] = "HeunSampler"
    order: ClassVar[int] = 2
    stages: ClassVar[int] = 2


class Ito(OneStep):
    r"""Exponential Euler of the reverse SDE, by azula's ItoSampler.

    References:
        Score-Based Generative Modeling through Stochastic Differential Equations (Song et al., 2021), arXiv:2011.13456
    """

    sampler: ClassVar[str] = "ItoSampler"
    order: ClassVar[int] = 1

    eta: float = Field(1.0, ge=0)
    """Stochasticity: 0 is the probability flow, 1 the reverse SDE."""
    temperature: float = Field(1.0, gt=0)
    """Divides the score; anything but 1 samples another law."""

    @property
    def draws(self) -> bool:
        """Whether noise is drawn."""
        return self.eta > 0


class PC(OneStep):
    r"""A DDIM step after Langevin corrections, by azula's PCSampler.

    The corrections are of fixed size, so that their bias does not shrink with the steps.

    References:
        Score-Based Generative Modeling through Stochastic Differential Equations (Song et al., 2021), arXiv:2011.13456
    """

    sampler: ClassVar[str] = "PCSampler"
    order: ClassVar[int] = 1

    corrections: int = Field(1, ge=0)
    """Corrections before each step."""
    delta: float = Field(0.01, ge=0, le=1)
    """Share of the noise that a correction replaces."""

    @property
    def draws(self) -> bool:
        """Whether noise is drawn."""
        return self.corrections > 0 and self.delta > 0

    def evaluations(self, process: ForwardProcess, times: Tensor) -> int:
        """One for each step and each correction."""
        return (1 + self.corrections) * (len(times) - 1)
