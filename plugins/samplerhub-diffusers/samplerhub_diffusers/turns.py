"""A sampler whose model is someone else's loop: it runs in a thread of its own and waits wherever it asks."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from typing import Literal

import torch
from torch import Tensor

from samplerhub import ForwardProcess, Problem, Sampler


@dataclass(frozen=True, slots=True)
class Question:
    """Where a sampler asks for the noise."""

    y: Tensor
    """State, shape (n, *d)."""
    rho: Tensor
    """Noise level, shape (1, 1, ...) or (n, 1, ...)."""


@dataclass(frozen=True, slots=True)
class End:
    """The state that a sampler ends with."""

    x: Tensor


@dataclass(frozen=True, slots=True)
class Failure:
    """What a sampler raised."""

    error: BaseException


class _Closed(BaseException):
    """No answer will come any more; no `Exception`, so that a sampler does not catch it by mistake."""


class Turns:
    """One run of a sampler, taken in turns: it asks for the noise, and waits for `answer`.

    The sampler runs in a thread, because it is a plain generator that calls its model somewhere below, and only a
    thread can be left there. The thread never runs while its owner does. It ends with the run, with `close`, when this
    object is collected, and with the program; whatever the sampler raises is raised here.
    """

    def __init__(
        self, sampler: Sampler, process: ForwardProcess, x: Tensor, times: Tensor, rng: torch.Generator
    ) -> None:
        self._said: SimpleQueue[Question | End | Failure] = SimpleQueue()
        self._answers: SimpleQueue[Tensor | None] = SimpleQueue()
        model = _Asks(self._said, self._answers, len(x))
        problem = Problem(process, model, shape=tuple(x.shape[1:]), span=(times[-1].item(), times[0].item()))
        steps = sampler(problem, x, times, rng)
        # The thread holds no reference to this object, else that would never be collected.
        self._thread = Thread(target=_play, args=(steps, self._said), name="samplerhub sampler", daemon=True)
        self._thread.start()
        self.close = weakref.finalize(self, _end, self._thread, self._answers)
        """Leave the sampler where it is, and end its thread."""
        self.now = self._heard()
        """What the sampler asks now, or where it ended."""

    def answer(self, eps: Tensor) -> Question | End:
        """Give the noise that was asked for, shape (n, *d), and return what comes next."""
        self._answers.put(eps)
        self.now = self._heard()
        return self.now

    def _heard(self) -> Question | End:
        said = self._said.get()
        if isinstance(said, Failure):
            self._thread.join()
            raise said.error
        return said


class _Asks:
    """The model of the sampler in the thread."""

    predicts: Literal["eps"] = "eps"

    def __init__(
        self, said: SimpleQueue[Question | End | Failure], answers: SimpleQueue[Tensor | None], n: int
    ) -> None:
        self._said = said
        self._answers = answers
        self._n = n

    def __call__(self, y: Tensor, rho: Tensor) -> Tensor:
        """Return the answer, with its last row repeated where y has been padded."""
        self._said.put(Question(y[: self._n], rho))
        eps = self._answers.get()
        if eps is None:
            raise _Closed
        padding = len(y) - self._n
        return torch.cat([eps, eps[-1:].expand(padding, *eps.shape[1:])]) if padding else eps


def _play(steps: Iterator[object], said: SimpleQueue[Question | End | Failure]) -> None:
    """Exhaust a sampler, and say how it ended."""
    try:
        with torch.no_grad():
            *_, last = steps
        said.put(End(last.x))  # type: ignore[attr-defined]
    except _Closed:
        return
    except BaseException as error:
        said.put(Failure(error))


def _end(thread: Thread, answers: SimpleQueue[Tensor | None]) -> None:
    answers.put(None)
    thread.join()
