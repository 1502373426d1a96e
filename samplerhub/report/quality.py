"""Charts of a figure against the evaluations that were spent, and against churn."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence

from pydantic import JsonValue

from samplerhub.report.boards import SPENT, Board, Colours, is_churn
from samplerhub.report.chart import Chart, chart
from samplerhub.report.plan import Line, Plan, Point
from samplerhub.report.words import in_words
from samplerhub.sweep import Group

Axes = dict[str, JsonValue]


def against_nfe(board: Board, metric: str, colours: Colours) -> Chart | None:
    """Return the figure against the evaluations per sample, a panel for each value of what else varies."""
    having = [group for group in board.groups if metric in group.figures]
    rest = [name for name in board.axes if name not in (*SPENT, colours.axis)]
    panels = {
        title: _coloured(within, metric, colours, lambda group: group.nfe)
        for title, within in _panels(having, rest).items()
    }
    return chart(Plan(f"{metric} against NFE", "NFE", metric, panels))


def against_churn(board: Board, metric: str, colours: Colours) -> Chart | None:
    """Return the figure against churn, a panel for each budget and value of what else varies."""
    having = [group for group in board.groups if metric in group.figures and _churn(group) is not None]
    having.sort(key=lambda group: group.budget)
    coloured = not is_churn(colours.axis)
    rest = [name for name in board.axes if not is_churn(name) and not (coloured and name == colours.axis)]
    if coloured:
        panels = {
            title: _coloured(within, metric, colours, lambda group: _churn(group) or 0.0)
            for title, within in _panels(having, rest).items()
        }
    else:
        panels = {"": _by_budget(having, metric, rest)}
    steps = [name for name in rest if name == "steps"]
    notes = ("At equal steps: with churn a step may spend more evaluations.",) if steps else ()
    return chart(Plan(f"{metric} against churn", "churn", metric, panels, notes=notes))


def _churn(group: Group) -> float | None:
    """Return the churn of a group, where it is a number that was asked for."""
    values = [value for name, value in group.axes.items() if is_churn(name)]
    return next((float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)), None)


def _panels(groups: Sequence[Group], names: Sequence[str]) -> dict[str, list[Group]]:
    """Return the groups by the values of axes; one that lacks an axis is in the panels of all its values."""
    found: dict[str, Axes] = {}
    for group in groups:
        axes = {name: group.axes[name] for name in names if name in group.axes}
        found[json.dumps(axes, sort_keys=True)] = axes
    whole = [axes for axes in found.values() if not any(_less(axes, other) for other in found.values())]
    return {
        in_words(axes): [g for g in groups if all(g.axes.get(n, axes.get(n)) == axes.get(n) for n in names)]
        for axes in whole
    }


def _less(axes: Mapping[str, JsonValue], other: Mapping[str, JsonValue]) -> bool:
    return len(axes) < len(other) and all(name in other and other[name] == value for name, value in axes.items())


def _coloured(groups: Iterable[Group], metric: str, colours: Colours, at: Callable[[Group], float]) -> list[Line]:
    lines: dict[int, list[Point]] = {}
    for group in groups:
        lines.setdefault(colours.of(group), []).append(_point(group, metric, at(group)))
    return [Line(colours.labels[i], i, _sorted(points), shape=i) for i, points in sorted(lines.items())]


def _by_budget(groups: Iterable[Group], metric: str, names: Sequence[str]) -> list[Line]:
    lines: dict[str, list[Point]] = {}
    for group in groups:
        lines.setdefault(in_words(group.axes, names), []).append(_point(group, metric, _churn(group) or 0.0))
    return [Line(label, None, _sorted(points), shape=i) for i, (label, points) in enumerate(lines.items())]


def _point(group: Group, metric: str, at: float) -> Point:
    figure = group.figures[metric]
    return Point(at, figure.value, figure.stderr)


def _sorted(points: Iterable[Point]) -> tuple[Point, ...]:
    return tuple(sorted(points, key=lambda point: point.x))
