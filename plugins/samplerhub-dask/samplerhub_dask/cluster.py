"""A scheduler and how to reach it: started here with its workers, or one that is running."""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import dask
from distributed import Client, LocalCluster
from distributed.comm import get_address_host_port

from samplerhub.errors import InvalidSetting, WorkerLost
from samplerhub_dask.nanny import Keeper

PATIENCE = 10.0
"""Seconds that a scheduler may take to answer."""
HERE = {
    "distributed.nanny.pre-spawn-environ": {},  # it is written to the environment of this process
    "distributed.deploy.lost-worker-timeout": "1h",  # how long a worker may take to be there again
    "distributed.worker.profile.enabled": False,
}
"""How a cluster of this machine differs from dask's defaults."""


@dataclass(frozen=True)
class Cluster:
    """A scheduler whose workers can be used."""

    client: Client
    name: str
    threads: int | None
    """Threads of torch for a worker; None: as many as the worker has of dask's."""
    end: Callable[[str], str]
    """Says of the address of a worker that was lost how it ended."""


@contextmanager
def existing(address: str) -> Iterator[Cluster]:
    """Use a scheduler that is running, and leave it running.

    Raises:
        InvalidSetting: It cannot be reached, or what answers is no scheduler.
    """
    with _quiet():
        try:
            _reach(address)
            client = Client(address, timeout=PATIENCE, set_as_default=False)
        except Exception as error:
            raise InvalidSetting(
                f"address {address!r}: no dask scheduler can be reached there ({str(error) or type(error).__name__}); "
                "`dask scheduler` starts one, and prints its address"
            ) from error
        with client:
            yield Cluster(client, f"the scheduler {address}", None, "the scheduler lost its connection to {}".format)


@contextmanager
def local(workers: int | None, memory: str | None, dashboard: int | None) -> Iterator[Cluster]:
    """Start a scheduler and worker processes here, and end them.

    Raises:
        WorkerLost: They do not start.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = workers or cores
    with _quiet(), dask.config.set(HERE):
        try:
            cluster = LocalCluster(
                n_workers=count,
                threads_per_worker=1,
                worker_class=Keeper,
                memory_limit=memory,
                host="127.0.0.1",
                dashboard_address=f"127.0.0.1:{dashboard or 0}",  # None would be port 8787
                scheduler_kwargs={"dashboard": dashboard is not None},
                silence_logs=logging.CRITICAL,
                preload=["samplerhub_dask.nanny"],
            )
        except Exception as error:
            raise WorkerLost(f"the dask workers of this machine cannot be started: {error}") from error
        keepers: list[Keeper] = list(cluster.workers.values())
        with cluster, Client(cluster, set_as_default=False) as client:
            try:
                yield Cluster(client, "this machine", max(1, cores // count), lambda worker: _end(keepers, worker))
            finally:
                for keeper in keepers:
                    _kill(keeper)


def _end(keepers: list[Keeper], worker: str) -> str:
    """Return how a worker process ended; the scheduler may know that it did before its keeper knows how."""
    for _ in range(40):
        for keeper in keepers:
            if worker in keeper.ends:
                return keeper.ends[worker]
        time.sleep(0.05)
    return f"{worker} stopped answering"


def _kill(keeper: Keeper) -> None:
    """End a process, whatever it does: dask waits for its job."""
    keeper.close_gracefully()  # so that it is not started again
    if keeper.pid:
        with suppress(ProcessLookupError):
            os.kill(keeper.pid, signal.SIGKILL)


def _reach(address: str) -> None:
    """Ask for a connection once: dask asks again and again, and waits without end for what never says anything."""
    with socket.create_connection(get_address_host_port(address), timeout=PATIENCE) as connection:
        if address.startswith("tcp://") and not connection.recv(1):  # who listens greets first
            raise ConnectionError("it closes the connection")


@contextmanager
def _quiet() -> Iterator[None]:
    """Have dask say nothing: what matters of it becomes an outcome or an error."""
    logger = logging.getLogger("distributed")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)
