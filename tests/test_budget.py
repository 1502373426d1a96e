"""The error budget: Shapley's axioms, a game whose parts are known, and the command."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest

import samplerhub as sh
from samplerhub.budget import PARTS, Budget, Figure, advise, measure_budget
from samplerhub.budget.shares import shapley
from samplerhub.cli import main
from samplerhub.errors import Mismatch
from samplerhub_grids.edm import EDMGrid
from samplerhub_metrics.fd import FD
from samplerhub_metrics.kl import KL
from samplerhub_metrics.kl_exact import KLExact
from samplerhub_metrics.kl_histogram import KLHistogram
from samplerhub_models.exact import Exact
from samplerhub_models.gaussian import GaussianScore
from samplerhub_priors.gaussian import GaussianPrior
from samplerhub_priors.matched import MatchedPrior
from samplerhub_processes.edm import EDM
from samplerhub_samplers.euler import Euler
from samplerhub_targets.gaussian import Gaussian
from samplerhub_targets.mixture import Mixture


def experiment(**changes: object) -> sh.Experiment:
    parts: dict[str, object] = {
        "process": EDM(), "target": Gaussian(), "model": Exact(), "sampler": Euler(), "grid": EDMGrid(),
        "prior": GaussianPrior(), "metrics": [KLExact()], "steps": 10, "samples": 100,
    }  # fmt: skip
    return sh.Experiment(**{**parts, **changes})  # type: ignore[arg-type]


def test_shapley_values_add_up_and_are_fair() -> None:
    game = {frozenset(S): float(hash(S) % 97) for k in range(4) for S in itertools.combinations(PARTS, k)}
    shares = {part: sum(w * game[cell] for cell, w in shapley(part, PARTS).items()) for part in PARTS}
    assert sum(shares.values()) == pytest.approx(game[frozenset(PARTS)] - game[frozenset()])
    # The definition as a mean over the orders in which parts join.
    for part in PARTS:
        gains = []
        for order in itertools.permutations(PARTS):
            before = frozenset(order[: order.index(part)])
            gains.append(game[before | {part}] - game[before])
        assert shares[part] == pytest.approx(sum(gains) / len(gains))


def test_a_part_that_changes_nothing_has_no_share() -> None:
    game = {
        cell: 3.0 * ("start" in cell) + 1.0
        for cell in (frozenset(S) for k in range(4) for S in itertools.combinations(PARTS, k))
    }
    shares = {part: sum(w * game[cell] for cell, w in shapley(part, PARTS).items()) for part in PARTS}
    assert shares == pytest.approx({"start": 3.0, "score": 0.0, "discretisation": 0.0})


@pytest.mark.parametrize(
    ("changes", "culprit"),
    [
        ({"prior": MatchedPrior(factor=3.0), "steps": 60}, "start"),
        ({"prior": MatchedPrior(), "model": GaussianScore(factor=0.5), "steps": 60}, "score"),
        ({"prior": MatchedPrior(), "steps": 5}, "discretisation"),
    ],
)
def test_the_part_that_is_wrong_is_blamed(changes: dict[str, object], culprit: str) -> None:
    budget = measure_budget(experiment(**changes), fine=4)
    assert budget.repeats == 1
    assert all(figure.stderr is None for figure in budget.cells.values())
    added = sum(share.value for share in budget.shares.values())
    assert added == pytest.approx(budget.total.value - budget.rest.value, rel=1e-9)
    assert budget.shares[culprit].value > 0.9 * added
    assert f"The {culprit} dominates" in advise(budget)[0]


def test_exact_cells_are_the_runs_they_stand_for() -> None:
    given = experiment(model=GaussianScore(factor=0.8))
    budget = measure_budget(given, fine=4)
    assert budget.total.value == given.evaluate()["kl-exact"].value
    exact_score = replace(given, model=Exact()).evaluate()["kl-exact"].value
    assert budget.cells[frozenset({"start", "discretisation"})].value == pytest.approx(exact_score, rel=1e-9)
    finer = replace(given, steps=40).evaluate()["kl-exact"].value
    assert budget.cells[frozenset({"start", "score"})].value == pytest.approx(finer, rel=1e-9)


def test_sampled_figures_are_repeated_and_have_errors() -> None:
    budget = measure_budget(experiment(metrics=[KLHistogram()], samples=2000, target=Mixture()), fine=4, repeats=3)
    assert budget.repeats == 3
    assert all(figure.stderr is not None and figure.stderr > 0 for figure in budget.cells.values())
    exact = measure_budget(experiment(target=Mixture(), metrics=[KL()]), fine=4)
    share, truth = budget.shares["discretisation"], exact.shares["discretisation"]
    assert share.stderr is not None
    assert abs(share.value - truth.value) < 6 * share.stderr + 0.05 * truth.value  # 3 repeats: a wide t interval


def test_the_slope_of_churn_is_a_difference_of_exact_runs() -> None:
    given = experiment(steps=20)
    budget = measure_budget(given, fine=2)
    more = replace(given, sampler=Euler(churn=0.25)).evaluate()["kl-exact"].value
    assert budget.slope is not None
    assert budget.slope.value == pytest.approx((more - given.evaluate()["kl-exact"].value) / 0.25, rel=1e-9)


def test_what_has_no_exact_form_is_said() -> None:
    class Data:
        shape = (2,)

        def sample(self, n: int, rng: object) -> object:
            return Gaussian(mean=(0.0, 0.0)).sample(n, rng)  # type: ignore[arg-type]

    class Shrinks:
        predicts = "eps"
        shape = (2,)

        def __call__(self, y: object, rho: object) -> object:
            return rho * y / (1 + rho**2)  # type: ignore[operator]

    budget = measure_budget(
        experiment(target=Data(), model=Shrinks(), metrics=[FD()], samples=300, steps=4), fine=2, repeats=2
    )
    assert set(budget.shares) == {"start", "discretisation"}
    assert len(budget.cells) == 4
    assert "the exact score of Data is not known" in budget.missing[0]
    added = sum(share.value for share in budget.shares.values())
    assert added == pytest.approx(budget.total.value - budget.rest.value)


def test_a_budget_is_of_one_metric_and_a_target() -> None:
    with pytest.raises(Mismatch, match="one metric, and the run has 2"):
        measure_budget(experiment(metrics=[KL(), KLExact()]))
    with pytest.raises(Mismatch, match="one metric, and the run has 0"):
        measure_budget(experiment(metrics=[]))


def budget_of(shares: dict[str, Figure], rest: float = 0.0, slope: Figure | None = None) -> Budget:
    total = rest + sum(share.value for share in shares.values())
    return Budget("kl", {}, shares, Figure(rest), Figure(total), slope, 1, 8)


def test_advice_follows_from_the_numbers() -> None:
    score = {"start": Figure(0.0), "score": Figure(1.0, 0.01, 5), "discretisation": Figure(0.1, 0.01, 5)}
    text = advise(budget_of(score, slope=Figure(-0.5, 0.05, 5)))
    assert "The score dominates (91 % of the figure)" in text[0]
    assert "Churn helps (-0.5 ± 0.05 per unit" in text[-1]
    assert "Churn hurts" in advise(budget_of(score, slope=Figure(0.5, 0.05, 5)))[-1]
    assert "cannot be told" in advise(budget_of(score, slope=Figure(0.01, 0.05, 5)))[-1]
    cancel = {"start": Figure(-0.4, 0.01, 5), "score": Figure(1.0, 0.01, 5), "discretisation": Figure(0.0)}
    assert "The start lowers the figure" in advise(budget_of(cancel))[1]
    small = {"start": Figure(0.01), "score": Figure(0.0), "discretisation": Figure(0.0)}
    left = advise(budget_of(small, rest=5.0))
    assert "No part adds more than 5 %" in left[0]
    assert "is left when" in left[1]


def test_noise_is_no_part() -> None:
    noise = Budget(
        "kl", {}, {part: Figure(0.01, 0.1, 3) for part in PARTS}, Figure(0.0), Figure(0.03, 0.2, 3), None, 3, 8
    )
    assert advise(noise) == [
        "The figure cannot be told from 0, and so cannot its parts; "
        "more samples (-n) or repeats (--repeats) would tell more."
    ]
    assert Figure(0.3, 0.1, 2).is_nothing  # 12.7 standard errors of two repeats
    assert not Figure(0.3, 0.1, 5).is_nothing
    assert Figure(1e-7, error=1e-6).is_nothing


def test_the_command_writes_table_picture_and_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = [
        "budget",
        "--target",
        "gaussian",
        "--sampler",
        "euler",
        "--steps",
        "5",
        "--metric",
        "kl",
        "--fine",
        "4",
    ]
    assert main([*arguments, "--out", "b", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report["shares"]) == set(PARTS)
    assert len(report["runs"]) == 8
    assert {**json.loads(Path("b/budget.json").read_text()), "files": report["files"]} == report
    assert Path("b/budget.png").read_bytes()[:4] == b"\x89PNG"
    kept = {file: file.stat().st_mtime_ns for file in Path("b/runs").iterdir()}
    assert main([*arguments, "--out", "b"]) == 0
    out = capsys.readouterr().out
    assert "4 x finer" in out
    assert "discretisation" in out
    assert "dominates" in out
    assert kept == {file: file.stat().st_mtime_ns for file in Path("b/runs").iterdir()}  # nothing was run again


def test_figures_that_were_kept_are_whole_or_made_again(tmp_path: Path) -> None:
    from samplerhub.budget.folder import BudgetFolder

    folder = BudgetFolder(tmp_path)
    folder.save("a" * 64, sh.Estimate(0.25, None))
    assert folder.load("a" * 64) == sh.Estimate(0.25, None)
    next((tmp_path / "runs").iterdir()).write_text("{")
    assert folder.load("a" * 64) is None
