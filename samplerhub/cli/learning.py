"""The command ``learn-grid``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer

from samplerhub.assembly import assemble, complete
from samplerhub.cli.options import FieldOptions, extended, role_parameter, scan
from samplerhub.cli.running import RUN_OPTIONS, with_options
from samplerhub.cli.selection import select_for_run
from samplerhub.cli.settings import (
    Batch,
    Device,
    File,
    Json,
    Nfe,
    Quiet,
    RhoMax,
    RhoMin,
    Seed,
    Source,
    Steps,
    TMax,
    TMin,
)
from samplerhub.config import RUN_ROLES, RunConfig
from samplerhub.registry import Registry

ROLES = tuple(role for role in RUN_ROLES if role != "features")
OPTIONS = (*RUN_OPTIONS, "--noises")


def learn_grid_command(arguments: Sequence[str], registry: Registry) -> Callable[..., None]:
    """Return the command with the options of the components that the arguments choose."""
    given = scan(arguments)
    selection = select_for_run(given, registry)
    chosen = [one for one in selection.chosen if one.role in ROLES]
    fields = FieldOptions(chosen, reserved=(*(f"--{role}" for role in ROLES), *OPTIONS))
    if not given.help:
        fields.check(given)

    def learn_grid(
        file: File = None,
        source: Source = None,
        steps: Steps = None,
        nfe: Nfe = None,
        seed: Seed = None,
        device: Device = None,
        batch: Batch = None,
        t_max: TMax = None,
        rho_max: RhoMax = None,
        t_min: TMin = None,
        rho_min: RhoMin = None,
        noises: Annotated[
            int | None,
            typer.Option(metavar="N", min=8, help="Starting states to learn from (default: 256 to 1,024 by size)."),
        ] = None,
        out: Annotated[
            Path | None, typer.Option(metavar="FILE", help="The file (default: <sampler>-<steps>.grid.json).")
        ] = None,
        as_json: Json = False,
        quiet: Quiet = False,
        **options: Any,
    ) -> None:
        settings = {
            "steps": steps, "nfe": nfe, "seed": seed, "device": device, "batch": batch,
            "t_max": t_max, "rho_max": rho_max, "t_min": t_min, "rho_min": rho_min,
        }  # fmt: skip
        config = with_options(selection, fields, options, settings)
        _learn_grid(config, registry, noises, out, as_json, quiet)

    roles = [role_parameter(role, registry, "as the target suggests") for role in ROLES]
    return extended(learn_grid, [*roles, *fields.parameters()])


def _learn_grid(
    config: RunConfig, registry: Registry, noises: int | None, out: Path | None, as_json: bool, quiet: bool
) -> None:
    from samplerhub.cli import render
    from samplerhub.files import writable_folder
    from samplerhub.learning import learn_grid
    from samplerhub.learning.nodes import ENDING

    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        config = complete(config.model_copy(update={"metrics": ()}), registry)
        experiment = assemble(config, registry)
        sampler = str(config.components["sampler"].name).rpartition(":")[2]
        out = out or Path(f"{sampler}-{len(experiment.times) - 1}{ENDING}")
        writable_folder(out.parent)
        try:
            with render.progress("learning", quiet) as observe:
                learned = learn_grid(experiment, noises=noises, observe=observe)
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
