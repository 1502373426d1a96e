"""The Wasserstein distance on the line."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from pydantic import Field

from samplerhub import Component, Estimate, Evidence, Need, Setup, Target
from samplerhub.errors import Mismatch
from samplerhub_metrics.transport import debiased
from samplerhub_metrics.vectors import check_pair, rows, shuffled


class Wasserstein(Component):
    r"""Wasserstein distance on the line, exact: W_1, or W_2 squared.

        W_p^p = int_0^1 |F^-1(u) - G^-1(u)|^p du

    F and G are the distribution functions of the samples and the target. W_1 has the unit of the data and W_2^2 its
    square, like the Frechet distance. Between finitely many samples it is above 0 even at equal laws: that floor is
    taken away, so that the figure is 0 in the mean at equal laws (and below 0 as often as above it), and so is the bias
    away from them. "plug-in" and "floor" are in the details, and the p-value of equal laws by random relabelling.

    References:
        Computational Optimal Transport (Peyré and Cuturi, 2019), arXiv:1803.00567, remark 2.30
        On Wasserstein Two Sample Testing and Related Families of Nonparametric Tests (Ramdas et al., 2017),
            arXiv:1509.02237
    """

    order: Literal[1, 2] = 1
    """p: 1 is the mean distance that mass is moved, 2 weighs long moves more."""
    relabellings: int = Field(50, ge=20)
    """Random relabellings of the samples that stand for equal laws."""
    most: int = Field(100_000, ge=10)
    """Compare so many of the samples, and of the target's."""

    @property
    def needs(self) -> frozenset[Need]:
        """Samples of the run and of the target."""
        return frozenset({Need.SAMPLES, Need.REFERENCE})

    def least(self, target: Target) -> int:
        """Return 10: halves of 5."""
        return 10

    def inspect(self, setup: Setup) -> None:
        """Refuse data of more than one number.

        Raises:
            Mismatch: A sample is more than one number.
        """
        if math.prod(setup.shape) != 1:
            raise Mismatch(
                f"it is exact on the line only, and a sample has shape {setup.shape}; choose sliced-wasserstein"
            )

    def __call__(self, evidence: Evidence) -> Estimate:
        """Return the distance to the power `order` and its standard error.

        Raises:
            Mismatch: There are fewer than 10 samples, some are not finite, or they are no numbers.
        """
        x, y = rows(evidence.samples), rows(evidence.reference, "samples of the target")
        check_pair(x, y, 10)
        if x.shape[1] != 1:
            raise Mismatch(f"samples of {x.shape[1]} numbers are not on the line; choose sliced-wasserstein")
        x, y = (shuffled(z)[: self.most] for z in (x, y))
        d = debiased(np.concatenate([x, y]), len(x), self.order, self.relabellings, halvings=2)
        details = {"plug-in": d.plug_in, "floor": d.floor, "p-value": d.p_value, "samples": len(x)}
        return Estimate(d.value, d.stderr, quantity="w1" if self.order == 1 else "w2-squared", details=details)
