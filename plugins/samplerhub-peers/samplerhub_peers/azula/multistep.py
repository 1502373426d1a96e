"""Samplers of azula that remember their evaluations."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from samplerhub_peers.azula.sampler import Multistep


class ZAB(Multistep):
    r"""Adams-Bashforth of the noise in the noise level, by azula's zABSampler.

    References:
        Fast Sampling of Diffusion Models with Exponential Integrator (Zhang and Chen, 2023), arXiv:2204.13902
    """

    sampler: ClassVar[str] = "zABSampler"

    order: int = Field(2, ge=1, le=4)
    """Number of evaluations that the polynomial passes through."""


class VAB(Multistep):
    r"""Adams-Bashforth of the velocity of a straight path, by azula's vABSampler.

    References:
        Flow Matching for Generative Modeling (Lipman et al., 2023), arXiv:2210.02747
    """

    sampler: ClassVar[str] = "vABSampler"

    order: int = Field(2, ge=1, le=4)
    """Number of evaluations that the polynomial passes through."""


class ZEAB(Multistep):
    r"""Exponential Adams-Bashforth of the noise in log-SNR, by azula's zEABSampler.

    References:
        DPM-Solver: A Fast ODE Solver for Diffusion Probabilistic Model Sampling in Around 10 Steps (Lu et al., 2022),
            arXiv:2206.00927
    """

    sampler: ClassVar[str] = "zEABSampler"

    order: int = Field(2, ge=1, le=4)
    """Number of evaluations that the polynomial passes through."""


class XEAB(Multistep):
    r"""Exponential Adams-Bashforth of the data in log-SNR, by azula's xEABSampler.

    References:
        DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models (Lu et al., 2022),
            arXiv:2211.01095
    """

    sampler: ClassVar[str] = "xEABSampler"

    order: int = Field(2, ge=1, le=4)
    """Number of evaluations that the polynomial passes through."""


class REAB(Multistep):
    r"""Rosenbrock-type exponential Adams-Bashforth, by azula's REABSampler.

    References:
        DPM-Solver-v3: Improved Diffusion ODE Solver with Empirical Model Statistics (Zheng et al., 2023),
            arXiv:2310.13268
    """

    sampler: ClassVar[str] = "REABSampler"

    order: int = Field(2, ge=1, le=4)
    """Number of evaluations that the polynomial passes through."""
