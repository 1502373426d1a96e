"""The KL divergence in the limit of small steps, without Monte Carlo."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from samplerhub import Component, Estimate, Evidence, Need, Setup
from samplerhub.errors import Mismatch
from samplerhub_metrics.continuous_law import can_be_solved, continuous_law
from samplerhub_metrics.initial_divergence import can_start
from samplerhub_metrics.reverse_process import ReverseProcess

Direction = Literal["forward", "reverse"]


class KLContinuous(Component):
    r"""KL divergence from the target in the limit of small steps, on the line, without sampling.

        forward: H(generated | target) = E_generated log(generated/target),    reverse: the roles exchanged

    The law of the reverse process follows from its Fokker-Planck equation, or, at gamma = 0 all along, from its
    characteristics. What is missing to the divergence of a run is what its finite steps add. The figure is exact but
    for the accuracy of the solution, which is among the details; a law that is not resolved is refused before sampling.

    References:
        The Effect of Stochasticity in Score-Based Diffusion Sampling (Schaeffer et al., 2025), arXiv:2506.11378
    """

    direction: Direction = "forward"
    """forward: H(generated | target), quality; reverse: H(target | generated), coverage."""
    steps: int = Field(200, ge=10, le=100_000)
    """Steps of the coarsest solution, even in log rho; they are doubled until the figure settles."""
    tolerance: float = Field(1e-4, gt=0, lt=1)
    """Relative accuracy to which it settles."""

    @property
    def needs(self) -> frozenset[Need]:
        """The setup of a run on the line, on a target whose density is known."""
        return frozenset({Need.SETUP, Need.LINE, Need.DENSITY})

    def inspect(self, setup: Setup) -> None:
        """Return if the law can be had.

        Raises:
            Mismatch: It cannot.
            NotFinite: It is not resolved.
        """
        can_start(setup)
        process = ReverseProcess.of(setup, self.steps)
        if not can_be_solved(setup):
            raise Mismatch("the law is known on the line only, for a target and a prior with a density")
        continuous_law(process, self.tolerance)  # kept for the figure itself

    def __call__(self, evidence: Evidence) -> Estimate:
        """Return the divergence at the end of the run, and along its path.

        Raises:
            NotFinite: The equation cannot be solved to the tolerance.
        """
        process = ReverseProcess.of(evidence.setup, self.steps)
        solved = continuous_law(process, self.tolerance)
        forward = self.direction == "forward"
        value = solved.law.kl if forward else solved.law.kl_reverse
        accuracy = solved.accuracy.kl if forward else solved.accuracy.kl_reverse
        noise = bool(process.gamma.any())
        method, grid = ("Fokker-Planck equation", "cells") if noise else ("characteristics", "points")
        details: dict[str, float | str] = {"method": method, "accuracy": float(accuracy[-1])}
        details |= {grid: solved.cells, "covers": "the process in continuous time; not the sampler's steps"}
        return process.estimate(value, None, details, quantity="kl" if forward else "kl-reverse")
