"""The checks of a component as findings: what was expected, what was measured, and whether it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args, get_origin

import torch
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

import samplerhub.process as derived
from samplerhub.capabilities import Budgeted
from samplerhub.component import Component
from samplerhub.protocols import ForwardProcess, Sampler
from samplerhub.testing import exact
from samplerhub.testing.law import is_linear, sampled_variance
from samplerhub.testing.sampler import check_contract, check_evaluations, flow_errors, slope, weak_errors

COMMON = ("last", "churn_history")
"""Fields that all samplers share, and that are no method of their own."""
DATA = 0.5
"""Variance of the data for the law: not 1, at which some methods are exact by coincidence."""
TOLERANCE = 0.25
"""How far a measured order of convergence may be below the declared one."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check."""

    check: str
    about: str
    """What it was checked with: the fields that differ from the defaults, and the process."""
    expected: str
    measured: str
    passed: bool


def holds(check: str, about: str, expected: str, assertion: Callable[[], object]) -> Finding:
    """Return the finding of a function that raises AssertionError where something does not hold."""
    try:
        assertion()
    except AssertionError as error:
        return Finding(check, about, expected, str(error) or "does not hold", False)
    return Finding(check, about, expected, "holds", True)


def check_sampler(sampler: Sampler, processes: Mapping[str, ForwardProcess]) -> Iterator[Finding]:
    """Yield the findings of a sampler: for each of its orders, with and without churn, on every process."""
    for variant in variants(sampler):
        fields = described(variant)
        for name, process in processes.items():
            about = f"{fields}{', ' if fields else ''}{name}"
            yield holds("contract", about, "kept", partial(check_contract, variant, process))
            yield from _convergence(variant, process, about)
        if isinstance(variant, Budgeted):
            spent = partial(check_evaluations, variant, next(iter(processes.values())))
            yield holds("evaluations", f"{fields}{', ' if fields else ''}1 to 30 steps", "as declared", spent)


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


def _fields(sampler: Sampler) -> dict[str, object]:
    return sampler.model_dump() if isinstance(sampler, BaseModel) else {}


def _convergence(sampler: Sampler, process: ForwardProcess, about: str) -> Iterator[Finding]:
    """Yield the order towards the exact flow, or towards the exact law where the sampler draws noise."""
    order = getattr(sampler, "order", None)
    if not isinstance(sampler, Budgeted):
        yield _adaptive(sampler, process, about)
    elif _draws(sampler, process):
        yield _law(sampler, process, order, about)
    elif not isinstance(order, int):
        yield Finding("order", about, "an integer `order`", f"{order!r}", False)
    elif order < 5:
        steps = (40, 80, 160) if order < 3 else (80, 160, 320)
        measured = slope(steps, flow_errors(sampler, process, steps, order))
        yield Finding("order", about, f"{order} or more", f"{measured:.2f}", measured > order - TOLERANCE)
    else:
        measured = _slope_before_rounding(sampler, process, order)
        yield Finding("order", about, str(order), f"{measured:.2f}", measured > order - TOLERANCE)


def _slope_before_rounding(sampler: Sampler, process: ForwardProcess, order: int) -> float:
    """Return the steepest slope over three numbers of steps: it is followed by rounding at these orders."""
    steps = (20, 30, 40, 60, 80, 120, 160)
    errors = flow_errors(sampler, process, steps, order)
    return max(slope(steps[i : i + 3], errors[i : i + 3]) for i in range(len(steps) - 2))


def _draws(sampler: Sampler, process: ForwardProcess) -> bool:
    rng = torch.Generator().manual_seed(0)
    before = rng.get_state()
    times = exact.warm_times(process, 4, 1)
    start = exact.flow(*reversed(exact.levels(process)))[0]
    list(sampler(exact.problem(process), start * derived.alpha(process, times[0]), times, rng))
    return not torch.equal(before, rng.get_state())


def _law(sampler: Sampler, process: ForwardProcess, order: object, about: str) -> Finding:
    """Weak order by exact moments where the sampler is linear in start and noise, else the law by Monte Carlo."""
    if not isinstance(order, int) or not is_linear(sampler, process):
        value, stderr = sampled_variance(sampler, process, 400, DATA)
        return _within(value, stderr, about)
    steps = (80, 160, 320)
    errors = weak_errors(sampler, process, steps, DATA)
    if max(map(abs, errors)) < 1e-10:
        return Finding("weak order", about, str(order), "exact", True)
    measured = slope(steps, errors)
    bounded = order >= 2 and all(abs(e) < 20 / n**2 for n, e in zip(steps, errors))
    # From order 3 on, a cold start leaves order 2 in the limit, and the error may pass through 0 on its way there.
    passed = bounded or (order < 3 and measured > order - TOLERANCE)
    return Finding("weak order", about, str(order) if order < 3 else "2 or more", f"{measured:.2f}", passed)


def _within(value: float, stderr: float, about: str) -> Finding:
    """Judge a relative variance by Monte Carlo: its own error, and 2 % for the steps."""
    bound = 4 * stderr + 0.02
    return Finding("law", about, f"1 within {bound:.2f}", f"{value:.3f} ± {stderr:.3f}", abs(value - 1) < bound)


def _adaptive(sampler: Sampler, process: ForwardProcess, about: str) -> Finding:
    low, high = exact.levels(process)
    start, end = exact.flow(high, low)
    times = derived.time_at(process, [high, low])
    scale = derived.alpha(process, times).tolist()
    problem = exact.problem(process)
    if _draws(sampler, process):
        value, stderr = sampled_variance(sampler, process, 1, DATA)
        return _within(value, stderr, about)
    *_, last = sampler(problem, start * scale[0], times, torch.Generator())
    error = float((last.x / scale[1] - end).square().mean().sqrt())
    tolerance = max(
        [v for k, v in _fields(sampler).items() if k in ("rtol", "atol") and isinstance(v, float)], default=1e-4
    )
    bound = min(20 * tolerance, 0.1)
    return Finding(
        "accuracy", about, f"RMS below {bound:g}", f"{error:.1e}, {problem.nfe:.0f} evaluations", error < bound
    )
