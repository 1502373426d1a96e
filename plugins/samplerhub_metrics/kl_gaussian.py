"""The Kullback-Leibler divergence from the moments of the samples, for a Gaussian target."""

from __future__ import annotations

import math
from typing import Literal

import torch

from samplerhub import Component, Estimate, Evidence, Need, Target
from samplerhub.errors import Mismatch
from samplerhub_metrics.kl_samples import with_density


class KLGaussian(Component):
    r"""KL divergence between the Gaussian fitted to the samples and a Gaussian target, in nats.

        forward: H(generated | target) = E_generated log(generated/target),    reverse: the roles exchanged

    In closed form: with z = L^-1 (x - mean), covariance = L L^T of the target, and m, C the mean and the covariance of
    z in d dimensions,

        forward: 1/2 [tr C + |m|^2 - d - log det C],    reverse: 1/2 [tr C^-1 + m^T C^-1 m - d + log det C].

    If z is Gaussian, (n - 1) C is a Wishart matrix, and the expectations of log det C and C^-1 are known: so much bias
    is removed. Samples that are not Gaussian are farther from the target than this figure says in the forward
    direction, by their own divergence from their Gaussian fit.

    References:
        Entropy Expressions and Their Estimators for Multivariate Distributions (Ahmed and Gokhale, 1989),
            doi:10.1109/18.30996
    """

    direction: Literal["forward", "reverse"] = "forward"
    """forward: H(generated | target), quality; reverse: H(target | generated), coverage."""

    @property
    def needs(self) -> frozenset[Need]:
        """Samples and a Gaussian target."""
        return frozenset({Need.SAMPLES, Need.GAUSSIAN})

    def least(self, target: Target) -> int:
        """Return what the covariance of the samples, or its inverse, needs."""
        return self._least(math.prod(target.shape))

    def _least(self, d: int) -> int:
        return d + 1 if self.direction == "forward" else d + 3

    def __call__(self, evidence: Evidence) -> Estimate:
        """Return the divergence and its standard error.

        Raises:
            Mismatch: There are too few samples, or they lie in a subspace, or they are not finite.
        """
        mean, covariance = (moment.to("cpu", torch.float64) for moment in evidence.moments)
        d, forward = len(mean), self.direction == "forward"
        x = torch.from_numpy(with_density(evidence.samples, self._least(d), f"the {self.direction} KL divergence"))
        n = len(x)

        L = torch.linalg.cholesky(covariance)
        z = torch.linalg.solve_triangular(L, (x - mean).T, upper=False).T
        m, u = z.mean(0), z - z.mean(0)
        C = u.T @ u / (n - 1)
        rank = int(torch.linalg.matrix_rank(C, hermitian=True))
        if rank < d:
            raise Mismatch(
                f"the {n} samples lie in {rank} of {d} dimensions: the {self.direction} divergence is infinite"
            )
        P = torch.linalg.inv(C)
        log_det = C.logdet().item()
        j = torch.arange(1, d + 1, dtype=torch.float64)
        log_det_bias = (torch.digamma((n - j) / 2).sum() + d * math.log(2 / (n - 1))).item()

        uPu, mu, mPu = ((u @ P) * u).sum(1), u @ m, u @ P @ m
        if forward:
            trace, square = C.trace().item(), (m @ m).item()
            plug_in = (trace + square - d - log_det) / 2
            value = (trace * (1 - 1 / n) + square - d - (log_det - log_det_bias)) / 2
            influence = ((u * u).sum(1) - uPu) / 2 + mu
        else:
            trace, square = P.trace().item(), (m @ P @ m).item()
            plug_in = (trace + square - d + log_det) / 2
            value = ((n - d - 2) / (n - 1) * (trace + square) - d / n - d + (log_det - log_det_bias)) / 2
            influence = (uPu - ((u @ P) ** 2).sum(1) - mPu**2) / 2 + mPu

        # At equal laws 2 n KL is chi-square with k degrees of freedom, and the first-order variance on average k/n^2,
        # twice the true one: it counts for what it has above that.
        k = d * (d + 3) / 2
        first, second = influence.var().item() / n, k / (2 * n**2)
        stderr = math.sqrt(max(first - 2 * second, 0) + second)
        details: dict[str, float | str] = {"method": "gaussian fit", "plug-in": plug_in, "bias": plug_in - value}
        return Estimate(
            value, stderr, quantity="kl" if forward else "kl-reverse", details=details | {"samples": n, "dimension": d}
        )
