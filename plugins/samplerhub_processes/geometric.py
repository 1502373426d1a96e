"""The variance-exploding process with a geometric noise level (Song et al., 2021)."""

from __future__ import annotations

import math

import torch
from pydantic import Field, model_validator
from torch import Tensor

from samplerhub_processes.timed import TimedProcess


class VEGeometric(TimedProcess):
    r"""Variance exploding with a geometric noise level: alpha = 1, sigma = sigma_min (sigma_max/sigma_min)^t.

        dx = sigma sqrt(2 log(sigma_max/sigma_min)) dW

    References:
        Score-Based Generative Modeling through Stochastic Differential Equations (Song et al., 2021), arXiv:2011.13456,
            appendix C
    """

    sigma_min: float = Field(0.01, gt=0)
    """Noise level at time 0."""
    sigma_max: float = Field(50.0, gt=0)
    """Noise level at time 1."""
    t_min: float = Field(1e-5, ge=0)
    """Time at which sampling ends."""
    t_max: float = Field(1.0, gt=0)
    """Time at which sampling starts."""

    @model_validator(mode="after")
    def _levels_are_ordered(self) -> VEGeometric:
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min {self.sigma_min:g} must be below sigma_max {self.sigma_max:g}")
        return self

    def alpha(self, t: Tensor) -> Tensor:
        """Return 1."""
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        """Return sigma_min (sigma_max/sigma_min)^t."""
        return self.sigma_min * torch.exp(t * math.log(self.sigma_max / self.sigma_min))
