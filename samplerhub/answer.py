"""What one plugin answers: it is imported, its hook is called, and what it returns is checked."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pkgutil import resolve_name
from typing import Any

import pluggy

from samplerhub import plugin as hooks
from samplerhub.errors import BrokenPlugin
from samplerhub.foreign import confined, line, shown, silenced
from samplerhub.plugin import ROLES, Entry
from samplerhub.wording import did_you_mean

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
TARGET = re.compile(r"\w+(\.\w+)*:\w+(\.\w+)*")


@dataclass(frozen=True, slots=True)
class Question:
    """A plugin that is to be asked what it offers."""

    name: str
    module: str
    """What its entry point names: a module, or something in one after a colon."""
    requires: tuple[str, ...] = ()
    """What its distribution requires, as its metadata say."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it: the entries that are fine, and in one line what is not."""

    entries: tuple[Entry, ...] = ()
    error: str | None = None
    seconds: float | None = None
    note: str | None = None


def read(text: bytes) -> Answer:
    """Return an answer from its JSON, texts in it being fit to be shown.

    Raises:
        ValueError: It is none: whoever gave it is not as it was before.
    """
    try:
        facts = json.loads(text)
        entries = tuple(_entry(entry) for entry in facts["entries"])
        if wrong := next(filter(None, map(_what_is_wrong, entries)), None):
            raise ValueError(wrong)
        error, note = (None if facts[name] is None else line(facts[name]) for name in ("error", "note"))
        return Answer(entries, error, float(facts["seconds"]), note)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{error!r}") from error


def _entry(facts: dict[str, Any]) -> Entry:
    entry = Entry(**{name: _tuples(value) for name, value in facts.items()})
    return replace(entry, summary=line(entry.summary))


def _tuples(value: Any) -> Any:
    """Return what JSON has made a list of as the tuple that it was, and what is in it."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def answer(question: Question) -> Answer:
    """Import a plugin and return what it offers, or what went wrong."""
    began = time.monotonic()
    try:
        _refuse_unmet(question.requires)
        found = _given(question)
    except BrokenPlugin as error:
        found = Answer(error=str(error))
    return replace(found, seconds=time.monotonic() - began)


def raise_broken(question: Question, source: str) -> None:
    """Raise what is wrong with a plugin, with the exception that is behind it.

    Raises:
        BrokenPlugin: Anything is.
    """
    try:
        _refuse_unmet(question.requires)
        with silenced():
            error = _given(question).error
    except BrokenPlugin as broken:
        raise BrokenPlugin(f"plugin {question.name} of {source}: {broken}") from broken.__cause__
    if error:
        raise BrokenPlugin(f"plugin {question.name} of {source}: {line(error)}")


def _given(question: Question) -> Answer:
    returned = _asked(question)
    with confined("samplerhub_entries returned what cannot be read"):
        return _checked(returned)


def _asked(question: Question) -> object:
    """Return what the hook returns; each plugin has a manager of its own, so that none gets in another's way."""
    manager = pluggy.PluginManager("samplerhub")
    manager.add_hookspecs(hooks)
    with confined("fails on import"):
        module = resolve_name(question.module)
    with confined("cannot be registered"):
        manager.register(module, question.name)
        manager.check_pending()
    with confined("samplerhub_entries fails"):
        answers = manager.hook.samplerhub_entries()
    if not answers:
        raise BrokenPlugin("has no function samplerhub_entries marked with @hookimpl")
    return answers[0]


def _refuse_unmet(requires: Sequence[str]) -> None:
    """Raise where the samplerhub that is installed is not one that the plugin's distribution asks for."""
    if not any(re.match(r"samplerhub\s*[^\w\s.-]", written, re.IGNORECASE) for written in requires):
        return
    from importlib import metadata

    from packaging.requirements import InvalidRequirement, Requirement

    installed = metadata.version("samplerhub")
    for written in requires:
        try:
            requirement = Requirement(written)
        except InvalidRequirement:
            continue
        if requirement.name.lower() != "samplerhub" or (requirement.marker and not requirement.marker.evaluate()):
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            wanted = f"samplerhub{requirement.specifier}"
            raise BrokenPlugin(f"requires {wanted}, but samplerhub {installed} is installed: pip install '{wanted}'")


def _checked(returned: object) -> Answer:
    """Return the entries that are fine, and what is wrong with the others."""
    if not isinstance(returned, list | tuple):
        return Answer(error=f"samplerhub_entries returned {type(returned).__name__}, not a list of Entry")
    good: dict[tuple[str, str], Entry] = {}
    errors = []
    for entry in returned:
        what = _what_is_wrong(entry)
        if what is None and (entry.role, entry.name) in good:
            what = f"offers {entry.role} {entry.name!r} twice"
        if what is None:
            good[entry.role, entry.name] = entry
            what = _what_is_missing(entry)
        if what:
            errors.append(what)
    return Answer(tuple(good.values()), "; ".join(errors) or None)


def _what_is_wrong(entry: object) -> str | None:
    if not isinstance(entry, Entry):
        return f"samplerhub_entries returned {shown(entry)} where an Entry is expected"
    if not all(isinstance(text, str) for text in (entry.role, entry.name, entry.target, entry.summary)):
        return f"{shown(entry)} has a field that is not a string"
    if not (isinstance(entry.aliases, list | tuple) and isinstance(entry.default, bool)):
        return f"{shown(entry)}: aliases are a tuple of names, default is True or False"
    for what, pairs in (("files", entry.files), ("deprecated", entry.deprecated)):
        if not _are_pairs(pairs):
            return f"{shown(entry)}: {what} are a tuple of pairs of strings"
    if entry.role not in ROLES:
        return f"{shown(entry.name)} has the unknown role {shown(entry.role)}{did_you_mean(entry.role, ROLES)}"
    for name in (entry.name, *entry.aliases, *(old for old, _ in entry.deprecated)):
        if not (isinstance(name, str) and NAME.fullmatch(name)):
            return f"{entry.role} {shown(name)}: a name has lower case letters, digits and hyphens"
    if not TARGET.fullmatch(entry.target):
        return f'{entry.role} {entry.name!r}: target {shown(entry.target)} is not "package.module:Class"'
    return None


def _are_pairs(files: object) -> bool:
    return isinstance(files, list | tuple) and all(
        isinstance(pair, list | tuple) and [*map(type, pair)] == [str, str] for pair in files
    )


def _what_is_missing(entry: Entry) -> str | None:
    """Say that the target's module is not there, as far as this can be known without importing anything."""
    parts = entry.target.partition(":")[0].split(".")
    for count in range(1, len(parts) + 1):
        module, package = ".".join(parts[:count]), ".".join(parts[: count - 1])
        if module in sys.modules:
            continue
        if package and package not in sys.modules:
            return None
        try:
            spec = find_spec(module)
        except (ImportError, ValueError):
            spec = None
        if spec is None:
            target = shown(entry.target)
            return f"{entry.role} {entry.name!r}: there is no module {module!r}, which its target {target} names"
    return None
