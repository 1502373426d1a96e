"""Exponential Adams methods in the logarithm of the noise level (Hochbruck and Ostermann, 2010)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field, model_validator
from torch import Tensor

from samplerhub import ForwardProcess, Leg, MultistepSampler, Problem
from samplerhub_samplers.quadrature import lagrange_weights


class ExponentialAdams(MultistepSampler):
    r"""Exponential Adams-Bashforth method of any order, with an Adams-Moulton corrector at no cost.

    With r = rho_s/rho_t the exact flow from rho_t to rho_s is, for the predicted data D and for the predicted noise,

        y_s = r y_t - int (rho_s/rho) D dlog(rho),    y_s = y_t + int rho eps dlog(rho).

    D or eps is interpolated by a polynomial in log(rho) through its newest values, and the product with the exponential
    is integrated exactly. The corrector adds the value at s, which the next step needs anyway, to the polynomial: one
    order above the predictor, at no evaluation more. Predicted noise without corrector is `deis` with the variable
    log-rho; predicted data at orders 2 and 3 are the consistent forms of DPM-Solver++ (2M taylor, 3M corrected).

    References:
        Exponential Integrators (Hochbruck and Ostermann, 2010), Acta Numerica 19, doi:10.1017/S0962492910000048
        UniPC: A Unified Predictor-Corrector Framework for Fast Sampling of Diffusion Models (Zhao et al., 2023),
            arXiv:2302.04867
    """

    order: int = Field(3, ge=1, le=6)
    """Order of convergence, the corrector included: the number of values that the last polynomial passes through."""
    form: Literal["data", "noise"] = "data"
    """What is interpolated: the predicted data or the predicted noise."""
    corrector: Literal["none", "moulton"] = "none"
    """Whether the state is improved once the model has been evaluated there; the predictor is one order below then."""

    @model_validator(mode="after")
    def _predictor_has_an_order(self) -> ExponentialAdams:
        if self.corrector == "moulton" and self.order == 1:
            raise ValueError("the corrector moulton is of order 2 at least: give order 2 or more, or corrector none")
        return self

    @property
    def depth(self) -> int:
        """As many evaluations as the predictor's polynomial passes through."""
        return self.order - (self.corrector == "moulton")

    def clock(self, process: ForwardProcess, rho: Tensor) -> Tensor:
        """Return log(rho)."""
        return rho.log()

    def evaluate(self, problem: Problem, y: Tensor, rho: float) -> Tensor:
        """Return D or eps."""
        return problem.x0(y, rho) if self.form == "data" else problem.eps(y, rho)

    def weights(self, process: ForwardProcess, legs: Sequence[Leg]) -> list[tuple[float, ...]]:
        """Return (a, w_0, w_1, ...) for each leg."""
        return self._adams(legs, self.nodes(process, legs))

    def corrections(self, process: ForwardProcess, legs: Sequence[Leg]) -> list[tuple[float, ...]]:
        """Return (a, w_new, w_0, w_1, ...) for each leg: a node at s more."""
        if self.corrector == "none":
            return super().corrections(process, legs)
        return self._adams(legs, [(math.log(leg.rho_s), *c) for leg, c in zip(legs, self.nodes(process, legs))])

    def _adams(self, legs: Sequence[Leg], nodes: Sequence[tuple[float, ...]]) -> list[tuple[float, ...]]:
        if self.form == "data":
            return data_weights(legs, nodes, [0.0] * len(legs))
        totals = [leg.rho_s - leg.rho_t for leg in legs]
        w = lagrange_weights(legs, nodes, clock=np.log, kernel=lambda rho, _: rho, totals=totals)
        return [(1.0, *w_leg) for w_leg in w]


def data_weights(
    legs: Sequence[Leg], nodes: Sequence[tuple[float, ...]], gammas: Sequence[float]
) -> list[tuple[float, ...]]:
    r"""Return (a, w_0, w_1, ...) of y_s = a y_t + sum_j w_j D_j for each leg, where gamma is part of the drift.

        a = r^k,    w_j = -k int_{rho_t}^{rho_s} (rho_s/rho)^k l_j(log(rho)) dlog(rho)
        r = rho_s/rho_t,    k = 1 + gamma

    gamma = 0 is the probability-flow ODE. The w_j of a leg sum to 1 - a.
    """
    weights: list[tuple[float, ...]] = [()] * len(legs)
    for gamma in set(gammas):
        k = 1 + gamma
        rows = [i for i, g in enumerate(gammas) if g == gamma]
        log_a = [k * math.log(legs[i].rho_s / legs[i].rho_t) for i in rows]
        w = lagrange_weights(
            [legs[i] for i in rows],
            [nodes[i] for i in rows],
            clock=np.log,
            kernel=lambda rho, rho_s, k=k: -k * (rho_s / rho) ** k,  # type: ignore[misc]
            totals=[-math.expm1(v) for v in log_a],
        )
        for i, v, w_i in zip(rows, log_a, w):
            weights[i] = (math.exp(v), *w_i)
    return weights
