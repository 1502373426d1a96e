"""Distributions with a plugin, made for a test."""

from __future__ import annotations

from pathlib import Path


def write_distribution(folder: Path, name: str, source: str) -> None:
    """Write a distribution of one module, as an installer would leave it."""
    module = name.replace("-", "_")
    (folder / f"{module}.py").write_text(source)
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[samplerhub]\n{name} = {module}\n")
