"""What is foreign, kept within bounds: code that fails in any way, and text that holds anything."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from io import StringIO

from samplerhub.errors import BrokenPlugin

LENGTH = 300
"""Letters of foreign text that are shown."""
SEQUENCE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|.?)", re.DOTALL)
"""What a terminal takes for a command: a colour, a title, a movement."""


def line(text: str, length: int = LENGTH) -> str:
    """Return text as one line that can be shown anywhere, cut where it is longer than it should be."""
    start = SEQUENCE.sub("", text[: 10 * length])
    words = " ".join("".join(letter if letter.isprintable() else " " for letter in start).split())
    return words if len(words) <= length else words[: length - 4].rstrip() + " ..."


def shown(value: object) -> str:
    """Return how a value is written in Python, in one line; its type, where it cannot say that."""
    try:
        return line(repr(value), 100)
    except Exception:
        return f"<{type(value).__name__}>"


def said(error: BaseException) -> str:
    """Return an exception in one line, with its type."""
    try:
        text = line(str(error))
    except Exception:  # its own
        text = ""
    return f"{type(error).__name__}{': ' if text else ''}{text}"


@contextmanager
def confined(what: str) -> Iterator[None]:
    """Turn whatever foreign code raises, exiting included, into a `BrokenPlugin`."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise BrokenPlugin(f"{what}: {said(error)}") from error


@contextmanager
def silenced() -> Iterator[None]:
    """Keep foreign code from printing; what it writes past Python to standard output goes to standard error."""
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()), ExitStack() as stack:
        with suppress(OSError):  # it is closed
            _flush()
            kept = os.dup(1)
            stack.callback(os.close, kept)
            os.dup2(2, 1)
            stack.callback(os.dup2, kept, 1)
            stack.callback(_flush)
        yield


def _flush() -> None:
    """Write what Python holds back of standard output."""
    with suppress(OSError, ValueError):  # it is closed, or nobody reads it any more, as who writes next will see
        if sys.__stdout__ is not None:
            sys.__stdout__.flush()
