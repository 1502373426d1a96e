"""Data of one's own, from an array in a file."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from samplerhub.errors import SamplerhubError, UnusableFile
from samplerhub_targets.finite import FiniteTarget, checked, every, reading, sha256


class Array(FiniteTarget):
    r"""Data of one's own: the rows of an array in a .npy or .npz file.

    An array (N, *d) of numbers is N data of shape d, as they stand, without scaling; (N,) is N numbers on the line.
    Every fifth row is held out (see `every`). The law is the uniform law on the rows of the split. Nothing in the
    file is executed: pickled objects are refused.
    """

    file: Path | None = None
    """The .npy or .npz file."""
    key: str | None = None
    """Name of the array in a .npz file; needed if it holds several."""
    every: int = Field(5, ge=2)
    """Row i is held out if i mod every = every - 1."""

    def read(self) -> Tensor:
        """Return the rows of the split, shape (N, *shape), float64."""
        x = read_array(self._file, self.key)
        if x.dtype.kind not in "biuf":
            raise UnusableFile(f"{self._file} holds numbers of type {x.dtype}; real numbers are needed")
        rows = torch.from_numpy(x.astype(np.float64))
        return every(self.every, checked(rows[:, None] if x.ndim == 1 else rows, self._file), self.split)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file."""
        return sha256([self._file])

    @property
    def _file(self) -> Path:
        if self.file is None:
            raise UnusableFile("the target 'array' needs a file: give it with --target FILE.npy")
        return self.file


def read_array(file: Path, key: str | None = None) -> NDArray[np.generic]:
    """Return the array of a .npy file, or one of a .npz file. Nothing in it is executed.

    Raises:
        UnusableFile: The file is missing, damaged, holds pickled objects, or several arrays and none was chosen.
    """
    try:
        with reading(file), file.open("rb") as stream:
            found = np.load(stream, allow_pickle=False)
            if isinstance(found, np.ndarray):
                return found
            if key is None and len(found.files) != 1:
                raise UnusableFile(f"{file} holds {len(found.files)} arrays; choose by key: {', '.join(found.files)}")
            if key is not None and key not in found.files:
                raise UnusableFile(f"{file} holds no array {key!r}; it has {', '.join(found.files)}")
            return np.asarray(found[key or found.files[0]])
    except SamplerhubError:
        raise
    except (
        Exception
    ) as error:  # a damaged header is read as Python, as a zip archive, as sizes: anything may come of it
        raise UnusableFile(
            f"{file} is damaged, or holds something else than numbers, such as pickled objects, which are never read: "
            "write arrays with numpy.save or numpy.savez"
        ) from error
