"""DDPM (Ho, Jain and Abbeel, 2020)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from samplerhub import ForwardProcess, Leg, Run
from samplerhub_samplers.reverse_sde import ReverseSDE


class DDPM(ReverseSDE):
    r"""Ancestral sampling: the mean of the state at s given the state at t and the predicted data, and noise.

        y_s = D + r^2 (y - D) + n z,    r = rho_s/rho_t,    y = x/alpha

    The variance n^2 is that of the posterior q(y_s | y_t, x_0), which is right for data at a single point, or the
    larger one of the forward step, which is right for normal data of variance 1 on a variance-preserving process:

        small:  n^2 = rho_s^2 (1 - r^2)        large:  n^2 = (alpha_t/alpha_s)^2 (rho_t^2 - rho_s^2)

    In x on the VP process these are beta_t (1 - abar_s)/(1 - abar_t) and beta_t. The paper's sampler is gamma = 1.
    Other gamma (`churn`, in drift and noise) replace r^2 by r^(1 + gamma) and 1 - r^2 by 1 - r^(2 gamma).

    References:
        Denoising Diffusion Probabilistic Models (Ho, Jain and Abbeel, 2020), arXiv:2006.11239, section 3.2
    """

    variance: Literal["small", "large"] = "small"
    """Variance of the noise: of the posterior given the data, or of the forward step."""

    order: ClassVar[int] = 1

    def weights(self, process: ForwardProcess, legs: Sequence[Leg]) -> list[tuple[float, ...]]:
        """Return (w, n) of y_s = y + w eps + n z, with D = y - rho_t eps."""
        return [self._numbers(leg) for leg in legs]

    def _numbers(self, leg: Leg) -> tuple[float, float]:
        gamma, log_r = self.gamma(leg.rho_t), math.log(leg.rho_s / leg.rho_t)
        n = leg.rho_s * math.sqrt(-math.expm1(2 * gamma * log_r))
        if self.variance == "large":
            n *= (leg.alpha_t / leg.alpha_s) * (leg.rho_t / leg.rho_s)
        return leg.rho_t * math.expm1((1 + gamma) * log_r), self.churn_noise * n

    def step(self, run: Run, y: Tensor, leg: Leg) -> Tensor:
        """One evaluation and one draw of noise."""
        w, n = leg.weights
        y_s = torch.add(y, run.problem.eps(y, leg.rho_t), alpha=w)
        return y_s.add_(run.noise(y), alpha=n) if n else y_s
