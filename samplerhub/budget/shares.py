r"""The error budget of a run: how much of its error comes from the start, the score and the discretisation.

The run is repeated with each of the three made exact in turn: the prior by the noised target, the score by the target's
own, the grid by one that is many times finer. With v(S) the metric of the run in which only the members of S are as
given, the share of a part i is its Shapley value over the eight runs,

    share_i = sum over S without i of |S|! (2 - |S|)!/3! [v(S + i) - v(S)],

the mean, over the orders in which the parts could be made exact one after the other, of what it changes. The shares add
up to v(all) - v(none). All runs of a repeat have the same seed, so that their differences have less noise than they.

References:
    A Value for n-Person Games (Shapley, 1953), doi:10.1515/9781400881970-018
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, stdev
from typing import Final, Generic, Protocol, TypeVar

from pydantic import BaseModel
from scipy.stats import t as student

from samplerhub.capabilities import Budgeted, Denoises
from samplerhub.errors import Mismatch
from samplerhub.experiment import Experiment
from samplerhub.manifest import record
from samplerhub.protocols import Estimate, Progress
from samplerhub.truth import NoisedTarget, PosteriorMean

PARTS: Final = ("start", "score", "discretisation")
GIVEN: Final = {"start": "prior", "score": "model", "discretisation": "grid"}
"""What a part is called where it is chosen."""
NUDGE = 0.25
"""By how much churn is raised to find its slope."""

Key = TypeVar("Key", bound=Hashable)
Cell = frozenset[str]
"""The parts that are as given; the others are exact."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A number with its standard error; None where it is exact."""

    value: float
    stderr: float | None = None
    repeats: int = 1
    """Over how many it is a mean."""
    error: float = 0.0
    """Numerical error of a figure that is exact up to it."""

    @property
    def half(self) -> float:
        """Half the width of its 95 % interval, by Student's t for so many repeats."""
        if self.stderr is None:
            return self.error
        return float(student.ppf(0.975, self.repeats - 1)) * self.stderr

    @property
    def is_nothing(self) -> bool:
        """Whether it is 0 within its error."""
        return abs(self.value) <= self.half


class Kept(Protocol):
    """Where the figures of finished runs are kept."""

    def load(self, key: str) -> Estimate | None:
        """Return a figure that was kept."""
        ...

    def save(self, key: str, estimate: Estimate) -> None:
        """Keep a figure."""
        ...


@dataclass(frozen=True)
class Budget:
    """Where the error of a run comes from."""

    metric: str
    cells: Mapping[Cell, Figure]
    """The metric of each run."""
    shares: Mapping[str, Figure]
    """By part: what it adds to the metric."""
    rest: Figure
    """The metric with all exact that can be: what no part is blamed for."""
    total: Figure
    """The metric of the run as given."""
    slope: Figure | None
    """Change of the metric per unit of churn; None for a sampler without churn."""
    repeats: int
    fine: int
    """How many times finer the exact grid is."""
    missing: tuple[str, ...] = field(default=())
    """What could not be made exact, and what was done instead."""


def measure_budget(
    experiment: Experiment,
    *,
    fine: int = 8,
    repeats: int = 5,
    kept: Kept | None = None,
    observe: Callable[[Progress], None] | None = None,
) -> Budget:
    """Run the cube and attribute the error; the experiment has one metric.

    A metric that is exact (no standard error) is evaluated once, any other in `repeats` runs of different seeds.

    Raises:
        Mismatch: There is not exactly one metric, there is no target, or nothing can be made exact.
    """
    if len(experiment.metrics) != 1:
        raise Mismatch(
            f"a budget is made of one metric, and the run has {len(experiment.metrics)}; name one with --metric"
        )
    if experiment.target is None:
        raise Mismatch("a budget needs a target to compare with, and the run has none; choose one with --target")
    exact, missing = _exact(experiment, fine)
    players = [part for part in PARTS if part in exact]
    cells = [
        frozenset(PARTS) - frozenset(out) for k in range(len(players) + 1) for out in itertools.combinations(players, k)
    ]
    cube = {cell: replace(experiment, **_changes(exact, cell)) for cell in cells}  # type: ignore[arg-type]
    done = Repeated(cube, repeats, kept, observe)
    everything = frozenset(PARTS)
    return Budget(
        metric=str(next(iter(experiment.metrics))),
        cells={cell: done.combined({cell: 1.0}) for cell in cells},
        shares={part: done.combined(shapley(part, players)) for part in players},
        rest=done.combined({everything - frozenset(players): 1.0}),
        total=done.combined({everything: 1.0}),
        slope=_slope(experiment, repeats, kept, observe),
        repeats=done.count,
        fine=fine,
        missing=tuple(missing),
    )


