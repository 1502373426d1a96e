"""Images of one's own."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from torch import Tensor

from samplerhub import read_tensors
from samplerhub.errors import UnusableFile
from samplerhub_targets.array import read_array
from samplerhub_targets.finite import FiniteTarget, checked, every, reading, sha256

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
MODES = {"1": "L", "L": "L", "P": "RGB", "RGB": "RGB"}
"""Kinds of images that are read, and as what: no transparency and no 16 bits, which would be lost."""


class Images(FiniteTarget):
    r"""Images of one's own: a folder of them, or an array in a .npz, .npy or .safetensors file.

    8-bit levels 0..255 become pixels x = level/127.5 - 1; floating-point numbers are taken as they stand and must be in
    [-1, 1]. A datum has shape (1, h, w) or (3, h, w); arrays may be (N, h, w), (N, c, h, w) or (N, h, w, c). A folder
    is read with all that is below it, in the order of the names; all images must have one size, none is resized or
    cropped. Every fifth is held out (see `every`). The law is the uniform law on the images of the split.
    """

    source: Path | None = None
    """The folder, or the .npz, .npy or .safetensors file."""
    key: str | None = None
    """Name of the array in a .npz or .safetensors file; needed if it holds several."""
    every: int = Field(5, ge=2)
    """Image i is held out if i mod every = every - 1."""

    def read(self) -> Tensor:
        """Return the images of the split, shape (N, c, h, w), float64."""
        source = self._source
        if source.is_dir():
            x = read_folder(self._files)
        elif source.suffix == ".safetensors":
            x = _chosen(read_tensors(source)[0], self.key, source)
        else:
            array = read_array(source, self.key)
            if array.dtype.kind not in "uf":
                raise UnusableFile(f"{source} holds {array.dtype}; images are uint8 or floating-point numbers")
            x = torch.from_numpy(array.astype(np.uint8 if array.dtype == np.uint8 else np.float64))
        return every(self.every, _pixels(_channels_first(x, source), source), self.split)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the files."""
        return sha256(self._files)

    @property
    def _source(self) -> Path:
        if self.source is None:
            raise UnusableFile("the target 'images' needs images: give a folder or a file with --target.source PATH")
        return self.source

    @property
    def _files(self) -> list[Path]:
        source = self._source
        if not source.is_dir():
            return [source]
        files = sorted(file for file in source.rglob("*") if file.suffix.lower() in ENDINGS and file.is_file())
        if not files:
            raise UnusableFile(
                f"there are no images in the folder {source}; endings that are read: {', '.join(ENDINGS)}"
            )
        return files


def read_folder(files: list[Path]) -> Tensor:
    """Return the images of all files, shape (N, c, h, w), uint8.

    Raises:
        UnusableFile: One is no image, of a kind that is not read, or of another shape than the first.
    """
    found: list[Tensor] = []
    for file in files:
        with reading(file, Exception), Image.open(file) as image:  # decoders raise anything on a damaged file
            if image.mode not in MODES or "transparency" in image.info:
                kind = "transparent" if image.mode in MODES else f"of mode {image.mode}"
                raise UnusableFile(f"{file} is {kind}; images are grey or RGB, with 8 bits: convert it")
            levels = np.array(image.convert(MODES[image.mode]))
        x = torch.from_numpy(levels.reshape(*levels.shape[:2], -1)).permute(2, 0, 1)
        if found and x.shape != found[0].shape:
            raise UnusableFile(
                f"{file} has shape {tuple(x.shape)} and {files[0]} has {tuple(found[0].shape)}; all images need one "
                "shape (channels, height, width): resize or convert them first"
            )
        found.append(x)
    return torch.stack(found)


def _chosen(tensors: dict[str, Tensor], key: str | None, file: Path) -> Tensor:
    if key is None and len(tensors) == 1:
        return next(iter(tensors.values()))
    if key is None or key not in tensors:
        what = "several tensors; choose by key" if key is None else f"no tensor {key!r}; it has"
        raise UnusableFile(f"{file} holds {what}: {', '.join(sorted(tensors))}")
    return tensors[key]


def _channels_first(x: Tensor, file: Path) -> Tensor:
    if x.ndim == 3:
        return x[:, None]
    if x.ndim == 4 and x.shape[1] in (1, 3):
        return x
    if x.ndim == 4 and x.shape[3] in (1, 3):
        return x.permute(0, 3, 1, 2)
    raise UnusableFile(
        f"{file} holds an array of shape {tuple(x.shape)}; images are (N, h, w), (N, c, h, w) or "
        "(N, h, w, c) with c = 1 or 3"
    )


def _pixels(x: Tensor, file: Path) -> Tensor:
    pixels = checked(x, file)
    if x.dtype == torch.uint8:
        return pixels / 127.5 - 1
    if pixels.abs().max() > 1 or not x.dtype.is_floating_point:
        raise UnusableFile(
            f"{file} holds {x.dtype} from {pixels.min():g} to {pixels.max():g}; images are uint8, or floating-point "
            "numbers in [-1, 1]"
        )
    return pixels
