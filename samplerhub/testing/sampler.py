"""What holds for every sampler: its contract, its order of convergence, its law under churn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

import samplerhub.process as derived
from samplerhub.capabilities import Budgeted
from samplerhub.problem import Problem
from samplerhub.protocols import ForwardProcess, Sampler, Step
from samplerhub.testing import exact
from samplerhub.testing.law import variance


class Linear:
    """A model for states of any shape: D = y/(1 + rho^2)."""

    predicts: ClassVar[Literal["x0"]] = "x0"

    def __call__(self, y: Tensor, rho: Tensor) -> Tensor:
        """Return the posterior mean of standard normal data."""
        return y / (1 + rho * rho)


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


def check_contract(sampler: Sampler, process: ForwardProcess) -> None:
    """Assert the contract of a sampler: times, shapes, types, randomness, evaluations, purity."""
    rho_low, rho_high = exact.levels(process)
    for shape in ((6,), (5, 2), (3, 2, 4, 4)):
        for dtype in (torch.float32, torch.float64):
            for steps in (1, 2, 7):
                rho = torch.logspace(math.log10(rho_high), math.log10(rho_low), steps + 1, dtype=torch.float64)
                times = derived.time_at(process, rho.clamp(rho_low, rho_high))
                _check_run(sampler, process, shape, dtype, times)
    _check_rows(sampler, process)


def check_evaluations(sampler: Sampler, process: ForwardProcess, most: int = 30) -> None:
    """Assert that a sampler spends what it declares for every number of steps from 1 to `most`."""
    assert isinstance(sampler, Budgeted), "a sampler that declares nothing has nothing to keep"
    rho_low, rho_high = exact.levels(process)
    for steps in range(1, most + 1):
        rho = torch.logspace(math.log10(rho_high), math.log10(rho_low), steps + 1, dtype=torch.float64)
        times = derived.time_at(process, rho.clamp(rho_low, rho_high))
        problem = Problem(process, Linear(), shape=(1,))
        list(sampler(problem, torch.ones(2, 1, dtype=torch.float64), times, torch.Generator().manual_seed(0)))
        declared = sampler.evaluations(process, times)
        assert problem.nfe == declared, f"{steps} steps: declares {declared} evaluations, spends {problem.nfe:g}"


def _check_run(
    sampler: Sampler, process: ForwardProcess, shape: tuple[int, ...], dtype: torch.dtype, times: Tensor
) -> None:
    problem = Problem(process, Linear(), shape=shape[1:])
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)
    x_before, times_before, global_before = x.clone(), times.clone(), torch.get_rng_state()
    path: list[Step] = []
    copies: list[Tensor] = []
    for step in sampler(problem, x, times, torch.Generator().manual_seed(7)):
        path.append(step)
        copies.append(step.x.clone())

    assert path, "a sampler yields at least one step"
    assert torch.equal(x, x_before), "a sampler does not modify the state that it is given"
    assert torch.equal(times, times_before), "a sampler does not modify the times that it is given"
    assert all(torch.equal(a.x, b) for a, b in zip(path, copies)), "a sampler does not modify what it has yielded"
    assert all(s.x.shape == shape and s.x.dtype == dtype for s in path), "shape and dtype of the state are kept"
    assert torch.equal(torch.get_rng_state(), global_before), "the global random numbers are left alone"
    t = torch.stack([torch.as_tensor(s.t, dtype=torch.float64).expand(shape[0]) for s in path])
    moves = torch.cat([times[:1].expand(1, shape[0]), t]).diff(dim=0)
    assert bool((moves <= 0).all() and (moves < 0).any(1).all()), "time decreases from step to step"
    assert bool(torch.isclose(t[-1], times[-1], rtol=1e-9, atol=0).all()), (
        f"the last step is at {times[-1]:g}, not {t[-1]}"
    )
    ends = [x, *(s.x for s in path)][-2:]
    scale = derived.alpha(process, torch.stack([times[0], *t.max(1).values])[-2:]).view(-1, *(1,) * x.ndim)
    assert not torch.equal(ends[0].double() / scale[0], ends[1].double() / scale[1]), "the last step changes nothing"
    if isinstance(sampler, Budgeted):
        declared = sampler.evaluations(process, times)
        assert problem.nfe == declared, f"declares {declared} evaluations, spends {problem.nfe}"
    again = sampler(problem, x, times, torch.Generator().manual_seed(7))
    assert all(torch.equal(a.x, b.x) for a, b in zip(path, again)), "the same seed gives the same bits"


def _check_rows(sampler: Sampler, process: ForwardProcess) -> None:
    """The noise of a row apart, a sample does not depend on which others are in the batch."""
    rho_low, rho_high = exact.levels(process)
    rho = torch.logspace(math.log10(rho_high), math.log10(rho_low), 8, dtype=torch.float64)
    times = derived.time_at(process, rho.clamp(rho_low, rho_high))
    scale = derived.alpha(process, times[0])
    x = exact.flow(rho_high, rho_low)[0] * scale
    one = torch.cat([x[:16], x[:16]])
    other = torch.cat([x[:16], 3 * x[16:32]])
    ends = []
    for state in (one, other):
        *_, step = sampler(exact.problem(process), state, times, torch.Generator().manual_seed(3))
        ends.append(step.x[:16])
    assert torch.allclose(ends[0], ends[1], rtol=1e-9, atol=1e-12), "a sample depends on the others of its batch"
