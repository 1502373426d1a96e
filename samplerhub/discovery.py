"""Which plugins are installed and wanted, and what each says that it offers.

Those that come with samplerhub are asked here. Any other is asked in a process of its own (`samplerhub.worker`), which
starts at once and works while the command line is being built: whatever a plugin does on import, printing, exiting,
hanging and crashing included, it does there. An answer is plain data, so that nothing of the plugin has to come back.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from samplerhub.answer import Answer, answer, raise_broken
from samplerhub.elsewhere import Elsewhere
from samplerhub.errors import BrokenPlugin
from samplerhub.foreign import line
from samplerhub.installed import OWN, UNKNOWN, Point, installed, normal
from samplerhub.plugin import Entry
from samplerhub.worker import ASKED

PATIENCE: Final = 2.0
"""Seconds without an answer from any plugin after which a command goes on without those that are left."""
LONG: Final = 30.0
"""The same for a command that cannot go on without."""
SHORT: Final = 1.0
"""The same where somebody waits for each letter."""
NESTED: Final = "not asked, for another plugin asks while it is being imported"


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

    @property
    def called(self) -> str:
        """What it is called where it is mentioned: its distribution and version, and its name if that differs."""
        return self.source if self.name == self.distribution else " of ".join(filter(None, (self.name, self.source)))

    @property
    def source(self) -> str:
        """The distribution and its version, as far as they are known."""
        return " ".join(known for known in (self.distribution, self.version) if known != UNKNOWN)


class Discovery:
    """The plugins that are installed, of which some may still be importing."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        points = installed()
        wanted, disabled = (_names(environment.get(f"SAMPLERHUB_{word}")) for word in ("PLUGINS", "DISABLE"))
        self._points = [p for p in points if wanted is None or p.is_among({*wanted})]
        self._unknown = [
            PluginRecord(spelled, UNKNOWN, UNKNOWN, error=f"named in {word}, but no plugin of that name is installed")
            for word, names in (("SAMPLERHUB_PLUGINS", wanted), ("SAMPLERHUB_DISABLE", disabled))
            for name, spelled in sorted((names or {}).items())
            if not any(p.is_among({name}) for p in points)
        ]
        self._fixed = dict(self._known(disabled or {}))
        asked = [p for p in self._points if p not in self._fixed]
        if environment.get("SAMPLERHUB_STRICT", "") not in ("", "0"):
            for record in (*self._fixed.values(), *self._unknown):
                if record.error:
                    raise BrokenPlugin(f"plugin {record.called}: {record.error}")
            for p in asked:
                raise_broken(p.question, f"{p.distribution} {p.version}")
        self._others = [p for p in asked if p.distribution != OWN]
        self._elsewhere = Elsewhere([p.question for p in self._others])
        self._fixed |= {p: _record(p, answer(p.question)) for p in asked if p.distribution == OWN}

    def _known(self, disabled: Mapping[str, str]) -> Iterator[tuple[Point, PluginRecord]]:
        """Yield the plugins that need not be asked, with all that is to be said of them."""
        for p in self._points:
            if disabled and p.is_among({*disabled}):
                yield p, _record(p, Answer(note="left out by SAMPLERHUB_DISABLE"))
            elif p.error:
                yield p, _record(p, Answer(error=p.error))
            elif p.distribution != OWN and ASKED in os.environ:
                yield p, _record(p, Answer(note=NESTED))

    def records(self, patience: float = PATIENCE) -> tuple[PluginRecord, ...]:
        """Return a record of each plugin; of those that stay silent for that many seconds, one that says so."""
        answers = dict(zip(self._others, self._elsewhere.answers(patience)))
        known = (self._fixed.get(p) or _record(p, answers[p]) for p in self._points)
        return (*known, *self._unknown)

    @property
    def pending(self) -> bool:
        """Whether a plugin is still importing."""
        return self._elsewhere.pending


def _record(point: Point, given: Answer) -> PluginRecord:
    """Return what is known of a plugin once it has answered."""
    name, source = point.question.name, (point.distribution, point.version)
    offered = tuple(Registered(entry, name, *source) for entry in given.entries)
    return PluginRecord(name, *source, offered, given.error, given.seconds, given.note)


def _names(listed: str | None) -> dict[str, str] | None:
    """Return the names of a list with commas in between, each in its normal form with how it was written."""
    return None if listed is None else {normal(word): line(word) for word in listed.split(",") if word.strip()}
