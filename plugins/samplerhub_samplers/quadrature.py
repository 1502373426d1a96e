"""Weights of multistep methods: integrals of the polynomials that interpolate past evaluations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from samplerhub import Leg

Array = NDArray[np.float64]


def lagrange_weights(
    legs: Sequence[Leg],
    nodes: Sequence[tuple[float, ...]],
    clock: Callable[[Array], Array],
    kernel: Callable[[Array, Array], Array],
    totals: Sequence[float],
) -> list[tuple[float, ...]]:
    r"""Return w_j = int l_j(c(rho)) K(rho, rho_s) dlog(rho) from rho_t to rho_s for each leg, to about 1e-15.

    l_j are the Lagrange polynomials through the leg's nodes c_j. By Gauss-Legendre quadrature in log rho, in which all
    clocks are smooth.

    Args:
        legs: The legs of the grid.
        nodes: For each leg, the clock of the evaluations.
        clock: c(rho), elementwise.
        kernel: K(rho, rho_s) for rho of shape (legs, points) and rho_s of shape (legs, 1).
        totals: int K dlog(rho) for each leg in closed form; the weights of a leg sum to it exactly.
    """
    span = np.log([[leg.rho_t for leg in legs], [leg.rho_s for leg in legs]])
    # Legs that are treated alike: with as many nodes, and 12 points where log rho changes by less than 1, else 64.
    kinds = [(len(c), 12 if a - b < 1 else 64) for c, a, b in zip(nodes, *span)]
    weights: list[tuple[float, ...]] = [()] * len(legs)
    for k, points in set(kinds):
        rows = [i for i, kind in enumerate(kinds) if kind == (k, points)]
        total = np.array([totals[i] for i in rows])
        if k == 1:
            w = total[:, None]
        else:
            start, end = span[:, rows, None]
            u, measure = gauss_legendre(points)
            rho = np.exp((start + end) / 2 + (end - start) / 2 * u)
            measure = (end - start) / 2 * measure * kernel(rho, np.exp(end))
            w = _integrals(np.array([nodes[i] for i in rows]), clock(rho), measure, total)
        for i, w_j in zip(rows, w.tolist()):
            weights[i] = tuple(w_j)
    return weights


def _integrals(nodes: Array, c: Array, measure: Array, total: Array) -> Array:
    """Return the integrals of the Lagrange polynomials through nodes of shape (legs, k)."""
    w = np.zeros_like(nodes)
    for j in range(1, nodes.shape[1]):
        others = [m for m in range(nodes.shape[1]) if m != j]
        basis = np.prod([(c - nodes[:, [m]]) / (nodes[:, [j]] - nodes[:, [m]]) for m in others], axis=0)
        w[:, j] = np.sum(measure * basis, axis=1)
    w[:, 0] = total - w.sum(axis=1)
    return w


@cache
def gauss_legendre(points: int) -> tuple[Array, Array]:
    """Return nodes and weights of the Gauss-Legendre quadrature on [-1, 1]."""
    return np.polynomial.legendre.leggauss(points)
