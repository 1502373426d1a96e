"""A chart: small panels that share their axes, each a few lines with error bars, and the same numbers as a table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from samplerhub.report.axis import Axis, fitting
from samplerhub.report.words import count, listed, number, plus_minus

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
    notes: tuple[str, ...] = field(default=())


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
    notes = (*plan.notes, *_undrawn(shown))
    if at_zero:
        notes = (*notes, f"Not above zero, so drawn at the lower end: {count(len(at_zero), 'figure')}.")
    if left_out:
        notes = (*notes, f"{count(left_out, 'panel')} more: their numbers are in the leaderboard.")
    header, rows = _table(shown, plan)
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
    return Panel(title, drawn, tuple(_labels(lines, y)) if labelled else (), _described(lines, plan))


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


def _described(lines: Sequence[Line], plan: Plan) -> str:
    """Return what a panel shows, in words."""
    said = []
    for line in lines:
        points = [p for p in line.points if p.drawn]
        if points:
            first, last = points[0], points[-1]
            to = f" to {number(last.y)} at {number(last.x)}" if len(points) > 1 else ""
            said.append(f"{line.label} from {number(first.y)} at {plan.x} {number(first.x)}{to}")
    return f"{plan.y} against {plan.x}: {'; '.join(said)}." if said else f"{plan.y} against {plan.x}: no figures."


def _undrawn(panels: Sequence[tuple[str, Sequence[Line]]]) -> Iterable[str]:
    lost = [
        f"{line.label}{f' ({title})' if title else ''} at {number(p.x)}: {number(p.y)}"
        for title, lines in panels
        for line in lines
        for p in line.points
        if not p.drawn
    ]
    if lost:
        more = f" and {len(lost) - 4} more" if len(lost) > 4 else ""
        yield f"Not finite, so not drawn: {listed(lost[:4]) if not more else ', '.join(lost[:4])}{more}."


def _table(
    panels: Sequence[tuple[str, Sequence[Line]]], plan: Plan
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Return the numbers of all panels: a row for each place on the horizontal axis, a column for each line."""
    labels = list(dict.fromkeys(line.label for _, lines in panels for line in lines))
    titled = any(title for title, _ in panels)
    rows = []
    for title, lines in panels:
        found = {(line.label, p.x): plus_minus(p.y, p.stderr) for line in lines for p in line.points}
        for at in sorted({at for _, at in found}, reverse=plan.falling):
            cells = [found.get((label, at), "") for label in labels]
            rows.append((*([title] if titled else []), number(at), *cells))
    return (*(["panel"] if titled else []), plan.x, *labels), tuple(rows)
