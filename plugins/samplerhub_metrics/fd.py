"""The Frechet distance on raw vectors."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from samplerhub import Component, Estimate, Evidence, Need, Target
from samplerhub.errors import Mismatch

Distance = Callable[[slice | None], float]
"""The plug-in distance without some samples (those of a group) of each set; None leaves out nothing."""


class FD(Component):
    r"""Frechet distance between the samples and the target, on the raw vectors.

        FD = |m - mu|^2 + tr(S + C - 2 (C^1/2 S C^1/2)^1/2)

    m and S are mean and covariance of the samples; mu and C those of the target, in closed form where it knows them,
    else of as many samples of it. It is the squared 2-Wasserstein distance between the Gaussians of those moments, and
    it is called FID only on the features of the Inception network. The plug-in value is too high by a term in 1/n; that
    bias is removed, and the standard error found, by leaving out one group of samples at a time (the jackknife). With
    fewer samples than dimensions there is more bias than that; compare such figures at equal numbers of samples only.

    References:
        GANs Trained by a Two Time-Scale Update Rule (Heusel et al., 2017), arXiv:1706.08500
        Effectively Unbiased FID and Inception Score and where to find them (Chong and Forsyth, 2020), arXiv:1911.07023
        Delete-m Jackknife for Unequal m (Busing, Meijer and Van Der Leeden, 1999), doi:10.1023/A:1008800423698
    """

    groups: int = Field(20, ge=2)
    """Number of groups of the jackknife; as many evaluations of the distance."""

    @property
    def needs(self) -> frozenset[Need]:
        """Samples, and the target's moments or samples of it."""
        return frozenset({Need.SAMPLES, Need.MOMENTS | Need.REFERENCE})

    def least(self, target: Target) -> int:
        """Return 3: a covariance, and one sample to leave out."""
        return 3

    def __call__(self, evidence: Evidence) -> Estimate:
        """Return the distance and its standard error.

        Raises:
            Mismatch: There are fewer than 3 samples.
        """
        x = _vectors(evidence.samples)
        n, d = x.shape
        if evidence.offers(Need.MOMENTS):
            mu, C = (moment.to("cpu", torch.float64) for moment in evidence.moments)
            distance = to_moments(x, mu, C) if n > d else to_moments_by_rows(x, mu, C)
            against = "closed form"
        else:
            y = _vectors(evidence.reference)
            distance = to_samples(x, y) if n > d else to_samples_by_rows(x, y)
            against = f"{len(y)} samples of the target"
        G = min(self.groups, n)
        plug_in = distance(None)
        value, stderr = jackknife(plug_in, [distance(slice(g, None, G)) for g in range(G)], n)
        details: dict[str, float | str] = {"estimator": "jackknife", "plug-in": plug_in, "bias": plug_in - value}
        details |= {"against": against, "samples": n}
        return Estimate(value, stderr, details=details)


def jackknife(plug_in: float, without: list[float], n: int) -> tuple[float, float]:
    """Return the value without bias, and its standard error, from the values without group g = 0, 1, ... of G.

    Group g has the samples g, g + G, ...; the groups' sizes differ by 1 at most.
    """
    G = len(without)
    h = [n / len(range(g, n, G)) for g in range(G)]
    value = G * plug_in - sum((1 - 1 / h_g) * f for h_g, f in zip(h, without))
    pseudo = [h_g * plug_in - (h_g - 1) * f for h_g, f in zip(h, without)]
    return value, math.sqrt(sum((p - value) ** 2 / (h_g - 1) for p, h_g in zip(pseudo, h)) / G)


def to_moments(x: Tensor, mu: Tensor, C: Tensor) -> Distance:
    """Distance from samples x (n, d) to moments, for n > d."""
    sums, R = _Sums(x), _root(C)
    return lambda out: frechet(*sums.moments(out), mu, R)


def to_samples(x: Tensor, y: Tensor) -> Distance:
    """Distance from samples x (n, d) to samples y (m, d), for n > d."""
    sums_x, sums_y = _Sums(x), _Sums(y)

    def distance(out: slice | None) -> float:
        mu, C = sums_y.moments(out)
        return frechet(*sums_x.moments(out), mu, _root(C))

    return distance


