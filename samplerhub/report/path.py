"""Charts of what was measured along the path, with the bounds on it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from samplerhub.manifest import MetricRecord, PointRecord
from samplerhub.report.boards import Board, Colours
from samplerhub.report.chart import Chart, chart, spread
from samplerhub.report.plan import Line, Plan, Point
from samplerhub.report.words import in_words, listed
from samplerhub.sweep import Group

POINTS = 60
"""Times of a curve that are drawn."""
NAMES = {"kl": "KL(generated | target), in nats,", "kl-reverse": "KL(target | generated), in nats,"}


def along_the_path(board: Board, colours: Colours) -> list[Chart]:
    """Return a chart for each quantity that was recorded along the path, a panel for each budget."""
    rest = [name for name in board.axes if name != colours.axis]
    panels: dict[str, dict[str, list[Line]]] = {}
    groups = sorted(board.groups, key=lambda group: group.budget)
    for group in groups:
        title = in_words(group.axes, rest)
        for name, estimates in _curves(group):
            quantity = _quantity(name, estimates[0])
            bound = bool(estimates[0].bounds)
            tint, own = colours.of(group), colours.label(group)
            several = len(_named(board, quantity)) > 1
            label = f"{own} {'≤ ' if bound else ''}{name}" if several else own
            alone = len(_named(board, quantity, bound)) == 1
            line = Line(label, tint, _mean(estimates), bound, tint, f"{'≤ ' if bound else ''}{own}" if alone else "")
            panels.setdefault(quantity, {}).setdefault(title, []).append(line)
    charts = [
        chart(
            Plan(
                f"{NAMES.get(quantity, quantity)} along the path",
                "noise level",
                quantity,
                found,
                banded=True,
                falling=True,
                notes=tuple(_notes(board, quantity)),
            )
        )
        for quantity, found in panels.items()
    ]
    return [one for one in charts if one is not None]


def _quantity(name: str, estimate: MetricRecord) -> str:
    """Return what a curve shows."""
    return estimate.curve_of or estimate.bounds or estimate.quantity or name


def _named(board: Board, quantity: str, bound: bool | None = None) -> list[str]:
    """Return the metrics that have a curve of a quantity: all, those that bound it, or those that measure it."""
    found = [(name, estimates[0]) for group in board.groups for name, estimates in _curves(group)]
    return list(
        dict.fromkeys(
            name
            for name, estimate in found
            if _quantity(name, estimate) == quantity and bound in (None, bool(estimate.bounds))
        )
    )


def _notes(board: Board, quantity: str) -> Iterator[str]:
    """Yield what has to be said of the curves of a quantity."""
    yield "Sampling runs from left to right. Bands are one standard error."
    bounds, measured = _named(board, quantity, True), _named(board, quantity, False)
    if bounds:
        yield f"Dashed: {listed(bounds)}, {'an upper bound' if len(bounds) == 1 else 'upper bounds'}."
    below = [
        bound
        for bound in bounds
        if any(
            group.figures[bound].value < group.figures[name].value - 2 * (group.figures[name].stderr or 0.0)
            for group in board.groups
            for name in measured
            if {bound, name} <= group.figures.keys()
        )
    ]
    if below:
        yield f"Where {listed(below)} lies below what was measured, the run has errors that it does not cover."


def _curves(group: Group) -> Iterator[tuple[str, list[MetricRecord]]]:
    """Yield each metric that has a curve, and its curves at the same times, of one seed each."""
    for name in group.figures:
        found = [run.manifest.estimates[name] for run in group.having(name)]
        found = [estimate for estimate in found if estimate.curve]
        if found:
            times = [point.t for point in found[0].curve]
            yield name, [estimate for estimate in found if [point.t for point in estimate.curve] == times]


def _mean(estimates: Sequence[MetricRecord]) -> tuple[Point, ...]:
    """Return the mean of curves over seeds, with its standard error; of one curve that of its own estimate."""
    levels = [point.rho for point in estimates[0].curve if point.rho > 0]
    floor = min(levels, default=0.0)
    columns = spread(list(zip(*(estimate.curve for estimate in estimates))), POINTS)
    return tuple(_point(column, max(column[0].rho, floor)) for column in columns)


def _point(column: Sequence[PointRecord], rho: float) -> Point:
    values, n = [point.value for point in column], len(column)
    mean = sum(values) / n
    if n == 1 or not math.isfinite(mean):
        return Point(rho, mean, column[0].stderr)
    return Point(rho, mean, math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1) / n))
