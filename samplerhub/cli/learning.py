"""The command ``learn-grid``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from samplerhub.assembly import assemble, complete
from samplerhub.cli.command import Line, command
from samplerhub.cli.settings import Json, Quiet, run_without
from samplerhub.config import RUN_ROLES
from samplerhub.errors import InvalidSetting, UnusableFile
from samplerhub.registry import Registry

ROLES = tuple(role for role in RUN_ROLES if role != "features")
Noises = Annotated[
    int | None, typer.Option(metavar="N", min=8, help="Starting states to learn from (default: 256 to 1,024 by size).")
]
Out = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The file, NAME.grid.json (default: <sampler>-<steps>).")
]


def learn_grid_command(arguments: Sequence[str], registry: Registry) -> Callable[..., None]:
    """Return the command with the options of the components that the arguments choose."""
    shared = run_without("samples", "dtype", "block", "path")
    return command(learn_grid, arguments, registry, roles=ROLES, shared=shared)


def learn_grid(line: Line, noises: Noises = None, out: Out = None, as_json: Json = False, quiet: Quiet = False) -> None:
    """Optimise the nodes of a grid, and write them to a file."""
    from samplerhub.cli import render
    from samplerhub.files import writable_folder
    from samplerhub.learning import learn_grid as learn
    from samplerhub.learning.nodes import ENDING

    _check(out, ENDING)
    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        config = complete(line.config.model_copy(update={"metrics": ()}), line.registry)
        experiment = assemble(config, line.registry)
        sampler = str(config.components["sampler"].name).rpartition(":")[2]
        out = out or Path(f"{sampler}-{len(experiment.times) - 1}{ENDING}")
        writable_folder(out.parent)
        try:
            with render.progress("learning", quiet) as observe:
                learned = learn(experiment, noises=noises, observe=observe)
        except KeyboardInterrupt:
            render.note("interrupted; nothing is kept")
            raise typer.Exit(130) from None
        names = {role: choice.name for role, choice in config.components.items()}
        components = {
            role: one.model_copy(update={"name": names.get(role)}) for role, one in learned.components.items()
        }
        learned = learned.model_copy(update={"components": components})
        learned.write(out)

    if as_json:
        render.machine_readable(json.dumps({**learned.model_dump(mode="json"), "gain": learned.gain, "file": str(out)}))
        return
    if learned.rho == learned.start:
        render.note(f"nothing better than the grid {names['grid']!r} was found; the file holds its nodes", "yellow")
    render.pairs(
        [
            ("RMS error before", f"{learned.error_before:.3g}"),
            ("after", f"{learned.error:.3g}"),
            (
                "gain",
                f"{render.measured(learned.gain, learned.gain_stderr)} times, on starting states that were held out",
            ),
        ]
    )
    render.lines(["", render.shown(out)])


def _check(out: Path | None, ending: str) -> None:
    """Raise an error, before anything is learned, unless a file of nodes can have that name."""
    if out is None:
        return
    if not out.name.endswith(ending):
        stem = out.name.removesuffix(".json")
        better = f", as in --out {out.with_name(stem + ending)}" if stem.strip(".") else ""
        raise InvalidSetting(
            f"--out {out}: its name must end in {ending}, by which --grid knows that the nodes are learned{better}"
        )
    if out.is_dir():
        raise UnusableFile(f"--out {out} is a folder; give the name of a file")
