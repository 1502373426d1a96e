"""The process in which plugins are asked, each in a fork of its own: none gets in another's way.

The process itself runs nothing of a plugin. So it can say of one that crashed that it did, end one that hangs, whatever
holds it, and end them all when whoever asks has gone. On standard input it takes all questions as one line of JSON; on
standard output it gives lines of `MARK`, the number of a question, and the answer, or nothing where it begins to ask.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from tempfile import TemporaryFile
from typing import Final, NoReturn

from samplerhub.answer import Answer, Question, answer

MARK: Final = b"\x1esamplerhub "
"""What a line of ours begins with; something that is imported when Python starts may print others."""
ASKED: Final = "SAMPLERHUB_ASKED"
"""The variable that is set where a plugin is being asked: it asks for no other."""
STALL: Final = 0.5
"""Seconds after which the plugin behind a slow one is asked beside it."""
LIMIT: Final = 60.0
"""Seconds after which a plugin that has not answered is ended."""
HINT: Final = "a plugin should import only samplerhub.plugin; a component is imported when it is used"


def serve(fork: bool) -> None:
    """Answer the questions on standard input; without `fork`, in this process, for which one at a time is best."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is meant for the command that asks, which then closes the input
    os.environ[ASKED] = "1"
    questions = [Question(**facts) for facts in json.loads(sys.stdin.buffer.readline())]
    if fork:
        _Forks(questions).serve()
    else:
        threading.Thread(target=_listen, args=(os.dup(0),), daemon=True).start()
        output = os.dup(1)
        for place, question in enumerate(questions):
            _say(output, place)
            _say(output, place, _text(question))
    os._exit(0)


@dataclass
class _Fork:
    """A process that asks one plugin."""

    place: int
    number: int
    answers: int
    """Where it writes its answer; also whatever the plugin has started has it."""
    began: float = field(default_factory=time.monotonic)
    heard: bytes = b""

    def end(self) -> int:
        """End it, with what it has started, and return its exit code."""
        for kill in (os.killpg, os.kill):
            with suppress(OSError):
                kill(self.number, signal.SIGKILL)
        os.close(self.answers)
        return os.waitstatus_to_exitcode(os.waitpid(self.number, 0)[1])


class _Forks:
    """Forks, one after the other, and one more whenever the plugins wait behind a slow one."""

    def __init__(self, questions: list[Question]) -> None:
        self._todo = deque(enumerate(questions))
        self._running: dict[int, _Fork] = {}

    def serve(self) -> None:
        """Ask them all, or as many as there is somebody to tell."""
        asker = os.getppid()
        try:
            while self._todo or self._running:
                if self._todo and all(time.monotonic() - fork.began >= STALL for fork in self._running.values()):
                    self._start(*self._todo.popleft())
                ready, _, _ = select.select([0, *self._running], [], [], STALL / 5)
                if 0 in ready or os.getppid() != asker:
                    return
                for fork, text in [*self._answers(ready)]:
                    self._running.pop(fork.answers)
                    code = fork.end()
                    _say(1, fork.place, text or _ended(code, fork))
        finally:
            for fork in self._running.values():
                fork.end()

    def _start(self, place: int, question: Question) -> None:
        _say(1, place)
        source, sink = os.pipe()
        number = os.fork()
        if not number:
            _be_asked(question, sink)
        with suppress(OSError):  # it has done so itself, and may have gone
            os.setpgid(number, number)
        os.close(sink)
        self._running[source] = _Fork(place, number, source)

    def _answers(self, ready: list[int]) -> Iterator[tuple[_Fork, bytes]]:
        """Yield the forks that are done, with their answers; of one that has ended without, nothing."""
        for source, fork in self._running.items():
            if source in ready:
                more = os.read(source, 1 << 16)
                fork.heard += more
                if not more or b"\n" in more:
                    yield fork, fork.heard.partition(b"\n")[0] if more else b""
            elif time.monotonic() - fork.began > LIMIT:
                late = Answer(error=f"still importing after {LIMIT:.0f} s; {HINT}", seconds=LIMIT)
                yield fork, json.dumps(asdict(late)).encode()


def _ended(code: int, fork: _Fork) -> bytes:
    seconds = time.monotonic() - fork.began
    given = Answer(error=f"ends the process that imports it (code {code})", seconds=seconds)
    return json.dumps(asdict(given)).encode()


def _be_asked(question: Question, sink: int) -> NoReturn:
    """Answer in a fork, of which nothing is left afterwards."""
    myself = os.getpid()
    try:
        os.setpgid(0, 0)
        text = _text(question)
        if os.getpid() == myself:  # else the plugin has forked
            _write(sink, text + b"\n")
    finally:
        os._exit(0)


def _text(question: Question) -> bytes:
    """Return the answer to a question as JSON; whatever is printed meanwhile goes to a file that is looked at."""
    printed = TemporaryFile()  # noqa: SIM115 - a plugin may close what it did not open
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, place in ((nothing, 0), (printed.fileno(), 1), (printed.fileno(), 2)):
        os.dup2(number, place)
    try:
        given = answer(question)
    except BaseException as error:
        given = Answer(error=f"fails: {type(error).__name__}", seconds=0.0)
    return json.dumps(asdict(replace(given, note=_noted(printed.fileno())))).encode()


def _noted(printed: int) -> str | None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # a plugin may have closed or replaced it
            stream.flush()
    try:
        os.lseek(printed, 0, os.SEEK_SET)
        text = os.read(printed, 200).decode(errors="replace").strip().partition("\n")[0]
    except OSError:  # a plugin closed what it did not open
        return None
    return f"prints on import: {text[:60]!r}" if text else None


def _say(output: int, place: int, text: bytes = b"") -> None:
    _write(output, MARK + str(place).encode() + b" " + text + b"\n")


def _write(output: int, text: bytes) -> None:
    while text:
        text = text[os.write(output, text) :]


def _listen(source: int) -> None:
    """End this process when whoever asks has gone."""
    with suppress(OSError):
        os.read(source, 1)
    os._exit(0)
