"""The Kullback-Leibler divergence in any dimension, by distances to nearest neighbours."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from scipy.spatial import cKDTree
from scipy.special import digamma
from torch import Tensor

from samplerhub import Component, Estimate, Evidence, Need, Setup, Target
from samplerhub.errors import Mismatch
from samplerhub_metrics.kl_samples import with_density
from samplerhub_metrics.vectors import Array, shuffled

GROUPS, SPLITS = 20, 3
"""Disjoint groups whose estimates give the standard error, and how often the samples are split into such groups."""
FEW = 5000
"""Up to so many samples one thread looks for neighbours."""
TIED = 0.1
"""No larger share of the samples may be copies of others: rounding to float32 makes few."""
LEFT = 0.25
"""Share of the control's correction that the standard error allows for; of normal and bimodal laws less was left."""


class KLKnn(Component):
    r"""KL divergence between the samples and the target in any dimension, by nearest neighbours, in nats.

        forward: H(generated | target) = E_generated log(generated/target),    reverse: the roles exchanged

    With r(x; X) the distance from x to its k-th neighbour in X, itself left out, samples X of p and Y of q in d
    dimensions, n of each, means over X and over Y:

        density:  E_Y [d log r(y; Y) + log q(y)] - E_X [d log r(x; X) + log q(x)]
        samples:  E_X d [log r(x; Y) - log r(x; X)] + E_Y c(y) - E_X c(x),    c(z) = d log r(z; Z) + log g(z).

    "density" is the difference of two Kozachenko-Leonenko entropies, and takes the density q of the target, up to a
    factor. "samples" begins with the estimate of Wang, Kulkarni and Verdu. Both are 0 in the mean at equal laws: what a
    law of neighbours is wrong by, in its tails and in high dimension, is about the same twice, and cancels. Where p is
    not q it cancels in "density", but r(x; Y) has no partner; there the control c takes off what the same distances to
    a sample Z of the Gaussian g that is fitted to Y are wrong by. (Each half of Y is controlled by the other.) The
    farther q is from a Gaussian, the less that is worth, above all in more than a few dimensions: a quarter of the
    correction ("control") is part of the standard error. Laws with atoms or on a surface have no density at all.

    The standard error comes from the estimates for disjoint groups of samples: their variance goes as 1/n.

    References:
        Divergence Estimation for Multidimensional Densities Via k-Nearest-Neighbor Distances (Wang, Kulkarni and Verdú,
            2009), doi:10.1109/TIT.2009.2016060
        Efficient Multivariate Entropy Estimation via k-Nearest Neighbour Distances (Berrett, Samworth and Yuan, 2019),
            arXiv:1606.00304
    """

    direction: Literal["forward", "reverse"] = "forward"
    """forward: H(generated | target), quality; reverse: H(target | generated), coverage."""
    form: Literal["auto", "samples", "density"] = "auto"
    """density: with the target's density, forward only; samples: from samples alone; auto: density where it can be."""
    k: int = Field(5, ge=1, le=100)
    """Which neighbour: more of them make for less noise and more bias."""
    dimensions: int = Field(20, ge=1)
    """Refuse samples of more dimensions."""

    @property
    def needs(self) -> frozenset[Need]:
        """Samples of both laws, and the density of the target if it is to be used."""
        density = {"samples": Need.REFERENCE, "auto": Need.REFERENCE | Need.DENSITY, "density": Need.DENSITY}
        return frozenset({Need.SAMPLES, Need.REFERENCE, density[self.form]})

    def least(self, target: Target) -> int:
        """Return two groups of 4 k samples, or twice as many halves as determine a covariance."""
        return self._least(math.prod(target.shape))

    def _least(self, d: int) -> int:
        return 4 * max(2 * self.k, d + 1)

    def inspect(self, setup: Setup) -> None:
        """Return if the target has few enough dimensions.

        Raises:
            Mismatch: It has more; or the density of the samples would be needed.
        """
        d = math.prod(setup.shape)
        if d > self.dimensions:
            raise Mismatch(
                f"samples have {d} dimensions, and no neighbours near enough to tell a density by; dimensions = "
                f"{self.dimensions} is the most that is allowed: compare with fd, or raise it and distrust the figure"
            )
        if self.form == "density" and self.direction == "reverse":
            raise Mismatch(
                "form 'density' and direction 'reverse': the samples' density is not known; choose 'samples'"
            )

    def __call__(self, evidence: Evidence) -> Estimate:
        """Return the divergence and its standard error.

        Raises:
            Mismatch: There are too few samples, or some are not finite, or many are copies of others.
        """
        forward, k = self.direction == "forward", self.k
        least = self._least(math.prod(evidence.samples.shape[1:]))
        generated, target = (_ordered(z, least) for z in (evidence.samples, evidence.reference))
        p, q = (generated, target) if forward else (target, generated)
        details: dict[str, float | str] = {"k": k, "samples": len(generated), "dimension": p.shape[1]}

        if forward and self.form != "samples" and evidence.offers(Need.DENSITY):
            shape = (-1, *evidence.samples.shape[1:])
            sets = [np.column_stack([z, evidence.log_prob(torch.from_numpy(z).reshape(shape)).numpy()]) for z in (p, q)]
            value, stderr = from_density(*sets, k=k), _stderr(lambda *s: from_density(*s, k=k), sets, least)
            details["method"] = "nearest neighbours and density"
        else:
            sets = controlled(p, q)
            plain, control = from_samples(*sets, k=k)
            value, noise = plain + control, _stderr(lambda *s: sum(from_samples(*s, k=k)), sets, least)
            stderr = math.hypot(noise, LEFT * control)
            details |= {"method": "nearest neighbours", "plain": plain, "control": control}
        return Estimate(value, stderr, quantity="kl" if forward else "kl-reverse", details=details)


