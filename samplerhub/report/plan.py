"""What a chart is drawn from: lines of points, in panels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Point:
    """A figure, and what it is drawn against."""

    x: float
    y: float
    stderr: float | None = None

    @property
    def drawn(self) -> bool:
        """Whether it can be drawn."""
        return math.isfinite(self.x) and math.isfinite(self.y)


@dataclass(frozen=True, slots=True)
class Line:
    """Figures that belong together."""

    label: str
    index: int | None
    """Which of the colours it has; None: that of the text."""
    points: tuple[Point, ...]
    dashed: bool = False
    shape: int = 0
    """Which mark it has."""
    short: str = ""
    """What stands where it ends, if not the label."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a chart is drawn from."""

    title: str
    x: str
    y: str
    panels: Mapping[str, Sequence[Line]]
    banded: bool = False
    """Whether errors are bands, not bars."""
    falling: bool = False
    """Whether the horizontal axis falls from left to right."""
    notes: tuple[str, ...] = ()
