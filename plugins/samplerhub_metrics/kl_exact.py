"""The Kullback-Leibler divergence of a run's exact law, without Monte Carlo."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from samplerhub import (
    Component,
    Density,
    Estimate,
    Evidence,
    ExactLaw,
    Law,
    Need,
    Point,
    Setup,
    Target,
    exact_law,
    stream,
)
from samplerhub.errors import Mismatch

FINENESSES = (0.5, 1.0, 1.4, 2.0, 2.8, 4.0)
"""How finely the law is computed, until two values in a row agree."""
NORMALISED = 1e-4
"""How far the integral of the target's density may be from 1."""
SAMPLES = 20_000
"""Samples of the target that say where its mass is."""
PANELS = 50
"""Panels between them."""
HALVINGS = 30
"""How often a panel is halved, at most."""


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

    The law is computed more and more finely until the divergence changes by less than `tolerance`, before anything is
    sampled; "error" says by how much it did at last, and a run that does not get there is refused. So are samplers that
    draw noise and keep past evaluations, and whatever has no density. A sampler that chooses its steps has a map that
    jumps, by about its tolerance, wherever a choice changes: the figure then converges slowly, and the reverse
    direction leaves out the gaps in which it would be infinite; their mass counts as error. A model in single precision
    is rough at about 1e-7, which limits how exactly its law is known.

    References:
        The Effect of Stochasticity in Score-Based Diffusion Sampling (Schaeffer et al., 2025), arXiv:2506.11378
        The Exponentially Convergent Trapezoidal Rule (Trefethen and Weideman, 2014), doi:10.1137/130932132
    """

    direction: Literal["forward", "reverse"] = "forward"
    """forward: H(generated | target), quality; reverse: H(target | generated), coverage."""
    tolerance: float = Field(1e-6, gt=0)
    """Numerical error that is allowed, or else the run is refused; what was reached is in the details."""

    @property
    def needs(self) -> frozenset[Need]:
        """The run's setup, and the density of a target that is Gaussian or on the line."""
        return frozenset({Need.SETUP, Need.LINE | Need.GAUSSIAN, Need.DENSITY | Need.GAUSSIAN})

    def inspect(self, setup: Setup) -> None:
        """Return if the law can be had to the tolerance: it is computed, before anything is sampled, and kept.

        Raises:
            Mismatch: It cannot; says why.
        """
        self._estimate(setup)

    def __call__(self, evidence: Evidence) -> Estimate:
        """Return the divergence at the end of the run, and along its path where one is recorded.

        Raises:
            Mismatch: The law cannot be had to the tolerance.
        """
        return self._estimate(evidence.setup)

    def _estimate(self, setup: Setup) -> Estimate:
        key = "kl-exact", setup.path, self.direction, self.tolerance
        return setup.once(key, lambda: self._computed(setup))

    def _computed(self, setup: Setup) -> Estimate:
        target, exact = setup.target, _exact_law(setup)
        assert target is not None
        laws, values, error = self._refined(setup, target)
        value = values[-1]
        if not math.isfinite(value):
            raise Mismatch(
                f"the divergence of the exact law is {value:g}: the law or {type(target).__name__} has no density at "
                f"rho = {laws[-1].rho:g}; end at a positive noise level (last = stop), or choose another sampler"
            )
        if exact.method != "affine":
            _check_normalised(setup, target, laws[-1].rho)
        if not error <= self.tolerance:
            enough = 10.0 ** math.ceil(math.log10(error)) if math.isfinite(error) else error
            raise Mismatch(
                f"the exact law of {type(setup.sampler).__name__} is known to {error:.1g} only, the tolerance is "
                f"{self.tolerance:g}: set --metric.tolerance {enough:g}, choose a tighter rtol for an adaptive "
                "sampler, or kl-histogram"
            )
        if value < -error:
            raise Mismatch(
                f"the exact divergence from {type(target).__name__} is {value:g}, below 0 by more than its error "
                f"{error:.1g}: its density is none; choose another target, or kl-histogram"
            )
        curve = [Point(law.t, law.rho, at) for law, at in zip(laws, values) if setup.path]
        return Estimate(
            value,
            quantity="kl" if self.direction == "forward" else "kl-reverse",
            curve=tuple(curve),
            details={"method": "exact law", "law": exact.method, "error": error},
        )

    def _refined(self, setup: Setup, target: Target) -> tuple[Sequence[Law], list[float], float]:
        """Return the laws, as fine as it takes or helps, their divergences, and the largest error of these."""
        at = setup.path or (len(setup.times) - 1,)
        affine = _exact_law(setup).method == "affine"
        laws: Sequence[Law] = ()
        values, error, changed = [math.inf] * len(at), math.inf, math.inf
        for fineness in FINENESSES:
            try:
                finer = _laws(setup, at, fineness)
            except Mismatch:  # too many nodes: what there is has to do, if its error allows
                if error == math.inf:
                    raise
                break
            laws, before, values = finer, values, [law.kl(target, self.direction) for law in finer]
            last, changed = changed, 0.0 if affine else max(abs(a - b) for a, b in zip(values, before))
            error = changed + max(law.error(target, self.direction) for law in laws)
            if error <= self.tolerance or affine:
                break
            if changed > last / 2 and fineness >= 2:  # a map that jumps converges no more
                break
        return laws, values, error


