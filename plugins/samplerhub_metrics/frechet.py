"""The Frechet distance between laws given by their moments or by rows, and what a sample tells about its error."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from samplerhub_metrics.batches import Batches

CHUNK = 8192
"""Rows that are summed at a time."""
EPS = torch.finfo(torch.float64).eps


@dataclass(frozen=True, slots=True)
class Moments:
    """Running sums over rows in float64, which add up: the moments of a union are those of its parts, merged."""

    n: int
    mean: Tensor
    """Shape (D,)."""
    scatter: Tensor
    """Sum of (x - mean)(x - mean)^T, shape (D, D)."""

    @classmethod
    def of(cls, x: Tensor) -> Moments:
        """Return the moments of rows x (n, D) of any floating-point type."""
        return reduce(cls.__add__, map(cls._of, torch.split(x, CHUNK)))

    @classmethod
    def _of(cls, x: Tensor) -> Moments:
        x = x.to(torch.float64)
        mean = x.mean(0)
        x = x - mean
        return cls(len(x), mean, x.T @ x)

    def __add__(self, other: Moments) -> Moments:
        """Return the moments of both together."""
        n, gap = self.n + other.n, other.mean - self.mean
        between = torch.outer(gap, gap) * (self.n * other.n / n)
        return Moments(n, self.mean + gap * (other.n / n), self.scatter + other.scatter + between)

    @property
    def covariance(self) -> Tensor:
        """The unbiased covariance, shape (D, D)."""
        return self.scatter / (self.n - 1)


@dataclass(frozen=True, slots=True)
class Law:
    """A mean, and a root of the covariance."""

    mean: Tensor
    """Shape (D,)."""
    root: Tensor
    """A with A A^T = S, shape (D, k)."""

    @classmethod
    def normal(cls, mean: Tensor, covariance: Tensor) -> Law:
        """Return the law of these moments: a Cholesky factor, or the axes of the ellipsoid where it is flat."""
        root, flat = torch.linalg.cholesky_ex(covariance)
        if flat:
            variances, axes = torch.linalg.eigh(covariance)
            some = variances > len(variances) * EPS * variances[-1].clamp(min=0)
            root = axes[:, some] * variances[some].sqrt()
        return cls(mean, root)

    @classmethod
    def of(cls, x: Tensor) -> Law:
        """Return the law of rows x (n, D); fewer rows than dimensions are themselves a root of their covariance."""
        if len(x) > x.shape[1]:
            return cls.by(Moments.of(x))
        x = x.to(torch.float64)
        mean = x.mean(0)
        return cls(mean, (x - mean).T / math.sqrt(len(x) - 1))

    @classmethod
    def by(cls, moments: Moments) -> Law:
        """Return the law of these sums."""
        return cls.normal(moments.mean, moments.covariance)


class Sample:
    """Rows in groups, whose unions are laws: sums over each group, or the rows themselves where they are few."""

    def __init__(self, batches: Batches) -> None:
        self._rows: dict[int, Tensor] = {}
        self._moments: dict[int, Moments] = {}
        for group, x in batches.grouped():
            if batches.n > x.shape[1]:
                new = Moments.of(x)
                self._moments[group] = self._moments[group] + new if group in self._moments else new
            else:
                self._rows[group] = torch.cat([self._rows[group], x]) if group in self._rows else x

    def law(self, groups: Iterable[int]) -> Law:
        """Return the law of some of the groups together."""
        if self._moments:
            return Law.by(reduce(Moments.__add__, (self._moments[g] for g in groups)))
        return Law.of(torch.cat([self._rows[g] for g in groups]))


@dataclass(frozen=True, slots=True)
class Known:
    """A law that is known, whichever groups are asked for."""

    exact: Law

    def law(self, groups: Iterable[int]) -> Law:
        """Return it."""
        return self.exact


def frechet(p: Law, q: Law) -> float:
    """Return |m - mu|^2 + tr(S + C) - 2 |A^T B|_*, S = A A^T and C = B B^T.

    A^T B has the singular values of S^1/2 C^1/2, so that the nuclear norm is tr (C^1/2 S C^1/2)^1/2 for any roots.
    """
    nuclear = torch.linalg.svdvals(p.root.T @ q.root).sum()
    apart: Tensor = (p.mean - q.mean).square().sum() + p.root.square().sum() + q.root.square().sum() - 2 * nuclear
    return apart.item()


@dataclass(frozen=True, slots=True)
class Coordinates:
    """Coordinates z = W (x - m) and w = V (y - mu) in which both covariances are the same diagonal s.

    T = W^T W is the optimal map from N(m, S) to N(mu, C), less the means, and V^T V its inverse; with the singular
    value decomposition A^T B = P s Q^T they are W = s^-1/2 (B Q)^T and V = s^-1/2 (A P)^T.
    """

    distance: float
    s: Tensor
    W: Tensor
    V: Tensor

    @classmethod
    def between(cls, p: Law, q: Law) -> Coordinates:
        """Return the coordinates of two laws, and their distance."""
        P, s, Qh = torch.linalg.svd(p.root.T @ q.root, full_matrices=False)
        distance = (p.mean - q.mean).square().sum() + p.root.square().sum() + q.root.square().sum() - 2 * s.sum()
        some = s > len(s) * EPS * s[:1].sum()
        s, P, Q = s[some], P[:, some], Qh.T[:, some]
        return cls(distance.item(), s, (q.root @ Q / s.sqrt()).T, (p.root @ P / s.sqrt()).T)


def influence(batches: Iterable[Tensor], law: Law, shift: Tensor, W: Tensor) -> Tensor:
    """Return by how much each row moves the distance, to first order, times n; shape (n,), mean 0.

    psi(x) = 2 (x - m).(m - mu) + |x - m|^2 - |W (x - m)|^2 + constant,    shift = m - mu:
    the Gateaux derivative of the distance in the direction of a point mass at x.
    """

    def parts() -> Iterator[Tensor]:
        for rows in (rows for x in batches for rows in torch.split(x, CHUNK)):
            c = rows - law.mean.to(rows)
            z = c @ W.T.to(rows)
            yield 2 * (c @ shift.to(rows)).double() + c.square().sum(1).double() - z.square().sum(1).double()

    psi = torch.cat(list(parts()))
    return psi - psi.mean()


def at_equality(s: Tensor, p: Law, q: Law, n: float, m: float) -> float:
    """Return the variance that the distance has at equal laws, where the influence vanishes.

        2 |S/n + C/m|^2 + (1/n + 1/m)^2 (sum_ij a_ij^2 + sum_i a_ii^2),    a_ij = s_i s_j/(s_i + s_j),

    from the second derivative sum_ij g_ij^2/(s_i + s_j) in the coordinates of `Coordinates`, g the error of a
    covariance, whose variances are taken from the normal law. m is infinite for a law that is known.
    """
    S_S, S_C, C_C = ((a.T @ b).square().sum() for a, b in ((p.root, p.root), (p.root, q.root), (q.root, q.root)))
    means = 2 * (S_S / n**2 + 2 * S_C / (n * m) + C_C / m**2)
    a = torch.outer(s, s) / (s[:, None] + s)
    spreads = (1 / n + 1 / m) ** 2 * (a.square().sum() + a.diagonal().square().sum())
    return (means + spreads).item()
