"""Checkpoints of other projects as safetensors: the tensors of a network, and what is known of it."""

from __future__ import annotations

import hashlib
import json
import pickle
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from samplerhub import pickles
from samplerhub.checkpoint import Network, facts_beside, networks_in, readable
from samplerhub.errors import InvalidSetting, UnusableFile
from samplerhub.files import Json, write_tensors

PREFERRED = ("ema", "model_ema", "ema_state_dict", "", "state_dict", "model_state_dict", "model", "net", "network")
"""Parts of a checkpoint that are taken where none is asked for, the likeliest first; the empty one is all of it."""
HEADER = "samplerhub.converted"
"""Key of the safetensors header under which a converted file says what it is."""


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
        found = [(path, network) for path, network in networks_in(checkpoint) if network.tensors or network.left_out]
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
    beside = facts_beside(checkpoint) if chosen else {}
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
    skipped = [readable(name) for name in pickles.names_in(_program(source, data)) if not pickles.is_built(name)]
    return f"; what it asks for, {', '.join(skipped[:6])}, was not called" if skipped else ""


def _refusal(source: Path, data: bytes) -> str:
    names = [readable(name) for name in pickles.names_in(_program(source, data))]
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