def _exact_law(setup: Setup) -> ExactLaw:
    return setup.once("exact law", lambda: exact_law(setup))


def _laws(setup: Setup, at: tuple[int, ...], fineness: float) -> Sequence[Law]:
    """Return the laws at those times, computed once for all who ask."""
    return setup.once(("exact law", at, fineness), lambda: _exact_law(setup).laws(at, fineness))


def _check_normalised(setup: Setup, target: Target, rho: float) -> None:
    """Raise `Mismatch` unless the target's density integrates to 1 at a noise level."""
    mass = setup.once(("mass of the target", rho), lambda: _mass(setup, target, rho))
    if not abs(mass - 1) <= NORMALISED:
        raise Mismatch(
            f"the density of {type(target).__name__} integrates to {mass:g} at rho = {rho:g}, not to 1: divergences "
            "from it mean nothing; normalise its log_prob, or choose kl-histogram, which does not read it"
        )


def _mass(setup: Setup, target: Target, rho: float) -> float:
    """Return the integral of a density on the line, by Gauss's rule on panels that are halved until it agrees.

    The first panels lie between quantiles of samples and double in length on both sides of each, so that gaps are
    seen.
    """
    assert isinstance(target, Density)
    rng = stream(setup.seed, "mass of the target")
    y = target.sample(SAMPLES, rng).double().flatten().cpu()
    y = (y + rho * torch.randn(y.shape, generator=rng, dtype=y.dtype)).sort().values
    quantiles = torch.cat([y[:: SAMPLES // PANELS], y[-1:]])
    gaps = quantiles.diff()
    near = torch.minimum(torch.cat([gaps[:1], gaps]), torch.cat([gaps, gaps[-1:]]))
    away = near[:, None] * 2.0 ** torch.arange(30, dtype=y.dtype)
    edges = torch.cat([quantiles, (quantiles[:, None] - away).flatten(), (quantiles[:, None] + away).flatten()])
    edges = edges.sort().values
    z, w = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(16))

    def integrals(a: Tensor, b: Tensor) -> Tensor:
        half = (b - a)[:, None] / 2
        at = a[:, None] + half * (1 + z)
        p = target.log_prob(at.view(-1, 1), torch.full((1, 1), rho, dtype=at.dtype)).double().cpu().exp()
        return half[:, 0] * (p.view(at.shape) @ w)

    total, a, b = 0.0, edges[:-1], edges[1:]
    for _ in range(HALVINGS):
        middle = (a + b) / 2
        halves = integrals(a, middle) + integrals(middle, b)
        rough = (halves - integrals(a, b)).abs() > NORMALISED / SAMPLES
        total += float(halves[~rough].sum())
        a, b = torch.cat([a[rough], middle[rough]]), torch.cat([middle[rough], b[rough]])
    return total
