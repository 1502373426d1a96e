"""Threads."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

from pydantic import Field

from samplerhub import Component, Outcome

J = TypeVar("J")
R = TypeVar("R")


class Threads(Component):
    """Several threads of this process at a time.

    Nothing is copied and nothing pickled. It is worth it where a job spends its time in tensor operations, or waits for
    another machine; plain Python runs in one thread at a time.
    """

    workers: int = Field(4, ge=1)
    """Number of threads."""

    def map(self, task: Callable[[J], R], jobs: Iterable[J]) -> Iterator[Outcome[J, R]]:
        """Yield the outcome of each job when it ends; a job is taken when a thread is free."""
        coming = iter(jobs)
        running: dict[Future[R], J] = {}
        with ThreadPoolExecutor(self.workers) as pool:
            while True:
                running |= {pool.submit(task, job): job for job in islice(coming, self.workers - len(running))}
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield outcome(running.pop(future), future)


def outcome(job: J, future: Future[R]) -> Outcome[J, R]:
    """Return how a job ended: with a value, or with the error that it raised."""
    error = future.exception()
    if error is None:
        return Outcome(job, future.result())
    if isinstance(error, Exception):
        return Outcome(job, error=error)
    raise error
