"""What came out of a sweep: groups over seeds, and who leads at an equal number of evaluations."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from pydantic import JsonValue

from samplerhub.sweep.kept import Figure, Kept, chosen

T = TypeVar("T")
SEED = "seed"
LEVEL = 0.05
"""Differences that chance alone would make as large as this often are ties."""
ROUNDING = 1e-8
"""Relative differences of exact figures that mean nothing."""


@dataclass(frozen=True, slots=True)
class Group:
    """Runs that differ only by their seed, and by what was measured."""

    axes: Mapping[str, JsonValue]
    """What they have in common, without the seed."""
    runs: tuple[Kept, ...]
    """One of each seed."""
    figures: Mapping[str, Figure] = field(default_factory=dict)
    more: tuple[Kept, ...] = ()
    """Runs of the same with seeds that are there: other metrics were asked for, or the same in other words."""

    @property
    def nfe(self) -> float:
        """Mean number of evaluations per sample."""
        return math.fsum(run.nfe for run in self.runs) / len(self.runs)

    @property
    def seconds(self) -> float:
        """Mean time of sampling."""
        return math.fsum(run.seconds for run in self.runs) / len(self.runs)

    @property
    def budget(self) -> float:
        """The evaluations that were allowed: ``nfe``, or what the steps need; infinite where nothing limited them."""
        budget = self.runs[0].budget
        return math.inf if budget is None else budget

    @property
    def problem(self) -> str:
        """What was to be sampled, how often and down to which noise level: a hash."""
        return self.runs[0].problem

    @property
    def all(self) -> tuple[Kept, ...]:
        """All runs, also several of one seed."""
        return (*self.runs, *self.more)

    def having(self, metric: str) -> list[Kept]:
        """Return the runs that have a figure, one of each seed."""
        found = {run.seed: run for run in reversed(self.all) if metric in run.figures}
        return [found[run.seed] for run in self.runs if run.seed in found]


@dataclass(frozen=True, slots=True)
class Place:
    """A group in a ranking."""

    group: Group
    rank: int
    tied: bool
    """Whether it cannot be told from the best."""


@dataclass(frozen=True, slots=True)
class Board:
    """A ranking of what can be compared: samples of the same at one noise level, measured in the same way."""

    budget: float
    """Evaluations that each was allowed; infinite where nothing limited them."""
    places: tuple[Place, ...]


def groups(runs: Iterable[Kept], seeds: bool = True) -> list[Group]:
    """Return the runs grouped over their seeds, in the order in which they come.

    Runs are together where everything but the seed and the metrics was the same, the budget too, whatever was asked for
    by name: what some were asked for and others had by default is an axis of all. A seed counts once, and runs are
    apart where a metric of one name measures something else.

    Args:
        runs: The runs.
        seeds: Whether to group; else every run is a group of its own, and the seed is one of its axes.
    """
    alike: dict[Hashable, list[Kept]] = {}
    for run in runs:
        alike.setdefault((run.same, run.problem, run.budget) if seeds else run.key, []).append(run)
    together = [part for found in alike.values() for part in apart(found, lambda run: run.figures)]
    names = dict.fromkeys(name for found in together for run in found for name in run.axes)
    return _told_apart([_group(found, [name for name in names if name != SEED], seeds) for found in together])


def apart(found: Iterable[T], figures: Callable[[T], Mapping[str, Figure]]) -> list[list[T]]:
    """Return what was to sample the same in parts in each of which figures of one name were measured in the same way.

    Args:
        found: Runs, or groups of them.
        figures: Returns the figures of one.
    """
    parts: list[tuple[dict[str, str], list[T]]] = []
    for one in found:
        how = {name: figure.how for name, figure in figures(one).items()}
        for known, part in parts:
            if all(known.get(name, it) == it for name, it in how.items()):
                known |= how
                part.append(one)
                break
        else:
            parts.append((how, [one]))
    return [part for _, part in parts]


def _told_apart(found: Sequence[Group]) -> list[Group]:
    """Return groups; where nothing that was asked for tells them apart but the contents of files, these are an axis."""
    alike: dict[str, list[Mapping[str, str]]] = {}
    for group in found:
        asked = json.dumps([dict(group.axes), group.budget], sort_keys=True)
        alike.setdefault(asked, []).append(group.runs[0].contents)
    roles = {
        role: f"{role}.contents"
        for contents in alike.values()
        for role in contents[0]
        if len({one.get(role) for one in contents}) > 1
    }
    return [
        replace(group, axes={**group.axes, **{axis: read[role] for role, axis in roles.items() if role in read}})
        for group in found
        for read in [group.runs[0].contents]
    ]


def _group(runs: Sequence[Kept], names: Sequence[str], seeds: bool) -> Group:
    asked: dict[str, JsonValue] = {name: value for run in runs for name, value in run.axes.items()}
    axes = {name: asked[name] if name in asked else chosen(runs[0].manifest, name) for name in names}
    axes = {name: value for name, value in axes.items() if value is not None}
    if not seeds:
        axes[SEED] = runs[0].seed
    first: dict[int, Kept] = {}
    for run in sorted(runs, key=lambda run: -len(run.figures)):
        first.setdefault(run.seed, run)
    one_each = tuple(run for run in runs if first[run.seed] is run)
    group = Group(axes, one_each, more=tuple(run for run in runs if first[run.seed] is not run))
    metrics = dict.fromkeys(name for run in group.all for name in run.figures)
    figures = {name: _mean([run.figures[name] for run in group.having(name)]) for name in metrics}
    return replace(group, figures=figures)


def _mean(figures: Sequence[Figure]) -> Figure:
    """Mean and standard error over the seeds; no standard error where the mean is not finite."""
    values, n = [figure.value for figure in figures], len(figures)
    if n == 1:
        return figures[0]
    mean = values[0] if len(set(values)) == 1 else sum(value / n for value in values)
    whole = replace(figures[0], value=mean, stderr=None, runs=n)
    if not math.isfinite(mean):
        return whole
    spread = math.hypot(*(value - mean for value in values))
    if spread <= ROUNDING * abs(mean) and not any(figure.stderr for figure in figures):  # exact: no seed is in it
        return replace(whole, stderr=0.0)
    return replace(whole, stderr=spread / math.sqrt(n * (n - 1)))


def boards(found: Iterable[Group], metric: str) -> list[Board]:
    """Return a ranking for each problem, way to measure and budget, the smaller budgets first, and none at last."""
    together: dict[tuple[str, str], dict[float, list[Group]]] = {}
    for group in found:
        if metric in group.figures:
            measured = together.setdefault((group.problem, group.figures[metric].how), {})
            measured.setdefault(group.budget, []).append(group)
    return [
        Board(budget, tuple(ranking(measured[budget], metric)))
        for measured in together.values()
        for budget in sorted(measured)
    ]


def ranking(found: Iterable[Group], metric: str) -> list[Place]:
    """Return the groups that have a figure, the best first; those that cannot be told from it are tied with it.

    Two groups are compared seed by seed where they have two seeds in common or more (the same seed starts both from the
    same noise), by a paired t-test at 5 %; else by their standard errors, in Welch's way. A tie means that these runs
    do not tell which is better, not that neither is.
    """
    having = sorted((group for group in found if metric in group.figures), key=lambda g: g.figures[metric].key())
    return [Place(group, i + 1, i > 0 and tied(having[0], group, metric)) for i, group in enumerate(having)]


def tied(best: Group, other: Group, metric: str) -> bool:
    """Say whether the difference of two groups may be chance."""
    a, b = best.figures[metric], other.figures[metric]
    if not (math.isfinite(a.value) and math.isfinite(b.value)):
        return a.key() == b.key()
    differences = _differences(best, other, metric)
    if len(differences) < 2 or not (a.stderr or b.stderr):
        return chance(a, b) > LEVEL
    mean = _mean([Figure(difference, 0.0) for difference in differences])
    return _tail(mean.value, mean.stderr or 0.0, len(differences) - 1) > LEVEL


def chance(a: Figure, b: Figure) -> float:
    """Return how often two figures that mean the same would differ as much as these, by their standard errors.

    That of one run is taken as known, that of a mean as estimated from its runs; one that has none is exact.
    """
    if not (a.stderr or b.stderr):
        return float(math.isclose(a.value, b.value, rel_tol=ROUNDING))
    errors = [figure.stderr or 0.0 for figure in (a, b)]
    spread = math.hypot(*errors)
    shares = [
        (error / spread) ** 4 / (figure.runs - 1) for figure, error in zip((a, b), errors) if figure.runs > 1 and error
    ]
    return _tail(a.value - b.value, spread, 1 / sum(shares) if shares else math.inf)


def _tail(difference: float, stderr: float, freedom: float) -> float:
    """Return the two-sided tail of Student's t, of the normal distribution where the standard error is known."""
    if stderr == 0:
        return float(difference == 0)
    from scipy import special

    t = -abs(difference) / stderr
    return 2 * float(special.ndtr(t) if math.isinf(freedom) else special.stdtr(freedom, t))


def _differences(one: Group, other: Group, metric: str) -> list[float]:
    """Return the differences of two groups at the seeds that both have."""
    first, second = ({run.seed: run.figures[metric].value for run in group.having(metric)} for group in (one, other))
    return [second[seed] - value for seed, value in first.items() if seed in second]
