"""What is learned, as a file: the noise levels of the nodes, what they were learned for, and what they gain."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from samplerhub.errors import UnusableFile
from samplerhub.files import read_json, write_text
from samplerhub.manifest import ComponentRecord

ENDING = ".grid.json"


class LearnedNodes(BaseModel):
    """The nodes of a grid, learned through a sampler. A file of it is JSON; reading it executes nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    rho: tuple[Annotated[float, Field(gt=0)], ...] = Field(min_length=2)
    """Noise levels of the nodes, strictly decreasing."""
    start: tuple[float, ...]
    """Those of the grid from which it was learned; the same where nothing better was found."""
    components: dict[str, ComponentRecord]
    """What it was learned for, by role; `grid` is what it started from."""
    seed: int
    noises: int
    """Starting states in training."""
    error: Annotated[float, Field(ge=0)]
    """RMS distance, per number of a state, to the end of the exact flow, on starting states that were held out."""
    error_before: Annotated[float, Field(ge=0)]
    """The same of the grid from which it was learned."""
    gain_stderr: Annotated[float, Field(ge=0)]
    """Standard error of the gain; too small where rare starts between two modes decide the mean of the squares."""

    @field_validator("rho")
    @classmethod
    def _decreases(cls, rho: tuple[float, ...]) -> tuple[float, ...]:
        if any(b >= a for a, b in itertools.pairwise(rho)):
            raise ValueError(f"the noise levels {list(rho)} do not decrease strictly")
        return rho

    @property
    def steps(self) -> int:
        """Number of steps."""
        return len(self.rho) - 1

    @property
    def gain(self) -> float:
        """How many times smaller the error has become; 1 where nothing better was found."""
        return self.error_before / self.error if self.error else 1.0

    def write(self, file: Path) -> None:
        """Write the file; its name should end in .grid.json, so that it can stand for a grid on the command line."""
        write_text(file, json.dumps(self.model_dump(mode="json"), indent=1) + "\n")

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read a file.

        Raises:
            UnusableFile: It is missing, or holds something else.
        """
        data = read_json(file)
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the whole"
            raise UnusableFile(
                f"{file} is no learned grid ({where}: {first['msg']}); samplerhub learn-grid writes one"
            ) from error
