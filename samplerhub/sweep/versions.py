"""Runs that were made with different versions, which tables and rankings put beside each other all the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from samplerhub.sweep.kept import Kept


def mixed(runs: Iterable[Kept]) -> Iterator[str]:
    """Yield what was of several versions: samplerhub, torch, a plugin."""
    found: dict[str, Counter[str]] = {}
    for run in runs:
        for name, version in run.versions.items():
            found.setdefault(name, Counter())[version] += 1
    for name, versions in found.items():
        if len(versions) > 1:
            told = ", ".join(f"{version} ({count:,})" for version, count in sorted(versions.items()))
            yield f"the runs were made with different versions of {name}: {told}"
