"""The times of the variance-preserving process with linear beta, for any process."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from samplerhub_grids.spaced import SpacedGrid


class VPGrid(SpacedGrid):
    r"""Uniform in the time of `vp`, the process with linear beta, whatever the process is.

        rho_i = sqrt(exp(B(u_i)) - 1),    B(u) = beta_d u^2/2 + beta_min u,    u_i = u_0 + i/N (u_N - u_0)

    u_0 and u_N belong to the largest and the smallest noise level. On `vp` itself it is `uniform`, the VP column of
    EDM's Table 1; with its time steps on another process, beta_d and beta_min stay what they are here, where EDM's code
    changes them to meet the other's noise levels.

    References:
        Score-Based Generative Modeling through Stochastic Differential Equations (Song et al., 2021), arXiv:2011.13456
        Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022), arXiv:2206.00364,
            Table 1
    """

    beta_d: float = Field(19.9, gt=0)
    """Slope of beta."""
    beta_min: float = Field(0.1, gt=0)
    """beta at time 0."""

    def variable(self, rho: Tensor) -> Tensor:
        """Return u, the root of B(u) = log(1 + rho^2), in the form that does not cancel near 0."""
        B = (rho**2).log1p()
        return 2 * B / ((self.beta_min**2 + 2 * self.beta_d * B).sqrt() + self.beta_min)

    def level(self, v: Tensor) -> Tensor:
        """Return sqrt(exp(B(v)) - 1)."""
        return ((self.beta_d / 2 * v + self.beta_min) * v).expm1().sqrt()
