"""One job after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from samplerhub import Component, Outcome

J = TypeVar("J")
R = TypeVar("R")


class SerialEngine(Component):
    """One job after the other, in this process."""

    def map(self, task: Callable[[J], R], jobs: Iterable[J]) -> Iterator[Outcome[J, R]]:
        """Yield the outcome of each job, in their order."""
        for job in jobs:
            try:
                value = task(job)
            except Exception as error:
                yield Outcome(job, error=error)
            else:
                yield Outcome(job, value)
