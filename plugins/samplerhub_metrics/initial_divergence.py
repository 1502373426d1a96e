"""The divergence at the start, between the prior and the noised target."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from samplerhub import Density, IsGaussian, NormalPrior, PriorDensity, Setup, alpha, kebab, normal, normal_kl, stream
from samplerhub.errors import Mismatch
from samplerhub_metrics.reverse_process import start_of, target_samples

Direction = Literal["forward", "reverse"]
POINTS = 20_001
"""Points of the trapezoidal rule on the line, which converges faster than any power for smooth densities."""


def can_start(setup: Setup) -> None:
    """Raise `Mismatch` unless the divergence at the start can be computed."""
    if normal_start(setup) is not None and isinstance(setup.target, IsGaussian):
        return
    if not isinstance(setup.target, Density):
        raise Mismatch(
            f"the density of the target {'' if setup.target is None else kebab(type(setup.target))!r} is not known, "
            f"and so the KL divergence at the start is not; choose a target that has one, such as mixture or gaussian"
        )
    prior_log_prob(setup, start_of(setup, 2, stream(setup.seed, "initial-kl")))


def prior_log_prob(setup: Setup, y: Tensor) -> Tensor:
    """Return the log-density of the starting state at y = x/alpha, (n, *d), shape (n,).

    Raises:
        Mismatch: It is not known.
    """
    if not isinstance(setup.prior, PriorDensity):
        raise Mismatch(
            f"the density of the prior {kebab(type(setup.prior))!r} is not known, and so the KL divergence at the "
            f"start is not; choose another, such as gaussian, matched or exact"
        )
    alpha_t = alpha(setup.process, setup.times[0]).item()
    return setup.prior.log_prob(setup.problem(), alpha_t * y) + math.prod(setup.shape) * math.log(alpha_t)


def target_log_prob(setup: Setup, y: Tensor, rho: float) -> Tensor:
    """Return the log-density of the target noised to rho, at y (n, *d), shape (n,)."""
    assert isinstance(setup.target, Density)
    return setup.target.log_prob(y, y.new_full((1,) * y.ndim, rho))


def normal_start(setup: Setup) -> tuple[Tensor, Tensor] | None:
    """Return mean and covariance of the starting state y = x/alpha if it is normal."""
    law = setup.prior.normal(setup.problem()) if isinstance(setup.prior, NormalPrior) else None
    alpha_t = alpha(setup.process, setup.times[0]).item()
    return None if law is None else (law[0].double() / alpha_t, law[1].double() / alpha_t**2)


def initial_divergence(setup: Setup, direction: Direction, n: int) -> tuple[float, float | None]:
    """Return H(prior | noised target), or the reverse, and its standard error: None where it is no estimate.

    In closed form between normal laws, by quadrature on the line, else from n samples.
    """
    figure = exact_initial_divergence(setup, direction)
    if figure is not None:
        return figure[0], None
    rho = setup.rho[0].item()
    if direction == "forward":
        y = start_of(setup, n, stream(setup.seed, "initial-kl"))
    else:
        x_0, rng = target_samples(setup, n, "initial-kl")
        y = x_0 + rho * normal(x_0, rng)
    ratio = log_ratio(setup, y, direction)
    return ratio.mean().item(), ratio.std().item() / math.sqrt(n)


def exact_initial_divergence(setup: Setup, direction: Direction) -> tuple[float, str] | None:
    """Return H(prior | noised target), or the reverse, and how it was had, without Monte Carlo; None if it cannot."""
    rho, start = setup.rho[0].item(), normal_start(setup)
    if start is not None and isinstance(setup.target, IsGaussian):
        mean, C = setup.target.moments()
        noised = mean, C + rho**2 * torch.eye(len(mean), dtype=torch.float64)
        return (normal_kl(*start, *noised) if direction == "forward" else normal_kl(*noised, *start)), "closed form"
    if setup.shape == (1,) and isinstance(setup.target, Density) and isinstance(setup.prior, PriorDensity):
        y = line(setup)
        p, q = prior_log_prob(setup, y), target_log_prob(setup, y, rho)
        p, q = (p, q) if direction == "forward" else (q, p)
        return torch.trapezoid(torch.where(p > -700, p.exp() * (p - q), 0.0), y[:, 0]).item(), "quadrature"
    return None


def log_ratio(setup: Setup, y: Tensor, direction: Direction) -> Tensor:
    """Return log(prior/noised target), or the reverse, at y (n, *d), shape (n,)."""
    ratio = prior_log_prob(setup, y) - target_log_prob(setup, y, setup.rho[0].item())
    return ratio if direction == "forward" else -ratio


def line(setup: Setup, below: float = 60.0) -> Tensor:
    """Return points on the line, (N, 1), outside of which prior and noised target are both below exp(-60) of a mode."""
    rho = setup.rho[0].item()
    x_0, rng = target_samples(setup, 4096, "line")
    y = torch.cat([x_0 + rho * normal(x_0, rng), start_of(setup, 4096, rng)])
    centre, spread = y.mean().item(), y.std().item()
    for reach in (10.0, 20.0, 40.0, 80.0, 160.0):
        wide = torch.linspace(centre - reach * spread, centre + reach * spread, POINTS, dtype=torch.float64)[:, None]
        p, q = prior_log_prob(setup, wide), target_log_prob(setup, wide, rho)
        inside = ((p > p.max() - below) | (q > q.max() - below)).nonzero()[:, 0]
        low, high = int(inside[0]), int(inside[-1])
        if low > 0 and high < POINTS - 1:
            first, last = wide[[low - 1, high + 1], 0].tolist()
            return torch.linspace(first, last, POINTS, dtype=torch.float64)[:, None]
    raise Mismatch("prior or target have tails that are too heavy for a grid on the line")
