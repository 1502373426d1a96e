"""The error of sampling taken apart into initialisation, discretisation and score, without unknown constants."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from samplerhub import (
    Component,
    Denoises,
    Density,
    Estimate,
    Evidence,
    HeldOut,
    IsGaussian,
    Need,
    NormalPrior,
    Point,
    PriorDensity,
    Setup,
    Target,
    alpha,
    kebab,
    normal,
    stream,
)
from samplerhub.errors import Mismatch
from samplerhub_metrics.flow_likelihood import mean_and_error


@dataclass(frozen=True, slots=True)
class Points:
    """Data x_0, and their noise, the same at every level: y = x_0 + rho z."""

    x_0: Tensor
    z: Tensor
    c: float
    """Variance of the data per dimension."""

    @classmethod
    def of(cls, target: Target, setup: Setup, purpose: str) -> Points:
        """Draw as many as the run makes samples."""
        rng = stream(setup.seed, purpose)
        x_0 = target.sample(max(2, setup.samples), rng).to(setup.device, torch.float64)
        return cls(x_0, normal(x_0, rng), x_0.var(0).mean().item())

    @property
    def d(self) -> int:
        """Dimension."""
        return self.x_0[0].numel()

    def at(self, v: float) -> Tensor:
        """Return y at rho^2 = v, shape (n, *d)."""
        return self.x_0 + math.sqrt(v) * self.z


class ErrorTerms(Component):
    r"""Initialisation, discretisation and score terms of the KL divergence between paths, for any grid.

        E_I = KL(p_T || prior)
        E_D = 1/2 sum_k int_{v_k+1}^{v_k} (J(v) - J(v_k)) dv,    J(v) = E |score_v(y)|^2,    v = rho^2
        E_S = 1/2 sum_k (v_k - v_k+1) E |s_model(y, v_k) - score(y, v_k)|^2

    Their sum is, exactly, the divergence between the paths of the reverse SDE and those of the sampler that freezes the
    model's score during a step, y_k+1 = y_k + (v_k - v_k+1) s_model(y_k, v_k) + sqrt(v_k - v_k+1) z: the steps of
    Euler and Maruyama in rho^2, churn 1. There is no factor and no cross term, because the score is a martingale along
    the reverse SDE. The sum is an upper bound of H(target | generated) for that sampler, at the end and, added up so
    far, along the path; for another sampler it says what the grid, the start and the model have in store, no more.

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
            details["of"] = "the sampler that freezes the score in rho^2, churn 1"
            return Estimate(value, stderr, curve, "path-kl", "kl-reverse", details)
        details["discretisation is"] = "from the model's loss on held-out data, which under-estimates J"
        details["score"] = "unknown; in its place the generalisation gap, which leaves out what the model cannot learn"
        return Estimate(value, stderr, curve, "path-kl stand-in", details=details)


def initialisation(setup: Setup, points: Points) -> tuple[Tensor, str]:
    """Return figures (n,) whose mean is E_I or a bound of it, and how they were had.

    Raises:
        Mismatch: The prior's law is not known.
    """
    target, prior, rho = setup.target, setup.prior, setup.rho[0].item()
    d, a = points.d, alpha(setup.process, setup.span[1]).item()
    law = prior.normal(setup.problem()) if isinstance(prior, NormalPrior) else None
    if law is not None and isinstance(target, IsGaussian):
        m, C = (moment.to(points.x_0) for moment in target.moments())
        eye = torch.eye(d).to(C)
        E_I = gaussian_kl(m, C + rho**2 * eye, law[0].to(m) / a, law[1].to(C) / a**2)
        return E_I.expand(len(points.x_0)), "closed form"
    if isinstance(target, Density) and isinstance(prior, PriorDensity):
        y = points.at(rho**2)
        log_p = target.log_prob(y, torch.tensor(rho).to(y))
        return log_p - prior.log_prob(setup.problem(), a * y).to(y) - d * math.log(a), "mean of log(p_T/prior)"
    if law is not None:
        x_0 = points.x_0.flatten(1)
        spread = gaussian_kl(
            law[0].to(x_0) / a, rho**2 * torch.eye(d).to(x_0), law[0].to(x_0) / a, law[1].to(x_0) / a**2
        )
        L = torch.linalg.cholesky(law[1].to(x_0) / a**2)
        z = torch.linalg.solve_triangular(L, (x_0 - law[0].to(x_0) / a).T, upper=False)
        return spread + z.square().sum(0) / 2, "a bound: E KL(N(x_0, rho^2 I) || prior)"
    raise Mismatch(
        f"the initialisation term needs the law of the prior, and {kebab(type(prior))!r} is known neither as a normal "
        f"law nor, for this target, as a density; choose another, such as --prior gaussian"
    )


