"""The times of a run: from a number of steps or from a budget of evaluations, and checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

import samplerhub.process as derived
from samplerhub.capabilities import Budgeted, Costs, HasSteps
from samplerhub.errors import InvalidSetting, Mismatch
from samplerhub.problem import Problem
from samplerhub.protocols import ForwardProcess, Grid, Sampler


def horizon(
    process: ForwardProcess,
    *,
    t_max: float | None = None,
    rho_max: float | None = None,
    t_min: float | None = None,
    rho_min: float | None = None,
) -> tuple[float, float]:
    """Return the times (last, first) of a run: the ends of the process's span, or nearer ones, by time or noise level.

    Raises:
        InvalidSetting: An end is given twice, or lies outside the process's span, or the ends are in the wrong order.
    """
    check_span(process)
    last = _end(process, 0, "min", t_min, rho_min)
    first = _end(process, 1, "max", t_max, rho_max)
    if not last < first:
        start, end = _told_apart(first, last)
        raise InvalidSetting(
            f"sampling would go from t = {start} to t = {end}: it goes down, from the larger noise level to the "
            "smaller; give other ends"
        )
    return last, first


def _end(process: ForwardProcess, end: int, name: str, t: float | None, level: float | None) -> float:
    """Return one end of the horizon as a time."""
    for which, value in (("t", t), ("rho", level)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise InvalidSetting(f"{which}_{name} = {value!r}: it must be a number")
    if t is not None and level is not None:
        raise InvalidSetting(f"t_{name} = {t:g}, rho_{name} = {level:g}: give one of them, the other follows")
    (t_min, t_max), (rho_min, rho_max) = process.span, derived.rho(process, list(process.span)).tolist()
    if t is not None and not t_min <= t <= t_max:
        given, low, high = _told_apart(t, t_min, t_max)
        raise InvalidSetting(
            f"t_{name} = {given}: it must be inside the span of process {type(process).__name__}, {low} to {high}"
        )
    if level is not None and not rho_min * (1 - 1e-12) <= level <= rho_max * (1 + 1e-12):
        given, low, high = _told_apart(level, rho_min, rho_max)
        raise InvalidSetting(
            f"rho_{name} = {given}: it must be one of the noise levels of process {type(process).__name__}, "
            f"{low} to {high}"
        )
    if t is not None:
        return float(t)
    return process.span[end] if level is None else derived.time_at(process, level).item()


def _told_apart(*numbers: float) -> list[str]:
    """Return numbers with as few digits as show that they differ."""
    for digits in (6, 9, 12, 17):
        texts = [f"{number:.{digits}g}" for number in numbers]
        if len(set(texts)) == len(set(numbers)):
            break
    return texts


def timetable(problem: Problem, grid: Grid, sampler: Sampler, *, steps: int | None, nfe: int | None) -> Tensor:
    """Return the times of a run, shape (steps + 1,), float64, strictly decreasing inside the problem's span.

    With a budget of `nfe` evaluations a sample instead of `steps`, as many steps as it allows.

    Raises:
        InvalidSetting: Not exactly one of the two numbers, one too small, or a grid that is none.
        Mismatch: A budget for a sampler that cannot say beforehand what it spends.
    """
    check_span(problem.process)
    if (steps is None) == (nfe is None):
        raise InvalidSetting(f"steps = {steps}, nfe = {nfe}: give exactly one of them")
    if steps is None:
        assert nfe is not None
        steps = _steps_within(nfe, problem, grid, sampler)
    return _checked(grid(problem, steps), steps, type(grid).__name__, problem)


def check_dtype(process: ForwardProcess, start: float, dtype: torch.dtype) -> None:
    """Raise `InvalidSetting` unless the largest noise level of a run is a number of its type."""
    level, largest = derived.rho(process, start).item(), torch.finfo(dtype).max
    if not level < largest:
        raise InvalidSetting(
            f"process {type(process).__name__} has noise level {level:.3g} at t = {start:g}, where sampling starts; "
            f"{str(dtype).removeprefix('torch.')} ends at {largest:.3g}: start at a smaller time, or take dtype float64"
        )


def check_span(process: ForwardProcess) -> None:
    """Raise `InvalidSetting` unless the noise levels of a process are positive, increasing and finite."""
    ends = derived.rho(process, list(process.span))
    if not bool(ends.isfinite().all() and (ends**2).isfinite().all() and ends[1] > ends[0] > 0):
        raise InvalidSetting(
            f"process {type(process).__name__} has noise levels {ends[0]:g} to {ends[1]:g} on its span {process.span}: "
            "they must be positive, increasing and finite; shorten the span"
        )


def _steps_within(nfe: int, problem: Problem, grid: Grid, sampler: Sampler) -> int:
    """Return the largest number of steps that spends no more than the budget."""
    name = type(sampler).__name__
    if not isinstance(sampler, Budgeted):
        raise Mismatch(
            f"nfe = {nfe}: sampler {name} neither says beforehand what it spends (`evaluations`) nor keeps to a budget "
            "(`within`); give steps instead"
        )

    costs = isinstance(problem.model, Costs)

    def spends(steps: int) -> int:
        times = grid(problem, steps)
        return _rehearsed(problem, times, sampler) if costs else sampler.evaluations(problem.process, times)

    if isinstance(grid, HasSteps):
        if spends(grid.steps) > nfe:
            raise InvalidSetting(
                f"nfe = {nfe}: with the {grid.steps} steps of grid {type(grid).__name__}, sampler {name} spends "
                f"{spends(grid.steps)}"
            )
        return grid.steps
    least = spends(1)
    if nfe < least:
        raise InvalidSetting(f"nfe = {nfe}: sampler {name} needs at least {least}")
    low, high = 1, nfe + 1  # spends(low) <= nfe < spends(high): no sampler takes a step without an evaluation
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if spends(middle) <= nfe else (low, middle)
    return low


@dataclass(frozen=True, slots=True)
class _Rehearsal:
    """A model that says nothing and costs what another does."""

    cost: Callable[[Tensor], Tensor]
    predicts: Literal["eps"] = "eps"

    def __call__(self, y: Tensor, rho: Tensor) -> Tensor:
        return torch.zeros_like(y)


def _rehearsed(problem: Problem, times: Tensor, sampler: Sampler) -> int:
    """Return what a sample spends where evaluations cost more at some noise levels: counted, without the model.

    A sampler of fixed steps evaluates at the same noise levels whatever the model says.
    """
    assert isinstance(problem.model, Costs)
    span = (times[-1].item(), times[0].item())
    model, shape = _Rehearsal(problem.model.cost), problem.shape
    rehearsal = Problem(problem.process, model, target=problem.target, shape=shape, span=span)
    for _ in sampler(rehearsal, torch.zeros(1, *problem.shape), times, torch.Generator().manual_seed(0)):
        pass
    return rehearsal.rows


def _checked(times: Tensor, steps: int, name: str, problem: Problem) -> Tensor:
    times = torch.as_tensor(times, dtype=torch.float64)
    if times.shape != (steps + 1,) or not bool(times.isfinite().all()):
        raise InvalidSetting(
            f"grid {name} returned {times.tolist()} for {steps} steps: expected {steps + 1} finite times"
        )
    stalls = (times.diff() >= 0).nonzero()
    if len(stalls):
        i = int(stalls[0])
        raise InvalidSetting(
            f"grid {name} does not decrease: time {i + 1} is {times[i + 1]:g} after {times[i]:g}; "
            "times run from the start of sampling down to its end"
        )
    t_min, t_max = problem.span
    slack = 1e-12 * max(abs(t_min), abs(t_max))
    if times[0] > t_max + slack or times[-1] < t_min - slack:
        whose = "process" if tuple(problem.span) == tuple(problem.process.span) else "run"
        raise InvalidSetting(
            f"grid {name} goes from {times[0]:g} to {times[-1]:g}, outside the {whose}'s span, {t_max:g} to {t_min:g}"
        )
    return times
