"""The command ``run``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import BaseModel

from samplerhub.assembly import assemble, complete, differences, named
from samplerhub.capabilities import Budgeted
from samplerhub.cli.figures import in_words
from samplerhub.cli.options import FieldOptions, extended, role_parameter, scan
from samplerhub.cli.selection import Selection, laid_over, select_for_run
from samplerhub.cli.settings import (
    Batch,
    Block,
    Device,
    Dtype,
    File,
    Json,
    Nfe,
    PathTimes,
    Quiet,
    RhoMax,
    RhoMin,
    Samples,
    Seed,
    Source,
    Steps,
    TMax,
    TMin,
)
from samplerhub.component import kebab, parts
from samplerhub.config import RUN_ROLES, SETTINGS, Choice, RunConfig
from samplerhub.registry import Registry

if TYPE_CHECKING:
    from samplerhub.experiment import Experiment, Result
    from samplerhub.manifest import Manifest

RUN_OPTIONS = (
    "-n",
    "--from",
    "--out",
    *(f"--{name.replace('_', '-')}" for name in SETTINGS),
    "--json",
    "--quiet",
    "--help",
)


def run_command(arguments: Sequence[str], registry: Registry) -> Callable[..., None]:
    """Return the command with the options of the components that the arguments choose."""
    given = scan(arguments)
    selection = select_for_run(given, registry)
    choosing = (f"--{role}" for role in (*RUN_ROLES, "metric"))
    fields = FieldOptions(selection.chosen, reserved=(*choosing, *RUN_OPTIONS))
    if not given.help:
        fields.check(given)

    def run(
        file: File = None,
        source: Source = None,
        samples: Samples = None,
        steps: Steps = None,
        nfe: Nfe = None,
        seed: Seed = None,
        dtype: Dtype = None,
        device: Device = None,
        batch: Batch = None,
        block: Block = None,
        path: PathTimes = None,
        t_max: TMax = None,
        rho_max: RhoMax = None,
        t_min: TMin = None,
        rho_min: RhoMin = None,
        out: Annotated[
            Path | None, typer.Option(metavar="DIR", help="Folder of the run (default: runs/<hash of the experiment>).")
        ] = None,
        as_json: Json = False,
        quiet: Quiet = False,
        **options: Any,
    ) -> None:
        settings = {
            "samples": samples, "steps": steps, "nfe": nfe, "seed": seed,
            "dtype": dtype, "device": device, "batch": batch, "block": block, "path": path,
            "t_max": t_max, "rho_max": rho_max, "t_min": t_min, "rho_min": rho_min,
        }  # fmt: skip
        config = with_options(selection, fields, options, settings)
        _run(config, registry, selection.manifest, out, as_json, quiet)

    roles = [role_parameter(role, registry, "as the target suggests") for role in (*RUN_ROLES, "metric")]
    return extended(run, [*roles, *fields.parameters()])


def with_options(
    selection: Selection, fields: FieldOptions, options: dict[str, Any], settings: dict[str, Any]
) -> RunConfig:
    """Return the run with what the command line says on top."""
    return RunConfig(**settings).over(laid_over(selection.config, fields, options))


def _run(
    config: RunConfig, registry: Registry, before: Manifest | None, out: Path | None, as_json: bool, quiet: bool
) -> None:
    from samplerhub.cli import render
    from samplerhub.folder import RunFolder

    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        config = complete(config, registry)
        experiment = assemble(config, registry)
        for line in differences(before, config, experiment) if before else ():
            render.note(f"warning: {line}", "yellow")
        folder = RunFolder.of(experiment, out)
        finished = folder.finished(experiment)
        if finished:
            render.note(f"taking up {_blocks(finished)} in {render.shown(folder.blocks)}")
        try:
            with render.progress("sampling", quiet) as observe:
                result = experiment.run(observe, folder)
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
