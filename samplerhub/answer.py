"""What one plugin answers: it is imported, its hook is called, and what it returns is checked.

`serve` does so in a process of its own, in which a plugin may print, exit, hang or crash: only its answer leaves it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from io import StringIO
from pkgutil import resolve_name
from queue import SimpleQueue
from typing import Any, TextIO

import pluggy

from samplerhub import plugin as hooks
from samplerhub.errors import BrokenPlugin
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


def answer(question: Question) -> Answer:
    """Import a plugin and return what it offers, or what went wrong."""
    began = time.monotonic()
    try:
        _refuse_unmet(question.requires)
        found = _checked(_asked(question))
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
            error = _checked(_asked(question)).error
    except BrokenPlugin as broken:
        raise BrokenPlugin(f"plugin {question.name} of {source}: {broken}") from broken.__cause__
    if error:
        raise BrokenPlugin(f"plugin {question.name} of {source}: {error}")


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
    if not any(re.match(r"samplerhub\s*[^\w\s.-]", line, re.IGNORECASE) for line in requires):
        return
    from importlib import metadata

    from packaging.requirements import InvalidRequirement, Requirement

    installed = metadata.version("samplerhub")
    for line in requires:
        try:
            requirement = Requirement(line)
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
        return f"samplerhub_entries returned {entry!r} where an Entry is expected"
    if not all(isinstance(text, str) for text in (entry.role, entry.name, entry.target, entry.summary)):
        return f"{entry!r} has a field that is not a string"
    if not (isinstance(entry.aliases, list | tuple) and isinstance(entry.default, bool)):
        return f"{entry!r}: aliases are a tuple of names, default is True or False"
    for what, pairs in (("files", entry.files), ("deprecated", entry.deprecated)):
        if not _are_pairs(pairs):
            return f"{entry!r}: {what} are a tuple of pairs of strings"
    if entry.role not in ROLES:
        return f"{entry.name!r} has the unknown role {entry.role!r}{did_you_mean(entry.role, ROLES)}"
    for name in (entry.name, *entry.aliases, *(old for old, _ in entry.deprecated)):
        if not (isinstance(name, str) and NAME.fullmatch(name)):
            return f"{entry.role} {name!r}: a name has lower case letters, digits and hyphens"
    if not TARGET.fullmatch(entry.target):
        return f'{entry.role} {entry.name!r}: target {entry.target!r} is not "package.module:Class"'
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
            return (
                f"{entry.role} {entry.name!r}: there is no module {module!r}, which its target {entry.target!r} names"
            )
    return None


@contextmanager
def confined(what: str) -> Iterator[None]:
    """Turn whatever foreign code raises, exiting included, into a `BrokenPlugin`."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        text = " ".join(str(error).split())
        raise BrokenPlugin(f"{what}: {type(error).__name__}{': ' if text else ''}{text}") from error


@contextmanager
def silenced() -> Iterator[None]:
    """Keep foreign code from printing."""
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        yield


def serve() -> None:
    """Answer the questions that come on standard input, one a line, until it is closed.

    The answers go to what standard output was; whatever else is printed goes to standard error, a file that is looked
    at after each question.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is meant for the command that asks, which then closes the input
    questions: SimpleQueue[dict[str, Any]] = SimpleQueue()
    threading.Thread(target=_listen, args=(os.dup(0), questions), daemon=True).start()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    printed = os.dup(2)
    os.dup2(2, 1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    with suppress(OSError):  # a plugin closed what it did not open
        _answer_all(questions, answers, printed)
    os._exit(1)


def _answer_all(questions: SimpleQueue[dict[str, Any]], answers: TextIO, printed: int) -> None:
    while True:
        question = Question(**questions.get())
        before = os.fstat(printed).st_size
        try:
            given = answer(question)
        except BaseException as error:
            given = Answer(error=f"fails: {type(error).__name__}")
        answers.write(json.dumps(asdict(replace(given, note=_noted(printed, before)))) + "\n")
        answers.flush()


def _listen(source: int, questions: SimpleQueue[dict[str, Any]]) -> None:
    """Pass questions on; when whoever asks has gone, so has this process, whatever it is importing."""
    try:
        with os.fdopen(source, encoding="utf-8") as lines:
            for line in lines:
                questions.put(json.loads(line))
    finally:
        os._exit(0)


def _noted(printed: int, before: int) -> str | None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # a plugin may have closed or replaced it
            stream.flush()
    if os.fstat(printed).st_size == before:
        return None
    os.lseek(printed, before, os.SEEK_SET)
    line = os.read(printed, 200).decode(errors="replace").strip().partition("\n")[0]
    os.lseek(printed, 0, os.SEEK_END)
    return f"prints on import: {line[:60]!r}"