class Repeated(Generic[Key]):
    """The metric of several runs, each once if all are exact, else in so many repeats, of one seed each."""

    def __init__(
        self,
        runs: Mapping[Key, Experiment],
        repeats: int,
        kept: Kept | None,
        observe: Callable[[Progress], None] | None,
    ) -> None:
        self._rows: list[dict[Key, Estimate]] = []
        for repeat in range(repeats):
            row = {}
            for i, (key, run) in enumerate(runs.items()):
                if observe:
                    observe(Progress(repeat * len(runs) + i, repeats * len(runs), _in_words(key)))
                row[key] = _evaluated(replace(run, seed=run.seed + repeat), kept)
            self._rows.append(row)
            if all(estimate.stderr is None for estimate in row.values()):
                break

    @property
    def count(self) -> int:
        """Number of repeats."""
        return len(self._rows)

    def combined(self, weights: Mapping[Key, float]) -> Figure:
        """Return a linear combination of the runs: its mean over repeats, exact where they are."""
        values = [sum(w * row[key].value for key, w in weights.items()) for row in self._rows]
        if self.count == 1:
            (row,) = self._rows
            return Figure(values[0], error=sum(abs(w) * numerical_error(row[key]) for key, w in weights.items()))
        return Figure(fmean(values), stdev(values) / math.sqrt(self.count), self.count)


def numerical_error(estimate: Estimate) -> float:
    """Return the error that an exact figure says it has."""
    error = estimate.details.get("error", 0.0)
    return error if isinstance(error, float) else 0.0


def shapley(part: str, players: Sequence[str]) -> dict[Cell, float]:
    """Return the weight of each cell in the Shapley value of a part; parts that are no players are always as given."""
    always = frozenset(PARTS) - frozenset(players)
    others = [player for player in players if player != part]
    n = len(players)
    weights: dict[Cell, float] = {}
    for k in range(n):
        share = math.factorial(k) * math.factorial(n - 1 - k) / math.factorial(n)
        for coalition in itertools.combinations(others, k):
            without = always | frozenset(coalition)
            weights[without | {part}] = weights.get(without | {part}, 0.0) + share
            weights[without] = weights.get(without, 0.0) - share
    return weights


def _exact(experiment: Experiment, fine: int) -> tuple[dict[str, dict[str, object]], list[str]]:
    """Return, for each part that can be made exact, what to change in the experiment; and what cannot."""
    target = experiment.target
    assert target is not None
    exact: dict[str, dict[str, object]] = {"start": {"prior": NoisedTarget()}}
    missing = []
    if isinstance(target, Denoises):
        exact["score"] = {"model": PosteriorMean(target, tuple(target.shape))}
    else:
        missing.append(
            f"the exact score of {type(target).__name__} is not known: the score is as given in every run, and its "
            "share is within what is left when the others are exact"
        )
    if isinstance(experiment.sampler, Budgeted):
        exact["discretisation"] = {"steps": fine * (len(experiment.times) - 1), "nfe": None}
    else:
        missing.append(
            f"{type(experiment.sampler).__name__} chooses its own steps: the grid is as given in every run, and the "
            "share of the discretisation is within what is left when the others are exact"
        )
    return exact, missing


def _changes(exact: Mapping[str, Mapping[str, object]], cell: Cell) -> dict[str, object]:
    """Return the changes that make exact what is not in a cell."""
    return {name: value for part in exact if part not in cell for name, value in exact[part].items()}


def _slope(
    experiment: Experiment, repeats: int, kept: Kept | None, observe: Callable[[Progress], None] | None
) -> Figure | None:
    """Return the metric's change per unit of churn at the given steps; None for a sampler without churn."""
    sampler = experiment.sampler
    if not (isinstance(sampler, BaseModel) and "churn" in type(sampler).model_fields):
        return None
    fields = {name: getattr(sampler, name) for name in type(sampler).model_fields}
    raised = type(sampler)(**{**fields, "churn": fields["churn"] + NUDGE})
    more = replace(experiment, sampler=raised, steps=len(experiment.times) - 1, nfe=None)
    # The metric that fits the run with more churn measures both: estimators may differ by more than churn does.
    same = replace(experiment, metrics=more.evaluated)
    done = Repeated({"more churn": more, "as given": same}, repeats, kept, observe)
    return done.combined({"more churn": 1 / NUDGE, "as given": -1 / NUDGE})


def _evaluated(run: Experiment, kept: Kept | None) -> Estimate:
    metrics = [record(metric).model_dump_json() for metric in run.evaluated.values()]
    key = hashlib.sha256("".join([run.fingerprint(), *metrics]).encode()).hexdigest()
    found = kept.load(key) if kept else None
    if found is not None:
        return found
    estimate = next(iter(run.evaluate().values()))
    if kept:
        kept.save(key, estimate)
    return estimate


def _in_words(cell: Hashable) -> str:
    if not isinstance(cell, frozenset):
        return str(cell)
    exact = [GIVEN[part] for part in PARTS if part not in cell]
    return f"exact {' and '.join(exact)}" if exact else "as given"
