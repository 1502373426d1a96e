"""The command ``run``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import BaseModel

from samplerhub.assembly import assemble, complete, differences, named
from samplerhub.capabilities import Budgeted
from samplerhub.cli.command import Line, command
from samplerhub.cli.engines import HERE, WITH_ENGINE, engine_of, select_with_engine
from samplerhub.cli.figures import in_words
from samplerhub.cli.settings import Json, Quiet
from samplerhub.component import kebab, parts
from samplerhub.config import RUN_ROLES, Choice, RunConfig
from samplerhub.registry import Registry

if TYPE_CHECKING:
    from samplerhub.experiment import Experiment, Result
    from samplerhub.manifest import Manifest

Out = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Folder of the run (default: runs/<hash of the experiment>).")
]


def run_command(arguments: Sequence[str], registry: Registry) -> Callable[..., None]:
    """Return the command with the options of the components that the arguments choose."""
    return command(run, arguments, registry, select=select_with_engine, roles=WITH_ENGINE, defaults=HERE)


def run(line: Line, out: Out = None, as_json: Json = False, quiet: Quiet = False) -> None:
    """Make samples, measure them, and write them to a folder."""
    from samplerhub.cli import render
    from samplerhub.folder import RunFolder

    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        config = complete(line.config, line.registry)
        experiment = assemble(config, line.registry)
        engine = engine_of(line.given, line.registry, line.fields)
        before = line.selection.manifest
        for change in differences(before, config, experiment) if before else ():
            render.note(f"warning: {change}", "yellow")
        folder = RunFolder.of(experiment, out)
        finished = folder.finished(experiment)
        if finished:
            render.note(f"taking up {_blocks(finished)} in {render.shown(folder.blocks)}")
        try:
            with render.progress("sampling", quiet) as observe:
                result = experiment.run(observe, folder, engine)
            manifest = named(result.manifest, config)
            files = folder.write(experiment, result, manifest)
        except KeyboardInterrupt:
            kept = folder.finished(experiment)
            again = f"; {_blocks(kept)} kept in {render.shown(folder.blocks)} for the same command" if kept else ""
            render.note(f"interrupted{again}")
            raise typer.Exit(130) from None

    if as_json:
        render.machine_readable(json.dumps(_report(manifest, files), allow_nan=False))
    else:
        render.pairs(_summary(config, experiment, result))
        render.lines(["", *(render.shown(file) for file in files.values())])


def _report(manifest: Manifest, files: dict[str, Path]) -> dict[str, object]:
    record = json.loads(manifest.model_dump_json())  # NaN is the text "NaN" there, and never bad JSON
    return {
        "manifest": record,
        "nfe": record["nfe"],
        "seconds": record["seconds"],
        "metrics": {
            name: {key: estimate[key] for key in ("value", "stderr", "quantity", "bounds") if estimate[key] != ""}
            for name, estimate in record["estimates"].items()
        },
        "files": {what: str(file) for what, file in files.items()},
    }


def _summary(config: RunConfig, experiment: Experiment, result: Result) -> list[tuple[str, str]]:
    rows = []
    for role in RUN_ROLES:
        if role == "features" and not experiment.reads_features:
            continue
        changed = _changed(getattr(experiment, role), config.components[role])
        rows.append((role, f"{config.components[role].name}{'  ' if changed else ''}{changed}"))
    rows += [
        ("samples", f"{experiment.samples:,}"),
        ("steps", str(len(experiment.times) - 1) if isinstance(experiment.sampler, Budgeted) else "adaptive"),
        *_horizon(experiment),
        ("NFE", f"{result.nfe:.4g}"),
        ("seconds", f"{result.seconds:.2f}"),
    ]
    return rows + [(name, in_words(name, result.metrics)) for name in result.metrics]


def _horizon(experiment: Experiment) -> list[tuple[str, str]]:
    """Return between which times sampling goes, if that is less than the process's span."""
    last, first = experiment.span
    if experiment.span == tuple(experiment.process.span):
        return []
    rho = [f"{level:.4g}" for level in experiment.setup().rho[[0, -1]].tolist()]
    return [("horizon", f"t {first:.4g} to {last:.4g}, noise level {' to '.join(rho)}")]


def _blocks(count: int) -> str:
    return f"{count} finished block{'' if count == 1 else 's'}"


def _changed(component: object, choice: Choice) -> str:
    """Return the parts of a component, and its fields that are not at their defaults."""
    if not isinstance(component, BaseModel):
        return ""
    made_of = parts(component)
    texts = []
    for field, part in made_of.items():
        chosen = choice.parts.get(field, Choice())
        inner = _changed(part, chosen)
        texts.append(f"{field.replace('_', '-')} {chosen.name or kebab(type(part))}{f' ({inner})' if inner else ''}")
    fields = component.model_dump(mode="json", exclude_defaults=True, exclude=set(made_of))
    for name, value in fields.items():
        text = f"{name.replace('_', '-')} {value}"
        texts.append(text if len(text) <= 40 else f"{text[:37]}...")
    return ", ".join(texts)
