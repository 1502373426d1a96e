"""What is written of a finished run besides its samples and manifest: ``result.json``, with a hash of what is in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from samplerhub.errors import UnusableFile
from samplerhub.files import Json, read_json
from samplerhub.manifest import Manifest
from samplerhub.sweep.cell import Cell
from samplerhub.sweep.kept import Kept, Written
from samplerhub.sweep.task import MANIFEST, Files

RESULT = "result.json"


class Result(BaseModel):
    """What is written of a finished run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    axes: dict[str, JsonValue]
    manifest: Manifest
    budget: float | None = None
    """Evaluations per sample that were allowed."""
    files: dict[str, Written] = {}
    """What was written with it."""

    @classmethod
    def of(cls, cell: Cell, files: Files) -> Self:
        """Return the result of a run that is finished."""
        written = {name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in files.items()}
        manifest = Manifest.model_validate_json(files[MANIFEST])
        return cls(axes=dict(cell.axes), manifest=manifest, budget=cell.budget, files=written)

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read a result.

        Raises:
            UnusableFile: It is not there, or not what was written.
        """
        match read_json(file):
            case {"sha256": str(sha256), "result": result}:
                if _sha256(result) != sha256:
                    raise UnusableFile(f"{file} was changed: its hash is another")
            case _:
                raise UnusableFile(f"{file} is not the result of a run of a sweep")
        try:
            return cls.model_validate(result)
        except ValidationError as error:
            raise UnusableFile(f"{file} is not the result of a run: {error.errors()[0]['msg']}") from error

    def asked_for(self, axes: Mapping[str, JsonValue]) -> Self:
        """Return the same result, asked for by more options."""
        return self.model_copy(update={"axes": {**self.axes, **axes}, "budget": self._budget()})

    def text(self) -> str:
        """Return what is written."""
        written = self.model_dump(mode="json")
        return json.dumps({"sha256": _sha256(written), "result": written}, indent=1)

    def whole(self, folder: Path) -> bool:
        """Say whether everything that was written with it is there, in its size."""
        return all(_size(folder / name) == size for name, (size, _) in self.files.items())

    def kept(self, key: str, folder: Path) -> Kept:
        """Return the run, for tables."""
        return Kept.of(key, self.axes, self.manifest, folder, self._budget(), self.files)

    def _budget(self) -> float | None:
        """Return the budget; where it was not recorded, what was asked for by its name, else what was spent."""
        if "budget" in self.model_fields_set:
            return self.budget
        asked = self.axes.get("nfe")
        return float(asked) if isinstance(asked, int | float) else self.manifest.nfe


def _sha256(result: Json) -> str:
    return hashlib.sha256(json.dumps(result, sort_keys=True).encode()).hexdigest()


def _size(file: Path) -> int | None:
    try:
        return file.stat().st_size
    except OSError:
        return None
