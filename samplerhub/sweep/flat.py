"""Groups and runs as flat rows, for tables, files and other programs.

A row has, in this order: ``rank`` and ``tied`` where it was ranked; of a run its ``key``; what was asked for, by the
name of the option (``sampler``, ``churn``, ``sampler.churn``); of a run its ``seed``, of a group ``seeds``, how many;
``nfe``, the evaluations a sample that were allowed (none where nothing limited them), and ``nfe_spent``; ``rho``, the
noise level of the samples, where rankings differ in it; ``seconds`` of sampling; and for each metric its value and its
standard error, ``kl`` and ``kl_stderr``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from samplerhub.sweep.identity import rounded
from samplerhub.sweep.kept import chosen
from samplerhub.sweep.table import SEED, Board, Group, Place

Cells = dict[str, JsonValue]
RHO = "rho"


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table, and what is behind it."""

    group: Group
    cells: Cells

    def get(self, name: str) -> JsonValue:
        """Return a cell; for a name that is no column, what the runs had for the option of this name."""
        return self.cells[name] if name in self.cells else chosen(self.group.runs[0].manifest, name)


def rows(found: Iterable[Group]) -> list[Row]:
    """Return a row for each group."""
    return [Row(group, _cells(group)) for group in found]


def ranked(boards: Iterable[Board]) -> list[list[Row]]:
    """Return the rows of each ranking, the best first."""
    found = list(boards)
    several = len({_level(place.group) for board in found for place in board.places}) > 1
    return [[_ranked(place, several) for place in board.places] for board in found]


def _ranked(place: Place, several: bool) -> Row:
    level: Cells = {RHO: _level(place.group)} if several else {}
    return Row(place.group, {"rank": place.rank, "tied": place.tied, **_cells(place.group), **level})


def _level(group: Group) -> float | None:
    rho = group.runs[0].rho
    return None if rho is None else rounded(rho)


def names_of(found: Sequence[Row]) -> list[str]:
    """Return the columns of rows, the axes together, then the metrics together."""
    names = dict.fromkeys(name for row in found for name in row.cells)
    metrics = [name for metric in metrics_of(found) for name in (metric, f"{metric}_stderr")]
    tail = [name for name in ("seeds", SEED, "nfe", "nfe_spent", RHO, "seconds", *metrics) if name in names]
    return [*(name for name in names if name not in tail), *tail]


def axes_of(found: Sequence[Row]) -> list[str]:
    """Return what was asked for in any of the rows, but for the seed and the budget."""
    return [
        name for name in dict.fromkeys(name for row in found for name in row.group.axes) if name not in (SEED, "nfe")
    ]


def metrics_of(found: Sequence[Row]) -> list[str]:
    """Return the metrics of any of the rows."""
    return list(dict.fromkeys(name for row in found for name in row.group.figures))


def _cells(group: Group) -> Cells:
    axes = {name: value for name, value in group.axes.items() if name not in (SEED, "nfe")}
    single = SEED in group.axes
    cells: Cells = {"key": group.runs[0].key} if single else {}
    cells |= axes
    cells |= {SEED: group.runs[0].seed} if single else {"seeds": len(group.runs)}
    cells |= {
        "nfe": group.budget if math.isfinite(group.budget) else None,
        "nfe_spent": group.nfe,
        "seconds": group.seconds,
    }
    for name, figure in group.figures.items():
        cells |= {name: figure.value, f"{name}_stderr": figure.stderr}
    return cells
