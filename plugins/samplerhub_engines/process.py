"""Several processes of this machine."""

from __future__ import annotations

import os
import pickle
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import wait
from typing import TypeVar

from pydantic import Field

from samplerhub import Component, Outcome
from samplerhub.errors import Mismatch, WorkerLost
from samplerhub_engines.worker import Worker

J = TypeVar("J")
R = TypeVar("R")
ONCE_MORE = 1
"""How often a job is begun again when its worker was lost."""


class ProcessEngine(Component):
    """Several processes of this machine at a time.

    Processes are spawned, not forked, so that they share nothing with this one; each begins by importing torch, which
    takes seconds. One that is killed is replaced, and its job is begun again, once. They end with this process, however
    it ends.
    """

    workers: int | None = Field(None, ge=1, le=1024)
    """Processes at a time; by default as many as there are cores."""
    threads: int | None = Field(None, ge=1, le=1024)
    """Threads of torch in each; by default the cores divided by the processes. The blocks of one run take as many as
    they would without an engine, because bits depend on it."""

    def map(self, task: Callable[[J], R], jobs: Iterable[J]) -> Iterator[Outcome[J, R]]:
        """Yield the outcome of each job when it ends; see `samplerhub.Engine`."""
        most = self.workers or cores()
        threads = self.threads or max(1, cores() // most)
        pickled = _pickled(task)
        coming, lost = ((job, 0) for job in jobs), deque[tuple[J, int]]()
        idle: list[Worker[J, R]] = []
        busy: dict[object, tuple[Worker[J, R], J, int]] = {}
        try:
            while True:
                while len(busy) < most and (given := lost.popleft() if lost else next(coming, None)):
                    worker = idle.pop() if idle else Worker(pickled, threads)
                    busy[worker.connection] = worker, *given
                    worker.give(given[0])
                if not busy:
                    return
                for connection in wait([worker.connection for worker, _, _ in busy.values()]):
                    worker, job, again = busy.pop(connection)
                    outcome = worker.outcome(job, again)
                    if outcome is not None:
                        idle.append(worker)
                        yield outcome
                    elif again < ONCE_MORE:
                        worker.end()
                        lost.append((job, again + 1))
                    else:
                        yield Outcome(job, None, WorkerLost(_message(worker.end())), again)
        finally:
            for worker in [*idle, *(worker for worker, _, _ in busy.values())]:
                worker.stop()


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _pickled(task: object) -> bytes:
    try:
        return pickle.dumps(task)
    except Exception as error:
        raise Mismatch(
            f"what is executed cannot be sent to another process: {error}; use the engine 'serial', or a function that "
            "has a name in a module"
        ) from error


def _message(end: str) -> str:
    return (
        f"the process that did it was lost ({end}), and so was the one that tried it again; most often that is for "
        "want of memory: try fewer samples, a smaller --batch, or fewer --engine.workers"
    )
