"""The exponential Euler method for the reverse SDE, with exact noise (Zhang and Chen, 2023)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from samplerhub import ForwardProcess, Leg, Run
from samplerhub_samplers.reverse_sde import ReverseSDE


class ExponentialSDE(ReverseSDE):
    r"""Exponential Euler method for the reverse SDE: one prediction held over a step, the noise exact.

    With y = x/alpha, the SDE of stochasticity gamma is dy = (1 + gamma) eps drho + sqrt(gamma) dW(-rho^2). Held over
    the step is the predicted noise, or the predicted data D = y - rho eps, r = rho_s/rho_t:

        noise:  y_s = y + (1 + gamma) (rho_s - rho_t) eps + sqrt(gamma (rho_t^2 - rho_s^2)) z
        data:   y_s = D + r^(1 + gamma) (y - D) + rho_s sqrt(1 - r^(2 gamma)) z

    Weak order 1 both. The data form loses variance: it is exact for data at a single point, and DDPM (small variance)
    at gamma = 1. gamma is `churn`, in drift and noise; 0 is DDIM in both forms.

    References:
        Fast Sampling of Diffusion Models with Exponential Integrator (Zhang and Chen, 2023), arXiv:2204.13902
        Elucidating the Solution Space of Extended Reverse-Time SDE for Diffusion Models (Cui et al., 2023),
            arXiv:2309.06169
    """

    frozen: Literal["noise", "data"] = "noise"
    """What is held over a step: the predicted noise, or the predicted data."""

    order: ClassVar[int] = 1

    def weights(self, process: ForwardProcess, legs: Sequence[Leg]) -> list[tuple[float, ...]]:
        """Return (w, n) of y_s = y + w eps + n z."""
        return [self._numbers(leg.rho_t, leg.rho_s) for leg in legs]

    def _numbers(self, a: float, b: float) -> tuple[float, float]:
        gamma = self.gamma(a)
        if self.frozen == "noise":
            w, n = (1 + gamma) * (b - a), math.sqrt(gamma * (a**2 - b**2))
        else:
            log_r = math.log(b / a)
            w, n = a * math.expm1((1 + gamma) * log_r), b * math.sqrt(-math.expm1(2 * gamma * log_r))
        return w, self.churn_noise * n

    def step(self, run: Run, y: Tensor, leg: Leg) -> Tensor:
        """One evaluation and, where gamma is positive, one draw of noise."""
        w, n = leg.weights
        y_s = torch.add(y, run.problem.eps(y, leg.rho_t), alpha=w)
        return y_s.add_(run.noise(y), alpha=n) if n else y_s
