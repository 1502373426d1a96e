"""Checkpoints of other projects as safetensors: the tensors of a network, and what is known of it."""

from __future__ import annotations

import hashlib
import json
import pickle
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from samplerhub import pickles
from samplerhub.errors import InvalidSetting, UnusableFile
from samplerhub.files import Json, tensor_bytes, write_tensors
from samplerhub.pickles import Inert

PREFERRED = ("ema", "model_ema", "ema_state_dict", "", "state_dict", "model_state_dict", "model", "net", "network")
"""Parts of a checkpoint that are taken where none is asked for, the likeliest first; the empty one is all of it."""
HEADER = "samplerhub.converted"
"""Key of the safetensors header under which a converted file says what it is."""
MOST = 1_000_000
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


@dataclass(frozen=True)
class Conversion:
    """What was converted."""

    part: str
    """Which part of the checkpoint; empty for all of it."""
    network: Network
    left_out: tuple[str, ...]
    """Other parts of the checkpoint that hold tensors, and single tensors that no safetensors file can hold."""

    @property
    def numbers(self) -> int:
        """How many numbers the tensors hold."""
        return sum(t.numel() for t in self.network.tensors.values())


def convert(source: Path, out: Path, part: str | None = None, *, trust_pickle: bool = False) -> Conversion:
    """Write the tensors of a checkpoint to a safetensors file, with what is known of the network in its header.

    A file of `torch.save` with tensors and plain values is read as it is. Any other pickle is refused unless it is
    trusted, and then still read by an unpickler that calls nothing but what builds tensors. The architecture is code,
    and is not converted.

    Raises:
        UnusableFile: The source is missing, no checkpoint, or a pickle that is not trusted.
        InvalidSetting: It has several parts, or not the one that is asked for.
    """
    data = _bytes(source)
    checkpoint = _read(source, data, trust_pickle)
    try:
        found = [(path, network) for path, network in _networks(checkpoint) if network.tensors or network.left_out]
    except RecursionError:
        raise UnusableFile(f"{source} is nested too deeply, or in itself: it is no checkpoint of a network") from None
    networks = {path: network for path, network in found if network.tensors}
    lost = {f"{path}.{name}" if path else name: None for path, network in found for name in network.left_out}
    if not networks:
        raise UnusableFile(f"{source} holds no tensors{_instead(source, data, lost)}: it is no checkpoint of a network")
    chosen = _chosen(source, networks, part)
    network = networks[chosen]
    twice = network.clashes or [path for path, _ in found if path == chosen][1:]
    if twice:
        raise UnusableFile(f"{source}: more than one {'tensor' if network.clashes else 'part'} is called {twice[0]!r}")
    beside = _facts(_as_mapping(checkpoint)) if chosen else {}
    if beside:
        network = replace(network, facts={**network.facts, "checkpoint": beside})
    about: Json = {
        "source": source.name,
        "sha256": hashlib.sha256(data).hexdigest(),
        "part": chosen,
        "network": dict(network.facts),
    }
    tensors = {name: t.detach().clone() for name, t in network.tensors.items()}  # tied weights: once for each name
    write_tensors(out, tensors, {HEADER: json.dumps(about)})
    return Conversion(chosen, network, (*(name or "all of it" for name in networks if name != chosen), *lost))


# --- from a file to objects -------------------------------------------------------------------------------------------


def _bytes(source: Path) -> bytes:
    try:
        return source.read_bytes()
    except FileNotFoundError:
        raise UnusableFile(f"there is no file {source}") from None
    except OSError as error:
        raise UnusableFile(f"cannot read {source}: {error.strerror or error}") from error


