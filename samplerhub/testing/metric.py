"""What holds for every metric."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from samplerhub.capabilities import AtEqualLaws, Chooses, Denoises
from samplerhub.measure import Recorded, Snapshot, check_needs, chosen, fits
from samplerhub.noise import normal, stream
from samplerhub.protocols import Estimate, ForwardProcess, Metric, Need, Target
from samplerhub.sampling import GridSampler, Leg, Run
from samplerhub.setup import Setup
from samplerhub.truth import NoisedTarget, PosteriorMean

RHO = 0.1
"""Noise level at which the samples of a check are compared."""


class Plain:
    """The process without a scale, x_t = x_0 + t eps."""

    span = (0.002, 80.0)

    def alpha(self, t: Tensor) -> Tensor:
        """1."""
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        """Return t."""
        return t


@dataclass(frozen=True, slots=True)
class MeanModel:
    """The model of a target whose posterior mean is not known: its mean, whatever the state."""

    mean: Tensor
    predicts: Literal["x0"] = "x0"

    def __call__(self, y: Tensor, rho: Tensor) -> Tensor:
        """Return it, shape of y."""
        return self.mean.to(y).expand_as(y)


class PlainEuler(GridSampler):
    """y_s = y_t + (rho_s - rho_t) eps."""

    def step(self, run: Run, y: Tensor, leg: Leg) -> Tensor:
        """One evaluation."""
        return y + (leg.rho_s - leg.rho_t) * run.problem.eps(y, leg.rho_t)


def setup_of(target: Target, samples: int, seed: int = 0, path: Sequence[int] = (), steps: int = 10) -> Setup:
    """Return the setup of a run without error of start and score, by Euler's method from rho = 10 down to `RHO`."""
    mean = target.sample(1000, stream(seed, "mean")).double().mean(0)
    times = torch.logspace(1, math.log10(RHO), steps + 1, dtype=torch.float64)
    process: ForwardProcess = Plain()
    return Setup(
        process=process,
        model=PosteriorMean(target, tuple(target.shape)) if isinstance(target, Denoises) else MeanModel(mean),
        sampler=PlainEuler(),
        prior=NoisedTarget(),
        target=target,
        times=times,
        shape=tuple(target.shape),
        samples=samples,
        seed=seed,
        path=tuple(path),
    )


def suits(metric: Metric | Chooses, target: Target, samples: int = 4000) -> bool:
    """Say whether a metric is defined for a target."""
    return fits(metric, setup_of(target, samples))


def check_metric(metric: Metric | Chooses, target: Target, samples: int = 4000) -> None:
    """Assert that a metric can be had for the target, ignores the order of samples, and is honest about equal laws.

    At equal laws it is 0 within its standard error, or what it says itself (`AtEqualLaws`); if it cannot say, its
    values for different samples agree within their standard errors.

    It reads through the same guard as in a run, so that reading what it did not declare is an error. A metric that
    reads the run's setup must give the same figure twice, and a curve over the path if one is recorded.

    Raises:
        Mismatch: The metric is not defined for the target.
    """
    metric = chosen(metric, setup_of(target, samples))
    check_needs({type(metric).__name__: metric}, setup_of(target, samples))
    if Need.SETUP in metric.needs:
        return _check_setup_metric(metric, target, samples)
    estimates = []
    for seed in range(20):
        y = _noised(target, samples, seed)
        estimate = _evaluated(metric, y, setup_of(target, samples, seed))
        if seed == 0:
            shuffled = y[torch.randperm(samples, generator=stream(0, "shuffle"))]
            again = _evaluated(metric, shuffled, setup_of(target, samples, seed))
            assert abs(again.value - estimate.value) <= 1e-9 * (1 + abs(estimate.value)), "the order of samples matters"
        if estimate.stderr is None:
            return
        assert estimate.stderr > 0, f"standard error {estimate.stderr}"
        estimates.append((estimate.value, estimate.stderr))
    value, stderr = torch.tensor(estimates, dtype=torch.float64).T
    assert bool(value.isfinite().all()), f"the figures {value.tolist()} are not all numbers"
    expected = metric.at_equal_laws(samples) if isinstance(metric, AtEqualLaws) else 0.0
    z = (value - (value.mean() if expected is None else expected)) / stderr
    assert abs(float(z.mean())) < 4 / 20**0.5, (
        f"biased at equal laws: (value - {expected})/stderr is {float(z.mean()):.2f} in the mean"
    )
    assert float(z.abs().max()) < 5, f"standard error too small: the error reaches {float(z.abs().max()):.1f} of it"


def _check_setup_metric(metric: Metric, target: Target, samples: int) -> None:
    y = _noised(target, samples, 0)
    first, second = (_evaluated(metric, y, setup_of(target, samples)) for _ in range(2))
    assert (first.value, first.stderr) == (second.value, second.stderr), "the same run gives another figure"
    assert first.stderr is None or first.stderr >= 0, f"standard error {first.stderr}"
    assert not math.isnan(first.value), "the figure is no number"
    setup = setup_of(target, samples, path=(0, 5, 10))
    curve = _evaluated(metric, y, setup).curve
    at = [point.t for point in curve]
    assert at == sorted(at, reverse=True), f"the curve's times {at} do not decrease"


def _noised(target: Target, samples: int, seed: int) -> Tensor:
    x_0 = target.sample(samples, stream(seed, "check")).double()
    return x_0 + RHO * normal(x_0, stream(seed, "check noise"))


def _evaluated(metric: Metric, y: Tensor, setup: Setup) -> Estimate:
    return metric(Recorded(Snapshot(RHO, RHO, y), setup, metric.needs))
