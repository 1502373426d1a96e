"""The networks within a checkpoint: containers of tensors, and modules, of which a pickle tells only the state."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from math import isfinite
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from samplerhub.errors import UnusableFile
from samplerhub.files import Json, tensor_bytes
from samplerhub.pickles import Inert

MOST = 100_000
"""More tensors than this in one network, or plain values in one list, are the work of a file that repeats itself."""


@dataclass(frozen=True)
class Network:
    """A network as a checkpoint has it."""

    tensors: Mapping[str, Tensor]
    """Parameters and buffers, named as in a state_dict."""
    facts: Mapping[str, Json]
    """What is known of it: its class and arguments, sigma_data and other plain attributes, plain values beside it."""
    left_out: tuple[str, ...] = ()
    """Its tensors that no safetensors file can hold, each with its kind."""
    clashes: tuple[str, ...] = ()
    """Names that more than one of its tensors has."""


def networks_in(
    found: object, path: str = "", above: frozenset[int] = frozenset(), walked: set[int] | None = None
) -> Iterator[tuple[str, Network]]:
    """Yield the parts of a checkpoint that hold tensors: containers of them, and modules.

    A container is walked once, wherever it is found again, and never within itself.
    """
    walked = set() if walked is None else walked
    if isinstance(found, Inert) and "_parameters" in _described(found)[1]:
        yield path, _network(_module_tensors(found), _module_facts(found))
        return
    entries = list(_entries({"tensor": found} if isinstance(found, Tensor) else found))
    yield path, _network(((n, v) for n, v in entries if isinstance(v, Tensor)), _facts(dict(entries)))
    if id(found) in walked:
        return
    walked.add(id(found))
    above |= {id(found)}
    for name, value in entries:
        if not isinstance(value, Tensor) and id(value) not in above:
            yield from networks_in(value, f"{path}.{name}" if path else name, above, walked)


def _network(named: Iterable[tuple[str, Tensor]], facts: Mapping[str, Json]) -> Network:
    tensors, left_out, clashes = {}, [], []
    for count, (name, tensor) in enumerate(named):
        if count == MOST:
            raise UnusableFile(
                f"the checkpoint has a network of more than {MOST:,} tensors: the same ones again and again"
            )
        if not _plain_tensor(tensor):
            left_out.append(f"{name} ({_kind(tensor)})")
        elif name in tensors:
            clashes.append(name)
        else:
            tensors[name] = tensor
    return Network(tensors, facts, tuple(left_out), tuple(clashes))


def _entries(found: object) -> Iterator[tuple[str, object]]:
    """Yield what a container holds, by name or number."""
    if isinstance(found, Inert):
        for part in (found.entries, found.elements, found.state):
            yield from _entries(part)
    elif isinstance(found, Mapping):
        yield from ((_name(key), value) for key, value in found.items())
    elif isinstance(found, list | tuple):
        yield from ((str(i), value) for i, value in enumerate(found))


def _name(key: object) -> str:
    """Return a key as text: a pickle may have any, and letters that UTF-8 has not."""
    if isinstance(key, int) and key.bit_length() <= 64:
        return str(key)
    return readable(key) if isinstance(key, str) else type(key).__name__


def readable(text: str) -> str:
    """Return text with letters that UTF-8 has not, which a pickle may have, as ``\\ud800``."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _plain_tensor(value: object) -> bool:
    return isinstance(value, Tensor) and not _kind(value)


def _kind(tensor: Tensor) -> str:
    """Return why a tensor cannot be written to a safetensors file; nothing where it can."""
    if tensor.layout != torch.strided:
        return str(tensor.layout).removeprefix("torch.")
    if tensor.is_quantized or tensor.is_meta:
        return "quantized" if tensor.is_quantized else "without data"
    return "" if _writable(tensor.dtype) else str(tensor.dtype).removeprefix("torch.")


@cache
def _writable(dtype: torch.dtype) -> bool:
    try:
        tensor_bytes({"tensor": torch.empty(0, dtype=dtype)})
    except (KeyError, ValueError, TypeError, RuntimeError, SafetensorError):
        return False
    return True


