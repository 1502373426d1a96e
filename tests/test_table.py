"""Groups over seeds, rankings and ties: against scipy's tests, and where figures are exact, missing or no numbers."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import EllipsisType
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from samplerhub.manifest import Manifest
from samplerhub.sweep.kept import Figure, Kept
from samplerhub.sweep.table import LEVEL, Group, boards, chance, groups, ranking, tied

NAN, INF = math.nan, math.inf
COUNT = itertools.count()


def no_manifest() -> Manifest:
    raise AssertionError("the manifest is not needed here")


def run(
    seed: int,
    figures: Mapping[str, Figure | float],
    same: str = "a",
    problem: str = "p",
    nfe: float = 10.0,
    budget: float | EllipsisType | None = ...,
    **axes: object,
) -> Kept:
    made = {name: one if isinstance(one, Figure) else Figure(one) for name, one in figures.items()}
    key = f"{next(COUNT):012x}"
    asked: Mapping[str, Any] = {**axes, "seed": seed}
    return Kept(
        key, asked, seed, nfe, 1.0, made, same, problem, Path(key), no_manifest, nfe if budget is ... else budget
    )


def group(values: Sequence[float], seeds: Sequence[int] | None = None, **more: object) -> Group:
    """Return a group with the figure ``m`` at each seed."""
    runs = [run(s, {"m": value}, **more) for s, value in zip(seeds or range(len(values)), values)]  # type: ignore[arg-type]
    (found,) = groups(runs)
    return found


numbers = st.floats(-1e6, 1e6, allow_subnormal=False).map(lambda x: round(x, 6))


@given(st.lists(numbers, min_size=2, max_size=8))
def test_a_group_has_the_mean_and_its_standard_error(values: list[float]) -> None:
    figure = group(values).figures["m"]
    assert figure.value == pytest.approx(statistics.fmean(values), rel=1e-12, abs=1e-9)
    assume(np.ptp(values) > 1e-6 * max(map(abs, values)))
    assert figure.stderr == pytest.approx(stats.sem(values), rel=1e-9)
    assert figure.runs == len(values)


def test_one_seed_has_the_standard_error_of_its_own_estimate() -> None:
    (one,) = groups([run(0, {"m": Figure(2.0, 0.5, "larger")})])
    assert one.figures["m"] == Figure(2.0, 0.5, "larger")


def test_exact_figures_have_no_error_over_the_seeds_not_even_that_of_rounding() -> None:
    assert group([0.1] * 7).figures["m"] == Figure(0.1, 0.0, runs=7)
    assert group([0.1, 0.1 + 1e-16, 0.1 - 1e-11]).figures["m"].stderr == 0.0
    sampled = [Figure(1.0, 0.1), Figure(1.0 + 1e-11, 0.1)]
    (one,) = groups([run(seed, {"m": figure}) for seed, figure in enumerate(sampled)])
    assert one.figures["m"].stderr == pytest.approx(5e-12, rel=1e-3)  # no rounding: each has an error of its own


def test_large_numbers_do_not_overflow() -> None:
    figure = group([1e308, 1.5e308]).figures["m"]
    assert figure.value == pytest.approx(1.25e308)
    assert figure.stderr == pytest.approx(0.25e308)


@pytest.mark.parametrize(("values", "mean"), [([1, NAN], NAN), ([1, INF], INF), ([INF, INF], INF), ([INF, -INF], NAN)])
def test_what_is_not_finite_has_no_standard_error(values: list[float], mean: float) -> None:
    figure = group(values).figures["m"]
    assert figure.stderr is None
    assert figure.value == pytest.approx(mean, nan_ok=True)


def test_runs_are_together_by_what_was_run_not_by_what_was_asked_for_by_name() -> None:
    runs = [run(0, {"m": 1.0}, sampler="deis"), run(1, {"m": 2.0}, sampler="deis", churn=0)]
    (one,) = groups(runs)
    assert one.axes == {"sampler": "deis", "churn": 0}
    assert [found.axes["seed"] for found in groups(runs[1:], seeds=False)] == [1]
    assert len(groups([*runs, run(0, {"m": 1.0}, same="b", sampler="deis", churn=0)])) == 2


def test_a_figure_that_some_seeds_lack_is_the_mean_of_the_others() -> None:
    (one,) = groups([run(0, {"m": 1.0, "k": 5.0}), run(1, {"m": 3.0}), run(2, {"m": 2.0, "k": 7.0})])
    assert one.figures["m"].value == 2.0
    assert one.figures["k"] == Figure(6.0, 1.0, runs=2)
    (other,) = groups([run(1, {"k": 0.0}, same="b"), run(2, {"m": 0.5}, same="b")])
    assert [place.group for place in ranking([one, other], "k")] == [other, one]


@given(
    st.lists(st.tuples(numbers, numbers), min_size=2, max_size=7),
)
def test_shared_seeds_are_compared_by_the_paired_t_test(pairs: list[tuple[float, float]]) -> None:
    a, b = (list(values) for values in zip(*pairs))
    differences = np.subtract(b, a)
    scale = max(1.0, *map(abs, a), *map(abs, b))
    assume(differences.std() > 1e-6 * scale)
    p = stats.ttest_rel(a, b).pvalue
    assume(abs(p - LEVEL) > 1e-6)
    assert tied(group(a), group(b, same="b"), "m") == (p > LEVEL)


@given(st.lists(numbers, min_size=2, max_size=6), st.lists(numbers, min_size=2, max_size=6))
def test_other_seeds_are_compared_by_welchs_test(a: list[float], b: list[float]) -> None:
    scale = max(1.0, *map(abs, a), *map(abs, b))
    assume(min(np.ptp(a), np.ptp(b)) > 1e-5 * scale)
    p = stats.ttest_ind(a, b, equal_var=False).pvalue
    one, other = group(a), group(b, seeds=range(100, 100 + len(b)), same="b")
    assert chance(one.figures["m"], other.figures["m"]) == pytest.approx(p, rel=1e-6, abs=1e-12)
    assume(abs(p - LEVEL) > 1e-6)
    assert tied(one, other, "m") == (p > LEVEL)


def test_seeds_are_paired_where_that_tells_more() -> None:
    noise = [0.0, 5.0, -3.0, 8.0]
    a, b = group(noise), group([x + 1 + 0.01 * i for i, x in enumerate(noise)], same="b")
    assert not tied(a, b, "m")
    assert chance(a.figures["m"], b.figures["m"]) > 0.5


@given(numbers, numbers, st.floats(0.1, 1e3), st.floats(0.1, 1e3))
def test_one_seed_each_is_compared_by_the_standard_errors(a: float, b: float, s: float, t: float) -> None:
    p = 2 * stats.norm.sf(abs(a - b) / math.hypot(s, t))
    assert chance(Figure(a, s), Figure(b, t)) == pytest.approx(p, rel=1e-9, abs=1e-300)
    (one,), (other,) = groups([run(0, {"m": Figure(a, s)})]), groups([run(0, {"m": Figure(b, t)}, same="b")])
    assume(abs(p - LEVEL) > 1e-6)
    assert tied(one, other, "m") == (p > LEVEL)


@pytest.mark.parametrize(
    ("a", "b", "tie"),
    [
        ([1.0], [1.0], True),
        ([1.0], [1.0 + 1e-12], True),
        ([1.0], [1.0 + 1e-6], False),
        ([1.0, 1.0, 1.0], [1.0, 1.0, 1.0], True),
        ([1.0, 1.0 + 1e-13], [1.0 + 1e-12, 1.0 + 2e-12], True),
        ([1.0, 1.0], [1.1, 1.1], False),
        ([0.0], [0.0], True),
        ([INF, INF], [INF, 3.0], True),
        ([1.0, 2.0], [INF, 2.0], False),
        ([NAN, 1.0], [NAN, NAN], True),
        ([1.0, 2.0], [NAN, 1.0], False),
        ([INF], [NAN], False),
    ],
)
def test_exact_figures_and_those_that_are_no_numbers(a: list[float], b: list[float], tie: bool) -> None:
    assert tied(group(a), group(b, same="b"), "m") is tie
    assert tied(group(b, same="b"), group(a), "m") is tie


def test_the_best_is_first_infinity_after_numbers_and_nan_last() -> None:
    found = [group([value], same=str(value)) for value in (NAN, INF, 3.0, -INF, 1.0)]
    places = ranking(found, "m")
    assert [str(place.group.figures["m"].value) for place in places] == ["-inf", "1.0", "3.0", "inf", "nan"]
    assert [place.rank for place in places] == [1, 2, 3, 4, 5]
    assert not any(place.tied for place in places)


def test_larger_is_better_where_the_metric_says_so() -> None:
    runs = [run(0, {"m": Figure(value, 0.01, "larger")}, same=str(value)) for value in (0.2, 0.9, NAN, 0.895, INF)]
    places = ranking(groups(runs[:-1]), "m")
    assert [str(place.group.figures["m"].value) for place in places] == ["0.9", "0.895", "0.2", "nan"]
    assert [place.tied for place in places] == [False, True, False, False]
    assert ranking(groups(runs), "m")[0].group.figures["m"].value == INF
    assert ranking(groups(runs), "other") == []


def test_only_what_can_be_compared_is_ranked_together() -> None:
    runs = [
        run(0, {"m": 1.0}, same="a", nfe=4.0),
        run(0, {"m": 2.0}, same="b", nfe=10.0),
        run(0, {"m": 0.5}, same="c", nfe=10.0),
        run(0, {"m": 0.1}, same="d", nfe=10.0, problem="another target"),
        run(0, {"k": 0.1}, same="e", nfe=10.0),
    ]
    found = boards(groups(runs), "m")
    assert [(board.budget, [place.group.figures["m"].value for place in board.places]) for board in found] == [
        (4.0, [1.0]),
        (10.0, [0.5, 2.0]),
        (10.0, [0.1]),
    ]


def test_the_budget_is_what_was_allowed_not_what_a_sampler_made_of_it() -> None:
    first = run(0, {"m": 1.0}, same="a", nfe=4.0, budget=5)
    second = run(0, {"m": 2.0}, same="b", nfe=5.0, budget=5)
    (board,) = boards(groups([first, second]), "m")
    assert board.budget == 5
    assert [place.group.nfe for place in board.places] == [4.0, 5.0]


def test_a_seed_counts_once_whatever_else_was_measured() -> None:
    first = [run(seed, {"m": float(seed)}) for seed in (0, 1)]
    more = [run(seed, {"m": float(seed), "k": 7.0 + seed}) for seed in (0, 1)]
    other = [run(1, {"j": 3.0})]
    (one,) = groups([*first, *more, *other])
    assert one.runs == tuple(more)  # which have the most figures
    assert one.all == (*more, *first, *other)
    assert one.figures["m"] == Figure(0.5, 0.5, runs=2)
    assert one.figures["k"] == Figure(7.5, 0.5, runs=2)
    assert one.figures["j"] == Figure(3.0)
    assert one.having("j") == other
    against = group([1.0, 1.5], same="b")
    assert tied(one, against, "m") == (stats.ttest_rel([0, 1], [1, 1.5]).pvalue > LEVEL)
    assert len(groups([*first, *more], seeds=False)) == 4


def test_the_same_run_at_two_budgets_is_on_both_boards() -> None:
    runs = [run(seed, {"m": 1.0}, same="rk", nfe=8.0, budget=budget) for budget in (8, 10) for seed in range(3)]
    runs += [run(seed, {"m": 2.0}, same="deis", nfe=10.0) for seed in range(3)]
    found = boards(groups(runs), "m")
    assert [(board.budget, [len(place.group.runs) for place in board.places]) for board in found] == [
        (8, [3]),
        (10, [3, 3]),
    ]


def test_what_nothing_limits_is_ranked_together_and_last() -> None:
    runs = [run(0, {"m": nfe}, same=str(nfe), nfe=nfe, budget=None) for nfe in (45.2, 84.1)]
    first, last = boards(groups([*runs, run(0, {"m": 3.0}, same="c", nfe=100.0)]), "m")
    assert (first.budget, last.budget) == (100.0, INF)
    assert [place.group.nfe for place in last.places] == [45.2, 84.1]


def test_figures_of_one_name_that_were_measured_otherwise_are_apart() -> None:
    runs = [run(seed, {"m": Figure(1.0, how=how), "k": 2.0}) for how in ("x", "y") for seed in (0, 1)]
    found = groups([*runs, run(0, {"k": 2.0, "j": 1.0})])
    assert [len(one.runs) for one in found] == [2, 2]
    assert [len(board.places) for board in boards(found, "m")] == [1, 1]
    assert [len(board.places) for board in boards(found, "k")] == [2]


def test_what_differs_in_the_contents_of_files_alone_is_told_apart() -> None:
    runs = [
        replace(run(seed, {"m": 1.0}, same=same, target="b.npy"), contents={"target": same, "model": "0"})
        for same in ("3fa9", "77b1")
        for seed in (0, 1)
    ]
    assert [dict(one.axes) for one in groups(runs)] == [
        {"target": "b.npy", "target.contents": "3fa9"},
        {"target": "b.npy", "target.contents": "77b1"},
    ]
    assert [dict(one.axes) for one in groups(runs[:2])] == [{"target": "b.npy"}]


@pytest.mark.slow
def test_at_most_one_in_twenty_equals_is_called_different() -> None:
    rng, trials = np.random.default_rng(0), 4000
    wrong = 0
    for _ in range(trials):
        start = rng.normal(size=5)
        a, b = (group(list(start + rng.normal(size=5)), same=name) for name in "ab")
        wrong += not tied(a, b, "m")
    assert wrong / trials == pytest.approx(LEVEL, abs=4 * math.sqrt(LEVEL * (1 - LEVEL) / trials))
