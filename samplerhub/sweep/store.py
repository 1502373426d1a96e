"""The folder of a sweep: a folder for each finished run, named by what was asked for.

A run's folder appears whole or not at all, and what is in its ``result.json`` is checked by a hash. Everything else can
be made again from these folders: the index, which only saves reading them. Claims are locks of the operating system, so
that they end with the process that holds them, however it ends.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

from filelock import FileLock, Timeout
from pydantic import JsonValue

from samplerhub.errors import UnusableFile
from samplerhub.files import Json, read_json, writable_folder, write_text
from samplerhub.manifest import Manifest
from samplerhub.sweep.cell import Cell, Skipped
from samplerhub.sweep.failure import Failure
from samplerhub.sweep.index import Entry, read_index, stamp_of, write_index
from samplerhub.sweep.kept import Kept
from samplerhub.sweep.result import RESULT, Result
from samplerhub.sweep.task import Files

NOTED = "sweep.json"
KEY = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Noted:
    """How a sweep came about."""

    commands: tuple[str, ...] = ()
    """The commands, the latest last."""
    skipped: tuple[Skipped, ...] = ()


class Store:
    """The runs of a sweep."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def at(cls, folder: Path) -> Store:
        """Return the store of a folder that can be written; what killed processes left half done is removed."""
        store = cls(writable_folder(folder))
        for left in folder.glob(".new-*"):
            claim = store.claim(left.name.split("-")[1])
            if claim is not None:
                shutil.rmtree(left, ignore_errors=True)
                claim.release()
        return store

    def keys(self) -> list[str]:
        """Return the names of the runs that have a folder, whole or not."""
        try:
            return sorted(name for name in os.listdir(self.folder) if KEY.fullmatch(name))
        except OSError as error:
            raise UnusableFile(f"cannot read the folder {self.folder}: {error.strerror or error}") from error

    def runs(self) -> Iterator[Kept | str]:
        """Yield every finished run; in place of one that cannot be read, what is wrong with it.

        What the index says of a run is taken from there, and the index is brought up to date at the end.
        """
        known, entries = read_index(self.folder), dict[str, Entry]()
        for key in self.keys():
            stamp, entry = stamp_of(self.folder / key / RESULT), known.get(key)
            if entry is not None and entry.stamp == stamp:
                entries[key] = entry
                yield entry.kept(key, self.folder / key, partial(self._manifest, key))
                continue
            try:
                kept = self.read(key)
            except UnusableFile as error:
                yield str(error)
                continue
            if stamp is not None:
                entries[key] = Entry.of(kept, stamp)
            yield kept
        if entries != known:
            write_index(self.folder, entries)

    def _manifest(self, key: str) -> Manifest:
        return self.read(key).manifest

    def read(self, key: str) -> Kept:
        """Return a finished run.

        Raises:
            UnusableFile: It is not there, or its result is not what was written.
        """
        folder = self.folder / key
        return Result.read(folder / RESULT).kept(key, folder)

    def has(self, key: str, axes: Mapping[str, JsonValue] = MappingProxyType({})) -> bool:
        """Say whether a run is finished and whole.

        Args:
            key: Its name.
            axes: What is asked for; options that it did not have when it was made are added to its own.
        """
        folder = self.folder / key
        if not folder.is_dir():
            return False
        try:
            result = Result.read(folder / RESULT)
        except UnusableFile:
            return False
        if not result.whole(folder):
            return False
        if axes.keys() - result.axes.keys():
            write_text(folder / RESULT, result.asked_for(axes).text())
        return True

    def write(self, cell: Cell, files: Files) -> None:
        """Keep a finished run; its folder appears whole or not at all.

        Raises:
            UnusableFile: It cannot be written: no space, no permission.
        """
        text = Result.of(cell, files).text()
        new = self.folder / f".new-{cell.key}-{secrets.token_hex(4)}"
        place = self.folder / cell.key
        try:
            new.mkdir()
            for name, content in {**files, RESULT: text.encode()}.items():
                with (new / name).open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
            if place.exists():  # what is left of one that was not whole
                shutil.rmtree(place)
            os.rename(new, place)
        except OSError as error:
            shutil.rmtree(new, ignore_errors=True)
            raise UnusableFile(
                f"cannot write the run {place}: {error.strerror or error}; the finished runs are kept, and the same "
                "command goes on with the others"
            ) from error
        self._failure(cell.key).unlink(missing_ok=True)

    def fail(self, cell: Cell, error: Exception) -> None:
        """Keep why a run failed, until it is finished."""
        writable_folder(self.folder / "failed")
        write_text(self._failure(cell.key), Failure.of(cell, error).text())

    def failures(self) -> list[Failure]:
        """Return the runs that failed and have not been finished since; of one whose record is not whole, its name."""
        found = [Failure.read(file) for file in sorted(self.folder.glob("failed/[!.]*.json"))]
        return [one for one in found if not self.has(one.key)]

    def note(self, command: str, skipped: Sequence[Skipped]) -> None:
        """Keep the command and what it skipped, beside those of earlier ones."""
        with self._lock("sweep"):
            now = self.noted()
            commands = [one for one in now.commands if one != command]
            left_out = {json.dumps(dict(one.axes), sort_keys=True): one for one in (*now.skipped, *skipped)}
            facts = {
                "commands": [*commands, command],
                "skipped": [{"axes": dict(one.axes), "reason": one.reason} for one in left_out.values()],
            }
            write_text(self.folder / NOTED, json.dumps(facts, indent=1) + "\n")

    def noted(self) -> Noted:
        """Return the commands that made the sweep; none where that was lost."""
        try:
            facts = read_json(self.folder / NOTED)
        except UnusableFile:
            return Noted()
        match facts:
            case {"commands": list(commands), "skipped": list(skipped)}:
                return Noted(tuple(str(command) for command in commands), tuple(_skipped(skipped)))
        return Noted()

    def claim(self, key: str) -> FileLock | None:
        """Return a lock on a run, to be released; None where another process holds it."""
        lock = self._lock(key)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return None
        except OSError as error:
            raise UnusableFile(f"cannot write to the folder {self.folder}: {error.strerror or error}") from error
        return lock

    def _lock(self, name: str) -> FileLock:
        return FileLock(writable_folder(self.folder / ".locks") / name, thread_local=False)

    def _failure(self, key: str) -> Path:
        return self.folder / "failed" / f"{key}.json"


def _skipped(found: Sequence[Json]) -> Iterator[Skipped]:
    for one in found:
        match one:
            case {"axes": dict(axes), "reason": str(reason)}:
                yield Skipped(axes, reason)
