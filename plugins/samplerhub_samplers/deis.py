"""DEIS: exponential integrators with polynomial extrapolation (Zhang and Chen, 2023)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from samplerhub import ForwardProcess, Leg, MultistepSampler, time_at

POINTS, WEIGHTS = np.polynomial.legendre.leggauss(64)


class DEIS(MultistepSampler):
    r"""Exponential integrator with polynomial extrapolation.

    In the coordinates y = x/alpha, rho = sigma/alpha the probability-flow ODE is dy/drho = eps(y, rho). The newest `order`
    values of eps are interpolated by a polynomial in the chosen variable c (rho, log rho or t) and integrated exactly:

        y_s = y_t + sum_j w_j eps_j,    w_j = int_{rho_t}^{rho_s} l_j(c(rho)) drho,

    l_j the Lagrange polynomials through the nodes. The first steps use the evaluations that there are. In the paper's
    names: variable t is tAB-DEIS, rho is rhoAB-DEIS; order 1 is DDIM.

    References:
        Fast Sampling of Diffusion Models with Exponential Integrator (Zhang and Chen, 2023), arXiv:2204.13902
    """

    order: int = Field(3, ge=1, le=4)
    """Number of evaluations that the polynomial passes through."""
    variable: Literal["rho", "log-rho", "t"] = "t"
    """Variable of the polynomial: the noise level, its logarithm, or the process's own time."""

    @property
    def depth(self) -> int:
        """As many evaluations as the order."""
        return self.order

    def clock(self, process: ForwardProcess, rho: Tensor) -> Tensor:
        """Return the variable of the polynomial at noise levels rho."""
        if self.variable == "rho":
            return rho
        return rho.log() if self.variable == "log-rho" else time_at(process, rho)

    def weights(self, process: ForwardProcess, legs: Sequence[Leg]) -> list[tuple[float, ...]]:
        """Return w_j for each leg, newest first, by 64-point Gauss-Legendre quadrature in log rho (error 1e-15)."""
        start, end = np.array([[math.log(leg.rho_t), math.log(leg.rho_s)] for leg in legs]).T[:, :, None]
        rho = np.exp((start + end) / 2 + (end - start) / 2 * POINTS)
        measure = (end - start) / 2 * WEIGHTS * rho
        c = self.clock(process, torch.from_numpy(rho)).numpy()
        return [
            _integrals(nodes, c_i, measure_i, leg.rho_s - leg.rho_t)
            for leg, nodes, c_i, measure_i in zip(legs, self.nodes(process, legs), c, measure)
        ]


def _integrals(nodes: tuple[float, ...], c: np.ndarray, measure: np.ndarray, total: float) -> tuple[float, ...]:
    """Integrals of the Lagrange polynomials through the nodes; their sum is the length of the interval, exactly."""
    older = [
        float(measure @ np.prod([(c - c_k) / (c_j - c_k) for k, c_k in enumerate(nodes) if k != j], axis=0))
        for j, c_j in enumerate(nodes)
        if j > 0
    ]
    return (total - math.fsum(older), *older)
