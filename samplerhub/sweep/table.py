"""What came out of a sweep: groups over seeds, and who leads at an equal number of evaluations."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue

from samplerhub.sweep.kept import Figure, Kept, chosen

SEED = "seed"
LEVEL = 0.05
"""Differences that chance alone would make as large as this often are ties."""
ROUNDING = 1e-8
"""Relative differences of exact figures that mean nothing."""


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
        return math.fsum(run.nfe for run in self.runs) / len(self.runs)

    @property
    def seconds(self) -> float:
        """Mean time of sampling."""
        return math.fsum(run.seconds for run in self.runs) / len(self.runs)

    @property
    def budget(self) -> float:
        """The evaluations that were allowed: ``nfe`` where that was asked for, else those that were spent."""
        asked = self.axes.get("nfe")
        return float(asked) if isinstance(asked, int | float) else self.nfe

    @property
    def problem(self) -> str:
        """What was to be sampled, and how it was measured: a hash."""
        return self.runs[0].problem


@dataclass(frozen=True, slots=True)
class Place:
    """A group in a ranking."""

    group: Group
    rank: int
    tied: bool
    """Whether it cannot be told from the best."""


@dataclass(frozen=True, slots=True)
class Board:
    """A ranking of what can be compared: the same target, measured in the same way, at an equal budget."""

    budget: float
    places: tuple[Place, ...]


def groups(runs: Iterable[Kept], seeds: bool = True) -> list[Group]:
    """Return the runs grouped over their seeds, in the order in which they come.

    Runs are together where everything but the seed was the same, whatever was asked for by name: what some were asked
    for and others had by default is an axis of all.

    Args:
        runs: The runs.
        seeds: Whether to group; else every run is a group of its own, and the seed is one of its axes.
    """
    together: dict[str, list[Kept]] = {}
    for run in runs:
        together.setdefault(run.same if seeds else run.key, []).append(run)
    names = dict.fromkeys(name for found in together.values() for run in found for name in run.axes)
    return [_group(found, [name for name in names if name != SEED], seeds) for found in together.values()]


def _group(runs: Sequence[Kept], names: Sequence[str], seeds: bool) -> Group:
    asked: dict[str, JsonValue] = {name: value for run in runs for name, value in run.axes.items()}
    axes = {name: asked[name] if name in asked else chosen(runs[0].manifest, name) for name in names}
    axes = {name: value for name, value in axes.items() if value is not None}
    if not seeds:
        axes[SEED] = runs[0].seed
    metrics = dict.fromkeys(name for run in runs for name in run.figures)
    found = {name: [run.figures[name] for run in runs if name in run.figures] for name in metrics}
    return Group(axes, tuple(runs), {name: _mean(figures) for name, figures in found.items()})


def _mean(figures: Sequence[Figure]) -> Figure:
    """Mean and standard error over the seeds; no standard error where the mean is not finite."""
    values, n, better = [figure.value for figure in figures], len(figures), figures[0].better
    if n == 1:
        return figures[0]
    mean = values[0] if len(set(values)) == 1 else sum(value / n for value in values)
    if not math.isfinite(mean):
        return Figure(mean, None, better, n)
    spread = math.hypot(*(value - mean for value in values))
    if spread <= ROUNDING * abs(mean) and not any(figure.stderr for figure in figures):  # exact: no seed is in it
        return Figure(mean, 0.0, better, n)
    return Figure(mean, spread / math.sqrt(n * (n - 1)), better, n)


def boards(found: Iterable[Group], metric: str) -> list[Board]:
    """Return a ranking for each problem and budget, the smaller budgets first."""
    together: dict[tuple[str, float], list[Group]] = {}
    for group in found:
        if metric in group.figures:
            together.setdefault((group.problem, group.budget), []).append(group)
    order = {problem: i for i, problem in enumerate(dict.fromkeys(problem for problem, _ in together))}
    keys = sorted(together, key=lambda key: (order[key[0]], key[1]))
    return [Board(key[1], tuple(ranking(together[key], metric))) for key in keys]


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
    first, second = (
        {run.seed: run.figures[metric].value for run in group.runs if metric in run.figures} for group in (one, other)
    )
    return [second[seed] - value for seed, value in first.items() if seed in second]
