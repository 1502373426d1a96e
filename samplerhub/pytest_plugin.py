"""A plugin of pytest: a marked test runs once for each registered component.

::

    @pytest.mark.samplerhub
    def test_conformance(component):
        component.check()

pytest imports this module wherever samplerhub is installed, so that it imports nothing else of samplerhub until a test
has the mark. It has no fixtures: `component` means something in marked tests alone.
"""

from __future__ import annotations

import tomllib
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pydantic import BaseModel

    from samplerhub.registry import Registered, Registry

MARK = (
    "samplerhub(role=None, name=None, distribution=None): run once for each registered component that the test is "
    "about, as the argument `component`; by default those of the distribution that is tested."
)


class RegisteredComponent:
    """A component as a marked test gets it; it is imported when it is used."""

    def __init__(self, registry: Registry, registered: Registered) -> None:
        self._registry = registry
        self._registered = registered
        self.role: str = registered.entry.role
        """What it plays."""
        self.name: str = registry.spelled(registered)
        """The name that finds it."""
        self.distribution: str = registered.distribution
        """Where it comes from."""
        self.version: str = registered.version
        """The version of that."""

    def __repr__(self) -> str:
        return f"<{self.role} {self.name} of {self.distribution} {self.version}>"

    def load(self) -> type[BaseModel]:
        """Import its class."""
        return self._registry.load(self.role, self.name)

    def make(self, **fields: object) -> BaseModel:
        """Make it, with these fields."""
        return self.load().model_validate(fields)

    def check(self, on: tuple[str, ...] = (), **required: object) -> None:
        """Run the conformance kit on it: the test fails with what does not hold, and is skipped if nothing can be said.

        Args:
            on: Names of the processes or targets on which it is tried; by default all that are installed.
            required: Values for fields that have no default.
        """
        __tracebackhide__ = True
        from samplerhub.testing import Kit

        report = Kit(self._registry, on).check(self.role, self.name, required=required)
        if report.state == "failed":
            pytest.fail(str(report), pytrace=False)
        if report.state == "skipped":
            pytest.skip(report.summary)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that choose components."""
    group = parser.getgroup("samplerhub", "conformance of samplerhub components")
    for word, what in (
        ("role", "of this role"),
        ("name", "of this name; * and ? stand for any letters"),
        ("distribution", "of this distribution, '*' for all (default: the one in the project's pyproject.toml)"),
    ):
        group.addoption(
            f"--samplerhub-{word}",
            action="append",
            default=[],
            metavar=word.upper(),
            help=f"tests marked samplerhub: components {what}; may be given several times",
        )


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark."""
    config.addinivalue_line("markers", MARK)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a marked test once for each component."""
    mark = metafunc.definition.get_closest_marker("samplerhub")
    if mark is None:
        return
    if mark.args or set(mark.kwargs) - {"role", "name", "distribution"}:
        raise _error(f"{metafunc.definition.nodeid}: the mark takes role, name and distribution, by keyword")
    if "component" not in metafunc.fixturenames:
        raise _error(f"{metafunc.definition.nodeid} is marked samplerhub and has no argument `component`")
    found = _chosen(metafunc.config, dict(mark.kwargs))
    metafunc.parametrize("component", found, ids=[f"{c.role}-{c.name}" for c in found])


def _chosen(config: pytest.Config, marked: dict[str, str]) -> list[RegisteredComponent]:
    """Return what both the mark and the options choose.

    Raises:
        CollectError: One of them names what there is not.
    """
    from samplerhub.plugin import ROLES
    from samplerhub.registry import Registry, among

    registry = Registry.discover()
    known = [RegisteredComponent(registry, r) for role in ROLES for r in registry.entries(role)]
    distributions = config.getoption("--samplerhub-distribution")
    wanted = {
        "role": config.getoption("--samplerhub-role"),
        "name": config.getoption("--samplerhub-name"),
        "distribution": distributions or ([] if "distribution" in marked else [_own(config)]),
    }
    for word, patterns in (*wanted.items(), *((word, [pattern]) for word, pattern in marked.items())):
        there = sorted({getattr(c, word) for c in known}) if word != "role" else list(ROLES)
        for pattern in patterns:
            if not any(_matches(value, pattern) for value in there):
                failed = [f"plugin {p.name} failed: {p.error}" for p in registry.plugins if p.error]
                raise _error("; ".join([f"no samplerhub {word} {pattern!r}{among(pattern, there)}", *failed]))
    ours = [
        c
        for c in known
        if all(not patterns or any(_matches(getattr(c, w), p) for p in patterns) for w, patterns in wanted.items())
    ]
    found = [c for c in ours if all(_matches(getattr(c, word), pattern) for word, pattern in marked.items())]
    chosen_here = wanted["role"] or wanted["name"]  # a test of one role is left out by an option for another
    if not ours or not (found or chosen_here):
        said = [(word, " or ".join(patterns)) for word, patterns in wanted.items() if patterns]
        listed = ", ".join(f"{word} {value}" for word, value in [*said, *(marked.items() if ours else ())])
        raise _error(f"no samplerhub component has {listed}, all at once: `samplerhub list` shows what there is")
    return found


def _own(config: pytest.Config) -> str:
    """Return the name of the project that is tested."""
    file = config.rootpath / "pyproject.toml"
    project = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {}) if file.exists() else {}
    if "name" not in project:
        raise _error(
            f"{file} names no project whose components are tested: say --samplerhub-distribution NAME, or '*' for all"
        )
    return str(project["name"])


def _matches(value: str, pattern: str) -> bool:
    """Say whether a name is meant; distributions are spelled with - or _ or a dot."""
    value, pattern = (text.lower().replace("_", "-").replace(".", "-") for text in (value, pattern))
    return fnmatchcase(value, pattern)


def _error(message: str) -> Exception:
    return pytest.Collector.CollectError(message)
