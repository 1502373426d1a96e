"""What holds for every grid: which times a run visits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

import samplerhub.process as derived
from samplerhub.problem import Problem
from samplerhub.protocols import ForwardProcess, Grid
from samplerhub.testing.check import Case, Finding, alone, check, examine, kept, require
from samplerhub.testing.exact import Bells
from samplerhub.testing.reference import PROCESSES, BellsTarget

STEPS = (1, 2, 3, 10, 100)


@dataclass(frozen=True)
class Gridded:
    """A grid on a process: over the whole span, and over its middle."""

    grid: Grid
    process: ForwardProcess

    @cached_property
    def problems(self) -> list[Problem]:
        """The same problem with both spans."""
        low, high = derived.rho(self.process, list(self.process.span)).log().tolist()
        middle = torch.tensor([low * 0.8 + high * 0.2, low * 0.2 + high * 0.8], dtype=torch.float64).exp()
        inner = derived.time_at(self.process, middle.tolist()).tolist()
        spans = (self.process.span, (inner[0], inner[1]))
        return [Problem(self.process, Bells(), target=BellsTarget(), shape=(2,), span=span) for span in spans]

    @cached_property
    def times(self) -> list[tuple[tuple[float, float], int, Tensor]]:
        """Span, number of steps and the times for them."""
        return [(p.span, n, alone(lambda p=p, n=n: self.grid(p, n))[0]) for p in self.problems for n in STEPS]  # type: ignore[misc]


@check("grid-runs", "a number of steps that the formula divides by minus one", gate=True)
def runs(case: Gridded) -> None:
    """It gives a float64 tensor for 1, 2, 3, 10 and 100 steps, on the whole span and on a part of it.

    Runs of one step exist, and so do runs that start late; times in float32 are off by more than a sampler's error.
    """
    for _, n, times in case.times:
        require(times.dtype == torch.float64, f"{times.dtype} for {n} steps", "float64")
        require(bool(times.isfinite().all()), f"{times.tolist()} for {n} steps", "finite times")


@check("grid-count", "steps times instead of steps + 1", gate=True)
def count(case: Gridded) -> None:
    """For N steps there are N + 1 times.

    The cost of a run is known from the number of steps.
    """
    for _, n, times in case.times:
        require(times.shape == (n + 1,), f"shape {tuple(times.shape)} for {n} steps", f"({n + 1},)")


@check("grid-falls", "the order of the nodes reversed, or rounding that makes two of them one")
def falls(case: Gridded) -> None:
    """The times fall strictly.

    A run goes from noise to data, and a sampler divides by the length of its steps.
    """
    for _, n, times in case.times:
        at = int(times.diff().argmax())
        require(
            bool((times.diff() < 0).all()),
            f"after t = {times[at].item():.6g} comes t = {times[at + 1].item():.6g}, for {n} steps",
        )


@check("grid-ends", "the process's own span instead of problem.span, or an end that is off by rounding")
def ends(case: Gridded) -> None:
    """The first and the last time are the ends of the run's span, to the last bit.

    A run that starts late, or ends early, says so by that span; the prior is that of its end.
    """
    for span, n, times in case.times:
        first, last = max(times[0].item(), times[-1].item()), min(times[0].item(), times[-1].item())
        require((last, first) == tuple(span), f"({last!r}, {first!r}) for {n} steps", f"{tuple(span)}")


@check("grid-pure", "random numbers from torch.rand instead of samplerhub.stream")
def pure(case: Gridded) -> None:
    """The same problem and number of steps give the same times, and the global random numbers are left alone.

    A run that is made again from its manifest has to visit the same times.
    """
    for _ in range(2):
        times, untouched = alone(lambda: case.grid(case.problems[0], 10))
        require(untouched, "global random numbers are drawn or seeded")
        require(torch.equal(times, case.times[STEPS.index(10)][2]), "a second call gives other times")


CHECKS = (runs, count, falls, ends, pure)


def cases(grid: Grid, processes: Mapping[str, ForwardProcess]) -> Iterator[Case]:
    """Yield a grid on each process."""
    for name, process in processes.items():
        yield Case(name, Gridded(grid, process))


def check_grid(grid: Grid, process: ForwardProcess | None = None) -> list[Finding]:
    """Check that a grid has the right number of times, falls strictly and hits both ends exactly.

    Args:
        grid: The grid.
        process: What it discretises; by default three of the kit's own, one after the other.

    Raises:
        NotKept: Something does not hold.
    """
    return kept(examine(CHECKS, cases(grid, PROCESSES if process is None else {"": process})))
