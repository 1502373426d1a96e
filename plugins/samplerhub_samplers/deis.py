"""DEIS: exponential integrators with polynomial extrapolation (Zhang and Chen, 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from samplerhub import ForwardProcess, Leg, MultistepSampler, time_at

Array = NDArray[np.float64]


class DEIS(MultistepSampler):
    r"""Exponential integrator with polynomial extrapolation.

    In the coordinates y = x/alpha, rho = sigma/alpha the probability-flow ODE is dy/drho = eps(y, rho). The newest
    `order` values of eps are interpolated by a polynomial in a variable c (rho, log rho or t) and integrated exactly:

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
        """Return w_j for each leg, newest first, by Gauss-Legendre quadrature in log rho (error about 1e-15)."""
        span = np.log([[leg.rho_t for leg in legs], [leg.rho_s for leg in legs]])
        lengths = np.array([leg.rho_s - leg.rho_t for leg in legs])
        nodes = self.nodes(process, legs)
        # Legs that are treated alike: with as many nodes, and 12 points where log rho changes by less than 1, else 64.
        kinds = [(len(c), 12 if a - b < 1 else 64) for c, a, b in zip(nodes, *span)]
        weights: list[tuple[float, ...]] = [()] * len(legs)
        for k, points in set(kinds):
            rows = [i for i, kind in enumerate(kinds) if kind == (k, points)]
            if k == 1:
                w = lengths[rows, None]
            else:
                start, end = span[:, rows, None]
                u, measure = gauss_legendre(points)
                rho = np.exp((start + end) / 2 + (end - start) / 2 * u)
                c = self.clock(process, torch.from_numpy(rho)).numpy()
                w = lagrange_integrals(
                    np.array([nodes[i] for i in rows]), c, (end - start) / 2 * measure * rho, lengths[rows]
                )
            for i, w_j in zip(rows, w.tolist()):
                weights[i] = tuple(w_j)
        return weights


@cache
def gauss_legendre(points: int) -> tuple[Array, Array]:
    """Return nodes and weights of the Gauss-Legendre quadrature on [-1, 1]."""
    return np.polynomial.legendre.leggauss(points)


def lagrange_integrals(nodes: Array, c: Array, measure: Array, lengths: Array) -> Array:
    """Return the integrals of the Lagrange polynomials through the nodes, shape (legs, k), for nodes of that shape.

    `c` and `measure`, shape (legs, points), are the quadrature. Each row sums to the length of its interval, exactly.
    """
    w = np.zeros_like(nodes)
    for j in range(1, nodes.shape[1]):
        others = [m for m in range(nodes.shape[1]) if m != j]
        basis = np.prod([(c - nodes[:, [m]]) / (nodes[:, [j]] - nodes[:, [m]]) for m in others], axis=0)
        w[:, j] = np.sum(measure * basis, axis=1)
    w[:, 0] = lengths - w.sum(axis=1)
    return w
