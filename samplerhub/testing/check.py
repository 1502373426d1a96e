"""What a check is: an id, one sentence what, one why, what usually breaks it, and the function that measures it."""

from __future__ import annotations

import inspect
import random
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import pydantic
import torch

from samplerhub.errors import BrokenPlugin, Mismatch, UnusableFile

VERSION = "2.0"
"""Version of the kit, in every report.

The first number rises where a component that passed may now fail: a check is new, or asks for more. The second rises
where the same components pass and fail: other words, other measurements, less time.
"""

FIXED = 271828
"""Seed of the global generators in a check: one that nobody else sets them to."""

_CALLED = (Path(__file__).parents[1], *(Path(str(module.__file__)).parent for module in (torch, np, pydantic)))
"""Folders whose code is not a component's: for an error that comes up there the line that called it is shown."""
_PYTHON = Path(traceback.__file__).parent

T = TypeVar("T")
State = Literal["passed", "failed", "skipped"]


class NotKept(AssertionError):
    """A component does not do what its role promises."""

    def __init__(self, measured: str, expected: str = "") -> None:
        super().__init__(measured)
        self.measured = measured
        self.expected = expected


class NotApplicable(Exception):
    """A check does not concern a component; the message says why."""


def require(condition: object, measured: str, expected: str = "") -> None:
    """Raise `NotKept` unless the condition is true.

    Args:
        condition: What should be true.
        measured: What was found instead, said where it is not.
        expected: What should have been found; by default the first line of the check.
    """
    if not condition:
        raise NotKept(measured, expected)


@dataclass(frozen=True, slots=True)
class Figure:
    """What a check measured, where that is worth knowing even if it holds."""

    expected: str
    measured: str
    passed: bool


@dataclass(frozen=True, slots=True)
class Check:
    """One promise of a role."""

    id: str
    """Role and word, ``sampler-order``; those of every role begin with ``component``."""
    what: str
    """What is checked, one sentence."""
    why: str
    """What goes wrong for others where it is not kept."""
    cause: str
    """What it usually is that breaks it."""
    gate: bool
    """Whether the checks after it mean nothing where it fails; they are skipped then."""
    measure: Callable[[Any], Figure | None]
    """Takes a case, raises `NotKept` or `NotApplicable`."""


def check(id: str, cause: str, gate: bool = False) -> Callable[[Callable[[Any], Figure | None]], Check]:
    """Make a check of a function; the first line of its docstring is what, the rest is why."""

    def made(measure: Callable[[Any], Figure | None]) -> Check:
        what, _, why = (inspect.getdoc(measure) or "").partition("\n\n")
        return Check(id, what, " ".join(why.split()), cause, gate, measure)

    return made


@dataclass(frozen=True, slots=True)
class Case:
    """What checks are made with: the thing, and what it is tried on."""

    about: str
    """The fields that differ from the defaults, and the process or target; empty where there is nothing to say."""
    of: Any
    """What the checks take."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check."""

    check: str
    """Its id."""
    what: str
    """What it checks."""
    about: str
    """What it was checked with."""
    expected: str
    measured: str
    """What was found; the reason, where it was skipped."""
    state: State
    seconds: float
    cause: str = ""
    """What usually causes it, where it failed."""

    @property
    def passed(self) -> bool:
        """Whether it holds."""
        return self.state == "passed"

    @property
    def failed(self) -> bool:
        """Whether it does not hold; one that was skipped neither passed nor failed."""
        return self.state == "failed"

    def __str__(self) -> str:
        """Return what was expected, what was measured, and what usually causes it."""
        about = f" ({self.about})" if self.about else ""
        if not self.failed:
            return f"{self.check}{about} {self.state}: {self.measured}"
        said = f"{self.check}{about} failed\n  expected: {self.expected}\n  measured: {self.measured}"
        return f"{said}\n  usually:  {self.cause}" if self.cause else said


def examine(checks: Sequence[Check], cases: Iterable[Case]) -> Iterator[Finding]:
    """Yield the finding of each check in each case; never raises for what the component does."""
    coming = iter(cases)
    while True:
        try:
            case = next(coming)
        except StopIteration:
            return
        except Exception as error:  # asked what it can be tried on, a component raises
            yield crashed(checks[0], "", error)
            return
        closed = ""
        for one in checks:
            finding = skipped(one, case.about, closed) if closed else _tried(one, case)
            yield finding
            if one.gate and not closed and not finding.passed:
                closed = finding.measured if finding.state == "skipped" else f"{one.id} failed"


def skipped(one: Check, about: str, reason: str) -> Finding:
    """Return the finding of a check that was not made."""
    return Finding(one.id, one.what, about, one.what, reason, "skipped", 0.0)


def crashed(one: Check, about: str, error: Exception, seconds: float = 0.0) -> Finding:
    """Return the finding of a check in which something raised: where, and what its notes say of the cause."""
    cause = "; ".join(getattr(error, "__notes__", ()))
    return Finding(one.id, one.what, about, one.what, raised(error), "failed", seconds, cause)


def raised(error: Exception) -> str:
    """Return an exception in a line, and the innermost line of a component's code on its way."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _is_of_a_component(Path(frame.filename))]
    at = f" ({own[-1].filename}:{own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {error}{at}"


def _is_of_a_component(file: Path) -> bool:
    standard = file.is_relative_to(_PYTHON) and "site-packages" not in file.parts
    return not (standard or str(file).startswith("<frozen") or any(file.is_relative_to(place) for place in _CALLED))


def _tried(one: Check, case: Case) -> Finding:
    expected, began = one.what, time.perf_counter()
    state: State
    try:
        with torch.random.fork_rng(devices=[]):
            figure = one.measure(case.of)
        state, measured = "passed", "holds"
        if figure is not None:
            state, measured, expected = "passed" if figure.passed else "failed", figure.measured, figure.expected
    except NotKept as error:
        state, measured, expected = "failed", error.measured, error.expected or expected
    except (NotApplicable, Mismatch, UnusableFile, BrokenPlugin) as error:
        state, measured = "skipped", str(error)
    except Exception as error:  # whatever a component does, the next one is checked
        return crashed(one, case.about, error, round(time.perf_counter() - began, 4))
    seconds = round(time.perf_counter() - began, 4)
    return Finding(
        one.id, one.what, case.about, expected, measured, state, seconds, one.cause if state == "failed" else ""
    )


def kept(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings of the checks that were made, all of which hold.

    Raises:
        NotKept: Some failed; the message has all of them.
        Mismatch: None was made; the message says why.
    """
    found = list(findings)
    failed = [str(finding) for finding in found if finding.failed]
    if failed:
        raise NotKept("\n".join(failed))
    made = [finding for finding in found if finding.passed]
    if not made:
        raise Mismatch(found[0].measured if found else "there is nothing to check it on")
    return made


def alone(f: Callable[[], T]) -> tuple[T, bool]:
    """Call f with the global generators of torch, numpy and Python at fixed states; say too whether it left them so.

    What draws from them gives the same twice then, so that only the check that is about them fails. They are put back.
    """
    before = np.random.get_state(), random.getstate()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(FIXED)
        np.random.seed(FIXED)  # noqa: NPY002
        random.seed(FIXED)
        fixed = _global_state()
        try:
            value = f()
            return value, _global_state() == fixed
        finally:
            np.random.set_state(before[0])  # noqa: NPY002
            random.setstate(before[1])


def _global_state() -> tuple[bytes, str, object]:
    return torch.get_rng_state().numpy().tobytes(), repr(np.random.get_state()), random.getstate()  # noqa: NPY002
