"""The numbers of single-step exponential integrators with up to three stages, for predicted noise or data."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

from torch import Tensor

from samplerhub import weighted_sum

Prediction = Literal["noise", "data"]
Stage = tuple[float, float, float, float]


def shares(order: int, r_1: float | None) -> tuple[float, ...]:
    """Return where the stages lie, as shares of the step in log rho.

    The second of order 3 is 2/3: with this form of the last stage no other value keeps the order. The first is free.
    """
    return {1: (), 2: (r_1 or 1 / 2,), 3: (r_1 or 1 / 3, 2 / 3)}[order]


def stages(a: float, b: float, r: Sequence[float], prediction: Prediction, gamma: float = 0.0) -> list[Stage]:
    r"""Return (rho_k, A, B, C) of every stage, u_k = A y + B e_0 + C e_{k-1} at noise level rho_k, the last being y_s.

    In the clock l = -log rho, with h = log(a/b) and g = 1 + gamma, the drift is g e rho for predicted noise and
    g (D - y) for predicted data. The linear part is exact; what is left are the integrals of 1 and of l over [0, r h],

        noise:    P(r) = -g rho_r (e^(rh) - 1),       Q(r) = -g rho_r ((e^(rh) - 1)/(rh) - 1)
        data:     P(r) = 1 - e^(-g rh),               Q(r) = 1 - (1 - e^(-g rh))/(g rh),

    B + C = P(r) at every stage, and C is (r_2/r_1) Q(r_2) in the middle of order 3, P(1)/(2 r_1) at the end of order 2
    and Q(1)/r_2 at the end of order 3.
    """
    h, g = math.log(a / b), 1 + gamma
    level = [*(a * math.exp(-r_k * h) if r_k < 1 else b for r_k in r), b]
    if prediction == "noise":
        scale = [1.0] * len(level)
        P = [g * (rho - a) for rho in level]
        Q = [-g * rho * (math.expm1(r_k * h) / (r_k * h) - 1) for rho, r_k in zip(level, (*r, 1.0))]
    else:
        scale = [(rho / a) ** g for rho in level]
        P = [-math.expm1(-g * r_k * h) for r_k in (*r, 1.0)]
        Q = [1 + math.expm1(-g * r_k * h) / (g * r_k * h) for r_k in (*r, 1.0)]
    C = [0.0] * len(level)
    if len(r) == 1:
        C[1] = P[1] / (2 * r[0])
    elif len(r) == 2:
        C[1], C[2] = r[1] / r[0] * Q[1], Q[2] / r[1]
    return [(rho, A, p - c, c) for rho, A, p, c in zip(level, scale, P, C)]


def through(evaluate: Callable[[Tensor, float], Tensor], y: Tensor, rho: float, numbers: Sequence[float]) -> Tensor:
    """Return y_s from y at rho through the stages, whose numbers stand in one row."""
    e = evaluate(y, rho)
    u = weighted_sum(y, numbers[1:3], (e,))
    for k in range(4, len(numbers), 4):
        e_u = evaluate(u, numbers[k - 4])
        u = weighted_sum(y, numbers[k + 1 : k + 4], (e, e_u))
    return u
