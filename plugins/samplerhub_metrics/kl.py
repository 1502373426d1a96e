"""The Kullback-Leibler divergence, by histograms on the line and in closed form for Gaussians."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from samplerhub import Component, Estimate, Evidence, IsGaussian, Need, Target
from samplerhub.errors import Mismatch

Array = NDArray[np.float64]
FLOOR = 1e-12
"""What the paper's estimate adds to every density."""


class KL(Component):
    r"""Kullback-Leibler divergence between the samples and the target, in nats.

        forward: H(generated | target) = E_generated log(generated/target),    reverse: the roles exchanged

    On the line, the estimate of the paper below: the mean over numbers of bins, from bins - 20 to bins, of the
    divergence between histograms. In place of the plug-in sum P log(P/Q), which is too high by about
    (occupied bins - 1)/2 (1/n + 1/m), each histogram of counts N and M out of n and m gives

        sum_b N_b/n [psi(N_b) - psi(n) - psi(M_b + 1) + psi(m + 1)],

    psi the digamma function: at equal laws and n = m it has no bias at all, sparse bins included. Coarse bins can only
    lower a divergence; in bins without a sample of the target the figure is a lower bound ("uncovered" is their share).

    For a Gaussian target, the divergence between the Gaussian that the samples' mean and covariance determine and the
    target, in closed form and corrected so that it has no bias if the samples are Gaussian.

    References:
        The Effect of Stochasticity in Score-Based Diffusion Sampling (Schaeffer et al., 2025), arXiv:2506.11378
        Entropy Estimates from Insufficient Samplings (Grassberger, 2003), arXiv:physics/0307138
    """

    direction: Literal["forward", "reverse"] = "forward"
    """forward: H(generated | target), quality; reverse: H(target | generated), coverage."""
    bins: int = Field(50, ge=25, le=2000)
    """On the line, the number of bin edges: a mean over the 20 numbers below it, multiples of 4 left out."""

    @property
    def needs(self) -> frozenset[Need]:
        """Samples, and either a Gaussian target or a line and samples of the target."""
        return frozenset({Need.SAMPLES, Need.GAUSSIAN | Need.LINE, Need.REFERENCE | Need.MOMENTS})

    def least(self, target: Target) -> int:
        """Return 2 on the line; where the target is Gaussian, what the covariance of the samples needs."""
        d = math.prod(target.shape)
        gaussian = isinstance(target, IsGaussian)
        return (d + 1 if self.direction == "forward" else d + 3) if gaussian else 2

    def __call__(self, evidence: Evidence) -> Estimate:
        """Return the divergence and its standard error.

        Raises:
            Mismatch: There are too few samples.
        """
        if evidence.offers(Need.GAUSSIAN):
            mean, covariance = evidence.moments
            return gaussian_kl(evidence.samples, mean, covariance, self.direction)
        generated, reference = (np.sort(_line(x)) for x in (evidence.samples, evidence.reference))
        p, q = (generated, reference) if self.direction == "forward" else (reference, generated)
        edges = [k for k in range(self.bins - 20, self.bins) if k % 4]
        return histogram_kl(p, q, edges)


def gaussian_kl(samples: Tensor, mean: Tensor, covariance: Tensor, direction: str) -> Estimate:
    r"""Return the divergence between the Gaussian fitted to samples (n, *d) and N(mean, covariance).

    With z = L^-1 (x - mean), covariance = L L^T, and m, C the mean and the covariance of z,

        forward: 1/2 [tr C + |m|^2 - d - log det C],    reverse: 1/2 [tr C^-1 + m^T C^-1 m - d + log det C].

    If z is Gaussian, (n - 1) C is a Wishart matrix, and the expectations of log det C and C^-1 are known.
    """
    x = samples.flatten(1).to("cpu", torch.float64)
    n, d = x.shape
    least = d + 1 if direction == "forward" else d + 3
    if n < least:
        raise Mismatch(f"the {direction} KL divergence in dimension {d} needs {least} samples or more; there are {n}")
    L = torch.linalg.cholesky(covariance.to(x))
    z = torch.linalg.solve_triangular(L, (x - mean.to(x)).T, upper=False).T
    m, u = z.mean(0), z - z.mean(0)
    C = u.T @ u / (n - 1)
    P = torch.linalg.inv(C)
    j = torch.arange(1, d + 1, dtype=torch.float64)
    log_det = C.logdet().item()
    log_det_bias = (torch.digamma((n - j) / 2).sum() + d * math.log(2 / (n - 1))).item()

    uPu, mu, mPu = ((u @ P) * u).sum(1), u @ m, u @ P @ m
    if direction == "forward":
        trace, square = C.trace().item(), (m @ m).item()
        plug_in = (trace + square - d - log_det) / 2
        value = (trace * (1 - 1 / n) + square - d - (log_det - log_det_bias)) / 2
        influence = ((u * u).sum(1) - uPu) / 2 + mu
    else:
        trace, square = P.trace().item(), (m @ P @ m).item()
        plug_in = (trace + square - d + log_det) / 2
        value = ((n - d - 2) / (n - 1) * (trace + square) - d / n - d + (log_det - log_det_bias)) / 2
        influence = (uPu - ((u @ P) ** 2).sum(1) - mPu**2) / 2 + mPu
    # At equal laws 2 n KL is chi-square with k degrees of freedom; the first-order term alone would then be k/n^2.
    k = d * (d + 3) / 2
    stderr = _combine(influence.var().item() / n, k / (2 * n**2))
    return Estimate(
        value, stderr, details={"estimator": "gaussian fit", "plug-in": plug_in, "bias": plug_in - value, "samples": n}
    )


