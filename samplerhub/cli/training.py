"""The command ``train``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from samplerhub.assembly import build
from samplerhub.cli.options import FieldOptions, extended, parameter, scan
from samplerhub.cli.selection import select_for_training
from samplerhub.config import Choice
from samplerhub.plugin import ROLES
from samplerhub.protocols import Target, Trainer
from samplerhub.registry import Registry

OPTIONS = ("--target", "--trainer", "--out", "--seed", "--quiet", "--help")


def train_command(arguments: Sequence[str], registry: Registry) -> Callable[..., None]:
    """Return the command with the options of the target and the trainer that the arguments choose."""
    given = scan(arguments)
    chosen = select_for_training(given, registry)
    fields = FieldOptions(chosen, reserved=OPTIONS)
    if not given.help:
        fields.check(given)

    def train(
        out: Annotated[
            Path | None, typer.Option(metavar="FILE", help="The file of weights (default: <target>.safetensors).")
        ] = None,
        seed: Annotated[int, typer.Option(metavar="N", help="The same seed, the same weights.")] = 0,
        quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
        **options: Any,
    ) -> None:
        names = {one.role: one.name for one in chosen}
        target, trainer = (
            build(role, Choice(name=name, fields=fields.fields(options, role)), registry)
            for role, name in names.items()
        )
        assert isinstance(target, Target)
        assert isinstance(trainer, Trainer)
        _train(target, trainer, out or Path(f"{names['target'].rpartition(':')[2]}.safetensors"), seed, quiet)

    return extended(train, [*(_role(role, registry) for role in ("target", "trainer")), *fields.parameters()])


def _role(role: str, registry: Registry) -> inspect.Parameter:
    default = next((f" (default: {r.entry.name})" for r in registry.entries(role) if r.entry.default), "")
    text = f"{ROLES[role][:1].upper()}{ROLES[role][1:]}{default}."
    return parameter(
        role, str | None, typer.Option(f"--{role}", metavar="NAME", help=text, rich_help_panel="Components")
    )


def _train(target: Target, trainer: Trainer, out: Path, seed: int, quiet: bool) -> None:
    from samplerhub.cli import render
    from samplerhub.files import writable_folder

    writable_folder(out.parent)
    try:
        with render.progress("training", quiet) as observe:
            for progress in trainer(target, out, seed):
                observe(progress)
    except KeyboardInterrupt:
        render.note("interrupted; the same command takes the training up again")
        raise typer.Exit(130) from None
    render.lines([render.shown(out)])
