"""A chart: small panels that share their axes, each a few lines with error bars, and the same numbers as a table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from samplerhub.report.axis import Axis, fitting
from samplerhub.report.plan import Line, Plan, Point
from samplerhub.report.told import described, table, undrawn
from samplerhub.report.words import count, number, plus_minus

T = TypeVar("T")
WIDTH, HEIGHT = 360, 236
LEFT, RIGHT, TOP, BOTTOM = 48, 78, 12, 36
SPACING, LABEL = 13, 13
"""Pixels between two labels, and characters of one."""
PANELS = 6
"""Panels of a chart."""
LABELLED = 8
"""Lines that are labelled where they end; more have only the legend."""
MARKED = 40
"""Points of a line that have a mark each."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A line in pixels."""

    line: Line
    path: str
    bars: str
    band: str
    marks: tuple[tuple[str, str, str], ...]
    """Place, and what is said of it."""


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel in pixels."""

    title: str
    lines: tuple[Drawn, ...]
    labels: tuple[tuple[str, str, int | None], ...]
    """Height, text and colour of the labels at the right."""
    description: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart."""

    title: str
    x: str
    y: str
    panels: tuple[Panel, ...]
    across: tuple[tuple[str, str], ...]
    """Ticks of the horizontal axis."""
    up: tuple[tuple[str, str], ...]
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    logarithmic: tuple[bool, bool] = (False, False)
    right: int = WIDTH - RIGHT


def chart(plan: Plan) -> Chart | None:
    """Return a chart, or None where nothing can be drawn."""
    shown = spread(list(plan.panels.items()), PANELS)
    points = [p for _, lines in shown for line in lines for p in line.points if p.drawn]
    if len({p.x for p in points}) < 2:
        return None
    labelled = max(len(lines) for _, lines in shown) <= LABELLED
    right = WIDTH - (RIGHT if labelled else 14)
    x = fitting([p.x for p in points], *((right, LEFT) if plan.falling else (LEFT, right)))
    ends = [p.y + sign * (p.stderr or 0) for p in points for sign in (-1, 1)]
    y = fitting(_above_zero(points), HEIGHT - BOTTOM, TOP, zero=True)
    at_zero = [p for p in points if p.y <= 0] if y.logarithmic else []
    if not y.logarithmic:
        y = fitting(ends, HEIGHT - BOTTOM, TOP, zero=True)
    panels = [_panel(title, lines, x, y, plan, labelled) for title, lines in shown]
    left_out = len(plan.panels) - len(shown)
    notes = (*plan.notes, *undrawn(shown))
    if at_zero:
        notes = (*notes, f"Not above zero, so drawn at the lower end: {count(len(at_zero), 'figure')}.")
    if left_out:
        notes = (*notes, f"{count(left_out, 'panel')} more: their numbers are in the leaderboard.")
    header, rows = table(shown, plan)
    return Chart(
        plan.title,
        plan.x,
        plan.y,
        tuple(panels),
        tuple((pixel(at), label) for at, label in _apart(x.ticks(), 26)),
        tuple((pixel(at), label) for at, label in y.ticks()),
        header,
        rows,
        notes,
        (x.logarithmic, y.logarithmic),
        right,
    )


def _above_zero(points: Sequence[Point]) -> list[float]:
    """Return the figures without those that are zero but for chance, or next to the others: they have no logarithm."""
    least = min((p.y for p in points if p.y > 0), default=0.0)
    return [p.y for p in points if p.y > 0 or -p.y > max(least, 2 * (p.stderr or 0.0))]


def spread(items: Sequence[T], most: int) -> list[T]:
    """Return so many items at most, the first and the last and those between evenly spread."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def pixel(value: float) -> str:
    """Return a coordinate."""
    return f"{value:.1f}".removesuffix(".0")


def _apart(ticks: Iterable[tuple[float, str]], least: float) -> list[tuple[float, str]]:
    """Return the ticks whose labels do not touch."""
    kept: list[tuple[float, str]] = []
    for at, label in ticks:
        if not kept or abs(at - kept[-1][0]) >= max(least, 3.6 * (len(label) + len(kept[-1][1]))):
            kept.append((at, label))
    return kept


def _panel(title: str, lines: Sequence[Line], x: Axis, y: Axis, plan: Plan, labelled: bool) -> Panel:
    drawn = tuple(_drawn(line, x, y, plan) for line in lines)
    return Panel(title, drawn, tuple(_labels(lines, y)) if labelled else (), described(lines, plan))


def _drawn(line: Line, x: Axis, y: Axis, plan: Plan) -> Drawn:
    path, bars, upper, lower, marks = "", "", [], [], []
    pen = "M"
    for p in line.points:
        if not p.drawn:
            pen = "M"
            continue
        across, up = pixel(x.at(p.x)), pixel(y.at(p.y))
        path += f"{pen}{across} {up}"
        pen = "L"
        marks.append((across, up, f"{line.label}: {plan.x} {number(p.x)}, {plan.y} {plus_minus(p.y, p.stderr)}"))
        if p.stderr and math.isfinite(p.stderr):
            low, high = pixel(y.at(max(y.low, p.y - p.stderr))), pixel(y.at(min(y.high, p.y + p.stderr)))
            upper.append(f"{across} {high}")
            lower.append(f"{across} {low}")
            bars += f"M{across} {low}V{high}m-3 0h6M{across} {low}m-3 0h6"
    band = f"M{'L'.join([*upper, *reversed(lower)])}Z" if plan.banded and len(upper) > 1 else ""
    return Drawn(line, path, "" if plan.banded else bars, band, tuple(marks) if len(marks) <= MARKED else ())


def _labels(lines: Sequence[Line], y: Axis) -> Iterable[tuple[str, str, int | None]]:
    """Yield the labels of lines, each where its line ends but not on top of another."""
    ends = [(line, [p for p in line.points if p.drawn]) for line in lines]
    wanted = sorted(((y.at(points[-1].y), line) for line, points in ends if points), key=lambda one: one[0])
    places: list[float] = []
    for at, _ in wanted:
        places.append(max(at, places[-1] + SPACING) if places else max(at, TOP))
    over = places[-1] - (HEIGHT - BOTTOM) if places else 0
    if over > 0:  # push those at the bottom up again
        places[-1] -= over
        for i in range(len(places) - 2, -1, -1):
            places[i] = min(places[i], places[i + 1] - SPACING)
    for place, (_, line) in zip(places, wanted):
        label = line.short or line.label
        label = label if len(label) <= LABEL else f"{label[: LABEL - 1]}…"
        yield pixel(place), label, line.index
