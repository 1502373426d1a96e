"""What came out of a sweep: a row for each run, groups over seeds, and who leads at an equal number of evaluations."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue
from scipy import stats

from samplerhub.manifest import MetricRecord
from samplerhub.sweep.store import Kept

SEED = "seed"
LEVEL = 0.05
"""Differences that chance alone would make as large as this often are ties."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of a group of runs."""

    value: float
    """Mean over the seeds."""
    stderr: float | None
    """Standard error of the mean, from its spread over the seeds; of one run that of its own estimate."""
    better: str = "smaller"

    def key(self) -> float:
        """Return a number that is smaller where the figure is better; what is no number comes last."""
        worth = -self.value if self.better == "larger" else self.value
        return math.inf if math.isnan(worth) else worth


@dataclass(frozen=True, slots=True)
class Group:
    """Runs that differ only by their seed."""

    axes: Mapping[str, JsonValue]
    """What they have in common, without the seed."""
    runs: tuple[Kept, ...]
    figures: Mapping[str, Figure] = field(default_factory=dict)

    @property
    def nfe(self) -> float:
        """Mean number of evaluations per sample."""
        return sum(run.manifest.nfe for run in self.runs) / len(self.runs)

    @property
    def seconds(self) -> float:
        """Mean time of sampling."""
        return sum(run.manifest.seconds for run in self.runs) / len(self.runs)

    @property
    def budget(self) -> float:
        """The evaluations that were allowed: ``nfe`` where that was asked for, else those that were spent."""
        asked = self.axes.get("nfe")
        return float(asked) if isinstance(asked, int | float) else self.nfe


@dataclass(frozen=True, slots=True)
class Place:
    """A group in a ranking."""

    group: Group
    rank: int
    tied: bool
    """Whether it cannot be told from the best."""


def groups(runs: Iterable[Kept]) -> list[Group]:
    """Return the runs grouped over their seeds, in the order in which they come."""
    together: dict[str, list[Kept]] = {}
    for run in runs:
        axes = {name: value for name, value in run.axes.items() if name != SEED}
        together.setdefault(json.dumps(axes, sort_keys=True), []).append(run)
    return [_group(found) for found in together.values()]


def _group(runs: Sequence[Kept]) -> Group:
    axes = {name: value for name, value in runs[0].axes.items() if name != SEED}
    names = dict.fromkeys(name for run in runs for name in run.manifest.estimates)
    found = {name: [r.manifest.estimates[name] for r in runs if name in r.manifest.estimates] for name in names}
    return Group(axes, tuple(runs), {name: _figure(estimates) for name, estimates in found.items()})


def _figure(estimates: Sequence[MetricRecord]) -> Figure:
    """Mean and standard error over the seeds."""
    values, n = [estimate.value for estimate in estimates], len(estimates)
    if n == 1:
        return Figure(values[0], estimates[0].stderr, estimates[0].better)
    mean = sum(values) / n
    variance = sum((value - mean) ** 2 for value in values) / (n - 1)
    return Figure(mean, math.sqrt(variance / n), estimates[0].better)


def ranking(found: Iterable[Group], metric: str) -> list[Place]:
    """Return the groups that have a figure, the best first; those that cannot be told from it are tied with it.

    Two groups are compared seed by seed where they have two seeds in common or more (the same seed starts both from the
    same noise), by a paired t-test at 5 %; else by their standard errors. A tie means that these runs do not tell which
    is better, not that neither is.
    """
    having = sorted((group for group in found if metric in group.figures), key=lambda g: g.figures[metric].key())
    return [Place(group, i + 1, i > 0 and tied(having[0], group, metric)) for i, group in enumerate(having)]


def tied(best: Group, other: Group, metric: str) -> bool:
    """Say whether the difference of two groups may be chance."""
    pairs = _pairs(best, other, metric)
    differences = [b - a for a, b in pairs]
    if not all(map(math.isfinite, differences)):
        return False
    if len(pairs) > 1:
        if len(set(differences)) == 1:
            return differences[0] == 0
        return bool(stats.ttest_1samp(differences, 0.0).pvalue > LEVEL)
    a, b = best.figures[metric], other.figures[metric]
    spread = math.hypot(a.stderr or 0.0, b.stderr or 0.0)
    return abs(a.value - b.value) <= float(stats.norm.isf(LEVEL / 2)) * spread


def _pairs(one: Group, other: Group, metric: str) -> list[tuple[float, float]]:
    """Return the figures of two groups at the seeds that both have."""
    values = [
        {run.axes.get(SEED, run.manifest.settings.seed): run.manifest.estimates[metric].value for run in group.runs}
        for group in (one, other)
    ]
    return [(value, values[1][seed]) for seed, value in values[0].items() if seed in values[1]]
