"""The command ``new-plugin``."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from samplerhub.errors import InvalidSetting
from samplerhub.registry import Registry

if TYPE_CHECKING:
    from samplerhub.scaffold import Names


def write_plugin(
    registry: Registry,
    distribution: str,
    role: str,
    component: str | None,
    summary: str | None,
    author: str | None,
    out: Path,
    as_json: bool,
) -> None:
    """Write a plugin into the folder of its name in `out`, and say what to do next.

    Raises:
        UnknownComponent: There is no such role.
        InvalidSetting: A name cannot be used, or an installed component has it.
        UnusableFile: The folder is there already, or cannot be written.
    """
    from samplerhub.cli import render
    from samplerhub.scaffold import EXAMPLES, named, write
    from samplerhub.scaffold import render as rendered

    registry.entries(role)  # says which roles there are, before anything is said of names
    names = named(distribution, role, component, summary, author or _git_author())
    _check_new(registry, names)
    files, folder = rendered(names), out / distribution
    write(files, folder)

    where = shlex.quote(render.shown(folder))
    then = [
        f"pip install -e {where if where.startswith(('/', '.')) else f'./{where}'}",
        f"python -m pytest {where}",
        f"samplerhub {EXAMPLES[role].command.format(name=names.component)}",
    ]
    if as_json:
        facts = {
            "folder": str(folder),
            "role": role,
            "name": names.component,
            "class": f"{names.package}.{names.module}:{names.cls}",
            "author": names.author,
            "files": list(files),
            "next": then,
        }
        render.machine_readable(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    render.lines([f"{render.shown(folder)}: the {role} {names.component}", *(f"  {path}" for path in files)])
    render.lines(["", "Next:", *(f"  {command}" for command in then)])
    render.lines(
        ["", f"The example is real: make it yours in {render.shown(folder)}/src/{names.package}/{names.module}.py."]
    )


def _check_new(registry: Registry, names: Names) -> None:
    """Refuse a name that an installed component has; a trainer comes with a model of the same name."""
    for role in (names.role, *(["model"] if names.role == "trainer" else [])):
        for one in registry.entries(role):
            if names.component in (one.entry.name, *one.entry.aliases):
                raise InvalidSetting(
                    f"a {role} named {names.component!r} is installed already, that of {one.source}; choose another "
                    "NAME, or name the component otherwise with --component"
                )


def _git_author() -> str | None:
    """Return git's user.name; None where there is no git, or it does not know."""
    try:
        asked = subprocess.run(["git", "config", "user.name"], capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return asked.stdout.strip() or None
