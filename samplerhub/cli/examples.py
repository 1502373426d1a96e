"""Commands that use a component and work when they are pasted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from samplerhub.assembly import assemble, build
from samplerhub.config import RUN_ROLES, Choice, RunConfig
from samplerhub.errors import Mismatch, SamplerhubError
from samplerhub.registry import Registry


@dataclass(frozen=True, slots=True)
class Example:
    """What a run needs besides a component."""

    words: tuple[str, ...] = ()
    """Options of a run that the component fits into."""
    needs: str = ""
    """What only the user has, or can install; nothing where the command works as it stands."""


def fitting(role: str, config: RunConfig, registry: Registry) -> Example:
    """Return what a run needs besides a component: the first target that it fits, where the default is none.

    Args:
        role: Its role.
        config: The component with its fields, in its role.
        registry: What is installed.
    """
    if role == "prior":  # fits every target, and to make a run is to fit it, which may take minutes
        return Example(needs=_refused(partial(build, role, config.components[role], registry)))
    if role not in (*RUN_ROLES, "metric"):
        return Example()
    if role == "metric":
        config = RunConfig(metrics=(config.components[role],))
    try:
        assemble(config, registry)
    except Mismatch as error:
        others = () if role == "target" else registry.entries("target")
        names = (registry.spelled(target) for target in others)
        found = next((name for name in names if not _refused(partial(assemble, _with(name, config), registry))), None)
        return Example(needs=str(error)) if found is None else Example(("--target", found))
    except SamplerhubError as error:
        return Example(needs=str(error))
    return Example()


def _with(target: str, config: RunConfig) -> RunConfig:
    return RunConfig(components={"target": Choice(name=target)}).over(config)


def _refused(make: Callable[[], object]) -> str:
    """Return why something cannot be made, or nothing."""
    try:
        make()
    except SamplerhubError as error:
        return str(error)
    return ""
