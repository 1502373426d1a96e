"""The folder of a sweep: a folder for each finished run, named by what was asked for.

A run's folder appears whole or not at all, and what is in its ``result.json`` is checked by a hash. Everything else can
be made again from these folders: the index, which only saves reading them. Claims are locks of the operating system, so
that they end with the process that holds them, however it ends.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from filelock import FileLock, Timeout
from pydantic import JsonValue, ValidationError

from samplerhub.errors import UnusableFile
from samplerhub.files import Json, read_json, writable_folder, write_text
from samplerhub.manifest import Manifest
from samplerhub.sweep.cell import Cell, Skipped
from samplerhub.sweep.index import Entry, figures_of, read_index, stamp_of, write_index
from samplerhub.sweep.kept import Kept
from samplerhub.sweep.task import MANIFEST, Files

RESULT, NOTED = "result.json", "sweep.json"
KEY = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that failed the last time that it was tried."""

    key: str
    axes: Mapping[str, JsonValue]
    error: str
    traceback: str = ""


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
                yield self._indexed(key, entry)
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

    def _indexed(self, key: str, entry: Entry) -> Kept:
        facts = {name: getattr(entry, name) for name in ("axes", "seed", "nfe", "seconds", "same", "problem")}
        folder = self.folder / key
        return Kept(key, figures=figures_of(entry), folder=folder, load=lambda: self.read(key).manifest, **facts)

    def read(self, key: str) -> Kept:
        """Return a finished run.

        Raises:
            UnusableFile: It is not there, or its result is not what was written.
        """
        file = self.folder / key / RESULT
        match read_json(file):
            case {"sha256": str(sha256), "result": {"axes": dict(axes), "manifest": manifest} as result}:
                if _sha256(result) != sha256:
                    raise UnusableFile(f"{file} was changed: its hash is another")
            case _:
                raise UnusableFile(f"{file} is not the result of a run of a sweep")
        try:
            return Kept.of(key, axes, Manifest.model_validate(manifest), file.parent)
        except ValidationError as error:
            raise UnusableFile(f"{file} is not the result of a run: {error.errors()[0]['msg']}") from error

    def has(self, key: str, axes: Mapping[str, JsonValue] = MappingProxyType({})) -> bool:
        """Say whether a run is finished and whole.

        Args:
            key: Its name.
            axes: What is asked for; options that it did not have when it was made are added to its own.
        """
        if not (self.folder / key).is_dir():
            return False
        try:
            run = self.read(key)
        except UnusableFile:
            return False
        if axes.keys() - run.axes.keys():
            write_text(self.folder / key / RESULT, _result({**run.axes, **axes}, run.manifest.model_dump(mode="json")))
        return True

    def write(self, cell: Cell, files: Files) -> None:
        """Keep a finished run; its folder appears whole or not at all.

        Raises:
            UnusableFile: It cannot be written: no space, no permission.
        """
        text = _result(cell.axes, json.loads(files[MANIFEST]))
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
        notes = "\n".join(getattr(error, "__notes__", []))
        failure = {"key": cell.key, "axes": dict(cell.axes), "error": _told(error), "traceback": notes}
        writable_folder(self.folder / "failed")
        write_text(self._failure(cell.key), json.dumps(failure, indent=1) + "\n")

    def failures(self) -> list[Failure]:
        """Return the runs that failed and have not been finished since."""
        found = []
        for file in sorted(self.folder.glob("failed/*.json")):
            match read_json(file):
                case {"key": str(key), "axes": dict(axes), "error": str(error), "traceback": str(traceback)}:
                    if not self.has(key):
                        found.append(Failure(key, axes, error, traceback))
        return found

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
                found = [one for one in skipped if isinstance(one, dict)]
                return Noted(
                    tuple(str(command) for command in commands),
                    tuple(Skipped(one["axes"], str(one["reason"])) for one in found if isinstance(one["axes"], dict)),
                )
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


def _result(axes: Mapping[str, JsonValue], manifest: Json) -> str:
    """Return what is written of a finished run."""
    result: Json = {"axes": dict(axes), "manifest": manifest}
    return json.dumps({"sha256": _sha256(result), "result": result}, indent=1)


def _sha256(result: Json) -> str:
    return hashlib.sha256(json.dumps(result, sort_keys=True).encode()).hexdigest()


def _told(error: Exception) -> str:
    from samplerhub.errors import SamplerhubError

    return str(error) if isinstance(error, SamplerhubError) else f"{type(error).__name__}: {error}"
