"""The files of a plugin, made from templates and written together or not at all."""

from __future__ import annotations

import ast
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from datetime import date
from importlib import metadata
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from samplerhub.errors import InvalidSetting, UnusableFile
from samplerhub.scaffold.examples import EXAMPLES
from samplerhub.scaffold.naming import Names

TEMPLATE = ".j2"


def render(names: Names) -> dict[str, str]:
    """Return the text of each file of a plugin, by its path in the distribution's folder.

    Raises:
        InvalidSetting: The component's class would hide a name that its file needs.
    """
    environment = Environment(
        loader=PackageLoader("samplerhub.scaffold"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["quoted"] = lambda text: json.dumps(text, ensure_ascii=False)
    example = EXAMPLES[names.role]
    told = {
        "names": names,
        "example": example,
        "command": "samplerhub " + example.command.format(name=names.component),
        "year": date.today().year,
        "samplerhub": ".".join(metadata.version("samplerhub").split(".")[:2]),
    }
    templates = [name for name in environment.list_templates() if name.startswith(("shared/", f"{names.role}/"))]
    rendered = {_path(name, names): environment.get_template(name).render(told) for name in templates}
    _check_class(names, rendered[f"src/{names.package}/{names.module}.py"])
    return dict(sorted(rendered.items()))


def write(rendered: Mapping[str, str], folder: Path) -> None:
    """Write files into a new folder, all of them or none.

    Raises:
        UnusableFile: The folder is there already, or cannot be written.
    """
    if os.path.lexists(folder):
        raise UnusableFile(
            f"{folder} is there already, and is left as it is; choose another NAME, or another place with --out DIR"
        )
    beside = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    try:
        for path, text in rendered.items():
            (beside / path).parent.mkdir(parents=True, exist_ok=True)
            (beside / path).write_text(text, encoding="utf-8")
        beside.rename(folder)
    except OSError as error:
        raise UnusableFile(
            f"cannot write {folder}: {error.strerror or error}; choose another place with --out DIR"
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _path(template: str, names: Names) -> str:
    """Return where in the distribution the file of a template goes."""
    name = Path(template).name.removesuffix(TEMPLATE)
    inside = {
        "gitignore": ".gitignore",
        "__init__.py": f"src/{names.package}/__init__.py",
        "py.typed": f"src/{names.package}/py.typed",
        "component.py": f"src/{names.package}/{names.module}.py",
        "test.py": f"tests/test_{names.module}.py",
    }
    return inside.get(name, name)


def _check_class(names: Names, source: str) -> None:
    """Refuse a class that is called like something that its file imports, or like another class in it."""
    tree = ast.parse(source)
    imported = [alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names]
    if names.cls in imported:
        raise InvalidSetting(
            f"the class of a {names.role} called {names.component!r} would be {names.cls}, which is the name of "
            f"something that its file imports; name the component otherwise with --component"
        )
