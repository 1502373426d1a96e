"""Fashion-MNIST, and any other images in IDX files."""

from __future__ import annotations

import gzip
import zlib
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from samplerhub.errors import UnusableFile
from samplerhub_targets.finite import FiniteTarget, Split, checked, reading, sha256

FILES = {"train": "train-images-idx3-ubyte", "held-out": "t10k-images-idx3-ubyte"}
MAGIC = 0x803
"""Two zeros, unsigned bytes, three dimensions."""


class FashionMnist(FiniteTarget):
    r"""70,000 images of clothes, 28x28 grey pixels, scaled to [-1, 1].

    Levels 0..255 become pixels x = level/127.5 - 1. The law is the uniform law on the images of the split: "train" is
    the file train-images-idx3-ubyte, "held-out" the file t10k-images-idx3-ubyte, each with .gz or without. They are
    in Debian's package dataset-fashion-mnist; any other folder of IDX files of these names will do, MNIST's own too.

    References:
        Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms (Xiao et al., 2017),
            arXiv:1708.07747
    """

    folder: Path = Path("/usr/share/datasets/fashion-mnist")
    """Folder of the IDX files."""
    split: Split = "train"
    """Which images: 60,000 to train on, 10,000 held out, or all 70,000."""

    def read(self) -> Tensor:
        """Return the images of the split, shape (N, 1, 28, 28), float64."""
        levels = torch.cat([read_idx(file) for file in self._files])
        return checked(levels.unsqueeze(1), self.folder) / 127.5 - 1

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the files of the split."""
        return sha256(self._files)

    @property
    def _files(self) -> list[Path]:
        names = FILES.values() if self.split == "all" else [FILES[self.split]]
        return [self._file(name) for name in names]

    def _file(self, name: str) -> Path:
        for file in (self.folder / name, self.folder / f"{name}.gz"):
            if file.is_file():
                return file
        raise UnusableFile(
            f"there is no {name}, with .gz or without, in {self.folder}: install the Debian package "
            "dataset-fashion-mnist (apt-get install dataset-fashion-mnist), or name another folder of IDX files "
            "with --target.folder DIR"
        )


def read_idx(file: Path) -> Tensor:
    """Return the images of an IDX file, shape (N, h, w), uint8.

    Raises:
        UnusableFile: It cannot be read, or is no IDX file of images.
    """
    with reading(file, EOFError, zlib.error):
        data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    header = np.frombuffer(data[:16], ">u4") if len(data) >= 16 else [0]
    if header[0] != MAGIC:
        raise UnusableFile(f"{file} is no IDX file of images: it does not begin with 00 00 08 03")
    n, h, w = map(int, header[1:])
    if len(data) != 16 + n * h * w:
        raise UnusableFile(f"{file} is not whole: {n} images of {h} x {w} are {16 + n * h * w} bytes, not {len(data)}")
    return torch.from_numpy(np.frombuffer(data, np.uint8, offset=16).reshape(n, h, w).copy())
