"""The variance-exploding process with constant diffusion (Song et al., 2021, in Karras's parametrisation)."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from samplerhub_processes.timed import TimedProcess


class VE(TimedProcess):
    r"""Variance exploding with constant diffusion: alpha = 1, sigma = sqrt(t).

        dx = dW

    References:
        Score-Based Generative Modeling through Stochastic Differential Equations (Song et al., 2021), arXiv:2011.13456
        Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022), arXiv:2206.00364,
            Table 1
    """

    t_min: float = Field(4e-4, gt=0)
    """Time at which sampling ends; the noise level there is its square root."""
    t_max: float = Field(1e4, gt=0)
    """Time at which sampling starts; the noise level there is its square root."""

    def alpha(self, t: Tensor) -> Tensor:
        """Return 1."""
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        """Return sqrt(t)."""
        return t.sqrt()
