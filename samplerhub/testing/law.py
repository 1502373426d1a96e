"""The law of a sampler's output on a Gaussian problem: exact where the sampler is linear, else by Monte Carlo."""

from __future__ import annotations

import math

import torch
from torch import Tensor

import samplerhub.process as derived
from samplerhub.law.draws import Impulses
from samplerhub.problem import Problem
from samplerhub.protocols import ForwardProcess, Sampler, Step
from samplerhub.testing.exact import Bell, levels


def variance(sampler: Sampler, process: ForwardProcess, times: Tensor, data: float = 1.0) -> float:
    """Return the exact variance of the output relative to the truth: normal data of variance `data`, exact prior.

    A fixed-step sampler maps (start, noise) to its output linearly here, so that the variance is the sum of the squared
    responses to a unit in each of them. 1 means that the marginal law is exact.
    """
    start = _start(process, times, data)
    rows = 2
    while True:
        x = torch.zeros(rows, 1, dtype=torch.float64)
        x[0] = start
        with Impulses() as impulses:
            *_, step = sampler(Problem(process, Bell(data), shape=(1,)), x, times, torch.Generator())
        if impulses.draws < rows:
            return _relative(step, process, times, data, step.x.square().sum())
        rows = impulses.draws + 1


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
    problem = Problem(process, Bell(data), shape=(d,))
    *_, step = sampler(problem, _start(process, times, data) * z, times, torch.Generator().manual_seed(2))
    value = _relative(step, process, times, data, step.x.square().mean())
    return value, value * math.sqrt(2 / (n * d))


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
