"""What is installed, asked for by name: a registry is a value, built once and passed down.

A plugin hands over names, so that looking costs nothing; a component is imported when it is used. A plugin that fails
is a record with its error and takes nothing else with it.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING

from samplerhub.deprecation import tell
from samplerhub.discovery import LONG, PATIENCE, SHORT, Discovery, PluginRecord, Registered
from samplerhub.errors import BrokenPlugin, UnknownComponent
from samplerhub.foreign import confined, shown, silenced
from samplerhub.installed import OWN
from samplerhub.plugin import ROLES
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
        self._patient = True
        self._settle(tuple(plugins))

    def _settle(self, plugins: tuple[PluginRecord, ...]) -> None:
        entries = sorted((r for p in plugins for r in p.components), key=lambda r: (r.entry.name, r.plugin))
        self._by_role = {role: tuple(r for r in entries if r.entry.role == role) for role in ROLES}
        self._known: tuple[PluginRecord, ...] | None = plugins
        offers = ({(r.entry.role, name) for r in p.components for name in _names(r)} for p in plugins)
        count = Counter(one for offered in offers for one in offered)
        if several := {one for one in count if count[one] > 1}:
            self._known = tuple(self._noting(plugin, several) for plugin in plugins)

    @classmethod
    def discover(cls, environment: Mapping[str, str] = os.environ, *, patient: bool = True) -> Registry:
        """Look at every installed distribution that has an entry point in the group ``samplerhub``.

        ``SAMPLERHUB_PLUGINS=a,b`` limits it to these entry points or distributions, ``SAMPLERHUB_DISABLE=a,b`` leaves
        these out; ``SAMPLERHUB_STRICT=1`` imports all of them in this process and raises at the first failure.

        Args:
            environment: Where these variables are.
            patient: Whether plugins that take long to import are waited for where they are needed.

        Raises:
            BrokenPlugin: A plugin fails, and ``SAMPLERHUB_STRICT`` is set.
        """
        registry = cls()
        registry._discovery, registry._known, registry._patient = Discovery(environment), None, patient
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
        if self._discovery is None or not (self._patient and self._discovery.pending):
            return False
        self._settle(self._discovery.records(LONG))
        return True

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
        known = sorted({known for r in self.entries(role) for known in _names(r)})
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
            self._settle(self._discovery.records(PATIENCE if self._patient else SHORT))

    def _noting(self, plugin: PluginRecord, several: Collection[tuple[str, str]]) -> PluginRecord:
        """Return the record of a plugin with a note of its names and aliases that mean another plugin's component."""

        def is_shared(one: Registered) -> bool:
            role = one.entry.role
            shared = (self._offered(role, name) for name in _names(one) if (role, name) in several)
            return any(found != [one] for found in shared)

        shared = [self.spelled(r) for r in plugin.components if is_shared(r)]
        if not shared:
            return plugin
        note = f"offers names that another plugin offers too: write {', '.join(shared)}"
        return replace(plugin, note=f"{plugin.note}; {note}" if plugin.note else note)

    def _offered(self, role: str, name: str) -> list[Registered]:
        """Return the components of that name; where there is none, of that alias."""
        found, plain = self._of_source(role, name)
        return [r for r in found if r.entry.name == plain] or [r for r in found if plain in r.entry.aliases]

    def _formerly(self, role: str, name: str) -> list[Registered]:
        found, plain = self._of_source(role, name)
        return [r for r in found if plain in dict(r.entry.deprecated)]

    def _of_source(self, role: str, name: str) -> tuple[list[Registered], str]:
        """Return the components of the plugin or distribution that stands before a name, and the name."""
        source, _, plain = name.rpartition(":")
        return [r for r in self.entries(role) if source in ("", r.plugin, r.distribution)], plain

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
        with nullcontext() if module in sys.modules else silenced(), confined(f"{where} cannot be loaded"):
            component: object = import_module(module)
            for attribute in path.split("."):
                component = getattr(component, attribute)
        if not (isinstance(component, type) and issubclass(component, BaseModel)):
            raise BrokenPlugin(f"{where} is not a samplerhub.Component but {shown(component)}")
        return component


def _names(component: Registered) -> tuple[str, ...]:
    return (component.entry.name, *component.entry.aliases)
