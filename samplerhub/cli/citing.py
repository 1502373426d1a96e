"""The command ``cite``: the works that the components of a run or of a sweep follow, as BibTeX."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from samplerhub.citation import Cited, Reference, bibliography, bibtex, reference
from samplerhub.cli.listing import documentation
from samplerhub.component import Part, held
from samplerhub.config import read_manifest
from samplerhub.errors import InvalidSetting, SamplerhubError, UnusableFile
from samplerhub.manifest import ComponentRecord, Manifest
from samplerhub.registry import Registry
from samplerhub.sweep import Store
from samplerhub.sweep.store import NOTED
from samplerhub.sweep.task import MANIFEST


@dataclass
class Found:
    """What the components of runs say of their references."""

    mentions: list[tuple[str, Reference]] = field(default_factory=list)
    without: list[str] = field(default_factory=list)
    """Components that name no work."""
    problems: list[str] = field(default_factory=list)
    """What could not be found or read, in words."""


def cite(registry: Registry, run: Path, as_json: bool) -> None:
    """Print the BibTeX of what a run used, or any run of a sweep.

    Args:
        registry: What is installed.
        run: The folder of a run, or its manifest; or the folder of a sweep.
        as_json: Whether to print JSON.

    Raises:
        UnusableFile: It is neither, or no run of the sweep can be read.
    """
    from samplerhub.cli import render

    manifests, unreadable = _manifests(run)
    found = references(registry, manifests)
    found.problems = [*unreadable, *found.problems]
    works = bibliography(found.mentions)
    versions = dict.fromkeys(manifest.environment.get("samplerhub", "unknown") for manifest in manifests)
    text = bibtex(works, ", ".join(versions))
    if as_json:
        facts = {
            "entries": [_facts(cited) for cited in works],
            "without_references": found.without,
            "problems": found.problems,
            "bibtex": text,
        }
        render.machine_readable(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    for problem in found.problems:
        render.note(f"warning: {problem}", "yellow")
    render.machine_readable(text)


def references(registry: Registry, manifests: Iterable[Manifest]) -> Found:
    """Return what the components of runs say of their references, each component asked once."""
    found = Found()
    used = {(label, one.model_dump_json()): (label, role, one) for m in manifests for label, role, one in _used(m)}
    for label, role, component in used.values():
        _ask(registry, label, role, component, found)
    found.without, found.problems = list(dict.fromkeys(found.without)), list(dict.fromkeys(found.problems))
    return found


def entries(texts: Sequence[str]) -> list[str]:
    """Return the BibTeX of references; one that cannot be read stands there as a comment."""
    found = []
    for text in texts:
        try:
            found.append(reference(text).bibtex())
        except InvalidSetting as error:
            found.append(f"% {error}".replace("@", "(at)"))
    return found


def manifest_file(run: Path) -> Path:
    """Return the manifest of a run.

    Raises:
        UnusableFile: There is none.
    """
    file = run / MANIFEST if run.is_dir() else run
    if not file.exists():
        raise UnusableFile(
            f"{run} has no {MANIFEST}: name the folder of a finished run, runs/<8 hex>, or its manifest"
            if run.is_dir()
            else f"{run} does not exist: name the folder of a run, or its {MANIFEST}"
        )
    return file


def _manifests(run: Path) -> tuple[list[Manifest], list[str]]:
    """Return the manifest of a run or those of a sweep, and what is wrong with those that cannot be read."""
    if not run.is_dir() or (run / MANIFEST).exists():
        return [read_manifest(manifest_file(run))], []
    store = Store(run)
    keys = store.keys()
    if not keys:
        state = "has no finished run" if (run / NOTED).exists() else f"has no {MANIFEST} and no run of a sweep"
        raise UnusableFile(
            f"{run} {state}: name the folder of a finished run, runs/<8 hex>, its {MANIFEST}, or the folder of a sweep"
        )
    manifests, unreadable = [], []
    for key in keys:
        try:
            manifests.append(store.read(key).manifest)
        except UnusableFile as error:
            unreadable.append(str(error))
    if not manifests:
        raise UnusableFile(f"{run} is a sweep, and none of its runs can be read: {unreadable[0]}")
    return manifests, unreadable


def _used(manifest: Manifest) -> Iterator[tuple[str, str, ComponentRecord]]:
    """Yield each component of a run: its label, its role, its record."""
    records = [*manifest.components.items(), *(("metric", record) for record in manifest.metrics.values())]
    for role, record in records:
        yield f"{role} {record.name or record.target}", role, record


def _ask(registry: Registry, label: str, role: str, record: ComponentRecord, found: Found) -> None:
    """Add the references of a component, and of its parts."""
    if record.name is None:
        found.problems.append(f"{label} was made in Python and has no name: its references are not known")
        return
    try:
        name = registry.spelled(registry.find(role, record.name, prefer=[record.distribution]))
        component = registry.load(role, name)
    except SamplerhubError as error:
        source = f"{record.distribution} {record.version}"
        found.problems.append(f"{label} is not here ({source}), and its references are not known: {error}")
        return
    _, texts = documentation(component)
    found.without += [] if texts else [label]
    for text in texts:
        try:
            found.mentions.append((label, reference(text)))
        except InvalidSetting as error:
            found.problems.append(f"{label}: {error}")
    marks: Mapping[str, Part] = held(component, Part)
    for name, part in record.parts.items():
        if name in marks:
            _ask(registry, f"{marks[name].role} {part.name or part.target}", marks[name].role, part, found)
        else:
            found.problems.append(f"{label} has no part {name!r} any more: its references are not known")


def _facts(cited: Cited) -> dict[str, object]:
    work = cited.reference
    located = {name: getattr(work, name) for name in ("venue", "arxiv", "doi", "url") if getattr(work, name)}
    return {
        "key": cited.key,
        "components": cited.users,
        "title": work.title,
        "authors": list(work.authors),
        "year": work.year,
        **located,
        "bibtex": work.bibtex(cited.key),
    }
