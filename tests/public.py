"""What is public, as it is now: names in Python, roles, hooks, commands, files and components (docs/stability.md).

``python tests/public.py`` writes it to public.json, to which tests/test_public.py holds it; what is removed it refuses
to forget, unless it was deprecated in time. ``--unreleased`` is for what no release has had.
"""

from __future__ import annotations

import inspect
import io
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module, metadata
from pathlib import Path
from types import UnionType
from typing import Any, get_args

import typer
from packaging.version import Version
from pydantic import BaseModel

import samplerhub
from samplerhub import deprecation
from samplerhub.capabilities import PLAYERS
from samplerhub.cli import main
from samplerhub.cli.app import build_app
from samplerhub.config import RUN_ROLES, SETTINGS
from samplerhub.manifest import Manifest
from samplerhub.plugin import ROLES
from samplerhub.registry import OWN, Registry

FILE = Path(__file__).parent / "public.json"
MODULES = ("samplerhub", "samplerhub.plugin", "samplerhub.errors", "samplerhub.testing")
RUN = ("run", "--target", "gaussian", "-n", "4", "--steps", "1", "--metric", "kl", "--quiet", "--json", "--out", "made")
ANSWERS = {
    "run": RUN,
    "list": ("list", "grid", "--json"),
    "show": ("show", "prior", "gaussian", "--json"),
    "plugins": ("plugins", "--json"),
    "check": ("check", "prior", "gaussian", "--on", "edm", "--json"),
    "cite": ("cite", "made", "--json"),
    "sweep": (*RUN[:3], "--steps", "1,2", "--samples", "4", "--quiet", "--json", "--out", "swept"),
}
"""A command for each answer in JSON."""


def public() -> dict[str, Any]:
    """Return all that is public: what has members as a table of them, and at the ends lists of names."""
    registry = Registry.discover({"SAMPLERHUB_PLUGINS": OWN})
    return {
        "python": {module: dict(names_of(module)) for module in MODULES},
        "roles": {role: sorted({m for kind in kinds[:1] for m in members(kind)}) for role, kinds in PLAYERS.items()},
        "hooks": {"samplerhub_entries": members(import_module("samplerhub.plugin").samplerhub_entries)},
        "commands": dict(commands(registry)),
        "experiment file": sorted((*RUN_ROLES, "metric", *SETTINGS)),
        "manifest": sorted(paths(Manifest)),
        "answers": answers(),
        "components": {role: dict(components(role, registry)) for role in ROLES},
        "deprecated": dict(sorted(deprecated(registry))),
    }


def names_of(module: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the public names of a module, each with its members."""
    namespace = import_module(module)
    inside = vars(namespace)
    own = [
        n
        for n, value in inside.items()
        if getattr(value, "__module__", "").startswith(module) or n.isupper() or n in samplerhub.__all__
    ]
    listed = getattr(namespace, "__all__", [n for n in own if not n.startswith("_") and n != "TYPE_CHECKING"])
    for name in sorted(listed):
        yield name, members(getattr(namespace, name))


def members(thing: object) -> list[str]:
    """Return the fields and methods of a class that are samplerhub's own, or the arguments of a function."""
    if inspect.isroutine(thing):
        return list(inspect.signature(thing).parameters)
    if not isinstance(thing, type):
        return []
    ours = [cls for cls in thing.__mro__ if cls.__module__.partition(".")[0] == "samplerhub"]
    names = {name for cls in ours for name in (*vars(cls), *inspect.get_annotations(cls))}
    return sorted(n for n in names if n == "__call__" or not n.startswith(("_", "model_")))


def commands(registry: Registry) -> Iterator[tuple[str, list[str]]]:
    """Yield the commands with their options, but for those that are fields of components."""
    for name in typer.main.get_command(build_app([], registry)).commands:  # type: ignore[attr-defined]
        words = [name, "grid", "uniform"] if name == "show" else [name]
        group = typer.main.get_command(build_app([*words, "--help"], registry))
        options = {option for p in group.commands[name].params for option in p.opts}  # type: ignore[attr-defined]
        yield name, sorted(option for option in options if option.startswith("-") and "." not in option)


def paths(model: type[BaseModel], before: str = "", seen: tuple[type, ...] = ()) -> Iterator[str]:
    """Yield the keys of a record, those of records in it after a dot."""
    for name, field in model.model_fields.items():
        yield before + name
        for inner in _records(field.annotation):
            if inner not in seen:
                yield from paths(inner, f"{before}{name}.", (*seen, inner))


def _records(annotation: Any) -> set[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and not isinstance(annotation, UnionType):
        return {annotation}
    return {found for inner in get_args(annotation) for found in _records(inner)}


def answers() -> dict[str, list[str]]:
    """Return the keys of what the commands print with --json; of a list, those of its first item."""
    here, found = os.getcwd(), {}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            for name, arguments in ANSWERS.items():
                printed = io.StringIO()
                with redirect_stdout(printed), redirect_stderr(io.StringIO()):
                    assert main([name, *arguments[1:]]) == 0, name
                facts = json.loads(printed.getvalue())
                found[name] = sorted(facts[0] if isinstance(facts, list) else facts)
        finally:
            os.chdir(here)
    return found


def components(role: str, registry: Registry) -> Iterator[tuple[str, list[str]]]:
    """Yield the names of the components that come with samplerhub, other names too, with their fields."""
    for one in registry.entries(role):
        fields = sorted(registry.load(role, registry.spelled(one)).model_fields)
        for name in (one.entry.name, *(f"{alias} ({one.entry.name})" for alias in one.entry.aliases)):
            yield name, fields


def deprecated(registry: Registry) -> Iterator[tuple[str, str]]:
    """Yield the old names that still work, as `flat` has them, each with the version that has it no more."""
    for old, (_, until) in deprecation.MOVED.items():
        yield f"python/{'/'.join(old.rpartition('.')[::2])}", until
    for role in ROLES:
        for one in registry.entries(role):
            for old, until in one.entry.deprecated:
                yield f"components/{role}/{old}", until
            for old, (_, mark) in deprecation.formerly(registry.load(role, registry.spelled(one))).items():
                yield f"components/{role}/{one.entry.name}/{old}", mark.until


def flat(told: Mapping[str, Any]) -> set[str]:
    """Return everything that is told, one path each: ``components/grid/edm/exponent``."""
    found = set()
    for name, inside in told.items():
        if name != "deprecated":
            found |= {name, *(f"{name}/{path}" for path in (flat(inside) if isinstance(inside, dict) else inside))}
    return found


def lost(before: Mapping[str, Any], now: Mapping[str, Any], version: str) -> list[str]:
    """Return what was public and is no more, though it still had to work."""
    over = {path for path, until in before["deprecated"].items() if Version(version) >= Version(until)}
    excused = over | now["deprecated"].keys()
    return sorted(p for p in flat(before) - flat(now) if not any(p == e or p.startswith(f"{e}/") for e in excused))


def gained(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what is public and was not, old names included."""
    return sorted((flat(now) | now["deprecated"].keys()) - (flat(before) | before["deprecated"].keys()))


def write(unreleased: bool) -> None:
    """Write what is public now; stop where something is missing that had to work."""
    now = public()
    if FILE.exists() and not unreleased:
        missing = lost(json.loads(FILE.read_text()), now, metadata.version("samplerhub"))
        if missing:
            sys.exit("\n".join([f"{FILE} is left as it is: deprecate these first (docs/stability.md)", *missing]))
    FILE.write_text(json.dumps(now, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    write("--unreleased" in sys.argv)
