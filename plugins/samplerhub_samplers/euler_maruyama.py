"""The Euler-Maruyama method for the reverse SDE (Song et al., 2021)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from samplerhub import ForwardProcess, Leg, Run, diffusion2, drift
from samplerhub_samplers.reverse_sde import ReverseSDE


class EulerMaruyama(ReverseSDE):
    r"""The Euler-Maruyama method for the reverse SDE, in the process's own time t or in rho^2.

        x_s = x_t + (s - t) [f(t) x_t - (1 + gamma)/2 g(t)^2 score(x_t, t)] + sqrt(gamma (t - s)) g(t) z

    or, in y = x/alpha and rho^2, where the diffusion coefficient is 1 and the noise of a step therefore exact,

        y_s = y_t + (1 + gamma)/2 (rho_t^2 - rho_s^2) score(y_t, rho_t) + sqrt(gamma (rho_t^2 - rho_s^2)) z

    gamma is `churn`. Here it is part of drift and noise: the SDE is integrated, instead of noise being added between
    deterministic steps. Weak order 1.

    References:
        Score-Based Generative Modeling through Stochastic Differential Equations (Song et al., 2021), arXiv:2011.13456
        The Effect of Stochasticity in Score-Based Diffusion Sampling (Schaeffer et al., 2025), arXiv:2506.11378, eq. 18
    """

    variable: Literal["t", "rho2"] = "t"
    """Variable of the steps: the process's own time (state x), or the squared noise level (state y = x/alpha)."""

    order: ClassVar[int] = 1

    def weights(self, process: ForwardProcess, legs: Sequence[Leg]) -> list[tuple[float, ...]]:
        """Return (a, b, c) of y_s = a y_t + b eps + c z, with score_x = -eps/(alpha rho)."""
        if self.variable == "rho2":
            return [self._in_rho2(leg.rho_t, leg.rho_s) for leg in legs]
        t = [leg.t for leg in legs]
        f, g2 = drift(process, t).tolist(), diffusion2(process, t).tolist()
        return [
            (
                leg.alpha_t / leg.alpha_s * (1 + (leg.s - leg.t) * f_t),
                (1 + self.gamma(leg.rho_t)) * (leg.s - leg.t) * g2_t / (2 * leg.alpha_t * leg.rho_t * leg.alpha_s),
                self.churn_noise * math.sqrt(self.gamma(leg.rho_t) * (leg.t - leg.s) * g2_t) / leg.alpha_s,
            )
            for leg, f_t, g2_t in zip(legs, f, g2)
        ]

    def _in_rho2(self, a: float, b: float) -> tuple[float, float, float]:
        gamma, du = self.gamma(a), a**2 - b**2
        return 1.0, -(1 + gamma) / 2 * du / a, self.churn_noise * math.sqrt(gamma * du)

    def step(self, run: Run, y: Tensor, leg: Leg) -> Tensor:
        """One evaluation and, where gamma is positive, one draw of noise."""
        a, b, c = leg.weights
        y_s = torch.add(y if a == 1 else y * a, run.problem.eps(y, leg.rho_t), alpha=b)
        return y_s.add_(run.noise(y), alpha=c) if c else y_s
