"""Pickles as data: tensors and plain containers are built, and whatever else one asks for is noted, never called.

A pickle is a program for a small machine that can call any function of any module. The reader here gives that machine
a handful of functions that build tensors; every other name becomes a class that keeps its arguments and does nothing.
"""

from __future__ import annotations

import pickle
import pickletools
import sys
import tarfile
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from io import BytesIO
from typing import IO, Any, ClassVar

import torch
from torch import Tensor
from torch.serialization import SourceChangeWarning

LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""What a file of `torch.save` began with before it was an archive: its magic number, pickled."""


class Inert:
    """What stands for an object of a pickle whose class is not built: what the pickle says of it, and no behaviour."""

    module: ClassVar[str] = ""
    name: ClassVar[str] = ""
    dump_patches: ClassVar[bool] = False
    """Asked for by torch of every class whose source an old file carries."""
    args: tuple[object, ...]
    kwargs: dict[str, object]
    state: object
    entries: dict[Any, object]
    elements: list[object]

    def __new__(cls, *args: object, **kwargs: object) -> Inert:
        """Keep any arguments: a pickle may make an object without `__init__`."""
        self = super().__new__(cls)
        self.args = args
        self.kwargs = kwargs
        self.state = None
        self.entries = {}
        self.elements = []
        return self

    def __init__(self, *args: object, **kwargs: object) -> None:
        """Do nothing."""

    def __setstate__(self, state: object) -> None:
        self.state = state

    def __setitem__(self, key: object, value: object) -> None:
        self.entries[key] = value

    def append(self, element: object) -> None:
        """Keep an element of what would have been a list."""
        self.elements.append(element)


def _inert(module: str, name: str) -> type[Inert]:
    return type("Inert", (Inert,), {"module": module, "name": name})


def _tensor(storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object) -> Tensor:
    """Build a tensor on its storage, without the hooks that a pickle may hang on it."""
    tensor: Tensor = torch._utils._rebuild_tensor(storage, offset, size, stride)  # type: ignore[no-untyped-call]
    return tensor


def _parameter(data: Tensor, *_: object) -> Tensor:
    return data


def _storage(data: bytes) -> object:
    """Read a storage that was saved within a pickle."""
    return load_weights(BytesIO(data))


def _encoded(text: str, encoding: str) -> bytes:
    """Return the bytes that old protocols write as text."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes are encoded as {encoding!r}")
    return text.encode("latin1")


DTYPES = {("torch", name): value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}
BUILT: Mapping[tuple[str, str], Callable[..., object] | torch.dtype] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    ("_codecs", "encode"): _encoded,
    ("torch", "Size"): torch.Size,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch.storage", "_load_from_bytes"): _storage,
    **DTYPES,
}
"""All that a pickle can have called."""


def is_built(name: str) -> bool:
    """Say whether what a pickle asks for by a name, ``torch.Size``, is built, and not only noted."""
    return name in {f"{module}.{known}" for module, known in BUILT}


class Unpickler(pickle.Unpickler):
    """The reader; with `load` it makes this module one that `torch.load` takes in place of pickle."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name."""
        return BUILT.get((module, name)) or _inert(module, name)


def load(file: IO[bytes], **options: Any) -> Any:
    """Read one pickle."""
    return Unpickler(file, **options).load()


def load_weights(file: IO[bytes]) -> Any:
    """Read a file of `torch.save` that holds tensors and plain containers only; nothing in it is called.

    Raises:
        UnpicklingError: There is more in it.
    """
    if tarfile.is_tarfile(file):  # read by torch with pickle, whatever is asked of it, in versions before 2.6
        raise pickle.UnpicklingError("it is a tar archive")
    file.seek(0)
    return torch.load(file, map_location="cpu", weights_only=True)


def load_inert(file: IO[bytes]) -> Any:
    """Read a file of `torch.save` with the reader of this module."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SourceChangeWarning)  # old files carry the source of their classes
        return torch.load(file, map_location="cpu", weights_only=False, pickle_module=sys.modules[__name__])


def names_in(data: bytes) -> list[str]:
    """Return the names that the pickles at the head of a file ask for, found by reading instructions; none is run."""
    found: dict[str, None] = {}
    stream = BytesIO(data)
    with suppress(Exception):  # behind the pickles there may be anything
        while stream.tell() < len(data):
            for name in _names(stream):
                found[name] = None
    return list(found)


def _names(stream: IO[bytes]) -> Iterator[str]:
    memo: dict[object, str] = {}
    strings = ["", ""]
    for code, argument, _ in pickletools.genops(stream):
        if code.name == "GLOBAL":
            yield str(argument).replace(" ", ".")
        elif code.name == "STACK_GLOBAL":
            yield ".".join(strings[-2:])
        elif "UNICODE" in code.name:
            strings.append(str(argument))
        elif code.name == "MEMOIZE":
            memo[len(memo)] = strings[-1]
        elif code.name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[argument] = strings[-1]
        elif code.name in ("GET", "BINGET", "LONG_BINGET"):
            strings.append(memo.get(argument, ""))
