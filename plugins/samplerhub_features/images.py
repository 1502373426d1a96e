"""Images as networks of the field take them, and the files with such networks' weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from samplerhub import read_tensors
from samplerhub.errors import Mismatch, UnusableFile


def check_images(shape: tuple[int, ...]) -> None:
    """Raise `Mismatch` if samples of a shape are no images, grey (1, h, w) or in colour (3, h, w)."""
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise Mismatch(
            f"these features are of images (1, h, w) or (3, h, w), and samples have shape {shape}; "
            "choose others with --features, such as identity or pca"
        )


def levels(x: Tensor) -> Tensor:
    """Return images (n, c, h, w) in [-1, 1] as 8-bit colours 0..255, shape (n, 3, h, w), float32.

    As in a file: what is outside is clipped, what is between is rounded, and grey has three equal channels.
    """
    check_images(tuple(x.shape[1:]))
    return ((x.to(torch.float32) + 1) * 127.5).round().clamp(0, 255).expand(-1, 3, -1, -1)


def batch_norm(x: Tensor, weights: Mapping[str, Tensor], name: str) -> Tensor:
    """Return x normalised with the statistics that were found in training; epsilon = 0.001 as in TensorFlow."""
    mean, var, scale, shift = (weights[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias"))
    return F.batch_norm(x, mean, var, scale, shift, eps=1e-3)


def digest(file: Path) -> str:
    """Return the SHA-256 of a file."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise UnusableFile(f"cannot read the weights {file}: {error.strerror or error}") from error


def read_weights(file: Path, layers: Mapping[str, tuple[int, ...]], source: str) -> dict[str, Tensor]:
    """Read a network's weights, as safetensors or as a state dictionary of PyTorch; nothing in it is executed.

    Args:
        file: The file.
        layers: Some of its tensors with their shapes, by which it is told from files of other networks.
        source: Where the right file comes from: said if this is another.

    Raises:
        UnusableFile: It is missing, damaged or of another network.
    """
    if file.suffix == ".safetensors":
        weights, _ = read_tensors(file)
    else:
        try:
            weights = torch.load(file, map_location="cpu", weights_only=True)
        except OSError as error:
            raise UnusableFile(f"cannot read the weights {file}: {error.strerror or error}; {source}") from error
        except Exception as error:  # the reader of pickles raises whatever a damaged file leads it to
            reason = str(error).partition("\n")[0]
            raise UnusableFile(f"{file} holds no state dictionary of PyTorch ({reason}); {source}") from error
        if not isinstance(weights, dict):
            raise UnusableFile(f"{file} holds no state dictionary but a {type(weights).__name__}; {source}")
    for name, shape in layers.items():
        found = tuple(getattr(weights.get(name), "shape", ())) or "missing"
        if found != shape:
            raise UnusableFile(f"{file} is of another network: {name} is {found}, not {shape}; {source}")
    return weights
