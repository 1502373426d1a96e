"""What holds for every metric."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from samplerhub.capabilities import AtEqualLaws, Chooses, Denoises
from samplerhub.checks import check_needs, chosen, fits
from samplerhub.measure import Recorded, Snapshot
from samplerhub.noise import normal, stream
from samplerhub.protocols import Estimate, Metric, Need, ScoreModel, Target
from samplerhub.sampling import GridSampler, Leg, Run
from samplerhub.setup import Setup
from samplerhub.testing.check import Case, Figure, Finding, NotApplicable, NotKept, alone, check, examine, kept, require
from samplerhub.testing.reference import BellsTarget, Plain
from samplerhub.truth import NoisedTarget, PosteriorMean

RHO = 0.1
"""Noise level at which the samples of a check are compared."""
SEEDS = 20


@dataclass(frozen=True, slots=True)
class MeanModel:
    """The model of a target whose posterior mean is not known: its mean, whatever the state."""

    mean: Tensor
    predicts: Literal["x0"] = "x0"

    def __call__(self, y: Tensor, rho: Tensor) -> Tensor:
        """Return it, shape of y."""
        return self.mean.to(y).expand_as(y)


def model_of(target: Target, seed: int = 0) -> ScoreModel:
    """Return the exact model of a target, or that of its mean where the exact one is not known."""
    if isinstance(target, Denoises):
        return PosteriorMean(target, tuple(target.shape))
    return MeanModel(target.sample(1000, stream(seed, "mean")).double().mean(0))


class PlainEuler(GridSampler):
    """y_s = y_t + (rho_s - rho_t) eps."""

    def step(self, run: Run, y: Tensor, leg: Leg) -> Tensor:
        """One evaluation."""
        return y + (leg.rho_s - leg.rho_t) * run.problem.eps(y, leg.rho_t)


class Watched(Recorded):
    """Evidence that tells a need that was not declared from any other mistake."""

    def _require(self, need: Need) -> None:
        if not need & self._declared:
            raise Undeclared(need.name)


class Undeclared(Exception):
    """A metric reads what it did not declare."""


def setup_of(target: Target, samples: int, seed: int = 0, path: Sequence[int] = (), steps: int = 10) -> Setup:
    """Return the setup of a run without error of start and score, by Euler's method from rho = 10 down to `RHO`."""
    times = torch.logspace(1, math.log10(RHO), steps + 1, dtype=torch.float64)
    return Setup(
        process=Plain(),
        model=model_of(target, seed),
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


@dataclass(frozen=True)
class Measured:
    """A metric, and samples that have the law of the target."""

    given: Metric | Chooses
    target: Target
    samples: int

    @cached_property
    def metric(self) -> Metric:
        """The metric, or the one that it chooses."""
        metric = chosen(self.given, setup_of(self.target, self.samples))
        check_needs({type(metric).__name__: metric}, setup_of(self.target, self.samples))
        return metric

    def noised(self, seed: int) -> Tensor:
        """Return samples with the law of the target."""
        x_0: Tensor = self.target.sample(self.samples, stream(seed, "check")).double()
        x_0 = x_0 + RHO * normal(x_0, stream(seed, "check noise"))
        return x_0

    def of(self, y: Tensor, seed: int = 0, path: Sequence[int] = ()) -> Estimate:
        """Return the figure of samples."""
        return self._watched(y, seed, path)[0]

    def _watched(self, y: Tensor, seed: int = 0, path: Sequence[int] = ()) -> tuple[Estimate, bool]:
        evidence = Watched(Snapshot(RHO, RHO, y), setup_of(self.target, self.samples, seed, path), self.metric.needs)
        return alone(lambda: self.metric(evidence))

    @cached_property
    def first(self) -> tuple[Estimate, bool]:
        """The figure of seed 0, and whether the global random numbers were left alone."""
        return self._watched(self.noised(0))

    @property
    def of_the_run(self) -> bool:
        """Whether it reads the run's setup, and may make samples of its own."""
        return Need.SETUP in self.metric.needs

    @cached_property
    def repeated(self) -> list[Estimate]:
        """The figures of as many sets of samples as there are seeds, all with the law of the target."""
        if self.of_the_run:
            raise NotApplicable("it reads the run: its figure is not of the samples alone")
        if self.first[0].stderr is None:
            raise NotApplicable("its figure has no standard error")
        return [self.first[0], *(self.of(self.noised(seed), seed) for seed in range(1, SEEDS))]

    def at_equal_laws(self) -> float | None:
        """Return what the metric says its mean is at equal laws."""
        return self.metric.at_equal_laws(self.samples) if isinstance(self.metric, AtEqualLaws) else 0.0

    @cached_property
    def figures(self) -> tuple[Tensor, Tensor]:
        """The figures at equal laws, and their standard errors."""
        value, stderr = torch.tensor([(e.value, e.stderr) for e in self.repeated], dtype=torch.float64).T
        usual = stderr.square().mean().sqrt().clamp(min=1e-150)  # for those that are 0: none of few was counted
        return value, torch.where(stderr > 0, stderr, usual)


@check("metric-needs", "evidence.reference or evidence.setup read without its Need", gate=True)
def needs(case: Measured) -> None:
    """It reads what it declares in `needs`, and nothing else.

    What no metric needs is not recorded, and whether a run offers it is checked before anything is sampled.
    """
    try:
        _ = case.first
    except Undeclared as error:
        raise NotKept(f"it reads {error}", f"needs = {_names(case.metric.needs)}") from error


@check("metric-number", "a logarithm of 0, or a division by a count that may be 0", gate=True)
def number(case: Measured) -> None:
    """The figure is a number, and its standard error positive, 0 beside a share of 0 or 1, or None where it is exact.

    A figure that is none, or of no certainty, cannot be compared.
    """
    value, stderr = case.first[0].value, case.first[0].stderr
    require(isinstance(value, float) and not math.isnan(value), f"value {value!r}", "a float")
    floor = stderr is None or stderr > 0 or (stderr == 0 and (case.of_the_run or value in (0, 1)))
    require(floor, f"standard error {stderr!r}", "positive, or None")


@check("metric-repeatable", "random numbers without samplerhub.stream(evidence.setup.seed, ...)")
def repeatable(case: Measured) -> None:
    """The same run gives the same figure, and the global random numbers are left alone.

    `samplerhub run --from` makes the figures again, and says whether they are the same.
    """
    again = case.of(case.noised(0))
    first = case.first[0]
    require(
        (again.value, again.stderr) == (first.value, first.stderr),
        f"{again.value!r} ± {again.stderr!r} the second time",
        f"{first.value!r} ± {first.stderr!r}",
    )
    require(case.first[1], "global random numbers are drawn or seeded")


@check("metric-order", "samples compared with the reference of the same row, or a split into halves that overlap")
def order(case: Measured) -> None:
    """The order of the samples does not matter.

    They are independent; how they were cut into blocks must not show in a figure.
    """
    if case.of_the_run:
        raise NotApplicable("it reads the run: its figure is not of the samples alone")
    first = case.first[0]
    shuffled = case.noised(0)[torch.randperm(case.samples, generator=stream(0, "shuffle"))]
    value = case.of(shuffled).value
    require(
        abs(value - first.value) <= 1e-9 * (1 + abs(first.value)),
        f"{value:.10g} in another order",
        f"{first.value:.10g}",
    )


@check("metric-equal-laws", "the bias of a finite sample that is not removed, or not said in `at_equal_laws`")
def equal_laws(case: Measured) -> Figure:
    """For samples with the law of the target it is 0 in the mean, or what `at_equal_laws` says.

    A figure that is not 0 where there is no error cannot tell a good sampler from a perfect one.
    """
    value, stderr = case.figures
    expected = case.at_equal_laws()
    if expected is None:
        raise NotApplicable("it says that its value at equal laws depends on the law")
    scale = max(
        float(stderr.square().mean().sqrt()), float(value.std())
    )  # metric-stderr is about the one beside the other
    z = (float(value.mean()) - expected) / scale
    bound = 4 / SEEDS**0.5
    return Figure(f"{expected:.4g} within {bound:.2f} standard errors, mean of {SEEDS}", f"{z:+.2f}", abs(z) < bound)


@check("metric-stderr", "a standard deviation that is not divided by sqrt(n), or a source of error left out")
def stderr(case: Measured) -> Figure:
    """Its values for other samples of the same law scatter as its standard error says.

    Two samplers differ if their figures do by more than that.
    """
    value, stderr = case.figures
    expected = case.at_equal_laws()
    centre = value.mean() if expected is None or abs(value.mean() - expected) > stderr.mean() else expected
    worst = float(((value - centre) / stderr).abs().max())
    return Figure(f"at most 5 standard errors from their mean, of {SEEDS}", f"{worst:.1f}", worst < 5)


@check("metric-curve", "a curve from data to noise, as the process runs")
def curve(case: Measured) -> None:
    """The curve of a metric that reads the run goes along the path, from noise to data.

    It is drawn beside those of other metrics.
    """
    if not case.of_the_run:
        raise NotApplicable("its curve is made for it, of its figures")
    at = [point.t for point in case.of(case.noised(0), path=(0, 5, 10)).curve]
    require(at == sorted(at, reverse=True), f"times {at}", "times that fall")


CHECKS = (needs, number, repeatable, order, equal_laws, stderr, curve)


def cases(metric: Metric | Chooses, targets: Mapping[str, Target], samples: int = 4000) -> Iterator[Case]:
    """Yield a metric for each target that it is defined for."""
    for name, target in targets.items():
        if suits(metric, target, samples):
            yield Case(name, Measured(metric, target, samples))


def check_metric(metric: Metric | Chooses, target: Target | None = None, samples: int = 4000) -> list[Finding]:
    """Check that a metric can be had for the target, ignores the order of samples, and is honest about equal laws.

    Args:
        metric: The metric.
        target: What the samples are compared with; by default three bells in the plane.
        samples: How many there are.

    Raises:
        NotKept: Something does not hold.
        Mismatch: The metric is not defined for the target.
    """
    case = Measured(metric, BellsTarget() if target is None else target, samples)
    _ = case.metric  # where it is not defined, that is an error of whoever asks and no finding
    return kept(examine(CHECKS, [Case("", case)]))


def _names(needs: frozenset[Need]) -> str:
    return ", ".join(sorted(str(need.name) for need in needs)) or "nothing"
