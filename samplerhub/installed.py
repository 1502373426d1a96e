"""The entry points of the distributions that are installed, one by one: one that cannot be read costs no other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Final

from samplerhub.answer import Question
from samplerhub.foreign import line, said, shown

GROUP: Final = "samplerhub"
OWN: Final = "samplerhub"
"""The distribution whose defaults come before any other's."""
SECTION: Final = f"[{GROUP}]"
UNKNOWN: Final = "-"


@dataclass(frozen=True, slots=True)
class Point:
    """An entry point, of a distribution."""

    question: Question
    distribution: str
    version: str
    error: str | None = None
    """Why it cannot be asked."""

    def is_among(self, names: set[str]) -> bool:
        """Say whether it, or its distribution, is named."""
        return bool({normal(self.question.name), normal(self.distribution)} & names)


def normal(name: str) -> str:
    """Return a name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def installed() -> list[Point]:
    """Return the entry points of all distributions, by distribution and name.

    Of two distributions of one name the first on the path counts, and none that pip has only begun to remove.
    """
    folders: set[str] = set()
    points: dict[tuple[str, str], Point] = {}
    for distribution in metadata.distributions():
        folder = _folder(distribution)
        stem = normal(folder.rpartition(".")[0].partition("-")[0])
        if folder.startswith("~") or (stem and stem in folders):
            continue
        folders.add(stem)
        for point in _points(distribution, folder):
            points.setdefault((normal(point.distribution), point.question.name), point)
    return sorted(points.values(), key=lambda point: (point.distribution, point.version, point.question.name))


def _folder(distribution: metadata.Distribution) -> str:
    """Return the name of the folder with the metadata; none where it is no folder."""
    return str(getattr(getattr(distribution, "_path", None), "name", ""))


def _points(distribution: metadata.Distribution, folder: str) -> Iterator[Point]:
    """Yield the entry points of a distribution; where they cannot be read, one that says so."""
    unreadable = line(folder) or "unknown"
    try:
        text = distribution.read_text("entry_points.txt") or ""
    except UnicodeDecodeError as error:
        if SECTION.encode() in error.object:
            yield Point(Question(unreadable, ""), unreadable, UNKNOWN, f"entry_points.txt is no text: {said(error)}")
        return
    except Exception:  # nothing says that it could be a plugin
        return
    if SECTION not in text:
        return
    try:
        facts = distribution.metadata
        name = line(facts["Name"]) if "Name" in facts else unreadable
        version = line(facts["Version"]) if "Version" in facts else UNKNOWN
        requires = () if name == OWN else tuple(distribution.requires or ())
    except Exception as error:
        yield Point(Question(unreadable, ""), unreadable, UNKNOWN, f"its METADATA cannot be read: {said(error)}")
        return
    for written in _lines(text):
        plugin, _, module = (part.strip() for part in written.partition("="))
        try:
            point = metadata.EntryPoint(plugin, module, GROUP)
            target = f"{point.module}:{point.attr}" if point.attr else point.module
        except Exception:  # its own way of saying that it is none
            broken = f"its entry point {shown(written)} is not of the form name = package.module"
            yield Point(Question(line(plugin) or unreadable, ""), name, version, broken)
        else:
            yield Point(Question(line(plugin), target, requires), name, version)


def _lines(text: str) -> Iterator[str]:
    """Yield what stands in our section."""
    section = ""
    for written in map(str.strip, text.splitlines()):
        if written.startswith("[") and written.endswith("]"):
            section = written
        elif written and not written.startswith(("#", ";")) and section == SECTION:
            yield written
