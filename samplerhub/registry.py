"""What is installed, asked for by name: a registry is a value, built once and passed down.

A plugin hands over names, so that looking costs nothing; a component is imported when it is used. A plugin that fails
is a record with its error and takes nothing else with it.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING

from samplerhub.answer import confined, silenced
from samplerhub.deprecation import tell
from samplerhub.discovery import LONG, OWN, Discovery, PluginRecord, Registered
from samplerhub.errors import BrokenPlugin, UnknownComponent
from samplerhub.plugin import ROLES, Entry
from samplerhub.wording import among, did_you_mean

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["OWN", "PluginRecord", "Registered", "Registry", "among", "did_you_mean"]


class Registry:
    """All components that can be named.

    Plugins that take long to import are waited for where a name is asked for that nobody else offers.
    """

    def __init__(self, plugins: Iterable[PluginRecord] = ()) -> None:
        self._discovery: Discovery | None = None
        self._settle(tuple(plugins))

    def _settle(self, plugins: tuple[PluginRecord, ...]) -> None:
        entries = sorted((r for p in plugins for r in p.components), key=lambda r: (r.entry.name, r.plugin))
        self._by_role = {role: tuple(r for r in entries if r.entry.role == role) for role in ROLES}
        self._known: tuple[PluginRecord, ...] | None = plugins
        several = {one for one, count in Counter((r.entry.role, r.entry.name) for r in entries).items() if count > 1}
        if several:
            self._known = tuple(self._noting(plugin, several) for plugin in plugins)

    @classmethod
    def discover(cls, environment: Mapping[str, str] = os.environ) -> Registry:
        """Look at every installed distribution that has an entry point in the group ``samplerhub``.

        ``SAMPLERHUB_PLUGINS=a,b`` limits it to these entry points or distributions, ``SAMPLERHUB_DISABLE=a,b`` leaves
        these out; ``SAMPLERHUB_STRICT=1`` imports all of them in this process and raises at the first failure.

        Raises:
            BrokenPlugin: A plugin fails, and ``SAMPLERHUB_STRICT`` is set.
        """
        registry = cls()
        registry._discovery, registry._known = Discovery(environment), None
        return registry

    @property
    def plugins(self) -> tuple[PluginRecord, ...]:
        """All plugins, those that fail and those that are still importing included."""
        self._ask()
        return self._known or ()

    @property
    def failed(self) -> tuple[PluginRecord, ...]:
        """The plugins of which something is wrong, as far as anybody has asked."""
        return tuple(plugin for plugin in self._known or () if plugin.error)

    def wait(self) -> bool:
        """Wait for plugins that are still importing, half a minute at most; say whether there were any."""
        waiting = self._discovery is not None and self._discovery.pending
        if self._discovery is not None and waiting:
            self._settle(self._discovery.records(LONG))
        return waiting

    def entries(self, role: str) -> tuple[Registered, ...]:
        """Return the components of a role, by name."""
        if role not in ROLES:
            raise UnknownComponent(f"no role named {role!r}{among(role, ROLES)}")
        self._ask()
        return self._by_role[role]

    def find(self, role: str, name: str, prefer: Iterable[str | None] = ()) -> Registered:
        """Return the component of that name, or of that ``plugin:name`` or ``distribution:name``.

        Args:
            role: What it plays.
            name: Its name; a bare one that a user typed is ambiguous where several plugins offer it.
            prefer: Distributions that a name from elsewhere (a suggestion, a manifest) means, the likeliest first.

        Raises:
            UnknownComponent: No component, or more than one, has that name.
        """
        found = self._offered(role, name) or self._formerly(role, name)
        if not found and self.wait():
            found = self._offered(role, name) or self._formerly(role, name)
        for distribution in prefer:
            found = [r for r in found if r.distribution == distribution] or found
        if len(found) == 1:
            if until := dict(found[0].entry.deprecated).get(name.rpartition(":")[2]):
                tell(role, name, self.spelled(found[0]), f"{found[0].distribution} {until}")
            return found[0]
        if found:
            spelled = " or ".join(map(self.spelled, found))
            raise UnknownComponent(f"{role} {name!r} is offered by {len(found)} plugins: write {spelled}")

        plain = name.rpartition(":")[2]
        known = sorted({known for r in self.entries(role) for known in (r.entry.name, *r.entry.aliases)})
        message = f"no {role} named {name!r}{among(plain, known)}"
        if failed := ", ".join(plugin.called for plugin in self.failed):
            message += f" (plugins that failed, see `samplerhub plugins`: {failed})"
        raise UnknownComponent(message)

    def renewed(self, role: str, name: str) -> str:
        """Return the name that a component has now, with a warning; the same name where it is no old one."""
        if self._offered(role, name) or not self._formerly(role, name):
            return name
        return self.spelled(self.find(role, name))

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

    def _ask(self) -> None:
        if self._known is None and self._discovery is not None:
            self._settle(self._discovery.records())

    def _noting(self, plugin: PluginRecord, several: Collection[tuple[str, str]]) -> PluginRecord:
        """Return the record of a plugin with a note of its names that other plugins offer too."""
        shared = [self.spelled(r) for r in plugin.components if (r.entry.role, r.entry.name) in several]
        if not shared:
            return plugin
        note = f"offers names that another plugin offers too: write {', '.join(shared)}"
        return replace(plugin, note=f"{plugin.note}; {note}" if plugin.note else note)

    def _offered(self, role: str, name: str) -> list[Registered]:
        return self._named(role, name, lambda entry: (entry.name, *entry.aliases))

    def _formerly(self, role: str, name: str) -> list[Registered]:
        return self._named(role, name, lambda entry: tuple(old for old, _ in entry.deprecated))

    def _named(self, role: str, name: str, names: Callable[[Entry], Collection[str]]) -> list[Registered]:
        source, _, plain = name.rpartition(":")
        of_source = (r for r in self.entries(role) if source in ("", r.plugin, r.distribution))
        return [r for r in of_source if plain in names(r.entry)]

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
        with silenced(), confined(f"{where} cannot be loaded"):
            component: object = import_module(module)
            for attribute in path.split("."):
                component = getattr(component, attribute)
        if not (isinstance(component, type) and issubclass(component, BaseModel)):
            raise BrokenPlugin(f"{where} is not a samplerhub.Component but {component!r}")
        return component
