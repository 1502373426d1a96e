"""Questions that are answered in another process (`samplerhub.worker`), which starts at once and works meanwhile."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import IO, TYPE_CHECKING, Final

from samplerhub.answer import Answer, Question, read
from samplerhub.foreign import line
from samplerhub.worker import HINT, MARK

if TYPE_CHECKING:
    from subprocess import Popen

PROGRAM: Final = "import sys; sys.path[:], sys.argv[1:] = sys.argv[1:], []; import samplerhub.worker as w; w.serve({})"


class Elsewhere:
    """Questions, and the answers that have come so far."""

    def __init__(self, questions: Sequence[Question], fork: bool = hasattr(os, "fork")) -> None:
        """Start to ask; without `fork`, there is a process for each question."""
        self._questions, self._program = questions, PROGRAM.format(fork)
        self._asked: dict[int, float] = {}
        self._answers: dict[int, Answer] = {}
        self._changed = threading.Condition()
        self._began = self._heard = time.monotonic()
        places = range(len(questions))
        for together in ([places] if fork else [[place] for place in places]) if questions else []:
            threading.Thread(target=self._work, args=(together,), name="samplerhub plugins", daemon=True).start()

    @property
    def pending(self) -> bool:
        """Whether an answer has not come yet."""
        return len(self._answers) < len(self._questions)

    def answers(self, patience: float) -> list[Answer]:
        """Return an answer to each question; after `patience` seconds without any, what there is."""
        with self._changed:
            while self.pending and (left := self._heard + patience - time.monotonic()) > 0:
                self._changed.wait(left)
            return [self._answers.get(place) or self._unanswered(place) for place in range(len(self._questions))]

    def _unanswered(self, place: int) -> Answer:
        now = time.monotonic()
        if place not in self._asked:
            return Answer(error=f"has not been asked after {now - self._began:.1f} s, for others take long")
        seconds = now - self._asked[place]
        return Answer(error=f"still importing after {seconds:.0f} s; {HINT}", seconds=seconds)

    def _work(self, places: Sequence[int]) -> None:
        """Ask; if the process ends before all have answered, the others have an answer that says so."""
        from subprocess import PIPE, Popen
        from tempfile import TemporaryFile

        command = [sys.executable, "-c", self._program, *sys.path]
        try:
            with (
                TemporaryFile() as said,
                Popen(command, stdin=PIPE, stdout=PIPE, stderr=said, start_new_session=True) as process,
            ):
                self._ask(process, places)
                why = f"the process that asks has ended (code {process.wait()}){_last(said)}"
        except OSError as error:
            why = f"no process can be started: {error}"
        for place in places:
            if place not in self._answers:
                self._answered(place, Answer(error=f"cannot be asked, for {why}"))

    def _ask(self, process: Popen[bytes], places: Sequence[int]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):  # it has ended, as is seen next
            process.stdin.write(json.dumps([asdict(self._questions[place]) for place in places]).encode() + b"\n")
            process.stdin.flush()
        for said in process.stdout:
            _, mark, ours = said.partition(MARK)
            number, _, text = ours.strip().partition(b" ")
            if mark and not text:
                self._asked[places[int(number)]] = time.monotonic()
            elif mark:
                self._answered(places[int(number)], _read(text))

    def _answered(self, place: int, given: Answer) -> None:
        with self._changed:
            self._answers[place] = given
            self._heard = time.monotonic()
            self._changed.notify_all()


def _read(text: bytes) -> Answer:
    try:
        return read(text)
    except ValueError as error:
        return Answer(error=f"changes what is not its own: its answer cannot be read ({line(str(error), 100)})")


def _last(said: IO[bytes]) -> str:
    """Return the last line that a process said of itself."""
    said.seek(0)
    text = said.read().decode(errors="replace").strip()
    return f": {line(text.splitlines()[-1])}" if text else ""
