"""A sweep is conducted: what is missing is claimed, given to an engine, and kept when it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from filelock import FileLock

from samplerhub.config import RunConfig
from samplerhub.engine import Engine, Outcome
from samplerhub.sweep.cell import Cell
from samplerhub.sweep.store import Store
from samplerhub.sweep.task import Files, run

PATIENCE = 0.5
"""Seconds between two looks at what another process is doing."""


@dataclass(slots=True)
class Conducted:
    """How far a sweep has come."""

    total: int
    before: int = 0
    """Runs that were finished when it began."""
    done: int = 0
    """Runs that this process finished."""
    elsewhere: int = 0
    """Runs that another process finished in the meantime."""
    failed: list[tuple[Cell, Exception]] = field(default_factory=list)
    again: list[Cell] = field(default_factory=list)
    """Runs that were begun anew because a worker was lost, or because what was there was not whole."""
    last: Cell | None = None
    """The run that ended last."""

    @property
    def left(self) -> int:
        """Runs that are still to be done."""
        return self.total - self.before - self.done - self.elsewhere - len(self.failed)


def conduct(
    cells: Sequence[Cell], store: Store, engine: Engine, observe: Callable[[Conducted], None] = lambda now: None
) -> Conducted:
    """Do the runs that a store does not have.

    Several processes may conduct the same sweep: none does what another does or has done. One that ends, however it
    ends, leaves its unfinished runs to the others.

    Args:
        cells: The runs.
        store: Where they are kept.
        engine: What does them.
        observe: Called when a run has ended.

    Raises:
        UnusableFile: The store cannot be written; what is finished is kept.
    """
    there = set(store.keys())
    missing = [cell for cell in cells if not store.has(cell.key, cell.axes)]
    now = Conducted(len(cells), before=len(cells) - len(missing), again=[cell for cell in missing if cell.key in there])
    observe(now)
    while missing:
        missing = _round(missing, store, engine, now, observe)
        if missing:
            time.sleep(PATIENCE)
    return now


def _round(
    missing: Sequence[Cell], store: Store, engine: Engine, now: Conducted, observe: Callable[[Conducted], None]
) -> list[Cell]:
    """Do the runs that no other process does; return those that another does."""
    cells = {cell.key: cell for cell in missing}
    held: dict[str, FileLock] = {}
    others: list[Cell] = []
    try:
        with closing(_outcomes(engine, _claimed(missing, store, held, others, now))) as outcomes:
            for outcome in outcomes:
                cell = now.last = cells[outcome.job.key]
                now.again += [cell] * bool(outcome.again)
                if outcome.value is not None:
                    store.write(cell, outcome.value)
                    now.done += 1
                elif outcome.error is not None:
                    store.fail(cell, outcome.error)
                    now.failed.append((cell, outcome.error))
                held.pop(cell.key).release()
                observe(now)
    finally:  # the engine has stopped
        for lock in held.values():
            lock.release()
    return others


@dataclass(frozen=True, slots=True)
class Job:
    """What an engine is given of a cell."""

    key: str
    config: RunConfig


def do(job: Job) -> Files:
    """Do one run."""
    return run(job.config)


def _outcomes(engine: Engine, jobs: Iterator[Job]) -> Generator[Outcome[Job, Files], None, None]:
    yield from engine.map(do, jobs)


def _claimed(
    missing: Sequence[Cell], store: Store, held: dict[str, FileLock], others: list[Cell], now: Conducted
) -> Iterator[Job]:
    """Yield the runs that no other process does or has done, each when it is about to begin."""
    for cell in missing:
        claim = store.claim(cell.key)
        if claim is None:
            others.append(cell)
        elif store.has(cell.key):
            claim.release()
            now.elsewhere += 1
        else:
            held[cell.key] = claim
            yield Job(cell.key, cell.config)
