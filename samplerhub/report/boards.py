"""What can be compared with what: runs that were measured in the same way, and their colours."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from samplerhub.report.words import in_words, number, text
from samplerhub.sweep import Group
from samplerhub.sweep.table import apart

SPENT = ("nfe", "steps")
"""Axes that say how much is spent."""


@dataclass(frozen=True, slots=True)
class Board:
    """Groups that can be compared."""

    label: str
    """What it has to itself; empty where there is but one board."""
    groups: tuple[Group, ...]
    metrics: tuple[str, ...]
    axes: tuple[str, ...]
    """Names of what differs between its groups."""


@dataclass(frozen=True, slots=True)
class Colours:
    """The colour of each group, the same in all charts: by its sampler; by what varies where there is but one."""

    axis: str
    """What the colours tell apart."""
    values: tuple[str, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """What each colour is called."""
        return self.values if self.axis == "sampler" else tuple(f"{self.axis} {value}" for value in self.values)

    def of(self, group: Group) -> int:
        """Return the number of the colour of a group."""
        return self.values.index(_value(group, self.axis))

    def label(self, group: Group) -> str:
        """Return what the colour of a group is called."""
        return self.labels[self.of(group)]


def boards(groups: Sequence[Group]) -> list[Board]:
    """Return the groups by what they were to sample, down to which noise level, and how that was measured."""
    problems: dict[str, list[Group]] = {}
    for group in groups:
        problems.setdefault(group.problem, []).append(group)
    found = [part for together in problems.values() for part in apart(together, lambda group: group.figures)]
    return [_board(label, together) for label, together in zip(_labels(found), found)]


def colours(groups: Sequence[Group]) -> Colours:
    """Return which groups have the same colour."""
    names = varying([group.axes for group in groups])
    order = ["sampler", *(n for n in names if n not in SPENT and not is_churn(n)), *filter(is_churn, names)]
    for axis in order:
        values = tuple(dict.fromkeys(_value(group, axis) for group in groups))
        if len(values) > 1:
            return Colours(axis, values)
    return Colours("sampler", tuple(dict.fromkeys(_value(group, "sampler") for group in groups)))


def ordered(groups: Iterable[Group]) -> list[Group]:
    """Return groups in the order of what was asked for: numbers by size, before words by letters."""
    groups = list(groups)
    names = dict.fromkeys(name for group in groups for name in group.axes)
    return sorted(groups, key=lambda group: [_rank(group.axes.get(name)) for name in names])


def _rank(value: JsonValue) -> tuple[bool, float, str]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (False, float(value), "")
    return (True, 0.0, text(value))


def varying(rows: Iterable[Mapping[str, JsonValue]]) -> list[str]:
    """Return the names that do not have the same value everywhere."""
    rows = list(rows)
    names = dict.fromkeys(name for row in rows for name in row)
    return [name for name in names if len({json.dumps(row.get(name), sort_keys=True) for row in rows}) > 1]


def is_churn(axis: str) -> bool:
    """Say whether an axis is churn: ``churn``, ``deis.churn``."""
    return axis.rpartition(".")[2] == "churn"


def _value(group: Group, axis: str) -> str:
    if axis in group.axes:
        return text(group.axes[axis])
    record = group.runs[0].manifest.components.get(axis)
    return text(record.name or record.target) if record else f"no {axis}"


def _labels(found: Sequence[Sequence[Group]]) -> list[str]:
    if len(found) == 1:
        return [""]
    names = varying([group.axes for together in found for group in together])
    own = [name for name in names if all(not varying([{name: g.axes.get(name)} for g in one]) for one in found)]
    levels = [together[0].runs[0].rho for together in found]
    noise = [f"noise level {number(rho)}" if rho is not None and len(set(levels)) > 1 else "" for rho in levels]
    words = [", ".join(filter(None, (in_words(together[0].axes, own), level))) for together, level in zip(found, noise)]
    return [label if label and words.count(label) == 1 else f"Part {i + 1}" for i, label in enumerate(words)]


def _board(label: str, groups: Sequence[Group]) -> Board:
    metrics = tuple(dict.fromkeys(name for group in groups for name in group.figures))
    return Board(label, tuple(groups), metrics, tuple(varying([group.axes for group in groups])))
