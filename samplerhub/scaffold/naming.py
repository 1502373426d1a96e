"""The names of a plugin, all of them made from that of its distribution."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from typing import Final

from samplerhub.errors import InvalidSetting
from samplerhub.scaffold.examples import EXAMPLES

PREFIX: Final = "samplerhub-"
"""What a distribution may be called by, and its component is not."""
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
LONGEST: Final = {"name": 36, "component": 27, "summary": 100}
"""So many characters, and the generated lines stay short enough to be read."""


@dataclass(frozen=True, slots=True)
class Names:
    """What a plugin and its component are called, wherever they are."""

    distribution: str
    """In pip and on the package index."""
    role: str
    """One of `samplerhub.ROLES`."""
    component: str
    """On the command line."""
    summary: str
    """First line of the component's docstring."""
    author: str
    """Who holds the copyright."""

    @property
    def package(self) -> str:
        """What is imported."""
        return self.distribution.replace("-", "_")

    @property
    def module(self) -> str:
        """The file in the package that holds the component."""
        return self.component.replace("-", "_")

    @property
    def cls(self) -> str:
        """The component's class."""
        return "".join(word.capitalize() for word in self.component.split("-"))


def named(
    distribution: str, role: str, component: str | None = None, summary: str | None = None, author: str | None = None
) -> Names:
    """Return the names of a plugin; what is None follows from the distribution and the role.

    Raises:
        InvalidSetting: A name cannot be used; says what is allowed, and what to do.
    """
    _check_name("NAME", distribution, LONGEST["name"])
    if component is None:
        component = distribution.removeprefix(PREFIX)
        if not NAME.fullmatch(component):
            raise InvalidSetting(
                f"NAME {distribution!r} leaves {component!r} for the component, which does not start with a letter; "
                "name the component with --component"
            )
    _check_name("component", component, LONGEST["component"])
    summary = EXAMPLES[role].summary if summary is None else summary.strip()
    author = f"The {distribution} authors" if author is None else author.strip()
    _check_summary(summary)
    if not author or not author.isprintable():
        raise InvalidSetting(f"--author {author!r}: give a name on one line")
    names = Names(distribution, role, component, summary, author)
    for kind, word, option in (("package", names.package, "NAME"), ("module", names.module, "--component")):
        if keyword.iskeyword(word):
            raise InvalidSetting(
                f"the {kind} would be called {word!r}, a word of Python's own; choose another {option}"
            )
    if keyword.iskeyword(names.cls):
        raise InvalidSetting(
            f"the class would be called {names.cls!r}, a word of Python's own; choose another --component"
        )
    _check_free(names)
    return names


def _check_name(what: str, name: str, longest: int) -> None:
    if not NAME.fullmatch(name):
        raise InvalidSetting(
            f"{what} {name!r}: lower case letters, digits and single hyphens between them are allowed, and a letter "
            f"comes first{_better(name)}"
        )
    instead = "" if what == "NAME" else ": name it with --component"
    if len(name) > longest:
        raise InvalidSetting(f"{what} {name!r} has {len(name)} characters; at most {longest} are allowed{instead}")


def _better(name: str) -> str:
    """Return a suggestion, if one is near."""
    words = re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower())
    better = "-".join(words).lstrip("0123456789-")
    return f", as in {better!r}" if NAME.fullmatch(better) else ""


def _check_summary(summary: str) -> None:
    wrong = not summary.endswith(".") or not summary.isprintable() or any(c in summary for c in '"\\')
    if wrong or len(summary) > LONGEST["summary"]:
        raise InvalidSetting(
            f"--summary {summary!r}: give one sentence of at most {LONGEST['summary']} characters that ends with a "
            'full stop, without " and \\'
        )


def _check_free(names: Names) -> None:
    """Refuse the name of a package that Python finds already: one of the two would be hidden."""
    found = find_spec(names.package)
    if found is not None and found.origin is not None:
        remove = (
            f", or remove that one first if it is an earlier attempt: pip uninstall {names.distribution}"
            if _is_a_plugin(names.distribution)
            else ""
        )
        raise InvalidSetting(
            f"NAME {names.distribution!r}: there is a Python package {names.package!r} already ({found.origin}); "
            f"choose another name{remove}"
        )


def _is_a_plugin(distribution: str) -> bool:
    try:
        entries = metadata.distribution(distribution).entry_points
    except metadata.PackageNotFoundError:
        return False
    return distribution != "samplerhub" and bool(entries.select(group="samplerhub"))
