"""The command ``sweep``."""

from __future__ import annotations

import hashlib
import inspect
import json
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from samplerhub.cli.asking import Asked, values
from samplerhub.cli.command import extended, field_parameters, role_parameter
from samplerhub.cli.engines import engine_of
from samplerhub.cli.options import FieldOptions, Scan, scan
from samplerhub.cli.planning import Plan, plan
from samplerhub.cli.selection import select_for_run
from samplerhub.cli.settings import RUN, Json, Quiet
from samplerhub.config import RUN_ROLES
from samplerhub.engine import Engine
from samplerhub.registry import Registry
from samplerhub.sweep import Conducted, Kept, Skipped, Store, conduct, seconds_of
from samplerhub.sweep.versions import mixed

File = Annotated[Path | None, typer.Argument(metavar="SWEEP.toml", help="A file with the same options as keys.")]
Out = Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the sweep (default: runs/sweep-<hash>).")]
Seeds = Annotated[int | None, typer.Option("--seeds", metavar="N", help="So many seeds, from --seed or 0 on.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the runs, their NFE and about how long; run nothing.")]


def sweep_command(arguments: Sequence[str], registry: Registry) -> Callable[..., None]:
    """Return the command. Options may have several values, which are read from the arguments: typer only knows them."""
    given = scan(arguments)

    def sweep(
        file: File = None,
        out: Out = None,
        seeds: Seeds = None,
        dry_run: DryRun = False,
        as_json: Json = False,
        quiet: Quiet = False,
        **options: Any,
    ) -> None:
        with redirect_stdout(sys.stderr) if as_json else nullcontext():
            asked = Asked.read(given)
            engine = _engine(asked, registry)
            named = asked.take("--out")
            said = json.dumps([asked.file, asked.line], sort_keys=True)
            digest = hashlib.sha256(said.encode()).hexdigest()[:8]
            folder = Path(named or f"runs/sweep-{digest}")
            planned = plan(asked, registry)
            show = _Show(folder, as_json, quiet)
            show.skipped(planned.skipped)
            if dry_run:
                facts = show.runs(planned, registry)
            else:
                command = shlex.join(["samplerhub", "sweep", *arguments])
                facts = _conducted(planned, Store.at(folder), engine, command, show)
        if as_json:
            from samplerhub.cli import render

            render.machine_readable(json.dumps(facts))
        if facts.get("failed"):
            raise typer.Exit(1)

    roles = [role_parameter(role, registry) for role in (*RUN_ROLES, "metric", "engine")]
    settings = [(name, kind) for name, kind in RUN.items() if name not in ("file", "source")]
    shown = _fields(given, registry) if given.help else []
    return extended(sweep, [*(_several(name, kind) for name, kind in settings), *map(_many, roles), *shown])


def _conducted(planned: Plan, store: Store, engine: Engine, command: str, show: _Show) -> dict[str, Any]:
    """Do the runs, and return what is said of them."""
    from samplerhub.cli import render

    store.note(command, planned.skipped)
    try:
        with render.progress("sweep", show.quiet) as bar:
            ended = conduct(planned.cells, store, engine, lambda now: show.now(now, bar))
    except KeyboardInterrupt:
        kept = sum(store.has(cell.key) for cell in planned.cells)
        render.note(f"interrupted; {kept} of {len(planned.cells)} runs are kept, and the same command goes on")
        raise typer.Exit(130) from None
    return show.ended(ended, planned.skipped)


