"""What watches a worker process of this machine, and remembers how it ended."""

from __future__ import annotations

import signal
from typing import Any

from distributed import Nanny, Worker


class Keeper(Nanny):  # type: ignore[misc]
    """A nanny that remembers how its workers ended, by their addresses."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.ends: dict[str, str] = {}

    def _on_worker_exit_sync(self, exitcode: int) -> None:
        if self.worker_address:
            self.ends[self.worker_address] = (
                f"killed by {signal.Signals(-exitcode).name}" if exitcode < 0 else f"ended with exit code {exitcode}"
            )
        super()._on_worker_exit_sync(exitcode)


def dask_setup(worker: Worker) -> None:
    """Prepare a worker process: Ctrl-C reaches all processes of a terminal, and the first one decides."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
