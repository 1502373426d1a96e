"""Wasserstein distances on the line, and what is left of them when their bias at equal laws is taken away."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from samplerhub import stream
from samplerhub_metrics.vectors import Array

Over = Literal["mean", "max"]
Parts = NDArray[np.int8]
"""Which part of which set each of the pooled samples is in, shape (halvings, relabellings, n + m)."""
HALVES_X, HALVES_Y, REST_X, REST_Y = (0, 1), (3, 4), 2, 5
"""Parts below 3 are x: two halves, and the sample that is left over if their number is odd; the others are y."""
HELD = 2**21
"""Parts that are looked at together."""


@dataclass(frozen=True, slots=True)
class Distance:
    """A distance to the power p, without its bias."""

    value: float
    stderr: float
    plug_in: float
    floor: float
    """Mean of the plug-in at equal laws."""
    p_value: float
    """Share of relabellings of the pooled samples with as large a plug-in, the given labels among them."""


def debiased(lines: Array, n: int, p: int, relabellings: int, halvings: int, over: Over = "mean") -> Distance:
    r"""Return the distance of the first n rows from the others, on lines (n + m, L): their mean, or the largest.

    The plug-in T = W_p^p of finitely many samples is too high: at equal laws by all of it, away from them by much less.
    Between halves of the samples it is higher still, and

        value = T - lambda (T_half - T),    lambda = E T/E(T_half - T) at equal laws,

    is Richardson's extrapolation with an order that is not assumed (lambda = 1 for a bias in 1/n, 2.41 for one in
    n^(-1/2)). The expectations at equal laws are means over random relabellings of the pooled samples, so that the
    value has mean 0 at equal laws whatever the law, and a bias of O(1/n) away from them. T_half is the mean over the
    four pairs of halves, and over random halvings.

    The variance is V_0, that over the relabellings, at equal laws and V_1, that of the delta method, away from them.
    With w = min(1, (floor/T)^(2/p)) it is w V_0 + (1 - w) V_1 + 4 w (1 - w) V_0: between the two the correction is
    itself uncertain.
    """
    parts = _parts(n, len(lines) - n, relabellings, halvings)
    L = lines.shape[1]
    wholes, halves = np.empty((1 + relabellings, L)), np.empty((1 + relabellings, 4 * halvings, L))
    for line in range(L):
        wholes[:, line], halves[:, :, line] = _plug_ins(lines[:, line], parts, p)
    T, T_half = _joined(wholes, over), _joined(halves, over).mean(-1)

    floor, gain = float(T[1:].mean()), float((T_half - T)[1:].mean())
    extrapolated = T - (floor / gain if gain > 0 else 0.0) * (T_half - T)
    plug_in = float(T[0])
    w = min(1.0, (floor / plug_in) ** (2 / p)) if plug_in > 0 else 1.0
    V_1 = _delta_variance(lines, n, p, wholes[0], over) if w < 1 else 0.0
    variance = (w + 4 * w * (1 - w)) * float(extrapolated[1:].var(ddof=1)) + (1 - w) * V_1
    p_value = (1 + np.count_nonzero(T[1:] >= plug_in)) / len(T)
    return Distance(float(extrapolated[0]), math.sqrt(variance), plug_in, floor, p_value)


def _joined(costs: Array, over: Over) -> Array:
    return np.asarray(costs.mean(-1) if over == "mean" else costs.max(-1))


def power_cost(x: Array, y: Array, p: int) -> Array:
    """Return W_p^p, the integral of |F^-1 - G^-1|^p over the levels, of sorted x (..., n) and y (..., m)."""
    n, m = x.shape[-1], y.shape[-1]
    if n == m:
        return _mean_power(x - y, p)
    # Levels in units of 1/(n m), which are whole numbers.
    ends = np.union1d(np.arange(1, n + 1) * m, np.arange(1, m + 1) * n)
    shares = np.diff(ends, prepend=0) / (n * m)
    return np.asarray((np.abs(x[..., -(-ends // m) - 1] - y[..., -(-ends // n) - 1]) ** p) @ shares)


def _mean_power(z: Array, p: int) -> Array:
    return np.asarray(np.abs(z).mean(-1) if p == 1 else np.einsum("...i,...i->...", z, z) / z.shape[-1])


def potential(x: Array, y: Array, p: int) -> Array:
    """Return Kantorovich's potential at sorted x (n,), shape (n,): the derivative of W_p^p by the share of a sample.

    Between x_k and x_k+1 mass at level k/n goes to the quantile of y at that level.
    """
    n, m = len(x), len(y)
    k = np.arange(1, n)
    to = (y[-(-k * m // n) - 1] + y[k * m // n]) / 2
    return np.concatenate([[0.0], np.cumsum(np.abs(x[1:] - to) ** p - np.abs(x[:-1] - to) ** p)])


def _delta_variance(lines: Array, n: int, p: int, costs: Array, over: Over) -> float:
    """First-order variance of the plug-in: over the samples, and over the lines where the plug-in is their mean."""
    L = len(costs)
    weights = np.full(L, 1 / L) if over == "mean" else np.arange(L) == costs.argmax()
    of_x, of_y = np.zeros(n), np.zeros(len(lines) - n)
    for line in np.flatnonzero(weights):
        x, y = lines[:n, line], lines[n:, line]
        i, j = x.argsort(), y.argsort()
        of_x[i] += weights[line] * potential(x[i], y[j], p)
        of_y[j] += weights[line] * potential(y[j], x[i], p)
    over_samples = of_x.var(ddof=1) / len(of_x) + of_y.var(ddof=1) / len(of_y)
    return float(over_samples + (costs.var(ddof=1) / L if over == "mean" and L > 1 else 0.0))


def _plug_ins(z: Array, parts: Parts, p: int) -> tuple[Array, Array]:
    """Return W_p^p on one line: of the whole sets, (relabellings,), and of pairs of halves, (relabellings, pairs)."""
    order = z.argsort(kind="stable")
    z, size = z[order], max(1, HELD // (len(z) * len(parts)))
    wholes, halves = [], []
    for start in range(0, parts.shape[1], size):
        ranked = np.take(parts[:, start : start + size], order, axis=2)
        is_x = ranked[0] <= REST_X
        wholes.append(power_cost(_picked(z, is_x), _picked(z, ~is_x), p))
        x, y = ([_picked(z, ranked == half) for half in both] for both in (HALVES_X, HALVES_Y))
        halves.append(np.concatenate([power_cost(x_i, y_j, p) for x_i in x for y_j in y]).T)
    return np.concatenate(wholes), np.concatenate(halves)


def _picked(z: Array, where: NDArray[np.bool_]) -> Array:
    """Return those of z (N,) that each row (..., N) picks, as many in each."""
    flat = np.flatnonzero(where).reshape(*where.shape[:-1], -1)
    return np.asarray(z[flat % len(z)])


def _parts(n: int, m: int, relabellings: int, halvings: int) -> Parts:
    """Return random halves of the sets as they are, and after each random relabelling of the pool."""
    rng = stream(0, "relabellings")
    codes = [_codes(n, *HALVES_X, REST_X), _codes(m, *HALVES_Y, REST_Y)]
    parts = np.empty((halvings, 1 + relabellings, n + m), np.int8)
    for b in range(1 + relabellings):
        pool = torch.randperm(n + m, generator=rng).numpy() if b else np.arange(n + m)
        for s in range(halvings):
            for members, code in zip((pool[:n], pool[n:]), codes):
                parts[s, b, members] = code[torch.randperm(len(members), generator=rng).numpy()]
    return parts


def _codes(n: int, first: int, second: int, rest: int) -> Parts:
    return np.array([first, second, rest], np.int8).repeat([n // 2, n // 2, n % 2])
