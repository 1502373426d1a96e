"""The sub-variance-preserving process (Song et al., 2021)."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from samplerhub_processes.timed import TimedProcess


class SubVP(TimedProcess):
    r"""Sub-variance preserving with linear beta(t) = beta_min + beta_d t: the noise of `vp`, squared.

        dx = -beta(t)/2 x dt + sqrt(beta(t) (1 - exp(-2B))) dW,    B(t) = beta_d t^2/2 + beta_min t
        alpha = exp(-B/2),    sigma = 1 - exp(-B),    rho = 2 sinh(B/2)

    Its noise level starts like B, not like sqrt(B): at t = 1e-3 it is 1.1e-4, a hundredth of that of `vp`.

    References:
        Score-Based Generative Modeling through Stochastic Differential Equations (Song et al., 2021), arXiv:2011.13456,
            eq. 12 and appendix C
    """

    beta_d: float = Field(19.9, gt=0)
    """Slope of beta."""
    beta_min: float = Field(0.1, gt=0)
    """beta at time 0."""
    t_min: float = Field(1e-3, gt=0)
    """Time at which sampling ends."""
    t_max: float = Field(1.0, gt=0)
    """Time at which sampling starts."""

    def alpha(self, t: Tensor) -> Tensor:
        """Return exp(-B/2)."""
        return torch.exp(-self._B(t) / 2)

    def sigma(self, t: Tensor) -> Tensor:
        """Return 1 - exp(-B), without cancellation near 0."""
        return -torch.expm1(-self._B(t))

    def _B(self, t: Tensor) -> Tensor:
        return (self.beta_d / 2 * t + self.beta_min) * t
