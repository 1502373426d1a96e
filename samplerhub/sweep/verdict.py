"""Which of several single runs is the best by a metric, as far as their standard errors tell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from samplerhub.manifest import Manifest
from samplerhub.sweep.identity import asked, digest, how_measured, rounded
from samplerhub.sweep.kept import Figure
from samplerhub.sweep.table import LEVEL, chance


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a metric says."""

    best: int | None = None
    """Which run is the best; None where they cannot be compared, or fewer than two have the metric."""
    chances: tuple[float | None, ...] = ()
    """How often chance alone makes a difference as large as that to the best; None for the best itself."""
    why_not: str = ""

    def tied(self) -> list[int]:
        """Return the runs that cannot be told from the best."""
        return [i for i, p in enumerate(self.chances) if p is not None and p > LEVEL]


def verdict(name: str, manifests: Sequence[Manifest]) -> Verdict:
    """Say which run is the best by a metric: by a z-test on the standard errors against the best."""
    found = {i: one.estimates[name] for i, one in enumerate(manifests) if name in one.estimates}
    if len(found) < 2:
        return Verdict(why_not="one run has it")
    why_not = _apples_and_pears(name, [manifests[i] for i in found])
    if why_not:
        return Verdict(why_not=why_not)
    figures = {i: Figure(one.value, one.stderr, one.better) for i, one in found.items()}
    best = min(figures, key=lambda i: figures[i].key())
    chances = [
        None if i == best or i not in figures else _chance(figures[best], figures[i]) for i in range(len(manifests))
    ]
    return Verdict(best, tuple(chances))


def _chance(a: Figure, b: Figure) -> float:
    if math.isfinite(a.value) and math.isfinite(b.value):
        return chance(a, b)
    return float(a.key() == b.key())


def _apples_and_pears(name: str, manifests: Sequence[Manifest]) -> str:
    """Return why figures of one name do not measure the same; nothing where they do."""
    if len({digest(asked(m.components.get("target"))) for m in manifests}) > 1:
        return "another target"
    levels = {rounded(m.rho) for m in manifests if m.rho is not None}
    if len(levels) > 1:
        return f"other noise levels: {', '.join(f'{level:.3g}' for level in sorted(levels))}"
    how = [how_measured(m, name) for m in manifests]
    if len({digest(one.get("features")) for one in how}) > 1:
        return "other features"
    return "measured otherwise" if len({digest(one["metric"]) for one in how}) > 1 else ""
