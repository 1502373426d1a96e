"""The Kullback-Leibler divergence of a run's exact law, without Monte Carlo."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from samplerhub import Component, Estimate, Evidence, ExactLaw, Law, Need, Point, Setup, exact_law
from samplerhub.errors import Mismatch

FINENESSES = (0.5, 1.0, 1.4, 2.0, 2.8, 4.0)
"""How finely the law is computed, until two values in a row agree."""


class KLExact(Component):
    r"""KL divergence of the run's exact law from the target, by quadrature instead of samples, in nats.

        forward: H(generated | target) = int q log(q/p),    reverse: the roles exchanged

    q is the law of what the sampler puts out in float64, an infinite number of samples, so to speak:

        affine        Gaussian targets of any dimension and the model exact for them: a sampler of fixed steps is an
                      affine map of start and noise, and q is normal
        pushforward   on the line, a sampler that draws no noise (multistep and adaptive ones too) is one map of the
                      start; where the map turns, all the points that arrive at the same place are counted
        chain         on the line, a sampler with noise but without a memory: from q to int q(y) N(x; S(y), c^2) dy, leg
                      by leg (Chapman-Kolmogorov), by the trapezoidal rule

    The law is computed more and more finely until the divergence changes by less than `tolerance`; "error" says by how
    much it did at last. Samplers that draw noise and keep past evaluations are refused, and so is whatever has no
    density. A sampler that chooses its steps has a map that jumps, by about its tolerance, wherever a choice changes:
    the figure then converges slowly, and the reverse direction leaves out the gaps in which it would be infinite; their
    mass counts as error.

    References:
        The Effect of Stochasticity in Score-Based Diffusion Sampling (Schaeffer et al., 2025), arXiv:2506.11378
        The Exponentially Convergent Trapezoidal Rule (Trefethen and Weideman, 2014), doi:10.1137/130932132
    """

    direction: Literal["forward", "reverse"] = "forward"
    """forward: H(generated | target), quality; reverse: H(target | generated), coverage."""
    tolerance: float = Field(1e-6, gt=0)
    """Numerical error that is good enough; what was reached is in the details."""

    @property
    def needs(self) -> frozenset[Need]:
        """The run's setup, and the density of a target that is Gaussian or on the line."""
        return frozenset({Need.SETUP, Need.LINE | Need.GAUSSIAN, Need.DENSITY | Need.GAUSSIAN})

    def inspect(self, setup: Setup) -> None:
        """Return if the law can be had: it is computed coarsely.

        Raises:
            Mismatch: It cannot; says why.
        """
        assert setup.target is not None
        last = len(setup.times) - 1
        _laws(setup, (last,), FINENESSES[0])[-1].kl(setup.target, self.direction)

    def __call__(self, evidence: Evidence) -> Estimate:
        """Return the divergence at the end of the run, and along its path where one is recorded.

        Raises:
            Mismatch: The law cannot be had.
        """
        setup = evidence.setup
        target, exact = setup.target, _exact_law(setup)
        assert target is not None
        at = setup.path or (len(setup.times) - 1,)
        laws: Sequence[Law] = ()
        value, error, changed = math.inf, math.inf, math.inf
        for fineness in FINENESSES:
            try:
                finer = _laws(setup, at, fineness)
            except Mismatch:  # too many nodes: what there is has to do, and its error says so
                if not laws:
                    raise
                break
            laws, before, value = finer, value, finer[-1].kl(target, self.direction)
            last, changed = changed, 0.0 if value == before or exact.method == "affine" else abs(value - before)
            error = changed + laws[-1].error(target, self.direction)
            if error <= self.tolerance or (changed > last / 2 and fineness >= 2):  # a map that jumps converges no more
                break
        curve = [Point(law.t, law.rho, law.kl(target, self.direction)) for law in laws if setup.path]
        return Estimate(
            value,
            quantity="kl" if self.direction == "forward" else "kl-reverse",
            curve=tuple(curve),
            details={"method": "exact law", "law": exact.method, "error": error if math.isfinite(error) else "unknown"},
        )


def _exact_law(setup: Setup) -> ExactLaw:
    return setup.once("exact law", lambda: exact_law(setup))


def _laws(setup: Setup, at: tuple[int, ...], fineness: float) -> Sequence[Law]:
    """Return the laws at those times, computed once for all who ask."""
    return setup.once(("exact law", at, fineness), lambda: _exact_law(setup).laws(at, fineness))
