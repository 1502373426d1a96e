"""What executes: an engine takes a task and jobs, and gives back outcomes, from wherever it had them done."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, runtime_checkable

J = TypeVar("J")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Outcome(Generic[J, R]):
    """How one job ended: with a value, or with an error."""

    job: J
    value: R | None = None
    error: Exception | None = None
    """What the task raised, or `WorkerLost`; None where there is a value."""
    again: int = 0
    """How often the job was begun anew because its worker was lost."""


@runtime_checkable
class Engine(Protocol):
    """Executes a task for many jobs: here, in other processes, or on other machines."""

    def map(self, task: Callable[[J], R], jobs: Iterable[J]) -> Iterator[Outcome[J, R]]:
        """Yield the outcome of each job when it ends, in any order.

        Jobs are taken from the iterable as workers become free, so that what is claimed is also begun. A task that
        raises ends its job and no other. A worker that is lost costs nothing but time: its job is begun again, and only
        if that worker is lost as well the outcome has the error `samplerhub.WorkerLost`. Closing the iterator stops the
        work that is going on.

        Args:
            task: A function that can be pickled, with everything that is the same for all jobs.
            jobs: What it is called with; small, and can be pickled.
        """
        ...


def portable(error: Exception) -> Exception:
    """Return an error that can be told in another process, with its traceback as a note."""
    error.add_note("".join(traceback.format_exception(error)))
    error.__cause__ = error.__context__ = error.__traceback__ = None
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # it has arguments of its own
        told = RuntimeError(f"{type(error).__name__}: {error}")
        told.__notes__ = error.__notes__
        return told
    return error
