"""The finite-set Stein discrepancy."""

import math

import torch
from pydantic import Field
from torch import Tensor

from samplerhub import Component, Estimate, Evidence, Need, Target, stream


class FSSD(Component):
    r"""Finite-set Stein discrepancy: the target's score in place of its samples.

        F = sum_j |E xi(y, v_j)|^2/(J D),    xi(y, v) = s(y) k(y, v) + grad_y k(y, v),    k = exp(-|y - v|^2/(2 h^2))

    s is the score of the target, v_1, ..., v_J are random places. E xi = 0 where y has the law of the target (Stein's
    identity), so that F is 0 for equal laws, and almost surely positive for others. The density is needed up to a
    constant. The estimate is the mean over all pairs of samples, which has no bias and so may be negative.

    References:
        A Linear-Time Kernel Goodness-of-Fit Test (Jitkrittum et al., 2017), arXiv:1705.07673
    """

    places: int = Field(10, ge=1)
    """Number J of places."""
    spread: float = Field(1.0, gt=0)
    """Standard deviation of the places around 0, in units of the data."""
    width: float = Field(1.0, gt=0)
    """Width h of the kernel, in units of the data."""
    seed: int = 0
    """Which places."""

    @property
    def needs(self) -> frozenset[Need]:
        """The samples, and the target's density; nothing else can be read."""
        return frozenset({Need.SAMPLES, Need.DENSITY})

    def least(self, target: Target) -> int:
        """Return 2: there has to be a pair."""
        return 2

    def __call__(self, evidence: Evidence) -> Estimate:
        """Return F and its standard error, that of a U-statistic."""
        tau = self.tau(evidence)
        n, m, C = len(tau), tau.mean(0), torch.cov(tau.T).reshape(tau.shape[1], -1)
        F = m @ m - C.trace() / n
        degenerate = C.square().sum() / n
        variance = 4 / n * (m @ C @ m - degenerate).clamp(min=0) + 2 / (n - 1) * degenerate
        return Estimate(float(F), float(variance.sqrt()), details={"samples": n})

    def tau(self, evidence: Evidence) -> Tensor:
        """Return xi(y, v_j)/(J D)^(1/2) of all samples, shape (n, J D)."""
        y = evidence.samples.double()
        s = score(evidence, y).flatten(1)[:, None]
        places = torch.randn(self.places, s.shape[2], generator=stream(self.seed, "places"), dtype=torch.float64)
        d = y.flatten(1)[:, None] - self.spread * places
        k = (-d.square().sum(2, keepdim=True) / (2 * self.width**2)).exp()
        xi = (s - d / self.width**2) * k
        return xi.flatten(1) / math.sqrt(xi[0].numel())


def score(evidence: Evidence, y: Tensor) -> Tensor:
    """Return the gradient of the target's log-density at y, shape of y."""
    with torch.enable_grad():
        y = y.detach().requires_grad_()
        s: Tensor = torch.autograd.grad(evidence.log_prob(y).sum(), y)[0]
    return s
