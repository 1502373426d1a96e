"""Explicit Runge-Kutta methods as data that checks itself."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import numpy as np
from scipy.integrate import DOP853

Numbers = tuple[float, ...]
Tree = tuple["Tree", ...]
"""A rooted tree, as the sorted trees that hang on its root."""


@dataclass(frozen=True, slots=True)
class Tableau:
    r"""An explicit Runge-Kutta method, k_i = f(c + c_i h, z + h sum_j a_ij k_j), z_s = z + h sum_i b_i k_i.

    On construction all conditions for the declared order are checked: for each rooted tree of up to that many vertices,
    sum_i b_i Phi_i(tree) = 1/gamma(tree); and those of one order less for the embedded method.

    References:
        Solving Ordinary Differential Equations I: Nonstiff Problems (Hairer, Nørsett and Wanner, 1993), Springer,
            doi:10.1007/978-3-540-78862-1, sections II.1 and II.2
    """

    order: int
    a: tuple[Numbers, ...]
    """Row i has i entries."""
    b: Numbers
    error: Numbers = ()
    """Weights of the error estimate: b less those of the embedded method; one more than stages where it is FSAL."""

    @property
    def c(self) -> Numbers:
        """Nodes, the sums of the rows."""
        return tuple(map(math.fsum, self.a))

    def __post_init__(self) -> None:
        if [len(row) for row in self.a] != list(range(len(self.b))):
            raise ValueError(f"rows of lengths {[len(row) for row in self.a]} for {len(self.b)} stages")
        A = np.array([[*row, *[0.0] * (len(self.b) - len(row))] for row in self.a])
        _check_order(self.order, A, np.array(self.b))
        if self.error:
            # The embedded method may use the slope at the end as well: one stage more, whose row is b.
            stages = len(self.error)
            extended = np.zeros((stages, stages))
            extended[: len(A), : len(A)] = A
            extended[len(A) :, : len(A)] = self.b
            _check_order(self.order - 1, extended, np.array([*self.b, *[0.0] * (stages - len(A))]) - self.error)


def _check_order(order: int, A: np.ndarray, b: np.ndarray) -> None:
    """Raise ValueError unless weights b meet all conditions up to an order."""
    for n in range(1, order + 1):
        for tree in trees(n):
            weight, expected = float(b @ _elementary(tree, A)), 1 / _density(tree)
            if abs(weight - expected) > 1e-13 * n:
                raise ValueError(f"the condition of order {n} for tree {tree} fails: {weight} is not {expected}")


@cache
def trees(n: int) -> tuple[Tree, ...]:
    """Return all rooted trees with n vertices: 1, 1, 2, 4, 9, 20, 48, 115 for n = 1, ..., 8."""
    return tuple(sorted(_forests(n - 1, n - 1)))


def _forests(n: int, largest: int) -> Iterator[Tree]:
    """Yield the multisets of trees with n vertices in all and at most `largest` in one, each once."""
    if n == 0:
        yield ()
    for size in range(1, min(n, largest) + 1):
        for tree in trees(size):
            for rest in _forests(n - size, size):
                if not rest or (_size(rest[-1]), rest[-1]) <= (size, tree):
                    yield (*rest, tree)


def _size(tree: Tree) -> int:
    return 1 + sum(map(_size, tree))


def _density(tree: Tree) -> int:
    """gamma(tree): the number of vertices times the densities of the branches."""
    return _size(tree) * math.prod(map(_density, tree))


def _elementary(tree: Tree, A: np.ndarray) -> np.ndarray:
    """Phi_i(tree): the product over branches of sum_j a_ij Phi_j(branch)."""
    product = np.ones(len(A))
    for branch in tree:
        product = product * (A @ _elementary(branch, A))
    return product


def _fractions(text: str) -> Numbers:
    return tuple(float(Fraction(word)) for word in text.split())


def _tableau(order: int, rows: str, b: str, error: str = "") -> Tableau:
    """Read a tableau: rows of a without the empty first, separated by semicolons."""
    a = tuple(_fractions(row) for row in rows.split(";")) if rows else ()
    return Tableau(order, ((), *a), _fractions(b), _fractions(error))


DORMAND_PRINCE = _tableau(
    5,
    "1/5; 3/40 9/40; 44/45 -56/15 32/9; 19372/6561 -25360/2187 64448/6561 -212/729;"
    "9017/3168 -355/33 46732/5247 49/176 -5103/18656",
    "35/384 0 500/1113 125/192 -2187/6784 11/84",
    "71/57600 0 -71/16695 71/1920 -17253/339200 22/525 -1/40",
)
"""Dormand and Prince (1980), 5(4), doi:10.1016/0771-050X(80)90013-3."""

BOGACKI_SHAMPINE = _tableau(3, "1/2; 0 3/4", "2/9 1/3 4/9", "-5/72 1/12 1/9 -1/8")
"""Bogacki and Shampine (1989), 3(2), doi:10.1016/0893-9659(89)90079-7."""

TABLEAUX: dict[str, Tableau] = {
    "euler": _tableau(1, "", "1"),
    "midpoint": _tableau(2, "1/2", "0 1"),
    "heun": _tableau(2, "1", "1/2 1/2"),
    "ralston": _tableau(2, "2/3", "1/4 3/4"),
    "kutta3": _tableau(3, "1/2; -1 2", "1/6 2/3 1/6"),
    "heun3": _tableau(3, "1/3; 0 2/3", "1/4 0 3/4"),
    "ssprk3": _tableau(3, "1; 1/4 1/4", "1/6 1/6 2/3"),
    "bogacki-shampine": BOGACKI_SHAMPINE,
    "rk4": _tableau(4, "1/2; 0 1/2; 0 0 1", "1/6 1/3 1/3 1/6"),
    "dormand-prince": DORMAND_PRINCE,
    "dop853": Tableau(8, tuple(tuple(row[:i].tolist()) for i, row in enumerate(DOP853.A)), tuple(DOP853.B.tolist())),
}
"""By name; dop853 is Hairer's method of order 8 with 12 stages, its coefficients from scipy."""
