"""Files are written whole or not at all, and reading one never executes it."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from samplerhub.errors import UnusableFile

if TYPE_CHECKING:
    from torch import Tensor

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which takes its place at the end, unless something is raised before."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise UnusableFile(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a text file."""
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_text(path: Path) -> str:
    """Read a text file."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UnusableFile(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error


def read_json(path: Path) -> Json:
    """Read a JSON file."""
    text = read_text(path)
    try:
        return json.loads(text)  # type: ignore[no-any-return]
    except (ValueError, RecursionError) as error:
        raise UnusableFile(f"{path} is not JSON: {error}") from error


def read_numbers(path: Path) -> list[float]:
    """Read a list of numbers: a JSON list, the .npy file of a vector, or a text with blanks or commas between them.

    Raises:
        UnusableFile: The file is missing, or holds something else.
    """
    if path.suffix == ".npy":
        return _read_vector(path)
    try:
        if path.suffix != ".json":
            return [float(word) for word in read_text(path).replace(",", " ").split()]
        return _numbers(read_json(path))
    except (TypeError, ValueError, OverflowError) as error:
        raise UnusableFile(f"{path} holds no list of numbers: {error}") from error


def _numbers(data: Json) -> list[float]:
    if not isinstance(data, list):
        raise TypeError("what is in it is no list, as in [1.5, 0.5]")
    for item in data:
        if isinstance(item, bool) or not isinstance(item, int | float):
            raise TypeError(f"{json.dumps(item)} is no number")
    return [float(number) for number in data]  # type: ignore[arg-type]


def _read_vector(path: Path) -> list[float]:
    import numpy as np

    try:
        with path.open("rb") as stream:
            vector = np.lib.format.read_array(stream, allow_pickle=False)
        if vector.ndim != 1 or vector.dtype.kind not in "iuf":
            raise ValueError(f"an array of shape {vector.shape} and type {vector.dtype}")
        return vector.astype(np.float64).tolist()  # type: ignore[no-any-return]
    except (OSError, ValueError, TypeError, EOFError, MemoryError) as error:
        raise UnusableFile(f"{path} holds no vector of numbers: {getattr(error, 'strerror', None) or error}") from error


def tensor_bytes(tensors: Mapping[str, Tensor], header: Mapping[str, str] | None = None) -> bytes:
    """Return the content of a safetensors file of tensors, with a header of strings: always the same bytes."""
    from safetensors.torch import save

    return _in_order(save({name: tensor.contiguous() for name, tensor in tensors.items()}, dict(header or {})))


def _in_order(data: bytes) -> bytes:
    """Return a safetensors file with the strings of its header sorted, which the library writes in any order."""
    start = 8 + int.from_bytes(data[:8], "little")
    content = json.loads(data[8:start])
    if strings := content.get("__metadata__"):
        content["__metadata__"] = dict(sorted(strings.items()))
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[start:]


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, str] | None = None) -> None:
    """Write tensors as safetensors, with a header of strings."""
    data = tensor_bytes(tensors, header)
    with whole(path) as temporary:
        temporary.write_bytes(data)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file: its tensors and its header. Nothing in it is executed.

    Raises:
        UnusableFile: The file is missing, truncated or something else than safetensors.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with path.open("rb"):  # a folder, or no permission: the system says so more plainly than safetensors does
            pass
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except FileNotFoundError:
        raise UnusableFile(f"there is no file {path}") from None
    except OSError as error:
        raise UnusableFile(f"cannot read {path}: {error.strerror or error}") from error
    except SafetensorError as error:
        raise UnusableFile(
            f"{path} is not a whole safetensors file ({error}); only safetensors are read, never pickles: "
            "convert a checkpoint with `samplerhub convert`"
        ) from error


def writable_folder(path: Path) -> Path:
    """Create a folder where needed and make sure that a file can be written in it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".probe-{secrets.token_hex(4)}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UnusableFile(
            f"cannot write to the folder {path}: {error.strerror or error}; choose another with --out DIR"
        ) from error
    return path