def histogram_kl(p: Array, q: Array, edges: list[int]) -> Estimate:
    """Return the divergence H(p|q) between the laws of sorted samples, averaged over numbers of edges."""
    n, m = len(p), len(q)
    low, high = min(p[0], q[0]), max(p[-1], q[-1])
    binnings = [_Binning.of(p, q, np.linspace(low, high, k)) for k in edges]
    value = float(np.mean([b.unbiased for b in binnings]))
    plug_in = float(np.mean([b.plug_in for b in binnings]))
    uncovered = float(np.mean([b.N[b.M == 0].sum() / n for b in binnings]))
    leading = float(np.mean([(b.occupied - 1) / 2 * (1 / n + 1 / m) for b in binnings]))
    return Estimate(
        value,
        _combine(_first_order(binnings, p, q), _second_order(binnings)),
        details={
            "estimator": "histograms",
            "plug-in": plug_in,
            "bias": plug_in - value,
            "leading bias": leading,
            "uncovered": uncovered,
            "samples": n,
        },
    )


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
    def of(cls, p: Array, q: Array, edges: Array) -> _Binning:
        """Count sorted samples between edges; the last bin is closed."""
        N, M = (np.diff(np.searchsorted(x, edges[1:-1]), prepend=0, append=len(x)) for x in (p, q))
        psi_N, psi_n, psi_M, psi_m = (_psi(count) for count in (np.maximum(N, 1), len(p), M + 1, len(q) + 1))
        return cls(edges, N.astype(float), M.astype(float), psi_N - psi_n - psi_M + psi_m)

    @property
    def unbiased(self) -> float:
        """The corrected divergence."""
        return float(self.N @ self.log_ratio / self.N.sum())

    @property
    def plug_in(self) -> float:
        """The paper's divergence, densities raised by 1e-12."""
        width = self.edges[1] - self.edges[0] or 1.0
        P, Q = (counts / (counts.sum() * width) + FLOOR for counts in (self.N, self.M))
        P, Q = P / P.sum(), Q / Q.sum()
        return float(P @ np.log(P / Q))

    @property
    def occupied(self) -> int:
        """Number of bins with a sample of either set."""
        return int(np.count_nonzero(self.N + self.M))


def _first_order(binnings: list[_Binning], p: Array, q: Array) -> float:
    """Variance by the delta method: a sample of p counts with log(P/Q), one of q with -P/Q, averaged over binnings."""
    n, m = len(p), len(q)
    cuts = np.unique(np.concatenate([b.edges[1:-1] for b in binnings]))
    N, M = (np.diff(np.searchsorted(x, cuts), prepend=0, append=len(x)) for x in (p, q))
    left = np.concatenate([[-np.inf], cuts])
    a, b = np.zeros(len(left)), np.zeros(len(left))
    for binning in binnings:
        i = np.searchsorted(binning.edges[1:-1], left, side="right")
        a += binning.log_ratio[i] / len(binnings)
        b += (binning.N / n * m / np.maximum(binning.M, 1))[i] / len(binnings)
    return float(_variance(a, N / n) / n + _variance(b, M / m) / m)


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


def _combine(first: float, second: float) -> float:
    """Return the standard error: at equal laws the first-order variance is noise, on average twice the second-order."""
    return math.sqrt(max(first - 2 * second, 0) + second)


def _variance(values: Array, shares: Array) -> Array:
    mean = shares @ values
    return np.asarray(shares @ (values - mean) ** 2)


def _psi(count: int | NDArray[np.int64]) -> Array:
    return torch.digamma(torch.as_tensor(count, dtype=torch.float64)).numpy()


def _line(x: Tensor) -> Array:
    """Return samples on the line, shape (n,), float64."""
    if x.shape[0] < 2:
        raise Mismatch(f"the KL divergence needs 2 samples or more; there are {x.shape[0]}")
    return x.flatten().to("cpu", torch.float64).numpy()
