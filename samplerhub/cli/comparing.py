"""The command ``compare``: what differs between runs, and which figures tell them apart."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from samplerhub.cli.citing import manifest_file
from samplerhub.config import read_manifest
from samplerhub.errors import InvalidSetting, UnusableFile
from samplerhub.manifest import ComponentRecord, Manifest, MetricRecord
from samplerhub.registry import Registry
from samplerhub.sweep.store import NOTED
from samplerhub.sweep.verdict import Verdict, verdict

LONG = 28
"""Longer values are cut in the terminal."""


@dataclass(frozen=True, slots=True)
class Run:
    """One of the runs."""

    label: str
    folder: Path
    manifest: Manifest


def compare_runs(registry: Registry, folders: Sequence[Path], as_json: bool, picture: Path | None) -> None:
    """Print runs side by side.

    Raises:
        InvalidSetting: It is only one.
        UnusableFile: A run cannot be read.
    """
    from samplerhub.cli import render

    if len(folders) < 2:
        raise InvalidSetting("compare takes two runs or more: samplerhub compare RUN RUN")
    runs = _read(folders, render.shown)
    same, differ = _apart([dict(_facts(run.manifest)) for run in runs])
    metrics = list(dict.fromkeys(name for run in runs for name in run.manifest.estimates))
    verdicts = {name: verdict(name, [run.manifest for run in runs]) for name in metrics}
    if picture is not None:
        _draw(registry, runs, picture)
    if as_json:
        render.machine_readable(json.dumps(_report(runs, same, differ, verdicts), allow_nan=False))
        return
    _show(runs, same, differ, verdicts)
    if picture is not None:
        render.lines(["", render.shown(picture)])


def _read(folders: Sequence[Path], shown: Callable[[Path], str]) -> list[Run]:
    for folder in folders:
        if (folder / NOTED).exists():
            raise InvalidSetting(f"{folder} is a sweep: name runs in it, or see samplerhub results {folder}")
    files = [manifest_file(folder) for folder in folders]
    if len({file.resolve() for file in files}) < len(files):
        raise InvalidSetting(f"a run is given twice: {', '.join(map(str, folders))}")
    short = [file.parent.resolve().name for file in files]
    labels = short if len(set(short)) == len(short) else [shown(file.parent) for file in files]
    return [Run(label, file.parent, read_manifest(file)) for label, file in zip(labels, files)]


def _draw(registry: Registry, runs: Sequence[Run], picture: Path) -> None:
    """Draw the samples of the runs; what made them is made again, for the truth behind them."""
    from samplerhub.assembly import assemble
    from samplerhub.config import RunConfig
    from samplerhub.files import read_tensors, whole
    from samplerhub.picture import draw_beside

    if picture.suffix.lower() != ".png":
        raise InvalidSetting(f"--picture {picture}: give a file that ends in .png")
    shown = {}
    for run in runs:
        file = run.folder / "samples.safetensors"
        tensors, _ = read_tensors(file)
        if "samples" not in tensors:
            raise UnusableFile(f"{file} has no samples")
        shown[run.label] = assemble(RunConfig.from_manifest(run.manifest, registry), registry), tensors["samples"]
    with whole(picture) as temporary:
        draw_beside(shown).savefig(temporary, dpi=120)


def _facts(manifest: Manifest) -> Iterator[tuple[str, JsonValue]]:
    """Yield what was run, by name: components, their fields, files and versions, settings, the environment."""
    for role, component in manifest.components.items():
        yield from _component(role, component)
    for name, metric in manifest.metrics.items():
        yield from _component(f"metric {name}", metric)
    yield from manifest.settings.model_dump(mode="json").items()
    for name, version in manifest.environment.items():
        yield f"{name} (environment)" if name == "threads" else name, version


def _component(where: str, component: ComponentRecord) -> Iterator[tuple[str, JsonValue]]:
    yield where, component.name or component.target
    for name, value in component.fields.items():
        yield f"{where}.{name.replace('_', '-')}", value
    if component.digest is not None:
        yield f"{where} (hash of its files)", component.digest
    if component.name is not None:  # else the class above says it
        yield f"{where} (class)", component.target
    yield f"{where} (version)", " ".join(word for word in (component.distribution, component.version) if word)
    for name, part in component.parts.items():
        yield from _component(f"{where}.{name.replace('_', '-')}", part)


def _apart(facts: Sequence[Mapping[str, JsonValue]]) -> tuple[dict[str, JsonValue], dict[str, list[JsonValue]]]:
    """Return what is the same in all runs, and what is not; the class where names do not differ."""
    names = list(dict.fromkeys(name for one in facts for name in one))
    same, differ = {}, {}
    for name in names:
        values = [one.get(name) for one in facts]
        if all(json.dumps(value) == json.dumps(values[0]) for value in values):
            same[name] = values[0]
        elif not (name.endswith(" (class)") and name.removesuffix(" (class)") in differ):
            differ[name] = values
    return same, differ


def _show(
    runs: Sequence[Run],
    same: Mapping[str, JsonValue],
    differ: Mapping[str, Sequence[JsonValue]],
    verdicts: Mapping[str, Verdict],
) -> None:
    from samplerhub.cli import render

    plain = [name for name in same if not any(mark in name for mark in (".", "(", " ")) and same[name] is not None]
    environment = set(runs[0].manifest.environment)
    alike = ", ".join(f"{name} {_text(same[name])}" for name in plain if name not in environment)
    render.pairs([("the same", alike or "nothing but the environment")])
    render.lines([""])
    if differ:
        render.fitted(
            {"": list(differ)},
            {run.label: [_text(values[i]) for values in differ.values()] for i, run in enumerate(runs)},
        )
    else:
        render.lines(["nothing differs in what was run"])
    render.lines([""])
    rows = ["NFE", "seconds", *verdicts]
    said = ["", "", *(_said(one, runs) for one in verdicts.values())]
    figures = {run.label: _figures(run, verdicts) for run in runs}
    render.fitted({"": rows, "best": said} if verdicts else {"": rows}, figures)
    remarks = []
    if any(one.tied() for one in verdicts.values()):
        remarks.append("= a tie: a z-test on the standard errors does not tell them apart (5 %)")
    if len({run.manifest.nfe for run in runs}) > 1:
        remarks.append("the runs spent unequal NFE")
    render.lines(["", *remarks] if remarks else [])


def _figures(run: Run, names: Mapping[str, object]) -> list[str]:
    from samplerhub.cli import render

    manifest = run.manifest
    found: list[MetricRecord | None] = [manifest.estimates.get(name) for name in names]
    figures = ["-" if one is None else render.measured(one.value, one.stderr) for one in found]
    bound = ["<= " if one is not None and one.bounds else "" for one in found]
    return [f"{manifest.nfe:.4g}", f"{manifest.seconds:.2f}", *map(str.__add__, bound, figures)]


def _said(one: Verdict, runs: Sequence[Run]) -> str:
    if one.best is None:
        return f"({one.why_not})"
    return " = ".join(runs[i].label for i in (one.best, *one.tied()))


def _text(value: JsonValue) -> str:
    text = "-" if value is None else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= LONG else f"{text[: LONG - 3]}..."


def _report(
    runs: Sequence[Run],
    same: Mapping[str, JsonValue],
    differ: Mapping[str, Sequence[JsonValue]],
    verdicts: Mapping[str, Verdict],
) -> dict[str, Any]:
    records = [json.loads(run.manifest.model_dump_json()) for run in runs]  # what is not finite is text there
    return {
        "runs": [
            {
                "run": str(run.folder),
                "nfe": record["nfe"],
                "seconds": record["seconds"],
                "metrics": {
                    name: {key: estimate[key] for key in ("value", "stderr", "better")}
                    for name, estimate in record["estimates"].items()
                },
            }
            for run, record in zip(runs, records)
        ],
        "same": same,
        "differ": differ,
        "metrics": {
            name: {
                "best": None if one.best is None else str(runs[one.best].folder),
                "tied": [str(runs[i].folder) for i in one.tied()],
                "chance": list(one.chances) or None,
                "not_comparable": one.why_not or None,
            }
            for name, one in verdicts.items()
        },
    }
