"""Ancestral sampling around a deterministic step (Crowson, k-diffusion)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from samplerhub import ForwardProcess, Leg, Run
from samplerhub_samplers.reverse_sde import ReverseSDE


class Ancestral(ReverseSDE):
    r"""A deterministic step to less noise than is wanted, and fresh noise for the rest.

        n^2 = rho_s^2 (1 - r^(2 gamma)),    rho_down^2 = rho_s^2 - n^2,    r = rho_s/rho_t
        y_s = Phi(y_t; rho_t -> rho_down) + n z

    gamma is `churn`: 1 gives the step its DDPM share of noise, n^2 = rho_s^2 (1 - r^2), for every solver Phi. Or give
    eta, in which k-diffusion measures it, n^2 = eta^2 rho_s^2 (1 - r^2); the two agree at 0 and 1. With an exact flow
    the marginal law is exact, so that the weak order is the order of Phi. Euler with eta is DDIM with eta.

    References:
        Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022), arXiv:2206.00364
        k-diffusion (Crowson, 2022), github.com/crowsonkb/k-diffusion, sample_euler_ancestral
    """

    churn: float = Field(1.0, ge=0)
    """Stochasticity gamma, by the noise that follows each step: 0 is the probability-flow ODE, 1 the reverse SDE."""
    eta: float | None = Field(None, ge=0, le=1)
    """The same in k-diffusion's unit, in place of churn, which is then eta^2; none: churn says it."""
    solver: Literal["euler", "heun"] = "euler"
    """The deterministic step: Euler's (order 1) or Heun's (order 2) in the noise level."""

    @model_validator(mode="before")
    @classmethod
    def _churn_of_eta(cls, data: object) -> object:
        """Without churn, eta says it; it is written down, so that a record of all fields can be read again."""
        if not isinstance(data, dict) or data.get("churn") is not None:
            return data
        rest = {key: value for key, value in data.items() if key != "churn"}
        try:
            return rest if rest.get("eta") is None else {**rest, "churn": float(rest["eta"]) ** 2}
        except (TypeError, ValueError, OverflowError):
            return rest  # not a number: the field says so

    @model_validator(mode="after")
    def _one_unit(self) -> Ancestral:
        if self.eta is not None and self.churn != self.eta**2:
            raise ValueError(
                f"eta = {self.eta:g} and churn = {self.churn:g} are two units of one thing (churn is about eta^2): "
                "set one of them"
            )
        return self

    def replace(self, **changes: object) -> Self:
        """Return a sampler like this one but for some fields; a new eta takes the place of churn."""
        return super().replace(**({"churn": None, **changes} if "eta" in changes else changes))

    @property
    def order(self) -> int:
        """Order of the deterministic step."""
        return {"euler": 1, "heun": 2}[self.solver]

    def evaluations(self, process: ForwardProcess, times: Tensor) -> int:
        """As many a step as the order."""
        return self.order * (len(times) - 1) + (self.last == "denoise")

    def weights(self, process: ForwardProcess, legs: Sequence[Leg]) -> list[tuple[float, ...]]:
        """Return (rho_down, n)."""
        fresh = [self._fresh(leg.rho_t, leg.rho_s) for leg in legs]
        return [
            (leg.rho_s * math.sqrt(1 - q), self.churn_noise * leg.rho_s * math.sqrt(q)) for leg, q in zip(legs, fresh)
        ]

    def _fresh(self, rho_t: float, rho_s: float) -> float:
        """Share of the variance of the noise at s that is fresh."""
        gamma = self.gamma(rho_t)
        if self.eta is None or not gamma:
            return -math.expm1(2 * gamma * math.log(rho_s / rho_t))
        return self.eta**2 * (1 - (rho_s / rho_t) ** 2)

    def step(self, run: Run, y: Tensor, leg: Leg) -> Tensor:
        """One or two evaluations, then one draw of noise."""
        rho_down, n = leg.weights
        h = rho_down - leg.rho_t
        d = run.problem.eps(y, leg.rho_t)
        if self.solver == "euler":
            y_s = torch.add(y, d, alpha=h)
        else:
            d_s = run.problem.eps(torch.add(y, d, alpha=h), rho_down)
            y_s = torch.add(y, d, alpha=h / 2).add_(d_s, alpha=h / 2)
        return y_s.add_(run.noise(y), alpha=n) if n else y_s
