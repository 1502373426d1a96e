"""Why a run failed: kept until it is finished."""

from __future__ import annotations

import json
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from samplerhub.errors import SamplerhubError, UnusableFile
from samplerhub.files import read_json
from samplerhub.sweep.cell import Cell


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that failed the last time that it was tried."""

    key: str
    axes: Mapping[str, JsonValue]
    error: str
    traceback: str = ""

    @classmethod
    def of(cls, cell: Cell, error: Exception) -> Failure:
        """Return the failure of a run."""
        told = str(error) if isinstance(error, SamplerhubError) else f"{type(error).__name__}: {error}"
        return cls(cell.key, dict(cell.axes), told, _traceback(error))

    @classmethod
    def read(cls, file: Path) -> Failure:
        """Read a failure; of one that is not whole, no more is known than the run's name."""
        try:
            match read_json(file):
                case {"key": str(key), "axes": dict(axes), "error": str(error), "traceback": str(told)}:
                    return cls(key, axes, error, told)
        except UnusableFile as error:
            return cls(file.stem, {}, f"why is not known: {error}")
        return cls(file.stem, {}, f"why is not known: {file} is not the record of a failure")

    def text(self) -> str:
        """Return what is written."""
        facts = {"key": self.key, "axes": dict(self.axes), "error": self.error, "traceback": self.traceback}
        return json.dumps(facts, indent=1) + "\n"


def _traceback(error: Exception) -> str:
    """Return where an error came from: what a worker noted, or what is known here; nothing of a user's mistake."""
    notes = "\n".join(getattr(error, "__notes__", []))
    return notes if notes or isinstance(error, SamplerhubError) else "".join(traceback.format_exception(error))
