"""What is sent to a worker: the task, once, and then its jobs."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import torch
from distributed import get_worker

from samplerhub.engine import portable
from samplerhub_dask.versions import versions


class Served:
    """A task on a worker, which is unpickled there when the first one asks, so that what is missing can be named."""

    def __init__(self, task: bytes, threads: int | None) -> None:
        self._pickled = task
        self._threads = threads
        self._task: Callable[[Any], Any] | None = None

    def greet(self) -> dict[str, str]:
        """Make ready, and return the versions of what computes here."""
        self._ready()
        return versions()

    def __call__(self, job: bytes) -> bytes:
        """Return how a job ended: value and error, pickled, of which one is None."""
        try:
            return pickle.dumps((self._ready()(pickle.loads(job)), None))
        except Exception as error:
            return pickle.dumps((None, portable(error)))

    def _ready(self) -> Callable[[Any], Any]:
        """Return the task; torch's threads are set each time, because a task may have changed them."""
        torch.set_num_threads(self._threads or get_worker().state.nthreads)
        if self._task is None:
            self._task = pickle.loads(self._pickled)
        return self._task
