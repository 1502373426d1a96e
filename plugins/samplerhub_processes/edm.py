"""The process of EDM (Karras et al., 2022): time is the noise level."""

from __future__ import annotations

import torch
from pydantic import Field, model_validator
from torch import Tensor

from samplerhub import Component


class EDM(Component):
    r"""Variance exploding with the noise level as time: alpha = 1, sigma = t.

        dx = sqrt(2t) dW

    References:
        Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022), arXiv:2206.00364
    """

    t_min: float = Field(0.002, gt=0)
    """Smallest noise level, where sampling ends."""
    t_max: float = Field(80.0, gt=0)
    """Largest noise level, where sampling starts."""

    @model_validator(mode="after")
    def _span_is_ordered(self) -> EDM:
        if self.t_min >= self.t_max:
            raise ValueError(f"t_min {self.t_min:g} must be below t_max {self.t_max:g}")
        return self

    @property
    def span(self) -> tuple[float, float]:
        """(t_min, t_max)."""
        return self.t_min, self.t_max

    def alpha(self, t: Tensor) -> Tensor:
        """Return 1."""
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        """Return t."""
        return t
