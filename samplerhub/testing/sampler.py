"""The contract of every sampler: what it yields, what it leaves alone, what it spends."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import torch
from torch import Tensor

import samplerhub.process as derived
from samplerhub.capabilities import Budgeted
from samplerhub.problem import Problem
from samplerhub.protocols import ForwardProcess, Sampler, Step
from samplerhub.testing import exact
from samplerhub.testing.check import Case, Finding, NotApplicable, alone, check, examine, kept, require

SHAPES = ((6,), (5, 2), (3, 2, 4, 4))
STEPS = (1, 2, 7)
UNDECLARED = "it takes the steps that it is given and declares no evaluations: add `evaluations`, and --nfe can be used"


class Linear:
    """A model for states of any shape: D = y/(1 + rho^2)."""

    predicts: ClassVar[Literal["x0"]] = "x0"

    def __call__(self, y: Tensor, rho: Tensor) -> Tensor:
        """Return the posterior mean of standard normal data."""
        return y / (1 + rho * rho)


@dataclass(frozen=True)
class Sampling:
    """One run of a sampler, and what was found on the way."""

    x: Tensor
    times: Tensor
    path: list[Step]
    """The steps, their states copied as they were when they were yielded."""
    again: list[Step]
    """Those of a second run."""
    nfe: float
    declared: int | None
    modified: str
    """What was modified, empty if nothing was."""
    untouched: bool
    """Whether the global random numbers were left alone."""

    @property
    def named(self) -> str:
        """Shape, type and number of steps."""
        dtype = str(self.x.dtype).removeprefix("torch.")
        return f"{len(self.times) - 1} steps of shape {tuple(self.x.shape)}, {dtype}"

    @cached_property
    def t(self) -> Tensor:
        """Times of the steps, one more row than there are, shape (steps + 1, n)."""
        n = len(self.x)
        at = [torch.as_tensor(step.t, dtype=torch.float64).expand(n) for step in self.path]
        return torch.stack([self.times[0].expand(n), *at])


@dataclass(frozen=True)
class Sampled:
    """A sampler on a process."""

    sampler: Sampler
    process: ForwardProcess

    def times(self, steps: int) -> Tensor:
        """Return times uniform in log rho."""
        low, high = exact.levels(self.process)
        rho = torch.logspace(math.log10(high), math.log10(low), steps + 1, dtype=torch.float64)
        return derived.time_at(self.process, rho.clamp(low, high))

    @cached_property
    def runs(self) -> list[Sampling]:
        """Runs of 1, 2 and 7 steps, for vectors and images, in both types."""
        return [
            self._run(shape, dtype, self.times(steps))
            for shape in SHAPES
            for dtype in (torch.float32, torch.float64)
            for steps in STEPS
        ]

    @cached_property
    def fixed(self) -> bool:
        """Whether it takes the steps that it is given: it declares what they cost, or is seen to."""
        return isinstance(self.sampler, Budgeted) or all(
            run.t.shape == (len(run.times), len(run.x)) and torch.equal(run.t, run.times[:, None].expand_as(run.t))
            for run in self.runs
        )

    def _run(self, shape: tuple[int, ...], dtype: torch.dtype, times: Tensor) -> Sampling:
        start = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)
        problem = Problem(self.process, Linear(), shape=shape[1:])

        def followed() -> tuple[list[Step], str]:
            x, t = start.clone(), times.clone()
            seen = []
            for step in self.sampler(problem, x, t, torch.Generator().manual_seed(7)):
                seen.append((step, Step(step.t, step.x.clone(), step.rho)))
            modified = "the state that it was given" if not torch.equal(x, start) else ""
            modified = modified or ("the times that it was given" if not torch.equal(t, times) else "")
            changed = [i for i, (step, copy) in enumerate(seen) if not torch.equal(step.x, copy.x)]
            modified = modified or (f"the state that it had yielded after step {changed[0] + 1}" if changed else "")
            return [copy for _, copy in seen], modified

        (path, modified), untouched = alone(followed)
        nfe = problem.nfe
        (again, _), _ = alone(followed)
        declared = self.sampler.evaluations(self.process, times) if isinstance(self.sampler, Budgeted) else None
        return Sampling(start, times, path, again, nfe, declared, modified, untouched)


@check("sampler-runs", "a formula that needs two steps, or that broadcasts for vectors only", gate=True)
def runs(case: Sampled) -> None:
    """It makes 1, 2 and 7 steps with vectors and images, in float32 and float64, and keeps shape and type.

    Users ask for all of them; a first step that is also the last is the one that is forgotten.
    """
    for run in case.runs:
        require(run.path, f"nothing is yielded: {run.named}", "a step or more")
        for step in run.path:
            kept_so = step.x.shape == run.x.shape and step.x.dtype == run.x.dtype
            require(kept_so, f"a state of shape {tuple(step.x.shape)}, {step.x.dtype}: {run.named}")
            require(bool(step.x.isfinite().all()), f"a state that is not finite: {run.named}", "finite states")


@check("sampler-times", "the steps yielded with the time at which they began", gate=True)
def falls(case: Sampled) -> None:
    """Time falls from step to step, and the last step is at the last time.

    Paths and curves are drawn over it, and the result is compared with the law at that time.
    """
    for run in case.runs:
        moves = run.t.diff(dim=0)
        require(
            bool((moves <= 0).all() and (moves < 0).any(1).all()),
            f"times {_shown(run.t)}: {run.named}",
            "times that fall",
        )
        at_end = bool(torch.isclose(run.t[-1], run.times[-1], rtol=1e-9, atol=0).all())
        require(at_end, f"the last step is at {_shown(run.t[-1:])}: {run.named}", f"{run.times[-1].item():g}")


@check("sampler-last-step", "a loop that ends one step early, or a weight that is 0 at the last node")
def last_step(case: Sampled) -> None:
    """The last step changes the state.

    One that does not leaves the noise of a step in the samples, and costs an evaluation all the same.
    """
    for run in case.runs:
        before, after = [run.x, *(step.x for step in run.path)][-2:]
        ends = torch.stack([run.times[0], *run.t[1:].max(1).values])[-2:]
        scale = derived.alpha(case.process, ends).view(-1, *(1,) * run.x.ndim)
        same = torch.equal(before.double() / scale[0], after.double() / scale[1])
        require(not same, f"the state before it and after it is the same: {run.named}")


@check("sampler-in-place", "x += ..., or a buffer that is yielded and used again")
def in_place(case: Sampled) -> None:
    """It modifies neither what it is given nor what it has yielded.

    The start is used again for the next sampler of a comparison, and the path of a run is kept.
    """
    for run in case.runs:
        require(not run.modified, f"it modifies {run.modified}: {run.named}")


@check("sampler-global-rng", "torch.randn_like, which takes no generator, instead of samplerhub.normal")
def global_rng(case: Sampled) -> None:
    """It draws from the generator that it is given and leaves the global random numbers alone.

    The same seed has to give the same samples, whatever else the program does.
    """
    for run in case.runs:
        require(run.untouched, f"global random numbers are drawn or seeded: {run.named}")


@check("sampler-seed", "a history or a counter that outlives the run")
def seed(case: Sampled) -> None:
    """The same seed gives the same bits, in a second run as in the first.

    A run is made again from its manifest.
    """
    for run in case.runs:
        same = len(run.path) == len(run.again) and all(torch.equal(a.x, b.x) for a, b in zip(run.path, run.again))
        require(same, f"the second run gives other states: {run.named}")


@check("sampler-evaluations", "the first or the last step costs another number of evaluations than the rest")
def evaluations(case: Sampled) -> None:
    """It spends the evaluations that it declares, for every number of steps from 1 to 30.

    Samplers are compared at equal cost, and --nfe finds the number of steps by what they declare.
    """
    if not isinstance(case.sampler, Budgeted):
        raise NotApplicable(UNDECLARED if case.fixed else "it declares nothing: its steps are its own")
    for run in case.runs:
        require(run.nfe == run.declared, f"{run.nfe:g} evaluations: {run.named}", f"{run.declared}, as declared")
    _as_declared(case, 30)


def _as_declared(case: Sampled, most: int) -> None:
    sampler = case.sampler
    if not isinstance(sampler, Budgeted):
        raise NotApplicable("it declares nothing: its steps are its own")
    for steps in range(1, most + 1):
        times = case.times(steps)
        problem = Problem(case.process, Linear(), shape=(1,))
        x, rng = torch.ones(2, 1, dtype=torch.float64), torch.Generator().manual_seed(0)
        alone(lambda: list(sampler(problem, x, times, rng)))  # noqa: B023
        declared = sampler.evaluations(case.process, times)
        require(problem.nfe == declared, f"{problem.nfe:g} evaluations for {steps} steps", f"{declared}, as declared")


@check("sampler-rows", "a norm, a mean or a step size that is taken over the whole batch")
def rows(case: Sampled) -> None:
    """The noise of a row apart, a sample does not depend on which others are in the batch.

    The same seed has to give the same samples whatever the size of the batch.
    """
    low, high = exact.levels(case.process)
    times = case.times(7)
    x = exact.flow(high, low)[0] * derived.alpha(case.process, times[0])
    ends = []
    for others in (x[:16], 3 * x[16:32]):
        start, rng = torch.cat([x[:16], others]), torch.Generator().manual_seed(3)
        path = alone(lambda: list(case.sampler(exact.problem(case.process), start, times, rng)))[0]  # noqa: B023
        ends.append(path[-1].x[:16])
    off = float((ends[0] - ends[1]).abs().max())
    require(
        torch.allclose(ends[0], ends[1], rtol=1e-9, atol=1e-12), f"with other samples beside it, it is off by {off:.2g}"
    )


CONTRACT = (runs, falls, last_step, in_place, global_rng, seed, evaluations, rows)


def check_contract(sampler: Sampler, process: ForwardProcess) -> list[Finding]:
    """Check the contract of a sampler: times, shapes, types, randomness, evaluations, purity.

    Raises:
        NotKept: Something does not hold.
    """
    return kept(examine(CONTRACT, [Case("", Sampled(sampler, process))]))


def check_evaluations(sampler: Sampler, process: ForwardProcess, most: int = 30) -> None:
    """Check that a sampler spends what it declares for every number of steps from 1 to `most`.

    Raises:
        NotKept: It does not.
    """
    _as_declared(Sampled(sampler, process), most)


def _shown(t: Tensor) -> str:
    return ", ".join(f"{value:.6g}" for value in t[:, 0].tolist())
