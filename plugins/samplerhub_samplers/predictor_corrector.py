"""Predictor-corrector sampling (Song et al., 2021)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from samplerhub import ForwardProcess, Leg, Run
from samplerhub_samplers.ddpm import DDPM
from samplerhub_samplers.euler_maruyama import EulerMaruyama
from samplerhub_samplers.reverse_sde import ReverseSDE


class PredictorCorrector(ReverseSDE):
    r"""Langevin steps at each noise level, then a step of the reverse SDE to the next.

        corrector, at t:   y <- y + e score(y) + sqrt(2 e) z
        predictor, t to s: one of, with q = alpha_t/alpha_s, v = rho_t^2 - rho_s^2, r = rho_s/rho_t, g = (1 + gamma)/2
            reverse-diffusion  y_s = q [(2 - q) y + g v score(y) + sqrt(gamma v) z]
            ancestral          y_s = y + v score(y) + rho_s sqrt(1 - r^2) z         (at gamma = 1; see ddpm)
            euler-maruyama     the sampler of that name

    gamma is `churn`, in the predictor's drift and noise; the corrector always adds noise. The corrector's step e comes
    from the signal-to-noise ratio `snr`, for every sample on its own (the paper's code averages over the batch):

        level:  e = 2 (snr rho)^2                    norm:  e = 2 (snr sqrt(d)/||score(y)||)^2,  at most rho^2

    `norm` is the paper's rule, with the expected norm of the noise. It makes e a function of the state, which biases
    the law in few dimensions d: what such a chain leaves alone is the density p/e, empty where the score vanishes.
    Where the score's norm hardly varies, in many dimensions and at large rho, both rules are the same.
    Left out is the paper's factor alpha_i on e for the VP process, which is 1 - beta_i and above 0.98. `ancestral` has
    the paper's variance for VE on every process; for VP the paper takes the larger one (see ddpm).

    References:
        Score-Based Generative Modeling through Stochastic Differential Equations (Song et al., 2021), arXiv:2011.13456,
            appendices E and G
    """

    predictor: Literal["reverse-diffusion", "ancestral", "euler-maruyama"] = "reverse-diffusion"
    """The step of the reverse SDE."""
    corrections: int = Field(1, ge=0)
    """Langevin steps before each step of the predictor."""
    snr: float = Field(0.16, gt=0, lt=1)
    """Signal-to-noise ratio of a Langevin step: its length is proportional to the square."""
    step_size: Literal["level", "norm"] = "level"
    """How a Langevin step is measured: by the noise level, or by the norm of each sample's score."""

    order: ClassVar[int] = 1
    own_noise: ClassVar[bool] = True

    def evaluations(self, process: ForwardProcess, times: Tensor) -> int:
        """One for the predictor and one for each Langevin step."""
        return (1 + self.corrections) * (len(times) - 1) + (self.last == "denoise")

    def weights(self, process: ForwardProcess, legs: Sequence[Leg]) -> list[tuple[float, ...]]:
        """Return the predictor's (a, w, n) of y_s = a y + w eps + n z."""
        shared = {"churn": self.churn, "churn_window": self.churn_window, "churn_noise": self.churn_noise}
        if self.predictor == "euler-maruyama":
            return EulerMaruyama.model_validate(shared).weights(process, legs)
        if self.predictor == "ancestral":
            return [(1.0, *numbers) for numbers in DDPM.model_validate(shared).weights(process, legs)]
        return [self._reverse_diffusion(leg) for leg in legs]

    def _reverse_diffusion(self, leg: Leg) -> tuple[float, float, float]:
        gamma, q, v = self.gamma(leg.rho_t), leg.alpha_t / leg.alpha_s, leg.rho_t**2 - leg.rho_s**2
        return q * (2 - q), -q * (1 + gamma) / 2 * v / leg.rho_t, self.churn_noise * q * math.sqrt(gamma * v)

    def step(self, run: Run, y: Tensor, leg: Leg) -> Tensor:
        """Correct at t, then predict the state at s."""
        for _ in range(self.corrections):
            y = self._corrected(run, y, leg.rho_t)
        a, w, n = leg.weights
        y_s = torch.add(y if a == 1 else y * a, run.problem.eps(y, leg.rho_t), alpha=w)
        return y_s.add_(run.noise(y), alpha=n) if n else y_s

    def _corrected(self, run: Run, y: Tensor, rho: float) -> Tensor:
        """One Langevin step: score = -eps/rho."""
        eps = run.problem.eps(y, rho)
        if self.step_size == "level":
            e = 2 * (self.snr * rho) ** 2
            return torch.add(y, eps, alpha=-e / rho).add_(run.noise(y), alpha=math.sqrt(2 * e))
        d, axes = eps[0].numel(), tuple(range(1, eps.ndim))
        norm = torch.linalg.vector_norm(eps, dim=axes, keepdim=True) if axes else eps.abs()
        q = (self.snr * math.sqrt(2 * d) / norm).clamp(max=1)  # sqrt(e)/rho
        return torch.addcmul(y, q * q, eps, value=-rho).addcmul_(q, run.noise(y), value=math.sqrt(2) * rho)
