"""The Ornstein-Uhlenbeck process, as the theory of diffusion models takes it."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from samplerhub_processes.timed import TimedProcess


class OU(TimedProcess):
    r"""Ornstein-Uhlenbeck: alpha = exp(-t), sigma = sqrt(1 - exp(-2t)).

        dx = -x dt + sqrt(2) dW

    It is `vp` with beta = 2 throughout. The law of x_t comes within exp(-2t) of a standard normal in KL; at the default
    t_max the noise level is 148, at t_min 0.014.

    References:
        Sampling is as Easy as Learning the Score: Theory for Diffusion Models with Minimal Data Assumptions (Chen
            et al., 2023), arXiv:2209.11215
    """

    t_min: float = Field(1e-4, gt=0)
    """Time at which sampling ends: the early stopping time delta of the theory."""
    t_max: float = Field(5.0, gt=0, le=300)
    """Time at which sampling starts: the horizon T of the theory."""

    def alpha(self, t: Tensor) -> Tensor:
        """Return exp(-t)."""
        return torch.exp(-t)

    def sigma(self, t: Tensor) -> Tensor:
        """Return sqrt(1 - exp(-2t)), without cancellation near 0."""
        return torch.sqrt(-torch.expm1(-2 * t))
