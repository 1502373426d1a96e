"""The Kullback-Leibler divergence on the line, by histograms."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from samplerhub import Component, Estimate, Evidence, Need, Target
from samplerhub_metrics.kl_samples import with_density
from samplerhub_metrics.vectors import Array

Counts = NDArray[np.intp]
FLOOR = 1e-12
"""What the paper's estimate adds to every density."""
MISSED = 2.0
"""Nats by which the log-ratio of two laws may be too low where there are no samples of the second."""
CELLS, BLOCK = 2**17, 2**18
"""Cells of the fine table, and samples counted at a time: both stay in the processor's cache."""


class KLHistogram(Component):
    r"""KL divergence between the samples and the target on the line, by histograms, in nats.

        forward: H(generated | target) = E_generated log(generated/target),    reverse: the roles exchanged

    The estimate of the paper below: the mean over numbers of bins, from bins - 20 to bins, of the divergence between
    histograms. In place of the plug-in sum P log(P/Q), which is too high by about
    (occupied bins - 1)/2 (1/n + 1/m), each histogram of counts N and M out of n and m gives

        sum_b N_b/n [psi(N_b) - psi(n) - psi(M_b + 1) + psi(m + 1)],

    psi the digamma function: at equal laws and n = m it has no bias at all, sparse bins included. Coarse bins can only
    lower a divergence; in bins without a sample of the second law the figure is a lower bound ("uncovered" is the share
    of the first law in them). At equal laws either law has such a share. For as much as that of the first is larger,
    the standard error allows for 2 nats.

    References:
        The Effect of Stochasticity in Score-Based Diffusion Sampling (Schaeffer et al., 2025), arXiv:2506.11378
        Entropy Estimates from Insufficient Samplings (Grassberger, 2003), arXiv:physics/0307138
    """

    direction: Literal["forward", "reverse"] = "forward"
    """forward: H(generated | target), quality; reverse: H(target | generated), coverage."""
    bins: int = Field(50, ge=25, le=2000)
    """Number of bin edges: a mean over the 20 numbers below it, multiples of 4 left out."""

    @property
    def needs(self) -> frozenset[Need]:
        """Samples on the line, and samples of the target."""
        return frozenset({Need.SAMPLES, Need.LINE, Need.REFERENCE})

    def least(self, target: Target) -> int:
        """Return 2."""
        return 2

    def __call__(self, evidence: Evidence) -> Estimate:
        """Return the divergence and its standard error.

        Raises:
            Mismatch: There are fewer than 2 samples, or they are all equal, or not finite.
        """
        generated, target = (with_density(x, least=2)[:, 0] for x in (evidence.samples, evidence.reference))
        forward = self.direction == "forward"
        p, q = (generated, target) if forward else (target, generated)
        n, m = len(p), len(q)

        low, high = min(p.min(), q.min()), max(p.max(), q.max())
        edges = [np.linspace(low, high, k) for k in range(self.bins - 20, self.bins) if k % 4]
        cuts = np.unique(np.concatenate([e[1:-1] for e in edges]))
        N, M = (below(x, cuts, low, high) for x in (p, q))
        binnings = [_Binning.of(e, *(between(B, cuts, e, size) for B, size in ((N, n), (M, m)))) for e in edges]

        value, plug_in = (float(np.mean([getattr(b, name) for b in binnings])) for name in ("unbiased", "plug_in"))
        first = _first_order(binnings, cuts, np.diff(N, prepend=0, append=n), np.diff(M, prepend=0, append=m))
        second = _second_order(binnings)
        # At equal laws the first-order variance is noise, on average twice the second-order: it counts for what it has
        # above that.
        noise = math.sqrt(max(first - 2 * second, 0) + second)
        uncovered = float(np.mean([b.N[b.M == 0].sum() / n for b in binnings]))
        opposite = float(np.mean([b.M[b.N == 0].sum() / m for b in binnings]))
        stderr = math.hypot(noise, MISSED * max(uncovered - opposite, 0.0))
        details: dict[str, float | str] = {
            "method": "histograms",
            "plug-in": plug_in,
            "bias": plug_in - value,
            "leading bias": float(np.mean([(b.occupied - 1) / 2 * (1 / n + 1 / m) for b in binnings])),
            "uncovered": uncovered,
            "samples": len(generated),
        }
        return Estimate(value, stderr, quantity="kl" if forward else "kl-reverse", details=details)


# --- counting ---------------------------------------------------------------------------------------------------------


def histograms(x: Array, edges: Sequence[Array]) -> list[Counts]:
    """Return the histogram of x (n,) between each of several sets of edges, all from x.min() to x.max(), in one pass.

    Equal to numpy.histogram(x, e)[0] for each e of edges.
    """
    cuts = np.unique(np.concatenate([e[1:-1] for e in edges]))
    B = below(x, cuts, edges[0][0], edges[0][-1])
    return [between(B, cuts, e, len(x)) for e in edges]


