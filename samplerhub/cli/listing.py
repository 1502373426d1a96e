"""The commands ``list`` and ``plugins``: what is installed. Nothing is imported."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING

from samplerhub.citation import items
from samplerhub.errors import InvalidSetting
from samplerhub.plugin import ROLES
from samplerhub.registry import OWN, PluginRecord, Registered, Registry, among

if TYPE_CHECKING:
    from pydantic import BaseModel

SLOW = 0.5
"""Seconds of import that are worth saying."""


def list_components(registry: Registry, role: str | None, as_json: bool) -> None:
    """Show the components of one role, or of all."""
    from samplerhub.cli import render

    entries = {name: registry.entries(name) for name in ([role] if role else ROLES)}
    if as_json:
        render.machine_readable(json.dumps([facts_of(r) for found in entries.values() for r in found], indent=2))
        return
    texts = {f"{name}: {ROLES[name]}": [(r.entry.name, _line(r)) for r in found] for name, found in entries.items()}
    render.groups({title: rows or [("none", "")] for title, rows in texts.items()})


def role_and_name(registry: Registry, command: str, role: str, name: str | None = None) -> tuple[str, str]:
    """Return both; where only one word was given, say what the other may be.

    Raises:
        InvalidSetting: There is but one word.
    """
    if name is not None:
        return role, name
    if role in ROLES:
        raise InvalidSetting(f"Missing argument 'NAME': `samplerhub list {role}` lists them")
    roles = [one for one in ROLES if any(role == r.entry.name for r in registry.entries(one))]
    meant = " or ".join(f"`samplerhub {command} {one} {role}`" for one in roles)
    raise InvalidSetting(f"Missing argument 'ROLE'{f': did you mean {meant}?' if meant else among(role, ROLES)}")


def list_plugins(registry: Registry, as_json: bool) -> None:
    """Show every plugin, and what is wrong with those that fail; those that take long to import are waited for."""
    from samplerhub.cli import render

    registry.wait()
    if as_json:
        facts = [
            {
                "name": plugin.name,
                "distribution": plugin.distribution,
                "version": plugin.version,
                "components": [{"role": r.entry.role, "name": r.entry.name} for r in plugin.components],
                "error": plugin.error,
                "seconds": plugin.seconds,
                "note": plugin.note,
            }
            for plugin in registry.plugins
        ]
        render.machine_readable(json.dumps(facts, indent=2))
        return
    render.columns(
        ("plugin", "distribution", "components", "state"),
        ((p.name, p.source or "-", str(len(p.components)), _state(p)) for p in registry.plugins),
    )


def _state(plugin: PluginRecord) -> str:
    """Return whether a plugin works, and what is worth knowing though it does."""
    slow = f"takes {plugin.seconds:.1f} s to import" if plugin.seconds and plugin.seconds >= SLOW else ""
    state = f"failed: {plugin.error}" if plugin.error else "ok"
    return "; ".join(part for part in (state, plugin.note, slow) if part)


def facts_of(registered: Registered) -> dict[str, object]:
    """Return what is known of a component without importing it."""
    return {
        "role": registered.entry.role,
        "name": registered.entry.name,
        "summary": registered.entry.summary,
        "aliases": list(registered.entry.aliases),
        "default": registered.entry.default,
        "distribution": registered.distribution,
        "version": registered.version,
        "plugin": registered.plugin,
    }


def _line(registered: Registered) -> str:
    marks = [] if registered.distribution == OWN else [registered.source]
    marks += ["default"] if registered.entry.default else []
    marks += [f"also {alias}" for alias in registered.entry.aliases]
    return registered.entry.summary + (f"  ({', '.join(marks)})" if marks else "")


def documentation(component: type[BaseModel]) -> tuple[str, list[str]]:
    """Return the docstring up to its references, and the references."""
    text, _, references = (inspect.getdoc(component) or "").partition("\nReferences:\n")
    return text.strip(), items(references)
