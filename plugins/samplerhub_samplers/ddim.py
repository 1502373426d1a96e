"""DDIM (Song, Meng and Ermon, 2021)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor

from samplerhub import ForwardProcess, GridSampler, Leg, Run


class DDIM(GridSampler):
    r"""Euler's method in the noise level, which is the exponential Euler method for predicted noise.

        y_s = y_t + (rho_s - rho_t) eps(y_t, rho_t),    y = x/alpha

    In x: x_s = alpha_s/alpha_t x_t + (sigma_s - alpha_s sigma_t/alpha_t) eps. With eta, part of the predicted noise is
    replaced by fresh noise z,

        y_s = D + sqrt(rho_s^2 - n^2) eps + n z,    n^2 = eta^2 rho_s^2 (1 - rho_s^2/rho_t^2),    D = y_t - rho_t eps.

    eta = 1 is DDPM. As the mesh shrinks eta^2 is `churn`, the gamma of the reverse SDE: two units of one thing, of
    which only one may be set. With churn, noise is added before a step, with eta after it.

    References:
        Denoising Diffusion Implicit Models (Song, Meng and Ermon, 2021), arXiv:2010.02502
    """

    eta: float = Field(0.0, ge=0, le=1)
    """Fresh noise as the paper measures it: 0 is deterministic, 1 is DDPM; about the square root of `churn`."""

    order: ClassVar[int] = 1

    @model_validator(mode="after")
    def _one_unit(self) -> DDIM:
        if self.eta and self.churn:
            raise ValueError(
                f"eta = {self.eta:g} and churn = {self.churn:g} are two units of one thing (churn is about eta^2): "
                "set one of them"
            )
        return self

    def gamma(self, rho: float) -> float:
        """Stochasticity at a noise level: `churn`, or the square of eta, inside the window, 0 outside."""
        low, high = self.churn_window or (0.0, math.inf)
        return max(self.churn, self.eta**2) if low <= rho <= high else 0.0

    def added_variance(self, rho_t: float, rho_s: float) -> float:
        """Return the variance that churn adds before a step; the noise of eta comes after it."""
        return 0.0 if self.eta else super().added_variance(rho_t, rho_s)

    def weights(self, process: ForwardProcess, legs: Sequence[Leg]) -> list[tuple[float, ...]]:
        """Return (w, n) of y_s = y + w eps + n z."""
        low, high = self.churn_window or (0.0, math.inf)
        # The share of the noise at s that is fresh.
        fresh = [self.eta**2 * (1 - (g.rho_s / g.rho_t) ** 2) if low <= g.rho_t <= high else 0.0 for g in legs]
        return [
            (leg.rho_s * math.sqrt(1 - q) - leg.rho_t, self.churn_noise * leg.rho_s * math.sqrt(q))
            for leg, q in zip(legs, fresh)
        ]

    def step(self, run: Run, y: Tensor, leg: Leg) -> Tensor:
        """One evaluation, one line; with eta one draw of noise."""
        w, n = leg.weights
        y_s = torch.add(y, run.problem.eps(y, leg.rho_t), alpha=w)
        return y_s.add_(run.noise(y), alpha=n) if n else y_s
