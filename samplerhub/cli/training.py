"""The command ``train``."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import current_thread, main_thread
from typing import Annotated

import typer

from samplerhub.assembly import build
from samplerhub.cli.command import Line, command
from samplerhub.cli.selection import select_for_training
from samplerhub.cli.settings import Quiet
from samplerhub.errors import InvalidSetting
from samplerhub.protocols import Target, Trainer
from samplerhub.registry import Registry

Out = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The file of weights (default: <target>.safetensors); its learning curve is drawn to FILE.png.",
    ),
]
Seed = Annotated[int, typer.Option(metavar="N", help="The same seed, the same weights.")]


def train_command(arguments: Sequence[str], registry: Registry) -> Callable[..., None]:
    """Return the command with the options of the target and the trainer that the arguments choose."""
    return command(train, arguments, registry, select=select_for_training, roles=("target", "trainer"), shared={})


def train(line: Line, out: Out = None, seed: Seed = 0, quiet: Quiet = False) -> None:
    """Fit a model to a target, and write its weights to a file."""
    choices = line.config.components
    out = out or Path(f"{str(choices['target'].name).rpartition(':')[2]}.safetensors")
    if out.suffix != ".safetensors":
        raise InvalidSetting(f"--out {out}: give a file that ends in .safetensors, by which `--model {out}` knows it")
    target, trainer = (build(role, choices[role], line.registry) for role in ("target", "trainer"))
    assert isinstance(target, Target)
    assert isinstance(trainer, Trainer)
    _train(target, trainer, out, seed, quiet)


def _train(target: Target, trainer: Trainer, out: Path, seed: int, quiet: bool) -> None:
    from samplerhub.cli import learning_curve, render
    from samplerhub.files import writable_folder

    writable_folder(out.parent)
    training = trainer(target, out, seed)
    try:
        with render.progress("training", quiet) as observe, _held_back() as interrupted:
            for progress in training:
                observe(progress)
                if interrupted():
                    raise KeyboardInterrupt
    except KeyboardInterrupt:
        if isinstance(training, Generator):
            training.close()
        render.note("interrupted; the same command takes the training up where it was saved last")
        raise typer.Exit(130) from None
    learning_curve.draw(out)
    render.lines([render.shown(out)])


@contextmanager
def _held_back() -> Iterator[Callable[[], bool]]:
    """Hold a Ctrl-C back until the trainer is between two steps, where its state is whole; a second one is let through.

    Where Ctrl-C is someone else's business, or this is not the main thread, it is left alone.
    """
    held = []

    def hold(*_: object) -> None:
        held.append(True)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler and current_thread() is main_thread()
    if ours:
        signal.signal(signal.SIGINT, hold)
    try:
        yield lambda: bool(held)
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
