"""The Csiszar-Kullback-Pinsker inequality, from a divergence to a distance."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from samplerhub import Component, Estimate, Evidence, Need, Point, Setup
from samplerhub_metrics.kl_continuous import KLContinuous
from samplerhub_metrics.lsi_bound import Delta, Form, LSIBound

MOST = 2.0
"""No two densities are farther apart."""


class Pinsker(Component):
    r"""Upper bound of the L1 distance between generated and target densities, from their KL divergence.

        int |generated - target| dy <= sqrt(2 H(generated | target))

    H is bounded by `lsi-bound`, or, on the line, it is the divergence itself (`kl-continuous`); in either case that of
    the process in continuous time. The L1 distance is twice the total variation distance and never more than 2.

    References:
        The Effect of Stochasticity in Score-Based Diffusion Sampling (Schaeffer et al., 2025), arXiv:2506.11378
    """

    kl: Literal["lsi-bound", "kl-continuous"] = "lsi-bound"
    """What the divergence is taken from: its bound, or the divergence itself."""
    form: Form = "auto"
    """As in `lsi-bound`."""
    delta: Delta = "pointwise"
    """As in `lsi-bound`."""
    constant: float | None = Field(None, gt=0)
    """As in `lsi-bound`."""
    steps: int = Field(400, ge=10, le=100_000)
    """As in `lsi-bound`."""

    @property
    def needs(self) -> frozenset[Need]:
        """The setup of a run, on a target whose density is known."""
        return self._source.needs

    def inspect(self, setup: Setup) -> None:
        """Return if the divergence can be had for the run.

        Raises:
            Mismatch: It cannot.
        """
        self._source.inspect(setup)

    def __call__(self, evidence: Evidence) -> Estimate:
        """Return the bound at the end of the run, and along its path."""
        divergence = self._source(evidence)
        root, stderr = _root(divergence.value, divergence.stderr)
        curve = tuple(Point(p.t, p.rho, *_root(p.value, p.stderr)) for p in divergence.curve)
        details = dict(divergence.details)
        if root >= MOST:
            details["vacuous"] = "no L1 distance is larger than 2"
        return Estimate(root, stderr, curve=curve, bounds="l1", details=details)

    @property
    def _source(self) -> LSIBound | KLContinuous:
        if self.kl == "kl-continuous":
            return KLContinuous(steps=self.steps)
        return LSIBound(form=self.form, delta=self.delta, constant=self.constant, steps=self.steps)


def _root(H: float, stderr: float | None) -> tuple[float, float | None]:
    root = math.sqrt(2 * max(H, 0.0))
    return root, stderr if stderr is None else stderr / root if root else math.inf
