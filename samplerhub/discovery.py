"""Which plugins are installed and wanted, and what each says that it offers.

Those that come with samplerhub are asked here. Any other is asked in a process of its own (`samplerhub.answer`), which
starts at once and works while the command line is being built: whatever a plugin does on import, printing, exiting,
hanging and crashing included, it does there. An answer is plain data, so that nothing of the plugin has to come back.
"""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

from samplerhub.answer import Answer, Question, answer, raise_broken
from samplerhub.plugin import Entry

if TYPE_CHECKING:
    from subprocess import Popen

GROUP: Final = "samplerhub"
OWN: Final = "samplerhub"
"""The distribution whose defaults come before any other's."""
PATIENCE: Final = 2.0
"""Seconds without an answer from any plugin after which a command goes on without those that are left."""
LONG: Final = 30.0
"""The same for a command that cannot go on without."""
STALL: Final = 0.5
"""Seconds after which the plugins behind a slow one are asked in another process."""
PROGRAM: Final = "import sys; sys.path[:], sys.argv[1:] = sys.argv[1:], []; import samplerhub.answer as a; a.serve()"


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
        source = f"{self.distribution} {self.version}"
        return source if self.name == self.distribution else f"{self.name} of {source}"


@dataclass(frozen=True, slots=True)
class Point:
    """An entry point, of a distribution."""

    question: Question
    distribution: str
    version: str

    def record(self, given: Answer) -> PluginRecord:
        """Return what is known of the plugin once it has answered."""
        name = self.question.name
        offered = tuple(Registered(entry, name, self.distribution, self.version) for entry in given.entries)
        facts = (given.error, given.seconds, given.note)
        return PluginRecord(name, self.distribution, self.version, offered, *facts)

    def is_among(self, names: set[str]) -> bool:
        """Say whether it, or its distribution, is named."""
        return bool({_normal(self.question.name), _normal(self.distribution)} & names)