@dataclass(frozen=True)
class _Show:
    """What is said on the way."""

    folder: Path
    as_json: bool
    quiet: bool

    def skipped(self, found: Sequence[Skipped]) -> None:
        """Name the combinations that cannot be run, before anything is."""
        from samplerhub.cli import render

        for one in found:
            render.note(f"skipped {in_words(one.axes)}: {one.reason}", "yellow")

    def runs(self, planned: Plan, registry: Registry) -> dict[str, Any]:
        """Show what would be run."""
        from samplerhub.cli import render

        store = Store(self.folder)
        finished = [store.has(cell.key) for cell in planned.cells]
        times = seconds_of(planned.cells, registry)
        if not self.as_json:
            names = varying([cell.axes for cell in planned.cells])
            header = (*names, "steps", "NFE", "seconds", "")
            rows = [
                (
                    *(str(cell.axes.get(name, "")) for name in names),
                    str(cell.steps),
                    "adaptive" if cell.nfe is None else f"{cell.nfe:g}",
                    "?" if time is None else f"{time:.2g}",
                    "finished" if done else "",
                )
                for cell, time, done in zip(planned.cells, times, finished)
            ]
            render.columns(header, rows)
            left = [time for time, done in zip(times, finished) if not done]
            known = sum(time for time in left if time is not None)
            more = f", and {_count(left.count(None), 'run')} of unknown length" if None in left else ""
            render.lines(
                ["", f"{_count(len(left), 'run')}, about {known:.2g} s of sampling{more}; metrics come on top"]
            )
        runs = [
            {
                "key": cell.key,
                "axes": cell.axes,
                "steps": cell.steps,
                "nfe": cell.nfe,
                "seconds": time,
                "finished": done,
            }
            for cell, time, done in zip(planned.cells, times, finished)
        ]
        return {"runs": runs, "skipped": [{"axes": one.axes, "reason": one.reason} for one in planned.skipped]}

    def now(self, now: Conducted, bar: Callable[[Any], None]) -> None:
        """Show how far it has come: on the bar, or as a line where there is none."""
        from samplerhub.cli import render
        from samplerhub.protocols import Progress

        ended = now.total - now.left
        failed = f"{len(now.failed)} failed" if now.failed else ""
        bar(Progress(ended, max(1, now.total), failed))
        if now.last is not None and not self.quiet and not sys.stderr.isatty():
            what = "failed" if now.failed and now.failed[-1][0] is now.last else "done"
            render.note(f"{ended}/{now.total} {what}: {in_words(now.last.axes)}")

    def ended(self, ended: Conducted, skipped: Sequence[Skipped]) -> dict[str, Any]:
        """Show how it ended."""
        from samplerhub.cli import render

        for cell in ended.again:
            render.note(f"done anew: {in_words(cell.axes)} (a worker was lost, or its folder was not whole)", "yellow")
        for cell, error in ended.failed:
            render.note(f"failed {in_words(cell.axes)}: {type(error).__name__}: {error}", "red")
        for line in mixed(run for run in Store(self.folder).runs() if isinstance(run, Kept)):
            render.note(line, "yellow")
        if not self.as_json:
            parts = {
                "done": ended.done,
                "there before": ended.before,
                "done by another process": ended.elsewhere,
                "failed": len(ended.failed),
                "skipped": len(skipped),
            }
            render.lines(
                [
                    f"{_count(ended.total, 'run')}: {', '.join(f'{n} {what}' for what, n in parts.items() if n)}",
                    "",
                    f"samplerhub results {shlex.quote(render.shown(self.folder))}",
                    f"samplerhub report {shlex.quote(render.shown(self.folder))}",
                ]
            )
        return {
            "folder": str(self.folder),
            "total": ended.total,
            "before": ended.before,
            "done": ended.done,
            "elsewhere": ended.elsewhere,
            "again": [cell.key for cell in ended.again],
            "failed": [{"key": c.key, "axes": c.axes, "error": f"{type(e).__name__}: {e}"} for c, e in ended.failed],
            "skipped": [{"axes": one.axes, "reason": one.reason} for one in skipped],
        }


def in_words(axes: Mapping[str, Any]) -> str:
    """Return what distinguishes a run: ``sampler deis, nfe 10``."""
    return ", ".join(f"{name} {value}" for name, value in axes.items())


def varying(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the names that do not have the same value everywhere; all of them where there is but one row."""
    rows = list(rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    several = [name for name in names if len({json.dumps(row.get(name)) for row in rows}) > 1]
    return several or names


def _engine(asked: Asked, registry: Registry) -> Engine:
    """Return the engine, whose options are taken out of what is asked for."""
    name = asked.take("--engine") or registry.spelled(registry.default("engine"))
    own = [option for option in asked.options if option.startswith("--engine.")]
    asked.check_values(own)
    given = Scan((("--engine", name), *((option, asked.take(option)) for option in own)), (), False)
    engine = engine_of(given, registry)
    assert engine is not None
    return engine


def _fields(given: Scan, registry: Registry) -> list[inspect.Parameter]:
    """Return the fields of all components that are named, for the help."""
    found: dict[str, inspect.Parameter] = {}
    for role in (*RUN_ROLES, "metric"):
        for name in values(given.values(f"--{role}")):
            chosen = select_for_run(Scan(((f"--{role}", name),), (), True), registry).chosen
            found |= {one.name: one for one in field_parameters(FieldOptions(chosen)) if one.name != "short"}
    return list(found.values())


def _several(name: str, kind: Any) -> inspect.Parameter:
    return _many(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind))


def _many(parameter: inspect.Parameter) -> inspect.Parameter:
    """Return a parameter that takes any text, any number of times."""
    (info,) = parameter.annotation.__metadata__
    return parameter.replace(annotation=Annotated[list[str] | None, info])


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
