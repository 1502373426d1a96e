"""How fast a sampler converges, to the exact flow or to the exact law, measured on exact problems."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Literal, get_args, get_origin

import torch
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from torch import Tensor

import samplerhub.process as derived
from samplerhub.capabilities import Budgeted
from samplerhub.component import Component
from samplerhub.protocols import ForwardProcess, Sampler
from samplerhub.testing import exact
from samplerhub.testing.check import Case, Figure, Finding, NotApplicable, NotKept, alone, check, examine, kept
from samplerhub.testing.law import draws_once, is_linear, sampled_moments, sampled_variance, variance
from samplerhub.testing.reference import PROCESSES
from samplerhub.testing.sampler import CONTRACT, Sampled

COMMON = ("last", "churn_history")
"""Fields that all samplers share, and that are no method of their own."""
DATA = 0.5
"""Variance of the data for the law: not 1, at which some methods are exact by coincidence."""
TOLERANCE = 0.25
"""How far a measured order of convergence may be below the declared one."""


def slope(sizes: Sequence[float], errors: Sequence[float]) -> float:
    """Return the order of convergence: minus the least-squares slope of log error against log size."""
    u, v = torch.tensor(sizes, dtype=torch.float64).log(), torch.tensor(errors, dtype=torch.float64).abs().log()
    u, v = u - u.mean(), v - v.mean()
    return -float((u * v).sum() / (u * u).sum())


def flow_errors(sampler: Sampler, process: ForwardProcess, steps: Sequence[int], order: int) -> list[float]:
    """Return the RMS distance to the exact probability flow for each number of steps, on `exact.Bells`.

    A sampler that ends with a denoising step is held against the posterior mean at the end of the flow.
    """
    start, end = exact.flow(*reversed(exact.levels(process)))
    errors = []
    for n in steps:
        times = exact.warm_times(process, n, order)
        scale = derived.alpha(process, times[[0, -1]]).tolist()
        *_, last = sampler(exact.problem(process), start * scale[0], times, torch.Generator())
        denoised = isinstance(last.rho, float) and last.rho == 0
        truth = exact.Bells()(end, derived.rho(process, times[-1])) if denoised else end
        errors.append(float((last.x / (1.0 if denoised else scale[1]) - truth).square().mean().sqrt()))
    return errors


def weak_errors(sampler: Sampler, process: ForwardProcess, steps: Sequence[int], data: float = 1.0) -> list[float]:
    """Return the relative error of the output's variance for each number of steps: exact prior, score and moments.

    `data` is the variance of the data, which are normal.
    """
    rho_low, rho_high = exact.levels(process)
    errors = []
    for n in steps:
        rho = torch.logspace(math.log10(rho_high), math.log10(rho_low), n + 1, dtype=torch.float64)
        errors.append(variance(sampler, process, derived.time_at(process, rho.clamp(rho_low, rho_high)), data) - 1)
    return errors


class Converging(Sampled):
    """A sampler on a process, as its convergence is measured."""

    @property
    def order(self) -> object:
        """The order that it declares."""
        return getattr(self.sampler, "order", None)

    @cached_property
    def draws(self) -> bool:
        """Whether it draws noise."""
        rng = torch.Generator().manual_seed(0)
        before = rng.get_state()
        times = exact.warm_times(self.process, 4, 1)
        x = exact.flow(*reversed(exact.levels(self.process)))[0] * derived.alpha(self.process, times[0])
        alone(lambda: list(self.sampler(exact.problem(self.process), x, times, rng)))
        return not torch.equal(before, rng.get_state())

    @cached_property
    def has_weak_order(self) -> bool:
        """Whether its law on normal data is known without Monte Carlo, and an order is declared to hold it against."""
        known = self.fixed and isinstance(self.order, int)
        return known and draws_once(self.sampler, self.process) and is_linear(self.sampler, self.process)

    @property
    def sound_order(self) -> int:
        """The order that it declares, where it is one."""
        if not isinstance(self.order, int) or isinstance(self.order, bool) or self.order < 1:
            raise NotKept(f"order = {self.order!r}", "an integer `order`, 1 or more")
        return self.order


@check("sampler-order", "a weight of the method, the evaluation of another node, or the order that is declared")
def order(case: Converging) -> Figure:
    """A sampler without noise converges to the probability flow at the order that it declares, on an exact model.

    A wrong weight leaves pictures that look right, and takes away what the method was chosen for.
    """
    if case.draws:
        raise NotApplicable("it draws noise: sampler-weak-order or sampler-law is for those")
    if not case.fixed:
        raise NotApplicable("its steps are its own: sampler-accuracy is for those")
    if case.order is None and not isinstance(case.sampler, Budgeted):
        raise NotApplicable("it declares no order: add `order`; sampler-accuracy is for those that have none")
    declared = case.sound_order
    steps: Sequence[int]
    if declared < 5:
        steps = (40, 80, 160) if declared < 3 else (80, 160, 320)
        measured = slope(steps, flow_errors(case.sampler, case.process, steps, declared))
    else:  # the steepest over three numbers of steps: it is followed by rounding at these orders
        steps = (20, 30, 40, 60, 80, 120, 160)
        errors = flow_errors(case.sampler, case.process, steps, declared)
        measured = max(slope(steps[i : i + 3], errors[i : i + 3]) for i in range(len(steps) - 2))
    return Figure(f"{declared} or more, less {TOLERANCE}", f"{measured:.2f}", measured > declared - TOLERANCE)


@check("sampler-weak-order", "noise of another variance than the step takes away, or added at the wrong end of a step")
def weak_order(case: Converging) -> Figure:
    """The variance of what a sampler with noise returns converges at its order, by exact moments on normal data.

    Too much or too little noise shows in pictures as grain or blur, and in nothing else.
    """
    if not case.draws:
        raise NotApplicable("it draws no noise")
    if not case.has_weak_order:
        raise NotApplicable("it is not linear in start and noise, or declares no order: sampler-law is for those")
    declared = case.sound_order
    steps = (80, 160, 320)
    errors = weak_errors(case.sampler, case.process, steps, DATA)
    if max(map(abs, errors)) < 1e-10:
        return Figure(str(declared), "exact", True)
    measured = slope(steps, errors)
    bounded = declared >= 2 and all(abs(e) < 20 / n**2 for n, e in zip(steps, errors))
    # From order 3 on, a cold start leaves order 2 in the limit, and the error may pass through 0 on its way there.
    passed = bounded or (declared < 3 and measured > declared - TOLERANCE)
    said = f"{measured:.2f}, the error {errors[-1]:.1e} at {steps[-1]} steps"
    return Figure(f"{declared}, less {TOLERANCE}" if declared < 3 else "2 or more", said, passed)


@check("sampler-law", "noise of another variance than the step takes away, or a sign in the drift")
def law(case: Converging) -> Figure:
    """The variance of what a sampler with noise returns is that of the data, by Monte Carlo with many steps.

    It is what remains to be checked of a sampler whose output is not linear in its noise.
    """
    if not case.draws:
        raise NotApplicable("it draws no noise")
    if case.has_weak_order:
        raise NotApplicable("sampler-weak-order says more")
    steps = 400 if case.fixed else 1
    value, stderr = alone(lambda: sampled_variance(case.sampler, case.process, steps, DATA))[0]
    bound = 4 * stderr + 0.02  # its own error, and 2 % for the steps
    return Figure(f"1 within {bound:.2f}", f"{value:.3f} ± {stderr:.3f}", abs(value - 1) < bound)


@check("sampler-moments", "a mean or a variance of the data that is taken for granted, instead of asking the model")
def moments(case: Converging) -> Figure:
    """Mean and variance of what a sampler with noise returns are those of data that are not normal, by Monte Carlo.

    One that is right on centred normal data alone may have left out whatever the model says.
    """
    if not case.draws:
        raise NotApplicable("it draws no noise")
    n, steps = (2048, 80) if case.fixed else (512, 1)
    mean, variance, true_mean, true_variance = alone(lambda: sampled_moments(case.sampler, case.process, steps, n))[0]
    bound = 5 / n**0.5 + 0.1  # its own error, and a tenth for the steps, both in standard deviations
    off = torch.cat([(mean - true_mean) / true_variance.sqrt(), variance / true_variance - 1]).abs()
    said = f"mean {_listed(mean)}, variance {_listed(variance)}"
    expected = f"mean {_listed(true_mean)}, variance {_listed(true_variance)}, within {bound:.2g}"
    return Figure(expected, said, bool(off.max() < bound))


@check("sampler-accuracy", "an error estimate of another order than the controller takes it for")
def accuracy(case: Converging) -> Figure:
    """A sampler with steps of its own, and without noise, is as close to the probability flow as its tolerance says.

    The tolerance is all that the user can choose.
    """
    if case.draws:
        raise NotApplicable("it draws noise: sampler-law is for those")
    if isinstance(case.sampler, Budgeted) or (case.fixed and case.order is not None):
        raise NotApplicable("it takes the steps that it is given")
    if case.fixed:
        (error,) = flow_errors(case.sampler, case.process, (400,), 1)
        return Figure("RMS below 0.1 with 400 steps", f"{error:.1e}", error < 0.1)
    low, high = exact.levels(case.process)
    start, end = exact.flow(high, low)
    times = derived.time_at(case.process, [high, low])
    scale = derived.alpha(case.process, times).tolist()
    problem = exact.problem(case.process)
    *_, last = case.sampler(problem, start * scale[0], times, torch.Generator())
    error = float((last.x / scale[1] - end).square().mean().sqrt())
    values = _fields(case.sampler)
    tolerance = max([v for k, v in values.items() if k in ("rtol", "atol") and isinstance(v, float)], default=1e-4)
    bound = min(20 * tolerance, 0.1)
    return Figure(f"RMS below {bound:g}", f"{error:.1e}, {problem.nfe:.0f} evaluations", error < bound)


CHECKS = (*CONTRACT, order, weak_order, law, moments, accuracy)


def cases(sampler: Sampler, processes: Mapping[str, ForwardProcess]) -> Iterator[Case]:
    """Yield a sampler in each of its variants on each process."""
    for variant in variants(sampler):
        fields = described(variant)
        for name, process in processes.items():
            yield Case(", ".join(filter(None, (fields, name))), Converging(variant, process))


def check_sampler(sampler: Sampler, processes: Mapping[str, ForwardProcess] = PROCESSES) -> list[Finding]:
    """Check contract, order and law of a sampler: each of its orders, with and without churn, on every process.

    Args:
        sampler: The sampler.
        processes: On which, by name; by default three of the kit's own.

    Raises:
        NotKept: Something does not hold.
    """
    return kept(examine(CHECKS, cases(sampler, processes)))


def variants(sampler: Sampler) -> Iterator[Sampler]:
    """Yield a sampler with each value of its fields that have a few, one at a time, then with churn 0, 0.3 and 1."""
    if not isinstance(sampler, Component):
        yield sampler
        return
    fields = type(sampler).model_fields
    yield sampler
    for name, field in fields.items():
        for value in () if name in COMMON else _choices(field):
            if value != getattr(sampler, name):
                try:
                    yield sampler.replace(**{name: value})
                except ValidationError:  # two fields that exclude each other
                    continue
    if "churn" in fields:
        for churn in (0.0, 0.3, 1.0):
            if churn != _fields(sampler)["churn"]:
                yield sampler.replace(churn=churn)


def _choices(field: FieldInfo) -> list[object]:
    """Return all values of a field that has a few: a choice of words, or integers between bounds."""
    if get_origin(field.annotation) is Literal:
        return list(get_args(field.annotation))
    bounds = {key: getattr(item, key) for item in field.metadata for key in ("ge", "le") if hasattr(item, key)}
    few = field.annotation is int and len(bounds) == 2 and bounds["le"] - bounds["ge"] < 12
    return list(range(bounds["ge"], bounds["le"] + 1)) if few else []


def described(sampler: Sampler) -> str:
    """Return the fields of a sampler that differ from its defaults."""
    dumped = sampler.model_dump(exclude_defaults=True) if isinstance(sampler, BaseModel) else {}
    return ", ".join(f"{key} {value}" for key, value in dumped.items())


def _listed(values: Tensor) -> str:
    return ", ".join(f"{value:.3f}" for value in values.tolist())


def _fields(sampler: Sampler) -> dict[str, object]:
    return sampler.model_dump() if isinstance(sampler, BaseModel) else {}
