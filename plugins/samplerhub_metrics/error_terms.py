"""The error of sampling taken apart into initialisation, discretisation and score, without unknown constants."""

from __future__ import annotations

from dataclasses import replace

import torch
from pydantic import Field

from samplerhub import Component, Denoises, Estimate, Evidence, HeldOut, Need, Point, Setup, kebab
from samplerhub.errors import Mismatch
from samplerhub_metrics.flow_likelihood import mean_and_error
from samplerhub_metrics.path_terms import (
    Points,
    discretisation,
    freezes_the_score,
    generalisation_gap,
    initialisation,
    score_term,
    worst_case,
)

CURVE = "KL of paths, target from generated, so far (nats)"
STAND_IN = "stand-in of the KL of paths, so far (nats)"


class ErrorTerms(Component):
    r"""Initialisation, discretisation and score terms of the KL divergence between paths, for any grid.

        E_I = KL(p_T || prior)
        E_D = 1/2 sum_k int_{v_k+1}^{v_k} (J(v) - J(v_k)) dv,    J(v) = E |score_v(y)|^2,    v = rho^2
        E_S = 1/2 sum_k (v_k - v_k+1) E |s_model(y, v_k) - score(y, v_k)|^2

    Their sum is, exactly, the divergence between the paths of the reverse SDE and those of the sampler that freezes the
    model's score during a step, y_k+1 = y_k + (v_k - v_k+1) s_model(y_k, v_k) + sqrt(v_k - v_k+1) z: the steps of
    Euler and Maruyama in rho^2, churn 1. There is no factor and no cross term, because the score is a martingale along
    the reverse SDE. The sum is an upper bound of H(target | generated) for that sampler, at the end and, added up so
    far, along the path. It is marked as a bound if the run's sampler takes these very steps, which is tried out on a
    few samples; of another sampler it says what the grid, the start and the model have in store, no more.

    Data and noise are one set for all levels. J is |score|^2 at low noise, and d/v - |x_0 - E[x_0 | y]|^2/v^2 at high
    noise; the integral over a step is a Gauss-Legendre rule in log v. In the details stand the trapezoidal value of
    E_D, which is too high on coarse grids, and its worst case, from J <= d/v alone.

    Where the exact score is not known, as for real data, nothing is exact any more. J comes from the model's denoising
    loss l on held-out data, J = (d - l)/v, an under-estimate because the best loss is smaller than l; E_S is unknown,
    and in its place stands the generalisation gap 1/2 sum_k (v_k - v_k+1)/v_k (l_held-out - l_train). Where the density
    of the target is not known, E_I is the bound E KL(N(x_0, rho^2 I) || prior), for the usual prior m_2^2/(2 rho^2).
    The details say so.

    References:
        Initialization-Aware Score-Based Diffusion Sampling (Fassina et al., 2026), arXiv:2603.00772, theorem 3.1
        Evaluating the design space of diffusion-based generative models (Wang et al., 2024), arXiv:2406.12839
        Maximum Likelihood Training of Score-Based Diffusion Models (Song et al., 2021), arXiv:2101.09258
    """

    nodes: int = Field(5, ge=2, le=64)
    """Nodes of the Gauss-Legendre rule within each step; as many evaluations of the posterior mean, and one more."""

    @property
    def needs(self) -> frozenset[Need]:
        """The run, and data."""
        return frozenset({Need.SETUP, Need.REFERENCE})

    def inspect(self, setup: Setup) -> None:
        """Return if all terms, or what stands for them, can be had.

        Raises:
            Mismatch: Neither the exact score nor held-out data are there, or the prior's law is not known.
        """
        target = setup.target
        if not isinstance(target, Denoises) and not isinstance(target, HeldOut):
            raise Mismatch(
                f"the target {kebab(type(target))!r} has neither an exact score (a method 'denoise') nor held-out data "
                f"(a method 'held_out'), so that nothing can be said of the model's score; choose another target, such "
                f"as mixture or digits"
            )
        few = replace(setup, samples=2)
        initialisation(few, Points.of(target, few, "data"))

    def __call__(self, evidence: Evidence) -> Estimate:
        """Return the sum with its standard error, the terms, and the sum so far along the path."""
        setup, target = evidence.setup, evidence.setup.target
        assert target is not None
        exact = isinstance(target, Denoises)
        points = Points.of(target.held_out() if not exact and isinstance(target, HeldOut) else target, setup, "data")
        E_I, how = initialisation(setup, points)
        E_D, trapezoid = discretisation(setup, points, self.nodes)
        E_S = score_term(setup, points) if exact else generalisation_gap(setup, points)

        so_far = E_I + torch.cat([torch.zeros_like(E_I)[None], (E_D + E_S).cumsum(0)])
        value, stderr = mean_and_error(so_far[-1])
        t, rho = setup.times.tolist(), setup.rho.tolist()
        curve = tuple(Point(t[k], rho[k], *mean_and_error(so_far[k])) for k in setup.path)
        details: dict[str, float | str] = {}
        last = "score" if exact else "generalisation gap"
        for name, term in (("initialisation", E_I), ("discretisation", E_D.sum(0)), (last, E_S.sum(0))):
            details[name], details[f"{name} stderr"] = mean_and_error(term)
        details |= {"initialisation is": how, "discretisation by the trapezoidal rule": trapezoid}
        details |= {"worst case of the discretisation": worst_case(setup.rho**2, points.d), "steps": len(t) - 1}
        if exact:
            frozen = freezes_the_score(setup)
            details["of"] = f"the sampler that freezes the score in rho^2, churn 1: {'' if frozen else 'not '}the run's"
            bounds = "kl-reverse" if frozen else ""
            return Estimate(value, stderr, curve, quantity="path-kl", bounds=bounds, curve_of=CURVE, details=details)
        details["discretisation is"] = "from the model's loss on held-out data, which under-estimates J"
        details["score"] = "unknown; in its place the generalisation gap, which leaves out what the model cannot learn"
        return Estimate(value, stderr, curve, quantity="path-kl stand-in", curve_of=STAND_IN, details=details)
