"""The times of a run: from a number of steps or from a budget of evaluations, and checked."""

from __future__ import annotations

import torch
from torch import Tensor

import samplerhub.process as derived
from samplerhub.capabilities import Budgeted
from samplerhub.errors import InvalidSetting, Mismatch
from samplerhub.problem import Problem
from samplerhub.protocols import ForwardProcess, Grid, Sampler


def timetable(problem: Problem, grid: Grid, sampler: Sampler, *, steps: int | None, nfe: int | None) -> Tensor:
    """Return the times of a run, shape (steps + 1,), float64, strictly decreasing inside the process's span.

    With a budget of `nfe` evaluations a sample instead of `steps`, as many steps as it allows.

    Raises:
        InvalidSetting: Not exactly one of the two numbers, one too small, or a grid that is none.
        Mismatch: A budget for a sampler that cannot say beforehand what it spends.
    """
    _check_span(problem.process)
    if (steps is None) == (nfe is None):
        raise InvalidSetting(f"steps = {steps}, nfe = {nfe}: give exactly one of them")
    if steps is None:
        assert nfe is not None
        steps = _steps_within(nfe, problem, grid, sampler)
    return _checked(grid(problem, steps), steps, type(grid).__name__, problem.process)


def _check_span(process: ForwardProcess) -> None:
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

    def spends(steps: int) -> int:
        return sampler.evaluations(problem.process, grid(problem, steps))

    least = spends(1)
    if nfe < least:
        raise InvalidSetting(f"nfe = {nfe}: sampler {name} needs at least {least}")
    low, high = 1, nfe + 1  # spends(low) <= nfe < spends(high): no sampler takes a step without an evaluation
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if spends(middle) <= nfe else (low, middle)
    return low


def _checked(times: Tensor, steps: int, name: str, process: ForwardProcess) -> Tensor:
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
    t_min, t_max = process.span
    if times[0] > t_max * (1 + 1e-12) or times[-1] < t_min * (1 - 1e-12):
        raise InvalidSetting(
            f"grid {name} goes from {times[0]:g} to {times[-1]:g}, outside the process's span, {t_max:g} to {t_min:g}"
        )
    return times
