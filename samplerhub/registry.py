"""What is installed: plugins are discovered, kept apart from each other, and asked for components by name.

A plugin hands over names, so that looking costs nothing; a component is imported when it is used. A plugin that fails
becomes a record with its error and takes nothing else with it. A registry is a value, built once and passed down.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from importlib import import_module, metadata
from io import StringIO
from typing import TYPE_CHECKING

import pluggy

from samplerhub import plugin as hooks
from samplerhub.errors import BrokenPlugin, UnknownComponent
from samplerhub.plugin import ROLES, Entry

if TYPE_CHECKING:
    from pydantic import BaseModel

GROUP = "samplerhub"
OWN = "samplerhub"
"""The distribution whose defaults come before any other's."""
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
TARGET = re.compile(r"\w+(\.\w+)*:\w+(\.\w+)*")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" where a known word is close, else nothing."""
    close = get_close_matches(word, list(known), n=1, cutoff=0.7)
    return f"; did you mean {close[0]!r}?" if close else ""


def among(word: str, known: Iterable[str], called: str = "known:") -> str:
    """Return what is said after an unknown word: the one that is close, if any, and all that there are."""
    known = list(known)
    return f"{did_you_mean(word, known) or ';'} {called} {', '.join(known) or 'none'}"


@dataclass(frozen=True, slots=True)
class Registered:
    """A component and where it comes from."""

    entry: Entry
    plugin: str
    distribution: str
    version: str

    @property
    def source(self) -> str:
        """The distribution and its version."""
        return f"{self.distribution} {self.version}"


@dataclass(frozen=True, slots=True)
class PluginRecord:
    """A plugin that is installed, whether or not it works."""

    name: str
    distribution: str
    version: str
    components: tuple[Registered, ...] = ()
    error: str | None = None
    """What went wrong, in one line; components that are fine are still offered."""
    seconds: float | None = None
    """How long it took to answer; None where it was not asked."""
    note: str | None = None
    """What is worth knowing though nothing failed, such as that it printed on import."""


