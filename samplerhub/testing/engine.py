"""What holds for every engine: each job has its outcome, wherever it was done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor

from samplerhub.engine import Engine, Outcome
from samplerhub.noise import stream
from samplerhub.testing.check import Case, Finding, check, examine, kept, require

JOBS = 6


def _work(scale: float, job: int) -> Tensor:
    """The task of the check: random numbers of the job's own stream; job 13 is one that fails."""
    if job == 13:
        raise ValueError("job 13 is bad luck")
    return scale * torch.randn(3, generator=stream(0, "engine", job), dtype=torch.float64)


@dataclass(frozen=True)
class Executed:
    """An engine, and what it made of some jobs, of which one fails."""

    engine: Engine

    @cached_property
    def outcomes(self) -> list[Outcome[int, Tensor]]:
        """The outcomes of jobs 0 to 5 and of job 13, in the middle."""
        return list(self.engine.map(partial(_work, 2.0), [0, 1, 2, 13, 3, 4, 5]))


@check("engine-runs", "the task is not pickled whole, or the workers cannot import it", gate=True)
def runs(case: Executed) -> None:
    """Each job has one outcome, in whatever order.

    What has none is missing from the run, what has two is there twice.
    """
    jobs = sorted(outcome.job for outcome in case.outcomes)
    require(jobs == [*range(JOBS), 13], f"outcomes of the jobs {jobs}", f"{[*range(JOBS), 13]}")


@check("engine-values", "values that are handed to the job beside them")
def values(case: Executed) -> None:
    """The value of a job is what the task returns for it, to the last bit.

    The same seed gives the same samples, wherever its blocks are computed.
    """
    for outcome in case.outcomes:
        if outcome.job != 13:
            same = isinstance(outcome.value, Tensor) and torch.equal(outcome.value, _work(2.0, outcome.job))
            require(same, f"job {outcome.job} has {outcome.value!r}", f"{_work(2.0, outcome.job)!r}")


@check("engine-errors", "an exception that ends the worker, or one that is not sent back")
def errors(case: Executed) -> None:
    """A task that raises ends its own job and no other, and the error comes back.

    One diverging run must not cost the sweep that it is part of.
    """
    (failed,) = (outcome for outcome in case.outcomes if outcome.job == 13)
    said = repr(failed.error)
    require(isinstance(failed.error, ValueError) and "bad luck" in said, said, "ValueError('job 13 is bad luck')")
    lost = [outcome for outcome in case.outcomes if outcome.error is not None and outcome.job != 13]
    require(not lost, f"{lost}", "no other job has an error")


@check("engine-lazy", "list(jobs) at the start")
def lazy(case: Executed) -> None:
    """Jobs are taken as workers become free, not all at once.

    Several machines share a list by claiming jobs; what is claimed and not begun is lost to the others.
    """
    taken, jobs = [], 500

    def coming() -> Iterator[int]:
        for job in range(jobs):
            taken.append(job)
            yield job

    outcomes = case.engine.map(partial(_work, 1.0), coming())
    next(iter(outcomes))
    require(len(taken) < jobs, f"all {jobs} jobs are taken before the first outcome")
    close = getattr(outcomes, "close", None)
    require(close is not None, f"map returns {type(outcomes).__name__}, which cannot be closed", "a generator")
    if close is not None:
        close()


CHECKS = (runs, values, errors, lazy)


def check_engine(engine: Engine) -> list[Finding]:
    """Check that every job has its value or its own error, and that jobs are taken one at a time.

    Raises:
        NotKept: Something does not hold.
    """
    return kept(examine(CHECKS, [Case("", Executed(engine))]))
