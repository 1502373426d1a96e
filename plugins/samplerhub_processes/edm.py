"""The process of EDM (Karras et al., 2022): time is the noise level."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from samplerhub_processes.timed import TimedProcess


class EDM(TimedProcess):
    r"""Variance exploding with the noise level as time: alpha = 1, sigma = t.

        dx = sqrt(2t) dW

    References:
        Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022), arXiv:2206.00364
    """

    t_min: float = Field(0.002, gt=0)
    """Smallest noise level, where sampling ends."""
    t_max: float = Field(80.0, gt=0)
    """Largest noise level, where sampling starts."""

    def alpha(self, t: Tensor) -> Tensor:
        """Return 1."""
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        """Return t."""
        return t
