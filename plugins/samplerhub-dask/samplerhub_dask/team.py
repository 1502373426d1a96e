"""The workers that a scheduler has: which are free, what they do, and which are lost."""

from __future__ import annotations

import asyncio
import pickle
import warnings
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from operator import call, methodcaller
from queue import Empty, SimpleQueue
from typing import Any
from uuid import uuid4

import cloudpickle
from distributed import Client, Future, KilledWorker

from samplerhub.errors import Mismatch, WorkerLost
from samplerhub_dask.served import Served
from samplerhub_dask.versions import differences

LOOK = 1.0
"""Seconds after which the connection is looked at while nothing happens."""
ALONE = 5
"""Looks at no worker at all before it is said that one is waited for."""


@dataclass(slots=True)
class _Worker:
    task: Future
    """The task in its memory, on which its jobs depend."""
    doing: Future
    """What it does, or did last."""
    ready: bool = False
    """Whether it has said that it has all that the task needs."""
    why: str = ""
    """Why it cannot be used."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A worker has ended its job: with bytes, with an error, or because it is lost."""

    worker: str
    value: bytes | None = None
    error: Exception | None = None


@dataclass
class Team:
    """The workers of a scheduler, each of which has at most one job.

    What a worker is given is bound to it. Dask would give it to another one when the first is lost, as often as its
    scheduler is configured to, and count as lost what had only been waiting there.
    """

    client: Client
    name: str
    served: Served
    free: list[str] = field(default_factory=list)
    """Addresses of workers that can be given a job."""
    _known: dict[str, _Worker] = field(default_factory=dict)
    _heard: SimpleQueue[tuple[Any, ...]] = field(default_factory=SimpleQueue)
    _warned: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._label = f"samplerhub-{uuid4().hex}"
        self._sent = self._submit(bytes, cloudpickle.dumps(self.served))
        self.client.subscribe_topic("all", lambda event: self._heard.put(("event", event[1])))
        for worker in self.client.nthreads():
            self._welcome(worker)

    def give(self, worker: str, job: bytes) -> None:
        """Have a free worker do a job."""
        self.free.remove(worker)
        self._known[worker].doing = self._submit(call, self._known[worker].task, job, worker=worker)
        self._watch(self._known[worker].doing)

    def wait(self) -> Ended | None:
        """Wait until something happens; return what became of a job, if it is that.

        Raises:
            Mismatch: No worker has what the task needs.
            WorkerLost: The scheduler is lost.
        """
        looks = 0
        while True:
            try:
                what, *rest = self._heard.get(timeout=LOOK)
                break
            except Empty:
                self._look()
                looks += 1
                if looks == ALONE and not self._known:
                    self._warn(f"{self.name} has no workers: waiting for one")
        if what == "event":
            return self._event(**rest[0])
        return self._ended(*rest)

    def leave(self) -> None:
        """Stop what is being done."""
        futures = [future for worker in self._known.values() for future in (worker.doing, worker.task)]
        self._known.clear()
        if self.client.status == "running":
            self.client.cancel([*futures, self._sent], force=True)

    def _event(self, action: str = "", worker: str = "", **_: Any) -> Ended | None:
        if action == "add-worker" and worker not in self._known:
            self._welcome(worker)
        if action == "remove-worker" and worker in self._known:
            gone = self._known.pop(worker)
            self.client.cancel([gone.doing, gone.task], force=True)
            if worker in self.free:
                self.free.remove(worker)
            elif gone.ready:
                return Ended(worker)
        return None

    def _ended(self, future: Future, value: Any, error: BaseException | None) -> Ended | None:
        """Return how a job ended; note how a greeting did."""
        address = next((address for address, worker in self._known.items() if worker.doing is future), None)
        if address is None or isinstance(error, KilledWorker):  # that the worker is lost is heard on its own
            return None
        if isinstance(error, (asyncio.CancelledError, CancelledError)):
            self._look()
            error = RuntimeError(f"{self.name} has cancelled what {address} was doing")
        worker = self._known[address]
        if worker.ready:
            self.free.append(address)
            return Ended(address, value, error if isinstance(error, Exception) else None)
        self._greeted(address, value, error)
        return None

    def _welcome(self, address: str) -> None:
        """Send the task to a worker, and ask what it has."""
        task = self._submit(pickle.loads, self._sent, worker=address)
        self._known[address] = _Worker(task, self._submit(methodcaller("greet"), task, worker=address))
        self._watch(self._known[address].doing)

    def _greeted(self, address: str, versions: dict[str, str] | None, error: BaseException | None) -> None:
        worker = self._known[address]
        if versions is None:
            worker.why = f"{type(error).__name__}: {error}"
        else:
            worker.ready = True
            self.free.append(address)
            if different := differences(versions):
                self._warn(f"workers of {self.name} differ from this process, and results may: {different}")
        unfit = [address for address, worker in self._known.items() if worker.why]
        if len(unfit) == len(self._known):
            raise Mismatch(self._cannot(unfit))
        if unfit and any(worker.ready for worker in self._known.values()):
            self._warn(f"{self._cannot(unfit)}; they are not used")

    def _cannot(self, unfit: list[str]) -> str:
        why = " and ".join(sorted({self._known[address].why for address in unfit}))
        return (
            f"workers of {self.name} cannot load what they should do ({why}): {', '.join(sorted(unfit))}; install "
            "there what is installed here: samplerhub, samplerhub-dask and the plugins that are used"
        )

    def _look(self) -> None:
        if self.client.status != "running":
            raise WorkerLost(
                f"the connection to {self.name} is lost, and with it what its workers were doing; what had been "
                "finished before is not"
            )

    def _warn(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            warnings.warn(message, stacklevel=2)

    def _submit(self, function: Any, *arguments: Any, worker: str | None = None) -> Future:
        """Submit to a worker what any scheduler can read, because it has names of the standard library alone."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sending large graph")  # once, and it has to be sent
            return self.client.submit(
                function, *arguments, workers=worker and [worker], key=f"{self._label}-{uuid4().hex}", pure=False
            )

    def _watch(self, future: Future) -> None:
        asyncio.run_coroutine_threadsafe(self._hear(future), self.client.loop.asyncio_loop)

    async def _hear(self, future: Future) -> None:
        try:
            self._heard.put(("ended", future, await self.client.gather(future, asynchronous=True), None))
        except BaseException as error:
            self._heard.put(("ended", future, None, error))
