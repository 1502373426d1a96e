"""Distributions with a plugin, made for a test."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HEAD = "from samplerhub.plugin import Entry, hookimpl\n"
HOOK = HEAD + "@hookimpl\ndef samplerhub_entries():\n    "


def entries(*lines: str) -> str:
    """Return a plugin's source with these arguments of its entries."""
    return f"{HOOK}return [{', '.join(f'Entry({line})' for line in lines)}]\n"


def write_distribution(folder: Path, name: str, source: str, requires: Sequence[str] = ()) -> None:
    """Write a distribution of one module, as an installer would leave it."""
    module = name.replace("-", "_")
    (folder / f"{module}.py").write_text(source)
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    needs = "".join(f"Requires-Dist: {line}\n" for line in requires)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{needs}")
    (info / "entry_points.txt").write_text(f"[samplerhub]\n{name} = {module}\n")


def command(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``samplerhub`` with the distributions of a folder installed."""
    paths = os.pathsep.join([str(folder), *filter(None, sys.path)])
    return subprocess.run(
        [sys.executable, "-m", "samplerhub", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths, "COLUMNS": "200", **environment},
        check=False,
    )
