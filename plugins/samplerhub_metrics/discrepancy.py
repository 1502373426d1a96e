"""Squared distances between the mean embeddings of two laws: unbiased, with an error that holds at equal laws too."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Kernel = Callable[[Tensor, Tensor], Tensor]
"""k(a, b) of rows a (p, D) and b (q, D), shape (p, q)."""
TILE = 512
"""Rows and columns of the kernel matrix that are held at a time."""
LEAST = 4
"""The variance needs sums over four samples that are all different."""


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """Sums of a kernel over pairs of samples; those of one set leave out the pairs of a sample with itself."""

    xx: Tensor
    """sum_j k(x_i, x_j), shape (n,)."""
    yy: Tensor
    """sum_j k(y_i, y_j), shape (m,)."""
    xy: Tensor
    """sum_j k(x_i, y_j), shape (n,)."""
    yx: Tensor
    """sum_j k(y_i, x_j), shape (m,)."""
    squares: tuple[float, float, float]
    """Sums of k^2 over all pairs: within x, within y, between them."""

    @classmethod
    def of(cls, k: Kernel, x: Tensor, y: Tensor) -> Sums:
        """Sum over the kernel matrices of x (n, D) and y (m, D), a tile at a time."""
        xx, xx_squares = _within(k, x)
        yy, yy_squares = _within(k, y)
        xy, yx, xy_squares = x.new_zeros(len(x)), x.new_zeros(len(y)), 0.0
        for i in range(0, len(x), TILE):
            for j in range(0, len(y), TILE):
                K = k(x[i : i + TILE], y[j : j + TILE])
                xy[i : i + TILE] += K.sum(1)
                yx[j : j + TILE] += K.sum(0)
                xy_squares += K.square().sum().item()
        return cls(xx, yy, xy, yx, (xx_squares, yy_squares, xy_squares))


def _within(k: Kernel, x: Tensor) -> tuple[Tensor, float]:
    sums, squares = x.new_zeros(len(x)), 0.0
    for i in range(0, len(x), TILE):
        for j in range(i, len(x), TILE):
            K = k(x[i : i + TILE], x[j : j + TILE])
            if i == j:
                K.fill_diagonal_(0)
            else:
                sums[j : j + TILE] += K.sum(0)
            sums[i : i + TILE] += K.sum(1)
            squares += (1 if i == j else 2) * K.square().sum().item()
    return sums, squares


def discrepancy(s: Sums) -> tuple[float, float]:
    r"""Return E k(X, X') + E k(Y, Y') - 2 E k(X, Y), unbiased, and its standard error.

    With f(x) = E k(x, X') - E k(x, Y) and g(y) = E k(y, Y') - E k(y, X), and with k minus its projections on
    functions of one argument, k_xx, k_yy, k_xy, Hoeffding's decomposition gives the variance

        4 Var f/n + 4 Var g/m + 2 E k_xx^2/(n (n - 1)) + 2 E k_yy^2/(m (m - 1)) + 4 E k_xy^2/(n m),

    whose first two terms are 0 at equal laws. The sample variances of f and g have the last three terms in their
    expectation, twice in all; they are subtracted.
    """
    n, m = len(s.xx), len(s.yy)
    a, b = s.xx / (n - 1), s.yy / (m - 1)
    c, d = s.xy / m, s.yx / n
    value = (a.mean() + b.mean() - 2 * c.mean()).item()
    xx, yy = _pure(s.xx, s.squares[0]), _pure(s.yy, s.squares[1])
    xy = _pure_between(s.xy, s.yx, s.squares[2])
    second = 2 * xx / (n * (n - 1)) + 2 * yy / (m * (m - 1)) + 4 * xy / (n * m)
    first = 4 * ((a - c).var() / n + (b - d).var() / m).item()
    return value, math.sqrt(max(first - 2 * second, 0) + max(second, 0))


def _pure(sums: Tensor, squares: float) -> float:
    """E k^2 - 2 E [E k(x, X')]^2 + [E k]^2 of one set, each from different samples."""
    n, centre = len(sums), sums.mean()
    # A constant c off the diagonal changes nothing, and taking out the mean keeps the digits.
    c = centre / (n - 1)
    total_square = (sums - centre).square().sum().item()
    squares = squares - n * (n - 1) * c.item() ** 2
    a2 = (total_square - squares) / (n * (n - 1) * (n - 2))
    mean2 = (-4 * total_square + 2 * squares) / (n * (n - 1) * (n - 2) * (n - 3))
    return squares / (n * (n - 1)) - 2 * a2 + mean2


def _pure_between(xy: Tensor, yx: Tensor, squares: float) -> float:
    """E k^2 - E [E k(x, Y)]^2 - E [E k(X, y)]^2 + [E k]^2 of two sets: the residual of a two-way table."""
    n, m = len(xy), len(yx)
    mean = xy.sum().item() / (n * m)
    by_row, by_column = (xy / m - mean).square().sum().item() * m, (yx / n - mean).square().sum().item() * n
    return (squares - n * m * mean**2 - by_row - by_column) / ((n - 1) * (m - 1))


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Return |a_i - b_j|^2, shape (p, q)."""
    q = torch.addmm(b.square().sum(1), a, b.T, alpha=-2)
    return q.add_(a.square().sum(1, keepdim=True)).clamp_(min=0)
