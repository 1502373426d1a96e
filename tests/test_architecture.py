"""Arrows point one way: every import in the package and its plugins is read from the syntax trees."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import samplerhub

ROOT = Path(__file__).parent.parent
CORE = ROOT / "samplerhub"
PLUGINS = ROOT / "plugins"
FILES = sorted(CORE.rglob("*.py"))
PLUGIN_FILES = sorted(f for f in PLUGINS.rglob("*.py") if not {"tests", "build"} & {*f.relative_to(PLUGINS).parts})

BASE = {"deprecation", "errors", "plugin", "component", "protocols", "engine", "capabilities"}
RUNNING = BASE | {
    "files",
    "manifest",
    "process",
    "problem",
    "model",
    "noise",
    "sampling",
    "timetable",
    "setup",
    "checks",
    "measure",
    "block",
    "blocks",
    "experiment",
}
MAY_IMPORT = {
    "deprecation": set(),
    "": {"deprecation"},
    "errors": {"deprecation"},
    "plugin": {"deprecation"},
    "component": {"deprecation"},
    "protocols": set(),
    "engine": set(),
    "capabilities": {"protocols", "engine"},
    "files": BASE,
    "pickles": BASE,
    "checkpoint": BASE | {"files", "pickles"},
    "convert": BASE | {"files", "pickles", "checkpoint"},
    "manifest": BASE,
    "process": BASE,
    "noise": BASE,
    "problem": BASE | {"process"},
    "model": BASE | {"process", "problem"},
    "sampling": BASE | {"process", "problem", "noise"},
    "timetable": BASE | {"process", "problem"},
    "setup": BASE | {"process", "problem"},
    "checks": BASE | {"process", "problem", "model", "noise", "setup"},
    "measure": BASE | {"process", "noise", "setup", "checks"},
    "block": BASE | {"process", "problem", "noise", "setup"},
    "blocks": BASE | {"block"},
    "law": BASE | {"process", "problem", "noise", "sampling", "setup", "law"},
    "experiment": RUNNING,
    "testing": RUNNING | {"", "testing", "law", "truth", "registry", "config", "assembly"},
    "wording": set(),
    "foreign": BASE,
    "answer": BASE | {"wording", "foreign"},
    "worker": {"answer"},
    "elsewhere": {"foreign", "answer", "worker"},
    "installed": {"foreign", "answer"},
    "discovery": BASE | {"foreign", "answer", "worker", "elsewhere", "installed"},
    "registry": BASE | {"wording", "foreign", "installed", "discovery"},
    "shorthand": BASE | {"registry", "config"},
    "nesting": BASE | {"config", "registry", "shorthand"},
    "explain": BASE | {"registry"},
    "citation": BASE,
    "config": BASE | {"files", "manifest", "registry"},
    "assembly": BASE | {"manifest", "registry", "explain", "config", "shorthand", "nesting", "experiment"},
    "picture": RUNNING,
    "curves": BASE,
    "folder": RUNNING | {"picture", "curves"},
    "learning": RUNNING | {"learning"},
    "sweep": RUNNING | {"registry", "config", "assembly", "sweep"},
    "report": RUNNING | {"foreign", "registry", "config", "assembly", "citation", "picture", "sweep", "report"},
    "truth": BASE | {"process", "problem", "noise"},
    "budget": RUNNING | {"truth", "budget"},
    "scaffold": BASE | {"scaffold"},
    "cli": RUNNING
    | {
        "",
        "registry",
        "explain",
        "citation",
        "config",
        "shorthand",
        "nesting",
        "assembly",
        "folder",
        "picture",
        "budget",
        "learning",
        "cli",
        "testing",
        "convert",
        "scaffold",
        "sweep",
        "report",
        "wording",
        "foreign",
    },
    "pytest_plugin": {"plugin", "registry", "testing"},
    "__main__": {"cli"},
}
"""What each module of the core, without its package's name, may import of the others."""

BUNDLED = {path.name for path in PLUGINS.iterdir() if (path / "__init__.py").exists()}
DECLARED = {
    "samplerhub",
    "torch",
    "numpy",
    "pydantic",
    "sklearn",
    "zuko",
    "safetensors",
    "scipy",
    "PIL",
} | sys.stdlib_module_names


def imports(file: Path) -> Iterator[tuple[str, str]]:
    """Yield (module, name) of each import that is executed, `name` empty for ``import module``."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    only_for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if id(node) in only_for_types:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            yield from ((node.module or "", alias.name) for alias in node.names)


def imported_modules(file: Path) -> set[str]:
    """Return the core modules that a file imports, "" for names taken from the package itself."""
    found = set()
    for module, name in imports(file):
        package, _, rest = module.partition(".")
        if package == "samplerhub":
            top = rest.partition(".")[0]
            found.add(top or (name if (CORE / f"{name}.py").exists() or (CORE / name).is_dir() else ""))
    return found


def home(file: Path) -> str:
    """Return the module of the core that a file belongs to."""
    part = file.relative_to(CORE).parts[0].removesuffix(".py")
    return "" if part == "__init__" else part


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(CORE)))
def test_the_core_imports_along_the_arrows(file: Path) -> None:
    against = imported_modules(file) - MAY_IMPORT[home(file)]
    assert not against, f"{file.relative_to(ROOT)} imports {sorted(against)}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(CORE)))
def test_the_core_names_no_bundled_plugin(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert not [name for name in BUNDLED if name in text]


def owner(file: Path) -> tuple[str, set[str]]:
    """Return the package of a plugin's file, and what it may import: that of a distribution of its own, it declares."""
    folder = PLUGINS / file.relative_to(PLUGINS).parts[0]
    if not (folder / "pyproject.toml").exists():
        return folder.name, DECLARED
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = (re.match(r"[\w-]+", requirement) for requirement in project["dependencies"])
    names = {match.group().replace("-", "_") for match in requirements if match}
    return folder.name.replace("-", "_"), names | sys.stdlib_module_names


@pytest.mark.parametrize("file", PLUGIN_FILES, ids=lambda file: str(file.relative_to(PLUGINS)))
def test_a_plugin_imports_public_names_and_declared_libraries(file: Path) -> None:
    own, declared = owner(file)
    for module, name in imports(file):
        package = module.partition(".")[0]
        assert package in declared | {own}, f"{file}: {package} is not declared, or another plugin"
        assert package == own or not name.startswith("_") or name == "__version__", (
            f"{file}: {module}.{name} is private"
        )
        if module == "samplerhub":
            assert name in {*samplerhub.__all__, "process"}, f"{file}: samplerhub.{name} is not public"


def test_a_plugin_loads_without_torch() -> None:
    for package in BUNDLED:
        loaded = {module for module, _ in imports(PLUGINS / package / "__init__.py")}
        assert loaded <= {"samplerhub.plugin", "__future__"}, f"{package} imports {loaded} on load"


def test_rich_has_one_user_and_the_vendored_click_none() -> None:
    for file in FILES:
        for module, _ in imports(file):
            assert not module.startswith("typer."), f"{file}: {module}"
            assert module.partition(".")[0] != "rich" or file.name == "render.py", f"{file} imports rich"
            assert module.partition(".")[0] != "click", f"{file} imports click"
