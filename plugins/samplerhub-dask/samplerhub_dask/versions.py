"""Versions of what decides the bits of a result, and of what has to understand each other."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import entry_points, version

NAMES = ("distributed", "numpy", "samplerhub", "torch")


def versions() -> dict[str, str]:
    """Return the versions that are installed here: of python, of what computes, and of all plugins."""
    plugins = {point.dist.name: point.dist.version for point in entry_points(group="samplerhub") if point.dist}
    return {"python": platform.python_version()} | {name: version(name) for name in NAMES} | plugins


def differences(theirs: Mapping[str, str]) -> str:
    """Return in which versions a worker differs from this process, in words; nothing where it does not."""
    return ", ".join(
        f"{name} {theirs.get(name, 'is not installed')} (here {ours})"
        for name, ours in versions().items()
        if theirs.get(name) != ours
    )