def from_density(x: Array, y: Array, *, k: int) -> float:
    """Return the form "density" for samples x (n, d + 1) and y (m, d + 1), the last column the log-density of q."""
    (x, log_q_x), (y, log_q_y) = ((z[:, :-1], z[:, -1]) for z in (x, y))
    d = x.shape[1]
    entropies = d * (log_r(y, y, k).mean() - log_r(x, x, k).mean()) + digamma(len(y)) - digamma(len(x))
    return float(entropies + log_q_y.mean() - log_q_x.mean())


def from_samples(x: Array, y_a: Array, y_b: Array, Z_a: Array, Z_b: Array, *, k: int) -> tuple[float, float]:
    """Return the two parts of the form "samples" for sets that `controlled` made: the plain estimate, and the control.

    Of y_a only log g_b is used, of y_b only log g_a: there is no half that its own fit suits too well.
    """
    (x, g_x), (y_a, g_y_a), (y_b, g_y_b) = ((z[:, :-2], z[:, -2:]) for z in (x, y_a, y_b))
    n, d = x.shape
    y = np.vstack([y_a, y_b])
    plain = d * (log_r(x, y, k).mean() - log_r(x, x, k).mean()) + digamma(len(y) + 1) - digamma(n)
    by_a = (d * log_r(y_b, Z_a, k) + g_y_b[:, 0]).mean() - (d * log_r(x, Z_a, k) + g_x[:, 0]).mean()
    by_b = (d * log_r(y_a, Z_b, k) + g_y_a[:, 1]).mean() - (d * log_r(x, Z_b, k) + g_x[:, 1]).mean()
    return float(plain), float(by_a + by_b) / 2


def controlled(x: Array, y: Array) -> list[Array]:
    """Return x and the halves y_a and y_b, with log g_a and log g_b in two more columns, and samples Z_a and Z_b."""
    y_a, y_b = y[::2], y[1::2]
    g_a, g_b = _Normal.fitted(y_a), _Normal.fitted(y_b)
    sets = [np.column_stack([z, g_a.log_density(z), g_b.log_density(z)]) for z in (x, y_a, y_b)]
    rng = np.random.default_rng(len(y))
    return [*sets, g_a.sample(len(y), rng), g_b.sample(len(y), rng)]


@dataclass(frozen=True, slots=True, eq=False)
class _Normal:
    """A normal law."""

    mean: Array
    L: Array
    """Root of the covariance: L L^T."""

    @classmethod
    def fitted(cls, y: Array) -> _Normal:
        d = y.shape[1]
        covariance: Array = np.cov(y.T).reshape(d, d)
        rank = int(np.linalg.matrix_rank(covariance, hermitian=True))
        if rank < d:
            raise Mismatch(
                f"the samples lie in {rank} of {d} dimensions, where they have no density; choose another metric"
            )
        return cls(y.mean(0), np.asarray(np.linalg.cholesky(covariance), np.float64))

    def log_density(self, z: Array) -> Array:
        """Up to a constant."""
        w = np.linalg.solve(self.L, (z - self.mean).T)
        return np.asarray((w * w).sum(0) / -2)

    def sample(self, m: int, rng: np.random.Generator) -> Array:
        return self.mean + rng.standard_normal((m, len(self.mean))) @ self.L.T


def log_r(x: Array, y: Array, k: int) -> Array:
    """Return the logarithm of the distances from x (n, d) to their k-th neighbours in y, shape (n,).

    If x is y itself, a sample is no neighbour of its own.
    """
    workers = -1 if len(x) > FEW else 1  # below that, threads cost more than they save
    r: Array = cKDTree(y).query(x, k=[k + (x is y)], workers=workers)[0][:, 0]
    if not r.all():
        raise Mismatch(f"{int((r == 0).sum())} of {len(r)} samples coincide with k = {k} others; raise k")
    return np.log(r)


def _stderr(estimate: Callable[..., float], sets: Sequence[Array], least: int) -> float:
    """Return the standard error of an estimate from sets of samples, from those for disjoint groups of each set."""
    G = max(2, min(GROUPS, 2 * len(sets[0]) // least))
    variances = []
    for split in range(SPLITS):
        rng = np.random.default_rng(split)
        mixed = [rng.permutation(z) for z in sets]
        variances.append(np.var([estimate(*(z[g::G] for z in mixed)) for g in range(G)], ddof=1) / G)
    return math.sqrt(float(np.mean(variances)))


def _ordered(z: Tensor, least: int) -> Array:
    """Return samples as rows, in a random order that does not depend on theirs."""
    x = shuffled(with_density(z, least))
    copies = len(x) - len(np.unique(x, axis=0))
    if copies > TIED * len(x):
        raise Mismatch(
            f"{copies} of {len(x)} samples are copies of others: a law with atoms has no density, and its divergence "
            f"is infinite; compare at a noise level above 0"
        )
    return x