def discretisation(setup: Setup, points: Points, nodes: int) -> tuple[Tensor, float]:
    """Return figures (N, n) whose means are the N steps' parts of E_D, and E_D by the trapezoidal rule."""
    s, w = (torch.from_numpy(array) for array in np.polynomial.legendre.leggauss(nodes))
    v = (setup.rho**2).tolist()
    J = [fisher(setup, points, v_k) for v_k in v]
    parts, trapezoid = [], 0.0
    for k, (a, b) in enumerate(itertools.pairwise(v)):
        half = math.log(a / b) / 2
        inside = (math.sqrt(a * b) * (half * s).exp()).tolist()
        integral = sum(
            (half * w_j * v_j * fisher(setup, points, v_j) for v_j, w_j in zip(inside, w.tolist())), 0 * J[k]
        )
        parts.append((integral - (a - b) * J[k]) / 2)
        trapezoid += (a - b) * (J[k + 1] - J[k]).mean().item() / 4
    return torch.stack(parts), trapezoid


def fisher(setup: Setup, points: Points, v: float) -> Tensor:
    """Return figures (n,) whose mean is J(v) = E |score_v|^2; an under-estimate where the score is the model's.

    Two figures of that mean, or one of mean 0, are combined with the weights that are best for Gaussian data.
    """
    y, c, d = points.at(v), points.c, points.d
    D = posterior_mean(setup, y, v)
    loss = (points.x_0 - D).flatten(1).square().sum(1) / v
    if isinstance(setup.target, Denoises):
        share = c**2 / (c**2 + v**2)
        return share * ((D - y) / v).flatten(1).square().sum(1) + (1 - share) * (d - loss) / v
    return (d + (c / (c + v)) ** 2 * (points.z.flatten(1).square().sum(1) - d) - loss) / v


def posterior_mean(setup: Setup, y: Tensor, v: float) -> Tensor:
    """Return E[x_0 | y], exactly where the target knows it, else by the model."""
    return exact_mean(setup.target, y, v) if isinstance(setup.target, Denoises) else model_mean(setup, y, v)


def exact_mean(target: Denoises, y: Tensor, v: float) -> Tensor:
    """Return E[x_0 | y]."""
    return target.denoise(y, torch.tensor(math.sqrt(v)).to(y))


def model_mean(setup: Setup, y: Tensor, v: float) -> Tensor:
    """Return the model's posterior mean."""
    with torch.no_grad():
        return setup.problem().x0(y, math.sqrt(v))


def score_term(setup: Setup, points: Points) -> Tensor:
    """Return figures (N, n) whose means are the N steps' parts of E_S."""
    assert isinstance(setup.target, Denoises)
    v = (setup.rho**2).tolist()
    parts = []
    for a, b in itertools.pairwise(v):
        y = points.at(a)
        error = (model_mean(setup, y, a) - exact_mean(setup.target, y, a)) / a
        parts.append((a - b) / 2 * error.flatten(1).square().sum(1))
    return torch.stack(parts)


def generalisation_gap(setup: Setup, held_out: Points) -> Tensor:
    """Return figures (N, n) whose means are 1/2 (v_k - v_k+1)/v_k (l_held-out - l_train)."""
    assert setup.target is not None
    train = Points.of(setup.target, setup, "training data")
    v = (setup.rho**2).tolist()

    def loss(points: Points, v: float) -> Tensor:
        return (points.x_0 - model_mean(setup, points.at(v), v)).flatten(1).square().sum(1) / v

    return torch.stack([(a - b) / (2 * a) * (loss(held_out, a) - loss(train, a)) for a, b in itertools.pairwise(v)])


def worst_case(v: Tensor, d: int) -> float:
    r"""Return the largest E_D of any data in d dimensions, from J <= d/v alone.

    E_D <= d/2 [sum_{k=1}^{N-1} max(0, D_k-1 - D_k)/v_k + D_N-1/v_N],    D_k = v_k - v_k+1
    """
    D = v[:-1] - v[1:]
    return d / 2 * (((D[:-1] - D[1:]).clamp(min=0) / v[1:-1]).sum() + D[-1] / v[-1]).item()


def gaussian_kl(m: Tensor, C: Tensor, mu: Tensor, S: Tensor) -> Tensor:
    """Return KL(N(m, C) || N(mu, S)), shape ()."""
    L = torch.linalg.cholesky(S)
    R = torch.linalg.solve_triangular(L, torch.linalg.cholesky(C), upper=False)
    z = torch.linalg.solve_triangular(L, (m - mu)[:, None], upper=False)
    kl: Tensor = (R.square().sum() + z.square().sum() - len(m)) / 2 - R.diagonal().log().sum()
    return kl
