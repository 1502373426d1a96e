"""All blocks of a run: those that a store has, and the others, made here one after the other, or by an engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch

from samplerhub.block import Block, BlockStore
from samplerhub.engine import Engine, Outcome
from samplerhub.errors import NotFinite
from samplerhub.protocols import Progress

Report = Callable[[float], None]


class Makes(Protocol):
    """What makes the block of an index, and reports which share of it is done."""

    def __call__(self, index: int, report: Report | None = None) -> Block:
        """Return the block."""
        ...


@dataclass(frozen=True, slots=True)
class BlockTask:
    """Makes blocks wherever an engine has them made."""

    make: Makes
    threads: int
    """Threads of torch: as many as in the process that asks, because bits depend on it."""

    def __call__(self, index: int) -> Block:
        """Return the block of an index."""
        torch.set_num_threads(self.threads)
        return self.make(index)


def all_blocks(
    make: Makes,
    count: int,
    fingerprint: str,
    observe: Callable[[Progress], None] | None = None,
    store: BlockStore | None = None,
    engine: Engine | None = None,
) -> list[Block]:
    """Return the blocks of a run, in order.

    Args:
        make: Makes one.
        count: How many there are.
        fingerprint: Hash of what decides the samples, under which the store keeps them.
        observe: Called with how many thousandths of a block are done.
        store: Where finished blocks are kept and looked for.
        engine: What makes them; None: this process.

    Raises:
        NotFinite: The state of a block became NaN or infinite.
    """
    kept = {i: store.load(fingerprint, i) for i in range(count)} if store else {}
    blocks = {i: block for i, block in kept.items() if block is not None}
    missing = [i for i in range(count) if i not in blocks]

    def report(share: float = 0.0) -> None:
        if observe:
            observe(Progress(int(1000 * (len(blocks) + share)), 1000 * count))

    task = BlockTask(make, torch.get_num_threads())
    for outcome in engine.map(task, missing) if engine else _here(make, missing, report):
        if outcome.value is None:
            raise _told(outcome.error, sum(len(block.samples) for block in blocks.values()) if store else 0)
        if store:
            store.save(fingerprint, outcome.job, outcome.value)
        blocks[outcome.job] = outcome.value
        if engine:
            report()
    return [blocks[i] for i in range(count)]


def _here(make: Makes, indices: Iterable[int], report: Report) -> Iterator[Outcome[int, Block]]:
    for index in indices:
        try:
            yield Outcome(index, make(index, report))
        except NotFinite as error:
            yield Outcome(index, error=error)


def _told(error: Exception | None, kept: int) -> Exception:
    """Return the error of a block; where the state was not finite, with how many samples are not lost."""
    assert error is not None
    if not isinstance(error, NotFinite) or not kept:
        return error
    return NotFinite(f"{error}; the {kept} samples finished before are kept")
