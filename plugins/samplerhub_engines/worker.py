"""One process that does jobs: this process's end of it, and the other."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from contextlib import suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from typing import Generic, TypeVar

from samplerhub import Outcome
from samplerhub.engine import portable

J = TypeVar("J")
R = TypeVar("R")


class Worker(Generic[J, R]):
    """A spawned process that calls a task, which is pickled; idle when it begins."""

    def __init__(self, task: bytes, threads: int) -> None:
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, task, threads), daemon=True)
        self._process.start()
        theirs.close()  # theirs alone is open now, so that this end is told when the process is no more

    def give(self, job: J) -> None:
        """Have it do a job; its `connection` is ready when that has ended."""
        with suppress(OSError):  # it may be no more, which `outcome` tells
            self.connection.send(job)

    def outcome(self, job: J, again: int) -> Outcome[J, R] | None:
        """Return how its job ended; None if the process was lost."""
        try:
            value, error = pickle.loads(self.connection.recv_bytes())
        except (EOFError, OSError):
            return None
        return Outcome(job, value, error, again)

    def stop(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.join()
        self.connection.close()

    def end(self) -> str:
        """Return how the process ended that was lost."""
        self._process.join(1)  # what it held open is closed a moment before it is no more
        self.stop()
        code = self._process.exitcode or 0
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def _serve(connection: Connection, pickled: bytes, threads: int) -> None:
    """Do jobs until the other process has no more, or is no more."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the first one decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    task = None
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        try:
            task = task or pickle.loads(pickled)
            ended = pickle.dumps((task(job), None))
        except Exception as error:
            ended = pickle.dumps((None, portable(error)))
        connection.send_bytes(ended)


def _end_with_parent() -> None:
    """End this process, whatever it does, when the one that began it is no more."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
