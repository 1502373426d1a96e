"""The distance to the nearest training datum: memorisation."""

from __future__ import annotations

import math

import numpy as np
import torch
from pydantic import Field

from samplerhub import Component, Estimate, Evidence, FiniteData, HeldOut, Need, Setup, Target, normal, stream
from samplerhub.errors import Mismatch
from samplerhub_metrics.discrepancy import squared_distances
from samplerhub_metrics.vectors import Array, rows

TILE = 512
"""Samples whose distances are held at a time."""


class Nearest(Component):
    r"""Distance to the nearest training datum, over that of data held out: memorisation.

        ratio = mean_i min_j |x_i - d_j| / mean_i min_j |h_i - d_j|

    x are the samples, d the training data (all data of the target) and h data that are held out, to which noise is
    added as there is in the samples. Where the target holds none out, h is each training datum and d the others. About
    1: samples are as far from the training data as new data are; below 1: closer, because they are memorised or keep
    to where data are dense; above 1: they are not like data. The standard error is of first order, over x and h. In the
    details, "copies" is the share of samples at most `copy_ratio` times as far from the nearest as from the second
    nearest training datum, beside the same share of h. Distances are Euclidean, of the raw vectors.

    References:
        Diffusion Probabilistic Models Generalize when They Fail to Memorize (Yoon et al., 2023), ICML workshop SPIGM
        On Memorization in Diffusion Models (Gu et al., 2023), arXiv:2310.02664
    """

    copy_ratio: float = Field(1 / 3, gt=0, lt=1)
    """A sample is a copy if the nearest training datum is closer than that share of the second nearest's distance."""

    @property
    def needs(self) -> frozenset[Need]:
        """Samples, and the target itself."""
        return frozenset({Need.SAMPLES, Need.SETUP})

    def least(self, target: Target) -> int:
        """Return 2: a standard error."""
        return 2

    def inspect(self, setup: Setup) -> None:
        """Refuse a target without training data.

        Raises:
            Mismatch: Its law is not that of finitely many data, or it holds none out.
        """
        training_data(setup.target)
        if isinstance(setup.target, HeldOut):
            setup.target.held_out()

    def __call__(self, evidence: Evidence) -> Estimate:
        """Return the ratio and its standard error.

        Raises:
            Mismatch: Samples are not finite, or every held-out datum is a training datum as well.
        """
        target, rng = evidence.setup.target, stream(evidence.setup.seed, "nearest")
        x, d = rows(evidence.samples), rows(training_data(target), "training data")
        if isinstance(target, HeldOut):
            held = target.held_out()
            h0 = held.data() if isinstance(held, FiniteData) else held.sample(len(x), rng)
            h, against = rows(h0.double() + evidence.rho * normal(h0.double(), rng), "held-out data"), "held-out data"
            of_h = two_nearest(h, d)
        else:
            h, against = (
                rows(torch.from_numpy(d) + evidence.rho * normal(torch.from_numpy(d), rng)),
                "each datum left out",
            )
            of_h = two_nearest(h, d, leave_out=True)
        of_x = two_nearest(x, d)

        a, b = of_x[:, 0], of_h[:, 0]
        if not b.mean() > 0:
            raise Mismatch("every datum held out is a training datum too; hold out data that no model was trained on")
        ratio = float(a.mean() / b.mean())
        stderr = math.sqrt(a.var(ddof=1) / len(a) + ratio**2 * b.var(ddof=1) / len(b)) / float(b.mean())
        copies, copies_of_h = (float((z[:, 0] <= self.copy_ratio * z[:, 1]).mean()) for z in (of_x, of_h))
        details: dict[str, float | str] = {
            "distance": float(a.mean()),
            "against": against,
            "its distance": float(b.mean()),
        }
        details |= {"copies": copies, "copies there": copies_of_h, "training data": len(d), "samples": len(x)}
        return Estimate(ratio, stderr, details=details)


def training_data(target: Target | None) -> torch.Tensor:
    """Return all data of a target, (N, *d).

    Raises:
        Mismatch: Its law is not that of finitely many data.
    """
    if not isinstance(target, FiniteData):
        raise Mismatch(
            f"{type(target).__name__} has no training data: choose a target of finitely many data, as digits"
        )
    data = target.data()
    if len(data) < 3:
        raise Mismatch(f"there are {len(data)} training data; 3 or more are needed")
    return data


def two_nearest(x: Array, d: Array, leave_out: bool = False) -> Array:
    """Return the distances from rows x (n, D) to the two nearest rows of d (N, D), nearest first, shape (n, 2).

    With `leave_out` row i of x does not see row i of d.
    """
    a, b = (torch.from_numpy(z - d.mean(0)) for z in (x, d))
    found = []
    for start in range(0, len(a), TILE):
        tile = a[start : start + TILE]
        q = squared_distances(tile, b)
        if leave_out:
            own = torch.arange(len(tile))
            q[own, own + start] = math.inf
        # The matrix product loses digits: a few more than two, and those again, exactly.
        near = q.topk(min(5, len(b) - leave_out), largest=False).indices
        found.append((tile[:, None] - b[near]).square().sum(-1).sqrt().sort(1).values[:, :2])
    return np.asarray(torch.cat(found).numpy())
