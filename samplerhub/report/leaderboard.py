"""The leaderboard: who leads at an equal number of evaluations, and who cannot be told from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from samplerhub.report.boards import Board, Colours
from samplerhub.report.words import figure, in_words, listed, number, text
from samplerhub.sweep import Group, ranking


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure of a row."""

    value: float
    shown: str
    error: str
    rank: int
    tied: bool


@dataclass(frozen=True, slots=True)
class Row:
    """A group of runs."""

    group: Group
    colour: int
    label: str
    axes: tuple[str, ...]
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True, slots=True)
class Leader:
    """Who leads in a figure, and who cannot be told from it."""

    words: str
    colour: int
    figure: str
    ties: str


@dataclass(frozen=True, slots=True)
class Budget:
    """The groups with the same budget, the best in the first figure first."""

    nfe: str
    title: str
    rows: tuple[Row, ...]
    leaders: tuple[Leader | None, ...]


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """The groups of a board by their budgets."""

    axes: tuple[str, ...]
    metrics: tuple[str, ...]
    better: tuple[str, ...]
    """Which way each is better, or what it bounds."""
    bounds: tuple[bool, ...]
    """Which are bounds, which are not ranked."""
    budgets: tuple[Budget, ...]


def leaderboard(board: Board, colours: Colours) -> Leaderboard:
    """Return who leads at each number of evaluations."""
    by_budget: dict[float, list[Group]] = {}
    for group in sorted(board.groups, key=lambda group: group.budget):
        by_budget.setdefault(group.budget, []).append(group)
    axes = tuple(name for name in board.axes if name not in ("nfe", colours.axis))
    records = {name: e for g in board.groups for run in g.all for name, e in run.manifest.estimates.items()}
    better = tuple(
        f"bound on {one.bounds}" if one.bounds else f"{one.better} is better"
        for one in (records[name] for name in board.metrics)
    )
    bounds = tuple(bool(records[name].bounds) for name in board.metrics)
    budgets = tuple(_budget(nfe, groups, board, bounds, axes, colours) for nfe, groups in by_budget.items())
    return Leaderboard(axes, board.metrics, better, bounds, budgets)


def _budget(
    nfe: float, groups: Sequence[Group], board: Board, bounds: Sequence[bool], axes: Sequence[str], colours: Colours
) -> Budget:
    cells: dict[int, dict[str, Cell]] = {}
    order: dict[int, int] = {}
    leaders: list[Leader | None] = []
    for metric, bound in zip(board.metrics, bounds):
        places = ranking(groups, metric)
        for place in places:
            found = place.group.figures[metric]
            shown, error = figure(found.value, found.stderr)
            if not bound:
                order.setdefault(id(place.group), len(order))
            cells.setdefault(id(place.group), {})[metric] = Cell(found.value, shown, error, place.rank, place.tied)
        if places and not bound:
            best = cells[id(places[0].group)][metric]
            ties = [_words(place.group, axes, colours) for place in places if place.tied]
            shown = f"{best.shown} ± {best.error}" if best.error else best.shown
            first = places[0].group
            leaders.append(Leader(_words(first, axes, colours), colours.of(first), shown, _few(ties)))
        else:
            leaders.append(None)
    rows = [_row(group, cells.get(id(group), {}), board, axes, colours) for group in groups]
    rows.sort(key=lambda row: order.get(id(row.group), len(order)))
    title = f"NFE {number(nfe)}" if math.isfinite(nfe) else "No budget of NFE"
    return Budget(number(nfe), title, tuple(rows), tuple(leaders))


def _row(group: Group, cells: Mapping[str, Cell], board: Board, axes: Sequence[str], colours: Colours) -> Row:
    values = tuple(text(group.axes[name]) if name in group.axes else "" for name in axes)
    return Row(
        group, colours.of(group), colours.values[colours.of(group)], values, tuple(map(cells.get, board.metrics))
    )


def _words(group: Group, axes: Sequence[str], colours: Colours) -> str:
    rest = in_words(group.axes, axes)
    return f"{colours.label(group)}, {rest}" if rest else colours.label(group)


def _few(words: Sequence[str]) -> str:
    """Return the first few of several."""
    return listed([*words[:3], *([f"{len(words) - 3} more"] if len(words) > 3 else [])]) if words else ""
