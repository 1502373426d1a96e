"""UniPC (Zhao et al., 2023)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor

from samplerhub import ForwardProcess, Leg, MultistepSampler, Problem
from samplerhub_samplers.phi import phis


class UniPC(MultistepSampler):
    r"""UniPC: a predictor UniP-p and a corrector UniC-p that costs no evaluation.

    In lambda = -log(rho), h = lambda_s - lambda_t; m_0, m_1, ... are predicted data (z = -h, S = 1, a = exp(-h)) or
    predicted noise (z = h, S = rho_s, a = 1), newest first, r_m = (lambda_m - lambda_t)/h and D_m = (m_m - m_0)/r_m:

        y_s = a y_t - S (exp(z) - 1) m_0 - S B(z) sum_m c_m D_m
        sum_m r_m^(k-1) c_m = k! z phi_{k+1}(z)/B(z),    k = 1, 2, ...

    The predictor has p - 1 differences; the corrector one more, D = m(y_s) - m_0 with r = 1. A single c is taken as
    1/2, so that B matters: B = z (bh1) or exp(z) - 1 (bh2). The evaluation at the predicted state is kept as it is.
    There is no corrector in the last step, and the first p - 1 steps are of lower order. The predictor of p = 2 with
    bh2 is DPM-Solver++ 2M, that of p = 3 is 3M in the corrected form. The variant with varying coefficients of the
    paper's code is left out: its corrector is not consistent beyond first order.

    References:
        UniPC: A Unified Predictor-Corrector Framework for Fast Sampling of Diffusion Models (Zhao et al., 2023),
            arXiv:2302.04867
    """

    memory: int = Field(3, ge=1, le=3)
    """Order p of the predictor: the number of evaluations that it combines."""
    variant: Literal["bh1", "bh2"] = "bh2"
    """The function B of the step size."""
    form: Literal["data", "noise"] = "data"
    """What is interpolated: the predicted data or the predicted noise."""
    corrector: Literal["none", "unic"] = "unic"
    """Whether the state is improved once the model has been evaluated there; raises the order by one."""
    final: Literal["lower", "full"] = "lower"
    """The last p - 1 steps: of orders p - 1, ..., 1 as in the paper (which leaves order 2 in the limit), or in full."""

    @property
    def order(self) -> int:
        """p, and one more with the corrector; at most 2 where the last step is of order 1."""
        order = self.memory + (self.corrector == "unic")
        return min(order, 2) if self.final == "lower" else order

    @property
    def depth(self) -> int:
        """As many evaluations as the predictor combines."""
        return self.memory

    def clock(self, process: ForwardProcess, rho: Tensor) -> Tensor:
        """Return lambda = -log(rho)."""
        return -rho.log()

    def evaluate(self, problem: Problem, y: Tensor, rho: float) -> Tensor:
        """Return the predicted data or noise."""
        return problem.x0(y, rho) if self.form == "data" else problem.eps(y, rho)

    def combined(self, process: ForwardProcess, legs: Sequence[Leg]) -> list[tuple[float, ...]]:
        """Return, for each leg, lambda of the evaluations that its predictor combines, newest first."""
        nodes = self.nodes(process, legs)
        left = [self.memory if self.final == "full" else len(legs) - i for i in range(len(legs))]
        return [past[:p] for past, p in zip(nodes, left)]

    def weights(self, process: ForwardProcess, legs: Sequence[Leg]) -> list[tuple[float, ...]]:
        """Return (a, w_0, w_1, ...) for each leg."""
        return [self._uni(leg, past[0], past[1:]) for leg, past in zip(legs, self.combined(process, legs))]

    def corrections(self, process: ForwardProcess, legs: Sequence[Leg]) -> list[tuple[float, ...]]:
        """Return (a, w_new, w_0, w_1, ...) for each leg."""
        if self.corrector == "none":
            return super().corrections(process, legs)
        numbers = []
        for leg, past in zip(legs, self.combined(process, legs)):
            a, w_0, w_new, *rest = self._uni(leg, past[0], (past[0] + math.log(leg.rho_t / leg.rho_s), *past[1:]))
            numbers.append((a, w_new, w_0, *rest))
        return numbers

    def _uni(self, leg: Leg, now: float, others: tuple[float, ...]) -> tuple[float, ...]:
        """Return (a, w of m_0, w of the others) for a step that combines m_0 at lambda `now` with values elsewhere."""
        h = math.log(leg.rho_t / leg.rho_s)
        z, S, a = (-h, 1.0, math.exp(-h)) if self.form == "data" else (h, leg.rho_s, 1.0)
        B = z if self.variant == "bh1" else math.expm1(z)
        r = [(other - now) / h for other in others]
        b = [math.factorial(j) * z * phi_j / B for j, phi_j in enumerate(phis(len(r) + 1, z)[2:], start=1)]
        c = [0.5] if len(r) == 1 else _vandermonde(r, b)
        w = [-S * B * c_m / r_m for c_m, r_m in zip(c, r)]
        return a, -S * math.expm1(z) - sum(w), *w


def _vandermonde(r: list[float], b: list[float]) -> list[float]:
    """Solve sum_m r_m^(k-1) c_m = b_k by the method of Bjorck and Pereyra (1970), doi:10.2307/2004623."""
    c, n = list(b), len(b)
    for k in range(n - 1):
        for i in range(n - 1, k, -1):
            c[i] -= r[k] * c[i - 1]
    for k in range(n - 2, -1, -1):
        for i in range(k + 1, n):
            c[i] /= r[i] - r[i - k - 1]
        for i in range(k, n - 1):
            c[i] -= c[i + 1]
    return c