def _described(module: Inert) -> tuple[str, Mapping[str, Any]]:
    """Return the class of a module and its attributes.

    The pickles of EDM and StyleGAN carry a class's source code, and rebuild it from a dictionary of class_name,
    module_src and state; only the name and the state are looked at.
    """
    meta = _as_mapping(module.args[0]) if len(module.args) == 1 else {}
    if "class_name" in meta and "state" in meta:
        return readable(str(meta["class_name"])), _as_mapping(meta["state"])
    return readable(f"{module.module}.{module.name}"), _as_mapping(module.state)


def _as_mapping(value: object) -> Mapping[str, Any]:
    if isinstance(value, Inert):
        value = value.entries
    return value if isinstance(value, Mapping) else {}


def _module_tensors(
    module: Inert, prefix: str = "", count: Iterator[int] | None = None
) -> Iterator[tuple[str, Tensor]]:
    """Yield parameters and buffers under the names that a module's state_dict gives them."""
    count = itertools.count() if count is None else count
    if next(count) == MOST:
        raise UnusableFile(f"the checkpoint has a network of more than {MOST:,} modules: the same ones again and again")
    _, state = _described(module)
    passing = state.get("_non_persistent_buffers_set") or ()
    for kind in ("_parameters", "_buffers"):
        for name, value in _as_mapping(state.get(kind)).items():
            if isinstance(value, Tensor) and not (kind == "_buffers" and name in passing):
                yield f"{prefix}{_name(name)}", value
    for name, inner in _as_mapping(state.get("_modules")).items():
        if isinstance(inner, Inert):
            yield from _module_tensors(inner, f"{prefix}{_name(name)}.", count)


def _module_facts(module: Inert, depth: int = 1) -> dict[str, Json]:
    """Return the class, its arguments and its plain attributes, and those of the modules right below."""
    name, state = _described(module)
    facts: dict[str, Json] = {"class": name}
    arguments = _facts(_as_mapping(state.get("_init_kwargs")))
    positional = _json(state.get("_init_args") or ())
    facts |= {"arguments": arguments} if arguments else {}
    facts |= {"positional": positional} if positional else {}
    facts |= {"attributes": attributes} if (attributes := _facts(state)) else {}
    if depth:
        inner = {_name(n): m for n, m in _as_mapping(state.get("_modules")).items() if isinstance(m, Inert)}
        facts |= {"modules": {n: _module_facts(m, depth - 1) for n, m in inner.items()}} if inner else {}
    return facts


def facts_beside(checkpoint: object) -> dict[str, Json]:
    """Return the plain values of a checkpoint, beside its networks."""
    return _facts(_as_mapping(checkpoint))


def _facts(entries: Mapping[Any, object]) -> dict[str, Json]:
    """Return the entries that are plain values; those that begin with an underscore are nobody's business."""
    facts = {_name(name): _json(value) for name, value in entries.items() if not _name(name).startswith("_")}
    return {name: value for name, value in facts.items() if value is not None and name != "training"}


def _json(value: object) -> Json:
    """Return a plain value as JSON has it, or None for anything else, and for what holds itself or is very large."""
    return _sized(value, {})[0]


def _sized(value: object, known: dict[int, tuple[Json, int]]) -> tuple[Json, int]:
    """Return a value as JSON has it, and how many values it is made of; a list that is known is not looked at again."""
    if isinstance(value, str):
        return readable(value), 1
    if isinstance(value, bool | int):
        return (value if value.bit_length() <= 64 else None), 1
    if isinstance(value, float):
        return (value if isfinite(value) else str(value)), 1
    if not isinstance(value, list | tuple):
        return None, 1
    if id(value) not in known:
        known[id(value)] = None, 1  # what holds itself finds this
        parts = [_sized(part, known) for part in value]
        size = 1 + sum(size for _, size in parts)
        plain = size <= MOST and all(part is not None for part, _ in parts)
        known[id(value)] = ([part for part, _ in parts] if plain else None), size
    return known[id(value)]
