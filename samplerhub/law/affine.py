r"""The law of a sampler that is an affine map of its start and its noise, in any dimension.

A sampler of fixed steps whose model is affine (the exact one of a Gaussian target, say) ends at

    y = A y_0 + sum_k B_k z_k + b,    hence    y ~ N(A m_0 + b, A C_0 A^T + sum_k B_k B_k^T),

y_0 ~ N(m_0, C_0) the start and z_k ~ N(0, I) the draws of noise. One run of the sampler on a batch of impulses gives
all of A, B_k and b: a row without start and noise, and a row for each coordinate of the start and of each draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from samplerhub import process as derived
from samplerhub.capabilities import IsGaussian, NormalPrior
from samplerhub.errors import Mismatch
from samplerhub.law.draws import Draws, Impulses, Kept
from samplerhub.law.normal import normal_kl
from samplerhub.noise import stream
from samplerhub.protocols import Target
from samplerhub.setup import Setup

Direction = Literal["forward", "reverse"]
LARGEST = 2**25
"""Numbers in the batch of impulses, at most."""
ROWS = 256
"""Rows of the run with random noise."""
TOLERANCE = 1e-8
"""How far, relative to the largest number, a run with random noise may be from what the impulses predict."""


@dataclass(frozen=True, slots=True, eq=False)
class GaussianLaw:
    """The law N(mean, covariance) of y = x/alpha at one time of a run."""

    t: float
    rho: float
    """Noise level; 0 where the state was denoised."""
    mean: Tensor
    """Mean of the flattened state, shape (D,), float64."""
    covariance: Tensor
    """Its covariance, shape (D, D)."""
    residual: float = 0.0
    """How far, relatively, a run with random noise was from the affine map."""

    def error(self, target: Target, direction: Direction = "forward") -> float:
        """Return how far the run was from affine, times the divergence and 1."""
        return self.residual * (1 + self.kl(target, direction))

    def kl(self, target: Target, direction: Direction = "forward") -> float:
        """Return H(law | target) (forward) or H(target | law) (reverse) at the law's noise level, in closed form.

        Raises:
            Mismatch: The target is not Gaussian.
        """
        if not isinstance(target, IsGaussian):
            raise Mismatch(f"a Gaussian law has a closed-form divergence from a Gaussian only, not {target!r}")
        mu, S = (moment.double().cpu() for moment in target.moments())
        S = S + self.rho**2 * torch.eye(len(mu), dtype=torch.float64)
        given, other = (self.mean, self.covariance), (mu, S)
        return normal_kl(*given, *other) if direction == "forward" else normal_kl(*other, *given)


def affine_laws(setup: Setup, at: Sequence[int]) -> list[GaussianLaw]:
    """Return the law of y at the given indices into the times, increasing, the last of them included.

    Raises:
        Mismatch: The prior is not normal, the batch of impulses would be too large, or the run is not affine.
    """
    problem, alpha = setup.problem(), derived.alpha(setup.process, setup.times).tolist()
    law = setup.prior.normal(problem) if isinstance(setup.prior, NormalPrior) else None
    if law is None:
        raise Mismatch(f"the prior {type(setup.prior).__name__} is no normal law here; choose --prior gaussian")
    mean, covariance = (moment.double().cpu() for moment in law)
    d = len(mean)
    kept = Kept()
    _run(setup, torch.zeros(1, d, dtype=torch.float64), kept)
    rows = 1 + d + d * kept.draws
    if rows * d > LARGEST:
        raise Mismatch(
            f"the exact law of {kept.draws} draws of noise in {d} dimensions would take a batch of {rows} states of "
            f"{d} numbers, more than {LARGEST}; choose fewer steps, or a metric that works on samples"
        )
    x = torch.zeros(rows, d, dtype=torch.float64)
    x[1 : 1 + d] = torch.eye(d)
    steps = _run(setup, x, Impulses(1 + d))
    residual = _residual(setup, steps)
    t, rho = setup.times.tolist(), setup.rho.tolist()
    laws = []
    for i in at:
        if i == 0:
            laws.append(GaussianLaw(t[0], rho[0], mean / alpha[0], covariance / alpha[0] ** 2))
            continue
        t_i, rho_i, y = steps[i - 1 if i < len(t) - 1 else -1]
        b, response = y[0], y[1:] - y[0]
        A, B = response[:d].T, response[d:]
        laws.append(GaussianLaw(t_i, rho_i, A @ mean + b, A @ covariance @ A.T + B.T @ B, residual))
    return laws


def _run(setup: Setup, x: Tensor, draws: Draws) -> list[tuple[float, float, Tensor]]:
    """Return (t, rho, y) of each step of a run from flat states x, y flat as well."""
    start = x.view(len(x), *setup.shape).to(setup.device)
    rng = stream(setup.seed, "exact law")
    steps = []
    with torch.no_grad(), draws:
        for step in setup.sampler(setup.problem(), start, setup.times, rng):
            t = step.t if isinstance(step.t, float) else setup.times[-1].item()
            rho = step.rho if isinstance(step.rho, float) else setup.rho[-1].item()
            alpha = 1.0 if rho == 0 else derived.alpha(setup.process, t).item()
            steps.append((t, rho, (step.x.flatten(1) / alpha).cpu()))
    return steps


def _residual(setup: Setup, responses: list[tuple[float, float, Tensor]]) -> float:
    """Return how far, relatively, a run with a random start and noise is from where the impulses say.

    Raises:
        Mismatch: Too far for an affine map.
    """
    d = responses[-1][2].shape[1]
    x = setup.start(ROWS, stream(setup.seed, "exact law")).flatten(1).cpu()
    kept = Kept()
    ends = _run(setup, x, kept)
    z = torch.cat([x, *(draw.flatten(1).cpu() for draw in kept.kept)], 1)
    if z.shape[1] == len(responses[-1][2]) - 1 and len(ends) == len(responses):
        residual = 0.0
        for (_, _, y), (_, _, response) in zip(ends, responses):
            predicted = response[0] + z @ (response[1:] - response[0])
            residual = max(residual, float((predicted - y).abs().max() / y.abs().max()))
        if residual <= TOLERANCE:
            return residual
    raise Mismatch(
        f"sampler {type(setup.sampler).__name__} with model {type(setup.model).__name__} is no affine map of its start "
        f"and its noise in {d} dimensions, so that its law is not known; choose the exact model of a Gaussian target "
        "and a sampler of fixed steps, a one-dimensional target, or a metric that works on samples"
    )
