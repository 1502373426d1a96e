"""Axes of a chart: what is drawn where, and the ticks; logarithmic where positive figures span more than a decade."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from matplotlib.ticker import MaxNLocator

from samplerhub.report.words import tick

DECADE = 10
"""Positive figures that differ by more than this factor are drawn on a logarithmic axis."""
MOST_TICKS = 6


@dataclass(frozen=True, slots=True)
class Axis:
    """A range of values, and the range of pixels that shows it."""

    low: float
    high: float
    start: float
    """Where the low end is drawn."""
    end: float
    logarithmic: bool = False

    def at(self, value: float) -> float:
        """Return where a value is drawn; what lies outside, at the nearest end."""
        low, high = self._scaled(self.low), self._scaled(self.high)
        share = (self._scaled(min(max(value, self.low), self.high)) - low) / (high - low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[tuple[float, str]]:
        """Return where ticks are, and what they are called."""
        return [(self.at(value), tick(value)) for value in self._round() if self.low <= value <= self.high]

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self.logarithmic else value

    def _round(self) -> list[float]:
        if not self.logarithmic:
            return [float(v) for v in MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(self.low, self.high)]
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        every = max(1, math.ceil((last - first) / MOST_TICKS))
        digits = (1, 2, 5) if last - first <= 2 else (1, 3) if last - first <= 3 else (1,)
        return [digit * 10.0**power for power in range(first, last + 1, every) for digit in digits]


def fitting(values: Iterable[float], start: float, end: float, zero: bool = False) -> Axis:
    """Return an axis for values; those that are not finite are left out.

    Args:
        values: What is to be shown.
        start: Where its low end is drawn.
        end: Where its high end is drawn.
        zero: Whether zero belongs to a linear axis where it is not far.
    """
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    if low > 0 and high > DECADE * low:
        margin = (high / low) ** 0.06
        return Axis(max(low / margin, 5e-324), min(high * margin, 1.7e308), start, end, True)
    if zero and 0 <= low < 0.6 * high:
        low = 0.0
    margin = 0.06 * (high - low) or 0.06 * abs(high) or 1.0
    floor = low if zero and low == 0 < high else low - margin
    return Axis(floor, high + margin, start, end)
