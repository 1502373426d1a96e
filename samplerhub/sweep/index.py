"""The index of a sweep's folder: what tables need of each run, so that thousands of results are one file to read.

It is a cache: an entry counts where the result's file has the size and the time of change that it had, whichever these
are. What is missing, changed or no index at all is read from the runs' folders, and the index is written anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError
from pydantic_core import PydanticSerializationError

from samplerhub.errors import UnusableFile
from samplerhub.files import write_text
from samplerhub.manifest import Manifest
from samplerhub.sweep.kept import Figure, Kept, Written

INDEX = "index.json"
PLAIN = ("axes", "seed", "nfe", "seconds", "same", "problem", "budget", "rho", "versions", "contents", "files")
"""What an entry has of a run as it is."""
Stamp = tuple[int, int]
"""Size of a file, and when it was changed, in nanoseconds."""


class Measured(BaseModel):
    """A figure of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    value: float
    stderr: float | None
    better: Literal["smaller", "larger"]
    how: str


class Entry(BaseModel):
    """What the index has of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    stamp: Stamp
    axes: dict[str, JsonValue]
    seed: int
    nfe: float
    seconds: float
    figures: dict[str, Measured]
    same: str
    problem: str
    budget: float | None
    rho: float | None
    versions: dict[str, str]
    contents: dict[str, str]
    files: dict[str, Written]

    @classmethod
    def of(cls, kept: Kept, stamp: Stamp) -> Entry:
        """Return the entry of a run."""
        figures = {
            name: Measured(value=one.value, stderr=one.stderr, better=one.better, how=one.how)
            for name, one in kept.figures.items()
        }
        return cls(stamp=stamp, figures=figures, **{name: getattr(kept, name) for name in PLAIN})

    def kept(self, key: str, folder: Path, load: Callable[[], Manifest]) -> Kept:
        """Return the run."""
        figures = {name: Figure(f.value, f.stderr, f.better, how=f.how) for name, f in self.figures.items()}
        plain = {name: getattr(self, name) for name in PLAIN}
        return Kept(key, figures=figures, folder=folder, load=load, **plain)


class Index(BaseModel):
    """The entries by the runs' keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[2] = 2
    """Another where the entries mean something else."""
    runs: dict[str, Entry] = {}


def stamp_of(file: Path) -> Stamp | None:
    """Return what tells whether a file was changed; None where there is no file."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def read_index(folder: Path) -> Mapping[str, Entry]:
    """Return the entries of a folder's index; none where there is none that can be read."""
    try:
        return Index.model_validate_json((folder / INDEX).read_bytes()).runs
    except (OSError, ValidationError):
        return {}


def write_index(folder: Path, entries: Mapping[str, Entry]) -> None:
    """Write the index, whole or not at all; a folder that cannot be written goes without, as do names not in UTF-8."""
    with suppress(UnusableFile, PydanticSerializationError):
        write_text(folder / INDEX, Index(runs=dict(entries)).model_dump_json() + "\n")