@dataclass(frozen=True)
class Registry:
    """All components that can be named."""

    plugins: tuple[PluginRecord, ...] = ()
    _entries: Mapping[str, tuple[Registered, ...]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        entries = sorted((r for p in self.plugins for r in p.components), key=lambda r: (r.entry.name, r.plugin))
        by_role = {role: tuple(r for r in entries if r.entry.role == role) for role in ROLES}
        object.__setattr__(self, "_entries", by_role)

    @classmethod
    def discover(cls, environment: Mapping[str, str] = os.environ) -> Registry:
        """Look at every installed distribution that has an entry point in the group ``samplerhub``.

        ``SAMPLERHUB_PLUGINS=a,b`` limits it to these entry points or distributions; ``SAMPLERHUB_STRICT=1`` raises
        `BrokenPlugin` at the first failure.
        """
        return cls(tuple(_discovered(environment)))

    def entries(self, role: str) -> tuple[Registered, ...]:
        """Return the components of a role, by name."""
        if role not in ROLES:
            raise UnknownComponent(f"no role named {role!r}{among(role, ROLES)}")
        return self._entries[role]

    def find(self, role: str, name: str, prefer: Iterable[str | None] = ()) -> Registered:
        """Return the component of that name, or of that ``plugin:name`` or ``distribution:name``.

        Args:
            role: What it plays.
            name: Its name; a bare one that a user typed is ambiguous where several plugins offer it.
            prefer: Distributions that a name from elsewhere (a suggestion, a manifest) means, the likeliest first.

        Raises:
            UnknownComponent: No component, or more than one, has that name.
        """
        found = self._offered(role, name)
        for distribution in prefer:
            found = [r for r in found if r.distribution == distribution] or found
        if len(found) == 1:
            return found[0]
        if found:
            spelled = " or ".join(map(self.spelled, found))
            raise UnknownComponent(f"{role} {name!r} is offered by {len(found)} plugins: write {spelled}")

        plain = name.rpartition(":")[2]
        known = sorted({known for r in self.entries(role) for known in (r.entry.name, *r.entry.aliases)})
        message = f"no {role} named {name!r}{among(plain, known)}"
        broken = [p.name for p in self.plugins if p.error]
        if broken:
            message += f" (plugins that failed, see `samplerhub plugins`: {', '.join(broken)})"
        raise UnknownComponent(message)

    def spelled(self, component: Registered) -> str:
        """Return the shortest name that finds a component: bare, or with its distribution or its plugin before it."""
        name = component.entry.name
        names = (name, f"{component.distribution}:{name}", f"{component.plugin}:{name}")
        return next((n for n in names if self._offered(component.entry.role, n) == [component]), names[1])

    def name_of(self, role: str, component: type) -> str | None:
        """Return the name that finds a class that has been imported; None if no plugin offers it."""
        for registered in self.entries(role):
            module, _, path = registered.entry.target.partition(":")
            found: object = sys.modules.get(module)
            for attribute in path.split("."):
                found = getattr(found, attribute, None)
            if found is component:
                return self.spelled(registered)
        return None

    def _offered(self, role: str, name: str) -> list[Registered]:
        source, _, plain = name.rpartition(":")
        named = (r for r in self.entries(role) if plain in (r.entry.name, *r.entry.aliases))
        return [r for r in named if source in ("", r.plugin, r.distribution)]

    def default(self, role: str) -> Registered:
        """Return the component that is taken where the user names none.

        Raises:
            UnknownComponent: There is none, or several plugins offer one.
        """
        offered = [r for r in self.entries(role) if r.entry.default]
        chosen = [r for r in offered if r.distribution == OWN] or offered
        if len(chosen) == 1:
            return chosen[0]
        known = ", ".join(map(self.spelled, chosen or self.entries(role)))
        raise UnknownComponent(f"no {role} is the default; choose one with --{role}: {known or 'none is installed'}")

    def load(self, role: str, name: str) -> type[BaseModel]:
        """Import the component of that name.

        Raises:
            UnknownComponent: No component, or more than one, has that name.
            BrokenPlugin: It cannot be imported, or is not a record.
        """
        from pydantic import BaseModel

        registered = self.find(role, name)
        module, _, path = registered.entry.target.partition(":")
        where = f"{role} {name!r} of {registered.source} ({registered.entry.target})"
        with _confined(f"{where} cannot be loaded"):
            component: object = import_module(module)
            for attribute in path.split("."):
                component = getattr(component, attribute)
        if not (isinstance(component, type) and issubclass(component, BaseModel)):
            raise BrokenPlugin(f"{where} is not a samplerhub.Component but {component!r}")
        return component


def _discovered(environment: Mapping[str, str]) -> Iterator[PluginRecord]:
    strict = environment.get("SAMPLERHUB_STRICT", "") not in ("", "0")
    limit = environment.get("SAMPLERHUB_PLUGINS")
    wanted = None if limit is None else {word.strip() for word in limit.split(",") if word.strip()}
    seen = set()
    for point in sorted(metadata.entry_points(group=GROUP), key=lambda point: (_source(point), point.name)):
        distribution, version = _source(point)
        if wanted is not None and not wanted & {point.name, distribution}:
            continue
        seen |= {point.name, distribution}
        record = _asked(point, PluginRecord(point.name, distribution, version))
        if strict and record.error:
            raise BrokenPlugin(f"plugin {record.name} of {distribution} {version}: {record.error}")
        yield record
    for name in sorted((wanted or set()) - seen):
        yield PluginRecord(name, "-", "-", error="named in SAMPLERHUB_PLUGINS, but no plugin of that name is installed")


def _source(point: metadata.EntryPoint) -> tuple[str, str]:
    return (point.dist.name, point.dist.version) if point.dist else ("unknown", "-")


def _asked(point: metadata.EntryPoint, record: PluginRecord) -> PluginRecord:
    """Return the record of a plugin with what it offers, or with what went wrong.

    Each plugin is asked through a manager of its own, so that none can get in another's way.
    """
    manager = pluggy.PluginManager("samplerhub")
    manager.add_hookspecs(hooks)
    try:
        with _confined("fails on import"):
            module = point.load()
        with _confined("cannot be registered"):
            manager.register(module, point.name)
            manager.check_pending()
        with _confined("samplerhub_entries fails"):
            answers = manager.hook.samplerhub_entries()
    except BrokenPlugin as error:
        return replace(record, error=str(error))
    if not answers:
        return replace(record, error="has no function samplerhub_entries marked with @hookimpl")
    return _checked(answers[0], record)


def _checked(answer: object, record: PluginRecord) -> PluginRecord:
    if not isinstance(answer, list | tuple):
        return replace(record, error=f"samplerhub_entries returned {type(answer).__name__}, not a list of Entry")
    good: dict[tuple[str, str], Registered] = {}
    errors = []
    for entry in answer:
        what = _what_is_wrong(entry)
        if what is None and (entry.role, entry.name) in good:
            what = f"offers {entry.role} {entry.name!r} twice"
        if what is None:
            good[entry.role, entry.name] = Registered(entry, record.name, record.distribution, record.version)
        else:
            errors.append(what)
    return replace(record, components=tuple(good.values()), error="; ".join(errors) or None)


def _what_is_wrong(entry: object) -> str | None:
    if not isinstance(entry, Entry):
        return f"samplerhub_entries returned {entry!r} where an Entry is expected"
    if not all(isinstance(text, str) for text in (entry.role, entry.name, entry.target, entry.summary)):
        return f"{entry!r} has a field that is not a string"
    if entry.role not in ROLES:
        return f"{entry.name!r} has the unknown role {entry.role!r}{did_you_mean(entry.role, ROLES)}"
    for name in (entry.name, *entry.aliases):
        if not (isinstance(name, str) and NAME.fullmatch(name)):
            return f"{entry.role} {name!r}: a name has lower case letters, digits and hyphens"
    if not TARGET.fullmatch(entry.target):
        return f'{entry.role} {entry.name!r}: target {entry.target!r} is not "package.module:Class"'
    return None


@contextmanager
def _confined(what: str) -> Iterator[None]:
    """Turn whatever foreign code does, exiting included, into a `BrokenPlugin`, and keep it from printing."""
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        text = " ".join(str(error).split())
        raise BrokenPlugin(f"{what}: {type(error).__name__}{': ' if text else ''}{text}") from error
