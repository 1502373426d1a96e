"""Checkpoints of other projects as safetensors: the tensors of a network, and what is known of it."""

from __future__ import annotations

import hashlib
import json
import pickle
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from samplerhub import pickles
from samplerhub.errors import InvalidSetting, UnusableFile
from samplerhub.files import Json, write_tensors
from samplerhub.pickles import Inert

PREFERRED = ("ema", "model_ema", "ema_state_dict", "", "state_dict", "model_state_dict", "model", "net", "network")
"""Parts of a checkpoint that are taken where none is asked for, the likeliest first; the empty one is all of it."""
HEADER = "samplerhub.converted"
"""Key of the safetensors header under which a converted file says what it is."""


@dataclass(frozen=True)
class Network:
    """A network as a checkpoint has it."""

    tensors: Mapping[str, Tensor]
    """Parameters and buffers, named as in a state_dict."""
    facts: Mapping[str, Json]
    """What is known of it: its class and arguments, sigma_data and other plain attributes, plain values beside it."""


@dataclass(frozen=True)
class Conversion:
    """What was converted."""

    part: str
    """Which part of the checkpoint; empty for all of it."""
    network: Network
    left_out: tuple[str, ...]
    """Other parts of the checkpoint that hold tensors."""

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
    networks = dict(_networks(checkpoint))
    if not networks:
        raise UnusableFile(f"{source} holds no tensors: it is no checkpoint of a network")
    chosen = _chosen(source, networks, part)
    network = networks[chosen]
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
    return Conversion(chosen, network, tuple(name for name in networks if name != chosen))


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


def _refusal(source: Path, data: bytes) -> str:
    names = pickles.names_in(_program(source, data))
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


def _networks(found: object, path: str = "") -> Iterator[tuple[str, Network]]:
    """Yield the parts of a checkpoint that hold tensors: dictionaries of them, and modules."""
    if isinstance(found, Inert) and not found.entries:
        tensors = dict(_module_tensors(found))
        if tensors:
            yield path, Network(tensors, _module_facts(found))
        return
    entries = found.entries if isinstance(found, Inert) else found
    if not isinstance(entries, Mapping):
        return
    tensors = {str(name): value for name, value in entries.items() if _plain_tensor(value)}
    if tensors:
        yield path, Network(tensors, _facts(entries))
    for name, value in entries.items():
        if not isinstance(value, Tensor):
            yield from _networks(value, f"{path}.{name}" if path else str(name))


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
    return isinstance(value, Tensor) and value.layout == torch.strided and not value.is_quantized


def _described(module: Inert) -> tuple[str, Mapping[str, Any]]:
    """Return the class of a module and its attributes.

    The pickles of EDM and StyleGAN carry a class's source code, and rebuild it from a dictionary of class_name,
    module_src and state; only the name and the state are looked at.
    """
    meta = _as_mapping(module.args[0]) if len(module.args) == 1 else {}
    if "class_name" in meta and "state" in meta:
        return str(meta["class_name"]), _as_mapping(meta["state"])
    return f"{module.module}.{module.name}", _as_mapping(module.state)


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
            if _plain_tensor(value) and not (kind == "_buffers" and name in passing):
                yield f"{prefix}{name}", value
    for name, inner in _as_mapping(state.get("_modules")).items():
        if isinstance(inner, Inert):
            yield from _module_tensors(inner, f"{prefix}{name}.")


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
        inner = {n: m for n, m in _as_mapping(state.get("_modules")).items() if isinstance(m, Inert)}
        facts |= {"modules": {n: _module_facts(m, depth - 1) for n, m in inner.items()}} if inner else {}
    return facts


def _facts(entries: Mapping[Any, object]) -> dict[str, Json]:
    """Return the entries that are plain values; those that begin with an underscore are nobody's business."""
    facts = {str(name): _json(value) for name, value in entries.items() if not str(name).startswith("_")}
    return {name: value for name, value in facts.items() if value is not None and name != "training"}


def _json(value: object) -> Json:
    """Return a plain value as JSON has it, or None for anything else."""
    if isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    if isinstance(value, list | tuple):
        parts = [_json(part) for part in value]
        return None if any(part is None for part in parts) else parts
    return None
