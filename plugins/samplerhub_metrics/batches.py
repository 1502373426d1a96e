"""Features a batch at a time, in groups that do not depend on the order of the samples."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from samplerhub.errors import Mismatch

HELD = 2**28
"""Bytes of features that are held; of more than that each pass computes them anew."""


class Batches:
    """The features of samples, in G groups of equal size but for one row.

    A group is drawn from the samples' own numbers, so that it depends neither on their order nor on their rank.
    """

    def __init__(self, source: Callable[[], Iterable[Tensor]], samples: Tensor, groups: int, what: str) -> None:
        self.n = len(samples)
        self._source, self._what = source, what
        self._group = torch.empty(self.n, dtype=torch.long)
        self._rank = shuffle(samples)
        self._group[self._rank] = torch.arange(self.n) % groups
        self._kept: list[Tensor] | None = None

    def __iter__(self) -> Iterator[Tensor]:
        """Yield features (k, D), on the CPU.

        Raises:
            Mismatch: Some are not finite.
        """
        if self._kept is not None:
            yield from self._kept
            return
        kept: list[Tensor] = []
        bad = size = 0
        for x in self._source():
            x = x.flatten(1).to("cpu")
            bad += int((~x.isfinite()).any(1).sum())
            size += x.nbytes
            kept = [*kept, x] if size <= HELD else []
            yield x
        if bad:
            raise Mismatch(f"{bad} of {self.n} {self._what} are not finite: the Frechet distance has no value")
        if size <= HELD:
            self._kept = kept

    def grouped(self) -> Iterator[tuple[int, Tensor]]:
        """Yield groups and rows (k, D) of theirs, in turn."""
        at = 0
        for x in self:
            of = self._group[at : at + len(x)]
            at += len(x)
            for group in torch.unique(of).tolist():
                yield group, x[of == group]

    def rows(self) -> Tensor:
        """Return all features (n, D), in an order that is drawn from the samples' own numbers."""
        return torch.cat(list(self))[self._rank]


def shuffle(samples: Tensor) -> Tensor:
    """Return an order of samples (n, *d) that is drawn from their own numbers, and does not depend on their order."""
    rows = samples.flatten(1).to("cpu").numpy() + 0.0  # in which -0 is 0
    keys = [hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in rows]
    return torch.tensor(sorted(range(len(keys)), key=keys.__getitem__))
