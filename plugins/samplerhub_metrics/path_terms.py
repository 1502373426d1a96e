"""The terms of the divergence between the paths of the reverse SDE and those of a sampler that freezes the score.

Each is a set of independent figures, one for each datum, whose mean is the term: so their sum has a standard error.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from samplerhub import (
    Denoises,
    Density,
    PosteriorMean,
    PriorDensity,
    Setup,
    Target,
    alpha,
    kebab,
    normal,
    normal_kl,
    stream,
)
from samplerhub.errors import Mismatch
from samplerhub_metrics.initial_divergence import exact_initial_divergence, log_ratio, normal_start

ROUNDING = 1e-9
"""How far, relative to the largest state, rounding drives two ways to write the same steps apart."""
TRIED = 64
"""States of that trial."""


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


def initialisation(setup: Setup, points: Points) -> tuple[Tensor, str]:
    """Return figures (n,) whose mean is E_I or a bound of it, and how they were had.

    Raises:
        Mismatch: The prior's law is not known.
    """
    figure = exact_initial_divergence(setup, "reverse")
    if figure is not None:
        return points.x_0.new_full((len(points.x_0),), figure[0]), figure[1]
    rho, law = setup.rho[0].item(), normal_start(setup)
    if isinstance(setup.target, Density) and isinstance(setup.prior, PriorDensity):
        return log_ratio(setup, points.at(rho**2), "reverse"), "mean of log(p_T/prior)"
    if law is not None:
        x_0 = points.x_0.flatten(1)
        mean, covariance = (moment.to(x_0) for moment in law)
        spread = normal_kl(mean, rho**2 * torch.eye(points.d).to(x_0), mean, covariance)
        z = torch.linalg.solve_triangular(torch.linalg.cholesky(covariance), (x_0 - mean).T, upper=False)
        return spread + z.square().sum(0) / 2, "a bound: E KL(N(x_0, rho^2 I) || prior)"
    raise Mismatch(
        f"the initialisation term needs the law of the prior, and {kebab(type(setup.prior))!r} is known neither as a "
        f"normal law nor, for this target, as a density; choose another, such as --prior gaussian"
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


def freezes_the_score(setup: Setup) -> bool:
    """Say whether the run's sampler takes the steps y_k+1 = y_k + (v_k - v_k+1) s(y_k, v_k) + sqrt(v_k - v_k+1) z.

    It is tried out with the exact score, in float64, so that no more than rounding may lie between.
    """
    assert isinstance(setup.target, Denoises)
    setup = replace(setup, model=PosteriorMean(setup.target, setup.shape), memo={})
    problem, x = setup.problem(), setup.start(TRIED, stream(setup.seed, "trial"))
    a_0, a_N = alpha(setup.process, setup.times[[0, -1]]).tolist()
    y, rng = x / a_0, stream(setup.seed, "noise of the trial")
    with torch.no_grad():
        *_, last = setup.sampler(problem, x, setup.times, stream(setup.seed, "noise of the trial"))
        for t, s in itertools.pairwise(setup.rho.tolist()):
            y = y + (t**2 - s**2) * problem.score(y, t) + math.sqrt(t**2 - s**2) * normal(y, rng)
    off = (last.x / a_N - y).abs().max() / y.abs().max()
    return not isinstance(last.rho, Tensor) and last.rho > 0 and bool(off <= ROUNDING)


def worst_case(v: Tensor, d: int) -> float:
    r"""Return the largest E_D of any data in d dimensions, from J <= d/v alone.

    E_D <= d/2 [sum_{k=1}^{N-1} max(0, D_k-1 - D_k)/v_k + D_N-1/v_N],    D_k = v_k - v_k+1
    """
    D = v[:-1] - v[1:]
    return d / 2 * (((D[:-1] - D[1:]).clamp(min=0) / v[1:-1]).sum() + D[-1] / v[-1]).item()
