"""The law of a sampler's output on a Gaussian problem: exact where the sampler is linear, else by Monte Carlo."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor

import samplerhub.process as derived
from samplerhub.errors import Mismatch
from samplerhub.law.draws import Impulses
from samplerhub.problem import Problem
from samplerhub.protocols import ForwardProcess, Sampler, Step
from samplerhub.testing.exact import Bell, Bells, levels
from samplerhub.testing.reference import BellsTarget


class Copies:
    """Independent copies of `Bells`, as model."""

    predicts: ClassVar[Literal["x0"]] = "x0"

    def __call__(self, y: Tensor, rho: Tensor) -> Tensor:
        """Return E[x_0 | y], shape (n, copies, 2)."""
        each = rho.expand(len(y), y.shape[1], 1).reshape(-1, 1)
        return Bells()(y.reshape(-1, 2), each).view_as(y)


def variance(sampler: Sampler, process: ForwardProcess, times: Tensor, data: float = 1.0) -> float:
    """Return the exact variance of the output relative to the truth: normal data of variance `data`, exact prior.

    A fixed-step sampler maps (start, noise) to its output linearly here, so that the variance is the sum of the squared
    responses to a unit in each of them. 1 means that the marginal law is exact.

    Raises:
        Mismatch: The sampler draws more often for more rows.
    """
    draws = _answered(sampler, process, times, data, 2)[0]
    found, step = _answered(sampler, process, times, data, draws + 1)
    if found != draws:
        raise Mismatch(f"it draws {draws} times for 2 rows and {found} times for {draws + 1}: once for all is expected")
    return _relative(step, process, times, data, step.x.square().sum())


def draws_once(sampler: Sampler, process: ForwardProcess) -> bool:
    """Say whether the noise of all rows is drawn at once: as many draws for 5 rows as for 2."""
    times = _times(process, 5)
    return _answered(sampler, process, times, 1.0, 2)[0] == _answered(sampler, process, times, 1.0, 5)[0]


def _answered(sampler: Sampler, process: ForwardProcess, times: Tensor, data: float, rows: int) -> tuple[int, Step]:
    """Return how often it draws, and the last step: the answers to a unit of the start and of each draw, by row."""
    x = torch.zeros(rows, 1, dtype=torch.float64)
    x[0] = _start(process, times, data)
    with Impulses() as impulses:
        *_, step = sampler(Problem(process, Bell(data), shape=(1,)), x, times, torch.Generator())
    return impulses.draws, step


def is_linear(sampler: Sampler, process: ForwardProcess) -> bool:
    """Say whether twice the start gives twice the output, the noise being the same and 0 in that row."""
    times = _times(process, 5)
    x = torch.zeros(400, 1, dtype=torch.float64)
    ends = []
    for factor in (1.0, 2.0):
        x[0] = factor * _start(process, times, 1.0)
        with Impulses():
            *_, step = sampler(Problem(process, Bell(), shape=(1,)), x, times, torch.Generator())
        ends.append(step.x)
    grown = ends[1].clone()
    grown[0] /= 2
    return torch.allclose(grown, ends[0], rtol=1e-9, atol=1e-12)


def sampled_variance(
    sampler: Sampler, process: ForwardProcess, steps: int, data: float = 1.0, n: int = 500, d: int = 64
) -> tuple[float, float]:
    """Return the relative variance of the output and its standard error, by n samples of d independent numbers."""
    times = _times(process, steps)
    z = torch.randn(n, d, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    bell = Problem(process, Bell(data), shape=(d,))
    *_, step = sampler(bell, _start(process, times, data) * z, times, torch.Generator().manual_seed(2))
    value = _relative(step, process, times, data, step.x.square().mean())
    return value, value * math.sqrt(2 / (n * d))


def sampled_moments(
    sampler: Sampler, process: ForwardProcess, steps: int, n: int = 2000, copies: int = 32
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return mean and variances of n samples of `Bells`, from their exact start, and what they should be.

    Each row has several independent copies: some samplers take a norm over the row, for which two numbers are few.
    """
    times, target = _times(process, steps), BellsTarget()
    alpha, rho = derived.alpha(process, times[[0, -1]]), derived.rho(process, times[[0, -1]])
    start = target.sample(n, torch.Generator().manual_seed(3))
    start = start + rho[0] * torch.randn(n, 2, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    start = (alpha[0] * start).view(-1, copies, 2)
    many = Problem(process, Copies(), shape=(copies, 2))
    *_, step = sampler(many, start, times, torch.Generator().manual_seed(5))
    x, (mean, C) = step.x.view(-1, 2), target.moments()
    if isinstance(step.rho, float) and step.rho == 0:  # denoised: what the last noise hides is missing
        return x.mean(0), x.var(0), mean, C.diagonal()
    return x.mean(0) / alpha[1], x.var(0) / alpha[1] ** 2, mean, C.diagonal() + rho[1] ** 2


def _times(process: ForwardProcess, steps: int) -> Tensor:
    low, high = levels(process)
    rho = torch.logspace(math.log10(high), math.log10(low), steps + 1, dtype=torch.float64)
    return derived.time_at(process, rho.clamp(low, high))


def _start(process: ForwardProcess, times: Tensor, data: float) -> float:
    """Standard deviation of x at the first time."""
    return float(derived.alpha(process, times[0]) * (data + derived.rho(process, times[0]) ** 2).sqrt())


def _relative(step: Step, process: ForwardProcess, times: Tensor, data: float, x_variance: Tensor) -> float:
    """Divide by the true variance, of x at the last time, or of the posterior mean where the state is denoised."""
    alpha, rho = float(derived.alpha(process, times[-1])), float(derived.rho(process, times[-1]))
    denoised = isinstance(step.rho, float) and step.rho == 0
    return float(x_variance) / (data**2 / (data + rho**2) if denoised else alpha**2 * (data + rho**2))
