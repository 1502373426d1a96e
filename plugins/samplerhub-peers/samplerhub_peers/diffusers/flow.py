"""Schedulers of diffusers for flow matching, whose state is (1 - sigma) x_0 + sigma eps."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from samplerhub_peers.diffusers.scheduler import Straight, twice
from samplerhub_peers.noise import Noise


class FlowEuler(Straight):
    r"""Euler's method of a rectified flow, by diffusers' FlowMatchEulerDiscreteScheduler.

    References:
        Scaling Rectified Flow Transformers for High-Resolution Image Synthesis (Esser et al., 2024), arXiv:2403.03206
    """

    scheduler: ClassVar[str] = "FlowMatchEulerDiscreteScheduler"
    order: ClassVar[int] = 1

    def place(self, scheduler: Any, levels: Tensor, noise: Noise, like: Tensor) -> Tensor:
        """Give sigma = rho/(1 + rho)."""
        scheduler.sigmas = levels / (1 + levels)
        return levels[:-1]


class FlowHeun(Straight):
    r"""Heun's method of a rectified flow, by diffusers' FlowMatchHeunDiscreteScheduler.

    References:
        Scaling Rectified Flow Transformers for High-Resolution Image Synthesis (Esser et al., 2024), arXiv:2403.03206
    """

    scheduler: ClassVar[str] = "FlowMatchHeunDiscreteScheduler"
    order: ClassVar[int] = 2
    stages: ClassVar[int] = 2

    def place(self, scheduler: Any, levels: Tensor, noise: Noise, like: Tensor) -> Tensor:
        """Give sigma = rho/(1 + rho), two entries for each step."""
        scheduler.sigmas = twice(levels / (1 + levels))
        return twice(levels)