def _read(source: Path, data: bytes, trusted: bool) -> Any:
    """Return what a checkpoint holds, by its first bytes: an archive of torch, a file of old torch, another pickle."""
    if data[8:9] == b"{" and int.from_bytes(data[:8], "little") <= len(data):
        raise UnusableFile(f"{source} is a safetensors file already: there is nothing to convert")
    of_torch = data.startswith((b"PK\x03\x04", pickles.LEGACY))
    if tarfile.is_tarfile(source) or not (of_torch or data.startswith(b"\x80")):
        raise UnusableFile(
            f"{source} is no checkpoint that is known: neither a file of torch.save nor a pickle of protocol 2 or later"
        )
    if of_torch:
        try:
            with source.open("rb") as file:
                return pickles.load_weights(file)
        except pickle.UnpicklingError:
            pass
        except Exception as error:
            raise _broken(source, error) from error
    if not trusted:
        raise UnusableFile(_refusal(source, data))
    try:
        with source.open("rb") as file:
            return pickles.load_inert(file) if of_torch else pickles.load(file)
    except Exception as error:
        raise _broken(source, error) from error


def _broken(source: Path, error: Exception) -> UnusableFile:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return UnusableFile(f"{source} is not a whole checkpoint: {reason}")


def _instead(source: Path, data: bytes, lost: Iterable[str]) -> str:
    """Say what a file without a network has in place of one."""
    if lost:
        return f" that a safetensors file can have, only {', '.join(lost)}"
    skipped = [_text(name) for name in pickles.names_in(_program(source, data)) if not pickles.is_built(name)]
    return f"; what it asks for, {', '.join(skipped[:6])}, was not called" if skipped else ""


def _refusal(source: Path, data: bytes) -> str:
    names = [_text(name) for name in pickles.names_in(_program(source, data))]
    shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    return (
        f"{source} is a pickle, and unpickling runs what its author put in it: it may read, send or delete your files. "
        + (f"This one asks for {shown}. " if shown else "")
        + "Nothing of it has been run. Ask for safetensors, or, if you trust whoever made it, say --trust-pickle: it "
        "is then read by an unpickler that builds tensors and plain values, and calls nothing else"
    )


def _program(source: Path, data: bytes) -> bytes:
    """Return the instructions of a pickle: the file, or the member of an archive that has them."""
    if not data.startswith(b"PK"):
        return data
    with zipfile.ZipFile(source) as archive:
        return b"".join(archive.read(name) for name in archive.namelist() if name.endswith("data.pkl"))


# --- from objects to networks -----------------------------------------------------------------------------------------


def _networks(
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
            yield from _networks(value, f"{path}.{name}" if path else name, above, walked)


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
    return _text(key) if isinstance(key, str) else type(key).__name__


def _text(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _chosen(source: Path, networks: Mapping[str, Network], part: str | None) -> str:
    listed = ", ".join(f"{name or 'all of it'} ({len(n.tensors)} tensors)" for name, n in list(networks.items())[:12])
    if part is not None:
        if part not in networks:
            raise InvalidSetting(f"--part {part}: {source} has no such part; it has {listed}")
        return part
    for name in (*PREFERRED, *networks):
        if name in networks and (name in PREFERRED or len(networks) == 1):
            return name
    raise InvalidSetting(f"{source} has several parts: choose one with --part; it has {listed}")


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
        return _text(str(meta["class_name"])), _as_mapping(meta["state"])
    return _text(f"{module.module}.{module.name}"), _as_mapping(module.state)


def _as_mapping(value: object) -> Mapping[str, Any]:
    if isinstance(value, Inert):
        value = value.entries
    return value if isinstance(value, Mapping) else {}


def _module_tensors(module: Inert, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield parameters and buffers under the names that a module's state_dict gives them."""
    _, state = _described(module)
    passing = state.get("_non_persistent_buffers_set") or ()
    for kind in ("_parameters", "_buffers"):
        for name, value in _as_mapping(state.get(kind)).items():
            if isinstance(value, Tensor) and not (kind == "_buffers" and name in passing):
                yield f"{prefix}{_name(name)}", value
    for name, inner in _as_mapping(state.get("_modules")).items():
        if isinstance(inner, Inert):
            yield from _module_tensors(inner, f"{prefix}{_name(name)}.")


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
        return _text(value), 1
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
