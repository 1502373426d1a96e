"""What holds for every trainer."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from samplerhub.component import Component
from samplerhub.files import read_tensors
from samplerhub.protocols import Progress, Target, Trainer
from samplerhub.testing.check import Case, Finding, alone, check, examine, kept, require
from samplerhub.testing.reference import BellsTarget

STEPS = 5
"""Value of a field `steps`, where a trainer has one: a check does not wait for a good network."""


@dataclass(frozen=True)
class Trained:
    """A trainer, and what it learnt in a few steps."""

    trainer: Trainer
    target: Target

    def fitted(self, seed: int) -> tuple[list[Progress], dict[str, Tensor] | bytes | None, bool]:
        """Return the progress, what is in the file, and whether the global random numbers were left alone."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "weights.safetensors"
            progress, untouched = alone(lambda: list(self.trainer(self.target, file, seed)))
            return progress, _content(file), untouched

    @cached_property
    def first(self) -> tuple[list[Progress], dict[str, Tensor] | bytes | None, bool]:
        """What seed 0 gives."""
        return self.fitted(0)


@check("trainer-runs", "the weights are written under another name, or before the last step only", gate=True)
def runs(case: Trained) -> None:
    """When it ends, the weights are in the file that was named.

    `samplerhub train` says that they are there.
    """
    require(case.first[1] is not None, "there is no file", "weights in the file that was named")


@check("trainer-progress", "the step counted from 0, or the end of the loop not reported")
def progress(case: Trained) -> None:
    """It reports its progress, rising, and ends at 100 %.

    The bar shows it, and what is left of the time is computed from it.
    """
    done = [p.done for p in case.first[0]]
    require(done and done == sorted(set(done)), f"done = {done}", "numbers that rise")
    last = case.first[0][-1]
    require(last.done == last.total, f"the last report is {last.done} of {last.total}", f"{last.total} of {last.total}")


@check("trainer-seed", "data or initial weights that are not drawn from the seed")
def seeds(case: Trained) -> None:
    """The same seed gives the same weights, another seed others.

    A figure for a network says something only if the training can be repeated, and its spread over seeds be measured.
    """
    require(_equal(case.fitted(0)[1], case.first[1]), "the same seed gives other weights")
    require(not _equal(case.fitted(1)[1], case.first[1]), "another seed gives the same weights")


@check("trainer-global-rng", "torch.manual_seed without torch.random.fork_rng")
def global_rng(case: Trained) -> None:
    """The global random numbers are left as they were.

    What is drawn after a training would depend on it.
    """
    require(case.first[2], "global random numbers are drawn or seeded")


CHECKS = (runs, progress, seeds, global_rng)


def shortened(trainer: Trainer) -> Trainer:
    """Return a trainer that takes a few steps, if it is a component with a field `steps`."""
    if isinstance(trainer, Component) and "steps" in type(trainer).model_fields:
        short = trainer.replace(steps=STEPS)
        if isinstance(short, Trainer):
            return short
    return trainer


def check_trainer(trainer: Trainer, target: Target | None = None) -> list[Finding]:
    """Check that a trainer writes its weights, and that they are a function of its seed.

    Args:
        trainer: The trainer; one with a field `steps` takes a few.
        target: What it learns; by default three bells in the plane.

    Raises:
        NotKept: Something does not hold.
    """
    return kept(examine(CHECKS, [Case("", Trained(shortened(trainer), target or BellsTarget()))]))


def _content(file: Path) -> dict[str, Tensor] | bytes | None:
    """Return the tensors of a file of weights; its bytes if it is of another kind, None if there is none."""
    if not file.exists():
        return None
    head = file.read_bytes()[:9]
    return read_tensors(file)[0] if head[8:] == b"{" else file.read_bytes()


def _equal(a: dict[str, Tensor] | bytes | None, b: dict[str, Tensor] | bytes | None) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
    return a == b
