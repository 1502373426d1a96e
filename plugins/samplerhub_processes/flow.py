"""The straight path of rectified flow and flow matching."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from samplerhub_processes.timed import TimedProcess


class Flow(TimedProcess):
    r"""Rectified flow, the straight path from data to noise: alpha = 1 - t, sigma = t.

        dx = -x/(1 - t) dt + sqrt(2t/(1 - t)) dW

    Its probability flow dx/dt = E[eps - x_0 | x_t] is the velocity that flow matching learns. At t = 1 no data are left
    and the noise level is infinite, at t = 0 there is no noise: the span keeps clear of both.

    References:
        Flow Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow (Liu et al., 2023),
            arXiv:2209.03003
        Flow Matching for Generative Modeling (Lipman et al., 2023), arXiv:2210.02747
    """

    t_min: float = Field(1e-3, gt=0)
    """Time at which sampling ends."""
    t_max: float = Field(0.999, gt=0, lt=1)
    """Time at which sampling starts; the noise level there is t/(1 - t)."""

    def alpha(self, t: Tensor) -> Tensor:
        """Return 1 - t."""
        return 1 - t

    def sigma(self, t: Tensor) -> Tensor:
        """Return t."""
        return t
