"""Standard output that tells its own failures from any other `OSError`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from samplerhub.errors import UnusableFile


class ReaderGone(Exception):
    """Whoever read the output has gone, as in ``samplerhub list | head -1``."""


class Output:
    """A stream that raises `UnusableFile` or `ReaderGone` where it cannot be written."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write text."""
        with self._checked():
            return self._stream.write(text)

    def flush(self) -> None:
        """Write what is held back."""
        with self._checked():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextmanager
    def _checked(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())  # else Python fails once more when it ends
            if isinstance(error, BrokenPipeError):
                raise ReaderGone from error
            raise UnusableFile(f"cannot write the output: {error.strerror or error}") from error