def to_moments_by_rows(x: Tensor, mu: Tensor, C: Tensor) -> Distance:
    """Distance from few samples x (n, d) to moments, for n <= d: S = X^T X and C S have the eigenvalues of X C X^T."""
    z = x - mu
    gram, spread = z @ z.T, z @ C @ z.T

    def distance(out: slice | None) -> float:
        i = _kept(len(x), out)
        n, K = len(i), gram[i][:, i]
        S_trace = (K.trace() - K.mean() * n) / (n - 1)
        M = _centred(spread[i][:, i]) / (n - 1)
        return (K.mean() + S_trace + C.trace() - 2 * _root_trace(M)).item()

    return distance


def to_samples_by_rows(x: Tensor, y: Tensor) -> Distance:
    """Distance from few samples x (n, d) to samples y (m, d): the singular values of X Y^T, an n x m matrix."""
    centre = y.mean(0)
    x, y = x - centre, y - centre
    cross, x_square, y_square = x @ y.T, x.square().sum(1), y.square().sum(1)

    def distance(out: slice | None) -> float:
        i, j = _kept(len(x), out), _kept(len(y), out)
        n, m = len(i), len(j)
        m_x, m_y = x[i].mean(0), y[j].mean(0)
        S_trace = (x_square[i].sum() - n * m_x.square().sum()) / (n - 1)
        C_trace = (y_square[j].sum() - m * m_y.square().sum()) / (m - 1)
        A = _centred(cross[i][:, j])
        M = A @ A.T / ((n - 1) * (m - 1))
        return ((m_x - m_y).square().sum() + S_trace + C_trace - 2 * _root_trace(M)).item()

    return distance


class _Sums:
    """Sums over samples, from which the moments of what is left when a group goes are had at once."""

    def __init__(self, x: Tensor) -> None:
        self.centre = x.mean(0)
        self.x = x - self.centre
        self.total, self.square = self.x.sum(0), self.x.T @ self.x

    def moments(self, out: slice | None) -> tuple[Tensor, Tensor]:
        """Return mean and covariance without those rows."""
        n, total, square = len(self.x), self.total, self.square
        if out is not None:
            x = self.x[out]
            n, total, square = n - len(x), total - x.sum(0), square - x.T @ x
        m = total / n
        return self.centre + m, (square - n * torch.outer(m, m)) / (n - 1)


def frechet(m: Tensor, S: Tensor, mu: Tensor, R: Tensor) -> float:
    """Frechet distance to mean mu and covariance R R^T: R^T S R has the eigenvalues of C^1/2 S C^1/2."""
    return ((m - mu).square().sum() + S.trace() + R.square().sum() - 2 * _root_trace(R.T @ S @ R)).item()


def _root(C: Tensor) -> Tensor:
    """Return R with R R^T = C."""
    variances, axes = torch.linalg.eigh(C)
    root: Tensor = axes * variances.clamp(min=0).sqrt()
    return root


def _root_trace(M: Tensor) -> Tensor:
    """Return tr M^1/2 of a symmetric matrix that is positive up to rounding."""
    root: Tensor = torch.linalg.eigvalsh((M + M.T) / 2).clamp(min=0).sqrt()
    return root.sum()


def _centred(A: Tensor) -> Tensor:
    return A - A.mean(0) - A.mean(1, keepdim=True) + A.mean()


def _kept(n: int, out: slice | None) -> Tensor:
    keep = torch.ones(n, dtype=torch.bool)
    if out is not None:
        keep[out] = False
    return keep.nonzero().squeeze(1)


def _vectors(x: Tensor) -> Tensor:
    """Return samples as float64 rows (n, D), in a random order that is the same for every order they come in."""
    x = x.flatten(1).to("cpu", torch.float64)
    if len(x) < 3:
        raise Mismatch(f"the Frechet distance needs 3 samples or more, to leave some out; there are {len(x)}")
    rows = x.numpy() + 0.0
    rows = rows[np.lexsort(rows.T)]
    # Groups must not depend on rank, the same way in each set: the order is drawn from the sorted numbers themselves.
    seed = int.from_bytes(hashlib.blake2b(rows.tobytes(), digest_size=16).digest(), "big")
    return torch.from_numpy(rows[np.random.default_rng(seed).permutation(len(rows))])
