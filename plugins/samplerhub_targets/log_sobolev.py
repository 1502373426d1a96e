r"""Constants of the log-Sobolev inequality: of mixtures of two Gaussians, and of noised data in a ball.

    H(nu|mu) <= C/2 E_nu |grad log(nu/mu)|^2    for all nu;    N(m, S) has the largest eigenvalue of S.

Everything here is for the law of y = x_0 + rho eps. A larger constant is a weaker inequality; infinity is none at all.

References:
    Poincaré and Log-Sobolev Inequalities for Mixtures (Schlichting, 2019), arXiv:1812.06464
    Dimension-free log-Sobolev inequalities for mixture distributions (Chen, Chewi and Niles-Weed, 2021),
        arXiv:2102.11476
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Kind = Literal["paper", "half", "split"]


def compact_support(R: float, v: float) -> float:
    """Return 6 (4 R^2 + v) exp(4 R^2/v), a constant of mu * N(0, v I) for any mu in a ball of radius R.

    It does not depend on the dimension, is far from the best constant, and grows past any number as v falls below R^2.
    """
    if R == 0:
        return v
    if v == 0 or 4 * R**2 / v > 700:
        return math.inf
    return 6 * (4 * R**2 + v) * math.exp(4 * R**2 / v)


def radius(x: Tensor) -> float:
    """Return the radius of a ball around the rows of x (n, d), within a few percent of the smallest.

    Badoiu and Clarkson: the centre goes 1/(i + 1) of the way to the point that is farthest from it, i = 1, 2, ...
    Every i gives a ball that holds them all; the more numbers there are, the sooner it ends.
    """
    x = x.double()
    centre, R = x.mean(0), math.inf
    for i in range(1, min(1000, 10 + 10**9 // x.numel()) + 1):
        distance = (x - centre).norm(dim=1)
        R = min(R, distance.max().item())
        centre = centre + (x[distance.argmax()] - centre) / (i + 1)
    return R


@dataclass(frozen=True, slots=True)
class Divergence:
    """The chi-square divergence of N(mu_a, A + rho^2 I) from N(mu_b, B + rho^2 I), as a function of rho."""

    a: list[float]
    """Eigenvalues of A."""
    b: list[float]
    """Eigenvalues of B."""
    e: list[float]
    """Eigenvalues of 2 B - A."""
    m2: list[float]
    """Squares of mu_a - mu_b along the eigenvectors of 2 B - A."""

    @classmethod
    def of(cls, mu_a: Tensor, A: Tensor, mu_b: Tensor, B: Tensor) -> Divergence:
        """Decompose the covariances once."""
        e, axes = torch.linalg.eigh(2 * B - A)
        a, b = torch.linalg.eigvalsh(A), torch.linalg.eigvalsh(B)
        return cls(a.tolist(), b.tolist(), e.tolist(), ((mu_a - mu_b) @ axes).square().tolist())

    def __call__(self, rho: float) -> float:
        """Return 1 + chi^2 = int p_a^2/p_b; infinite unless 2 B - A + rho^2 I is positive."""
        v = rho**2
        if min(self.e) + v <= 0:
            return math.inf
        total = sum(
            math.log(b + v) - (math.log(a + v) + math.log(e + v)) / 2 + m2 / (e + v)
            for a, b, e, m2 in zip(self.a, self.b, self.e, self.m2)
        )
        return math.exp(total) if total < 700 else math.inf


@dataclass(frozen=True, slots=True)
class TwoGaussians:
    r"""A constant of p N(mu_0, S_0) + q N(mu_1, S_1) at every noise level.

    With C_i the largest eigenvalue of S_i, X_0 = 1 + chi^2(0|1), X_1 = 1 + chi^2(1|0) and
    L = (log p - log q)/(p - q),

        C = min over eta of max[C_0 (1 + q L (1 + (1 - eta) (X_1 - 1))), C_1 (1 + p L (1 + eta (X_0 - 1)))].

    "paper": eta = 0 or 1, Schlichting's Corollary 2. "half": L/2 in place of L, which is as rigorous:

        Ent(f^2) <= p Ent_0(f^2) + q Ent_1(f^2) + p q L [Var_0 f + Var_1 f + (E_0 f - E_1 f)^2],

    Ent_i(f^2) <= 2 C_i E_i|f'|^2, Var_i f <= C_i E_i|f'|^2 and (E_0 f - E_1 f)^2 <= chi^2(0|1) Var_1 f, or the mirror
    image of it. "split": L/2, and a share eta of the squared difference bounded by either.
    """

    p: float
    q: float
    C_0: float
    """Largest eigenvalue of S_0."""
    C_1: float
    X_0: Divergence
    X_1: Divergence

    @classmethod
    def of(cls, w: Tensor, mu: Tensor, S: Tensor) -> TwoGaussians:
        """Take weights (2,), means (2, d) and covariances (2, d, d)."""
        C_0, C_1 = torch.linalg.eigvalsh(S)[:, -1].tolist()
        X_0, X_1 = Divergence.of(mu[0], S[0], mu[1], S[1]), Divergence.of(mu[1], S[1], mu[0], S[0])
        return cls(w[0].item(), w[1].item(), C_0, C_1, X_0, X_1)

    def __call__(self, rho: float, kind: Kind) -> float:
        """Return the constant at a noise level."""
        p, q = self.p, self.q
        L = 2.0 if abs(p - q) < 1e-9 else (math.log(p) - math.log(q)) / (p - q)
        L *= 1 if kind == "paper" else 0.5
        C_0, C_1 = self.C_0 + rho**2, self.C_1 + rho**2
        least_0, least_1 = C_0 * (1 + q * L), C_1 * (1 + p * L)
        rest_0, rest_1 = C_0 * q * L * (self.X_1(rho) - 1), C_1 * p * L * (self.X_0(rho) - 1)
        ends = min(max(least_0, least_1 + rest_1), max(least_0 + rest_0, least_1))
        if kind != "split" or math.isinf(rest_0) or math.isinf(rest_1) or rest_0 + rest_1 == 0:
            return ends
        eta = min(max((least_0 + rest_0 - least_1) / (rest_0 + rest_1), 0.0), 1.0)
        return min(ends, max(least_0 + (1 - eta) * rest_0, least_1 + eta * rest_1))
