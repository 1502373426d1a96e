"""DDIM (Song, Meng and Ermon, 2021)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from samplerhub import GridSampler, Leg, Run


class DDIM(GridSampler):
    r"""Euler's method in the noise level, which is the exponential Euler method for predicted noise.

        y_s = y_t + (rho_s - rho_t) eps(y_t, rho_t),    y = x/alpha

    In x: x_s = alpha_s/alpha_t x_t + (sigma_s - alpha_s sigma_t/alpha_t) eps.

    References:
        Denoising Diffusion Implicit Models (Song, Meng and Ermon, 2021), arXiv:2010.02502
    """

    order: ClassVar[int] = 1

    def step(self, run: Run, y: Tensor, leg: Leg) -> Tensor:
        """One evaluation, one line."""
        return torch.add(y, run.problem.eps(y, leg.rho_t), alpha=leg.rho_s - leg.rho_t)