class Discovery:
    """The plugins that are installed, of which some may still be importing."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        points = list(_installed())
        wanted, disabled = (_names(environment.get(f"SAMPLERHUB_{word}")) for word in ("PLUGINS", "DISABLE"))
        self._points = [p for p in points if wanted is None or p.is_among({*wanted})]
        self._fixed = {
            p: PluginRecord(p.question.name, p.distribution, p.version, note="left out by SAMPLERHUB_DISABLE")
            for p in self._points
            if disabled and p.is_among({*disabled})
        }
        asked = [p for p in self._points if p not in self._fixed]
        if environment.get("SAMPLERHUB_STRICT", "") not in ("", "0"):
            for p in asked:
                raise_broken(p.question, f"{p.distribution} {p.version}")
        self._away = _Elsewhere([p.question for p in asked if p.distribution != OWN])
        self._fixed |= {p: p.record(answer(p.question)) for p in asked if p.distribution == OWN}
        self._unknown = [
            PluginRecord(
                spelled, "-", "-", error=f"named in SAMPLERHUB_{word}, but no plugin of that name is installed"
            )
            for word, names in (("PLUGINS", wanted), ("DISABLE", disabled))
            for name, spelled in sorted((names or {}).items())
            if not any(p.is_among({name}) for p in points)
        ]

    def records(self, patience: float = PATIENCE) -> tuple[PluginRecord, ...]:
        """Return a record of each plugin; of those that stay silent for that many seconds, one that says so."""
        answers = self._away.answers(patience)
        known = (self._fixed.get(p) or p.record(answers[p.question]) for p in self._points)
        return (*known, *self._unknown)

    @property
    def pending(self) -> bool:
        """Whether a plugin is still importing."""
        return self._away.pending


class _Elsewhere:
    """Questions that are answered in another process, and in one more whenever the plugins wait behind a slow one."""

    def __init__(self, questions: Sequence[Question]) -> None:
        self._questions = questions
        self._todo = deque(questions)
        self._asked: dict[Question, float] = {}
        self._answers: dict[Question, Answer] = {}
        self._changed = threading.Condition()
        self._heard = self._started = time.monotonic()
        if questions:
            self._start()

    @property
    def pending(self) -> bool:
        return len(self._answers) < len(self._questions)

    def answers(self, patience: float) -> dict[Question, Answer]:
        """Return an answer to each question; after `patience` seconds without any, what there is."""
        with self._changed:
            while self.pending and (left := self._heard + patience - time.monotonic()) > 0:
                if self._todo and max(self._heard, self._started) + STALL <= time.monotonic():
                    self._start()
                self._changed.wait(min(left, STALL))
            return {q: self._answers.get(q) or self._unanswered(q) for q in self._questions}

    def _unanswered(self, question: Question) -> Answer:
        seconds = time.monotonic() - self._asked.get(question, self._started)
        hint = "a plugin should import only samplerhub.plugin; a component is imported when it is used"
        return Answer(error=f"still importing after {seconds:.0f} s; {hint}", seconds=seconds)

    def _start(self) -> None:
        self._started = time.monotonic()
        threading.Thread(target=self._work, name="samplerhub plugins", daemon=True).start()

    def _work(self) -> None:
        """Ask until nobody is left to be asked; a process that a plugin ends is followed by another one."""
        from subprocess import PIPE, Popen
        from tempfile import TemporaryFile

        command = [sys.executable, "-c", PROGRAM, *sys.path]
        while self._todo:
            try:
                with TemporaryFile() as printed, Popen(command, stdin=PIPE, stdout=PIPE, stderr=printed) as process:
                    self._ask(process)
            except OSError as error:
                while question := self._next():
                    self._answered(question, Answer(error=f"cannot be asked, for no process can be started: {error}"))

    def _ask(self, process: Popen[bytes]) -> None:
        """Ask until nobody is left to be asked or the process has ended."""
        assert process.stdin is not None
        assert process.stdout is not None
        while question := self._next():
            try:
                process.stdin.write(json.dumps(asdict(question)).encode() + b"\n")
                process.stdin.flush()
                given = _read(process.stdout.readline())
            except (OSError, ValueError):
                with suppress(OSError):  # the process has ended, or is ended by this
                    process.stdin.close()
                self._answered(question, Answer(error=f"ends the process that imports it (code {process.wait()})"))
                return
            self._answered(question, given)
        process.stdin.close()

    def _next(self) -> Question | None:
        with self._changed:
            if not self._todo:
                return None
            question = self._todo.popleft()
            self._asked[question] = time.monotonic()
            return question

    def _answered(self, question: Question, given: Answer) -> None:
        with self._changed:
            self._answers[question] = given
            self._heard = time.monotonic()
            self._changed.notify_all()


def _read(line: bytes) -> Answer:
    """Return an answer from its JSON.

    Raises:
        ValueError: It is none, as where the process has ended.
    """
    facts = json.loads(line)
    entries = (Entry(**{name: _tuples(value) for name, value in entry.items()}) for entry in facts.pop("entries"))
    return Answer(**facts, entries=tuple(entries))


def _tuples(value: Any) -> Any:
    """Return what JSON has made a list of as the tuple that it was, and what is in it."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _installed() -> Iterator[Point]:
    """Yield the entry points of all distributions, by distribution and name."""
    found = metadata.entry_points(group=GROUP)
    for point in sorted(found, key=lambda point: (_source(point), point.name)):
        distribution, version = _source(point)
        requires = () if distribution == OWN or point.dist is None else tuple(point.dist.requires or ())
        module = f"{point.module}:{point.attr}" if point.attr else point.module
        yield Point(Question(point.name, module, requires), distribution, version)


def _source(point: metadata.EntryPoint) -> tuple[str, str]:
    return (point.dist.name, point.dist.version) if point.dist else ("unknown", "-")


def _names(listed: str | None) -> dict[str, str] | None:
    """Return the names of a list with commas in between, each in its normal form with how it was written."""
    return None if listed is None else {_normal(word): word.strip() for word in listed.split(",") if word.strip()}


def _normal(name: str) -> str:
    """Return a name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()
