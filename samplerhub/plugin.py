"""All that a plugin imports at load time: the roles, the entry, and the hook that returns entries.

A plugin is a module with one function::

    from samplerhub.plugin import Entry, hookimpl

    @hookimpl
    def samplerhub_entries():
        return [Entry("sampler", "deis", "acme.deis:DEIS", "Exponential integrator with polynomial extrapolation.")]

and one line of packaging, ``[project.entry-points.samplerhub]`` with ``acme = "acme"``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pluggy

from samplerhub.deprecation import moved

ROLES: Final[dict[str, str]] = {
    "process": "forward process x_t = alpha(t) x_0 + sigma(t) eps",
    "target": "data distribution",
    "model": "denoiser, noise predictor or score, of (y, rho)",
    "sampler": "reverse-time solver",
    "grid": "discretisation of time",
    "prior": "law of the starting state",
    "features": "vectors of which samples are compared",
    "metric": "figure of merit, with its standard error",
    "trainer": "fits a model to a target",
    "engine": "executes blocks and runs: here, in processes, on machines",
}
"""Every role that a component can play, with what it is, in the order of a run."""

hookspec = pluggy.HookspecMarker("samplerhub")
hookimpl = pluggy.HookimplMarker("samplerhub")


@dataclass(frozen=True, slots=True)
class Entry:
    """A component that a plugin offers, by name: nothing is imported until it is used."""

    role: str
    """One of `ROLES`."""
    name: str
    """The name on the command line, lower case with hyphens."""
    target: str
    """Where the component is, as ``"package.module:Class"``."""
    summary: str
    """The first line of the component's docstring."""
    default: bool = False
    """Whether it is taken where the user names none for its role; samplerhub's own comes before any other's."""
    aliases: tuple[str, ...] = ()
    """Other names of the same component."""
    files: tuple[tuple[str, str], ...] = ()
    """Endings of files that it reads, each with the field that takes the path: such a file may stand for its name."""
    deprecated: tuple[tuple[str, str], ...] = ()
    """Old names, each with the version of the distribution that has it no more: until then it works, with a warning."""


@hookspec
def samplerhub_entries() -> list[Entry]:  # type: ignore[empty-body]
    """Return the components that the plugin offers."""


if not TYPE_CHECKING:  # mypy would take any name for one of the module's

    def __getattr__(name: str) -> object:
        return moved(__name__, name)
