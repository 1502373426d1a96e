"""The workers of a dask cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from importlib.util import find_spec
from typing import Self, TypeVar

import cloudpickle
from pydantic import Field, model_validator

from samplerhub import Component, Outcome
from samplerhub.errors import Mismatch
from samplerhub_dask.cluster import Cluster, existing, local
from samplerhub_dask.placement import outcomes
from samplerhub_dask.served import Served

J = TypeVar("J")
R = TypeVar("R")


class DaskEngine(Component):
    """The workers of a dask cluster: on this machine, or of a scheduler that is running.

    Without an address, a scheduler and worker processes are started here, and end with this process, however it ends.
    With one, its workers are used, those that come later too; each needs samplerhub, this plugin and the plugins of the
    run installed. A worker process has one job at a time, because torch counts its threads by process. A worker that is
    lost is done without, and its job is begun again, once.
    """

    address: str | None = Field(None, pattern=r"^[a-z]+://.+")
    """Of a scheduler: tcp://host:8786. Without one, workers are started on this machine."""
    workers: int | None = Field(None, ge=1, le=1024)
    """Processes on this machine; by default as many as there are cores."""
    threads: int | None = Field(None, ge=1, le=1024)
    """Threads of torch in each; by default the cores divided by the processes, or with an address the --nthreads of the
    worker."""
    memory: str | None = Field(None, pattern=r"^\d+(\.\d+)? ?([kMGT]i?B)$")
    """Memory of a worker on this machine, as 4GiB: one that has more is ended. Without it there is no limit."""
    dashboard: int | None = Field(None, ge=0, le=65535)
    """Port of dask's page about the workers on this machine, for this machine only; without it there is none."""

    @model_validator(mode="after")
    def _of_one_kind(self) -> Self:
        here = [name for name in ("workers", "memory", "dashboard") if getattr(self, name) is not None]
        if self.address is not None and here:
            raise ValueError(f"{' and '.join(here)} are of workers started here, and address is of some that exist")
        if self.dashboard is not None and find_spec("bokeh") is None:
            raise ValueError("the dashboard needs bokeh, which is not installed: `pip install bokeh`")
        return self

    def map(self, task: Callable[[J], R], jobs: Iterable[J]) -> Iterator[Outcome[J, R]]:
        """Yield the outcome of each job when it ends; see `samplerhub.Engine`."""
        pickled = _pickled(task)
        with self._cluster() as cluster:
            yield from outcomes(cluster, Served(pickled, self.threads or cluster.threads), jobs)

    def _cluster(self) -> AbstractContextManager[Cluster]:
        if self.address is not None:
            return existing(self.address)
        return local(self.workers, self.memory, self.dashboard)


def _pickled(task: object) -> bytes:
    try:
        pickled: bytes = cloudpickle.dumps(task)
        return pickled
    except Exception as error:
        raise Mismatch(
            f"what is executed cannot be sent to another process: {error}; use the engine 'serial', or a function that "
            "has a name in a module"
        ) from error