def between(B: Counts, cuts: Array, edges: Array, n: int) -> Counts:
    """Return the counts of n samples between edges, the last bin closed, from the numbers B below the cuts."""
    counts: Counts = np.diff(B[np.searchsorted(cuts, edges[1:-1])], prepend=0, append=n)
    return counts


def below(x: Array, cuts: Array, low: float, high: float) -> Counts:
    """Return the number of samples x (n,) of [low, high] below each cut, exactly, in one pass.

    Samples are counted in the cells of a fine grid. The cell of a number is a function that never decreases, rounding
    included, so that a sample is on the same side of a cut as its cell; only those in the cell of a cut are sorted.
    """
    width = max(high - low, CELLS / np.finfo(float).max)
    scale = CELLS / width

    def cell(v: Array) -> Counts:
        return ((v - low) * scale).astype(np.intp)

    at = cell(cuts)
    cut = np.zeros(CELLS + 1, bool)
    cut[at] = True
    table, near = np.zeros(CELLS + 1, np.intp), [x[:0]]
    for block in _blocks(x):
        i = cell(block)
        table += np.bincount(i, minlength=CELLS + 1)
        near.append(block[cut[i]])
    table[cut] = 0
    counts: Counts = np.cumsum(table)[at] + np.searchsorted(np.sort(np.concatenate(near)), cuts)
    return counts


def _blocks(x: Array) -> Iterator[Array]:
    return (x[i : i + BLOCK] for i in range(0, len(x), BLOCK))


# --- one histogram, and the variance of the mean of several -----------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Binning:
    """One histogram of two sets of samples."""

    edges: Array
    N: Array
    """Counts of p in each bin."""
    M: Array
    """Counts of q in each bin."""
    log_ratio: Array
    """Estimate of log(P/Q) in each bin, such that its mean under p has no bias at equal laws."""

    @classmethod
    def of(cls, edges: Array, N: Counts, M: Counts) -> _Binning:
        n, m = N.sum(), M.sum()
        log_ratio = _psi(np.maximum(N, 1)) - _psi(n) - _psi(M + 1) + _psi(m + 1)
        return cls(edges, N.astype(float), M.astype(float), log_ratio)

    @property
    def unbiased(self) -> float:
        """The corrected divergence."""
        return float(self.N @ self.log_ratio / self.N.sum())

    @property
    def plug_in(self) -> float:
        """The paper's divergence, densities raised by 1e-12."""
        width = self.edges[1] - self.edges[0]
        P, Q = (counts / (counts.sum() * width) + FLOOR for counts in (self.N, self.M))
        P, Q = P / P.sum(), Q / Q.sum()
        return float(P @ np.log(P / Q))

    @property
    def occupied(self) -> int:
        """Number of bins with a sample of either set."""
        return int(np.count_nonzero(self.N + self.M))


def _first_order(binnings: list[_Binning], cuts: Array, N: Counts, M: Counts) -> float:
    """Variance by the delta method: a sample of p counts with log(P/Q), one of q with -P/Q, averaged over binnings.

    N and M are the counts between the cuts, which are the edges of all binnings together.
    """
    n, m = N.sum(), M.sum()
    left = np.concatenate([[-np.inf], cuts])
    a, b = np.zeros(len(left)), np.zeros(len(left))
    for binning in binnings:
        i = np.searchsorted(binning.edges[1:-1], left, side="right")
        a += binning.log_ratio[i] / len(binnings)
        b += (binning.N / n * m / np.maximum(binning.M, 1))[i] / len(binnings)
    return _variance(a, N / n) / float(n) + _variance(b, M / m) / float(m)


def _second_order(binnings: list[_Binning]) -> float:
    r"""Variance at equal laws: 1/2 (1/n + 1/m)^2 tr(K^2), K the mean over binnings of the projections on the bins.

    For one binning tr(K^2) is the number of occupied bins less 1, as for chi-square; for two, a and b, the trace of the
    product is sum_ij F_ij^2/(F_i F_j) - 1, F the share of samples in bin i of a, in bin j of b, and in both.
    """
    n, m = binnings[0].N.sum(), binnings[0].M.sum()
    tops = [np.cumsum(b.N + b.M) / (n + m) for b in binnings]
    top, bottom = np.concatenate(tops), np.concatenate([np.concatenate([[0.0], t[:-1]]) for t in tops])
    top, bottom = top[top > bottom], bottom[top > bottom]
    both = np.clip(np.minimum.outer(top, top) - np.maximum.outer(bottom, bottom), 0, None)
    share = top - bottom
    trace = (both**2 / np.multiply.outer(share, share)).sum() / len(binnings) ** 2 - 1
    return float((1 / n + 1 / m) ** 2 * trace / 2)


def _variance(values: Array, shares: Array) -> float:
    mean = shares @ values
    return float(shares @ (values - mean) ** 2)


def _psi(count: int | NDArray[np.intp]) -> Array:
    return torch.digamma(torch.as_tensor(count, dtype=torch.float64)).numpy()
