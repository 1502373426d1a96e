"""The kernel distance between features."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from samplerhub import Component, Estimate, Evidence, Need, Target
from samplerhub_metrics.discrepancy import LEAST, Sums, discrepancy
from samplerhub_metrics.vectors import feature_pair


class KID(Component):
    r"""Kernel distance: squared maximum mean discrepancy of the features, cubic kernel.

        KID = E k(x, x') + E k(y, y') - 2 E k(x, y),    k(x, y) = (x.y/D + 1)^3

    x, x' are features of generated samples and y, y' of samples of the target, D numbers each. The estimate is the
    U-statistic, which has no bias at any number of samples and so may be negative; its standard error is that of
    Hoeffding's decomposition, which holds at equal laws as well. The kernel compares the first three moments. It is
    called KID only on the features of the Inception network. All samples are compared at once, where the paper takes
    the mean over random subsets: the same expectation, with less variance.

    References:
        Demystifying MMD GANs (Bińkowski et al., 2018), arXiv:1801.01401
    """

    most: int = Field(10_000, ge=LEAST)
    """Compare so many of the samples, and of the target's: the time grows with the square."""

    @property
    def needs(self) -> frozenset[Need]:
        """Samples, and features."""
        return frozenset({Need.SAMPLES, Need.FEATURES})

    def least(self, target: Target) -> int:
        """Return 4: the variance needs four different samples."""
        return LEAST

    def __call__(self, evidence: Evidence) -> Estimate:
        """Return the squared distance and its standard error.

        Raises:
            Mismatch: There are fewer than 4 samples, or some are not finite.
        """
        x, y = (torch.from_numpy(z) for z in feature_pair(evidence, LEAST, self.most))
        value, stderr = discrepancy(Sums.of(cubic, x, y))
        return Estimate(value, stderr, details={"samples": len(x), "features": evidence.embedding})


def cubic(a: Tensor, b: Tensor) -> Tensor:
    """Return (a.b/D + 1)^3, shape (p, q)."""
    K = (a @ b.T).div_(a.shape[1]).add_(1)
    return K * K * K
