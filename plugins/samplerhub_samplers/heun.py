"""Heun's method as EDM uses it (Karras et al., 2022)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from samplerhub import GridSampler, Leg, Run


class Heun(GridSampler):
    r"""Heun's second-order method in the noise level: an Euler step, then the mean of the slopes at both ends.

        d = eps(y_t, rho_t),    y' = y_t + (rho_s - rho_t) d,    d' = eps(y', rho_s)
        y_s = y_t + (rho_s - rho_t) (d + d')/2

    References:
        Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022), arXiv:2206.00364
    """

    order: ClassVar[int] = 2
    stages: ClassVar[int] = 2

    def step(self, run: Run, y: Tensor, leg: Leg) -> Tensor:
        """Two evaluations."""
        h = leg.rho_s - leg.rho_t
        d = run.problem.eps(y, leg.rho_t)
        d_s = run.problem.eps(y.add(d, alpha=h), leg.rho_s)
        return y.add(d, alpha=h / 2).add_(d_s, alpha=h / 2)
