"""From options with several values to runs: what is combined, what applies to whom, what is skipped and why."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from samplerhub.cli.asking import Asked, values
from samplerhub.cli.options import scan, tidy
from samplerhub.cli.planning import Plan, plan
from samplerhub.errors import InvalidSetting, SamplerhubError, UnusableFile
from samplerhub.registry import Registry

REGISTRY = Registry.discover()


def planned(line: str) -> Plan:
    return plan(Asked.read(scan(tidy(shlex.split(f"--target gaussian {line}")))), REGISTRY)


def axes(line: str) -> list[dict[str, Any]]:
    return [{name: value for name, value in cell.axes.items() if name != "target"} for cell in planned(line).cells]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["1,2"], ["1", "2"]),
        (["1", "2"], ["1", "2"]),
        (["[1, 2.5]"], ["1", "2.5"]),
        (['["a", "b"]'], ["a", "b"]),
        (["linspace:0:1:3"], ["0", "0.5", "1"]),
        (["logspace:0.01:1:3"], ["0.01", "0.1", "1"]),
        (["linspace:2:2:1", "7"], ["2", "7"]),
    ],
)
def test_values(texts: list[str], expected: list[str]) -> None:
    assert list(values(texts)) == expected


def test_a_list_is_one_value_of_a_field_that_is_a_list() -> None:
    assert list(values(["0.1,10"], sequence=True)) == ["0.1,10"]
    assert list(values(["[0.1, 10]"], sequence=True)) == ["[0.1, 10]"]
    assert list(values(["[[0.1, 10], [1, 2]]"], sequence=True)) == ["[0.1, 10]", "[1, 2]"]
    (both, wide) = axes("--sampler deis --churn 0.3 --churn-window 0.1,10 --churn-window 1,20 --steps 2")
    assert (both["churn-window"], wide["churn-window"]) == ("0.1,10", "1,20")


@pytest.mark.parametrize("text", ["linspace:0:x:3", "logspace:0:1:3", "linspace:0:1:0", "[1,"])
def test_values_that_are_none(text: str) -> None:
    with pytest.raises(InvalidSetting):
        list(values([text]))


def test_every_combination() -> None:
    found = axes("--sampler deis,heun --steps 2,3,4 --seeds 2")
    assert found == [
        {"sampler": sampler, "steps": steps, "seed": seed}
        for sampler in ("deis", "heun")
        for steps in (2, 3, 4)
        for seed in (0, 1)
    ]


def test_an_option_applies_to_those_that_have_it() -> None:
    found = axes("--sampler deis,heun --order 1,2 --steps 4")
    assert found == [
        {"sampler": "deis", "order": 1, "steps": 4},
        {"sampler": "deis", "order": 2, "steps": 4},
        {"sampler": "heun", "steps": 4},
    ]
    found = axes("--sampler deis,unipc --deis.order 1,2 --steps 4")
    assert [one.get("deis.order") for one in found] == [1, 2, None]


def test_the_fields_are_those_that_were_asked_for() -> None:
    cells = planned("--sampler deis --order 2 --churn 0,0.3 --metric kl --metric energy --steps 3 -n 50").cells
    assert [cell.config.components["sampler"].fields["order"] for cell in cells] == [2, 2]
    assert [cell.config.components["sampler"].fields["churn"] for cell in cells] == [0.0, 0.3]
    assert [[metric.name for metric in cell.config.metrics or ()] for cell in cells] == [["kl", "energy"]] * 2
    assert {cell.config.samples for cell in cells} == {50}


def test_metrics_are_together_not_one_by_one() -> None:
    (cell,) = planned("--metric kl,energy --steps 3").cells
    assert [metric.name for metric in cell.config.metrics or ()] == ["kl", "energy"]


def test_what_cannot_be_run_is_skipped_by_name() -> None:
    found = planned("--sampler heun,deis --nfe 1,4")
    assert len(found.cells) == 3
    (skipped,) = found.skipped
    assert (skipped.axes["sampler"], skipped.axes["nfe"]) == ("heun", 1)
    assert "needs at least 2" in skipped.reason


def test_what_means_the_same_is_one_run() -> None:
    assert len(planned("--sampler heun,samplerhub:heun --steps 3,3").cells) == 1


def test_seeds_begin_where_they_are_told() -> None:
    assert [one["seed"] for one in axes("--seed 10 --seeds 3 --steps 2")] == [10, 11, 12]
    assert [one["seed"] for one in axes("--seed 4,7 --steps 2")] == [4, 7]


def test_the_command_line_goes_over_the_file_whatever_the_spelling(tmp_path: Path) -> None:
    file = tmp_path / "sweep.toml"
    file.write_text('nfe = [4, 6]\n[sampler]\nname = "deis"\nchurn = [0, 0.3]\n')
    assert [one["churn"] for one in axes(f"{shlex.quote(str(file))} --nfe 6 --churn 0.7,0.9")] == [0.7, 0.9]
    assert [one["steps"] for one in axes(f"{shlex.quote(str(file))} --churn 0 --steps 3,5")] == [3, 5]


def test_components_inside_components_are_chosen_like_any_other() -> None:
    for bases in ("exact,gaussian", "gaussian,exact"):
        found = planned(f"--model perturbed --model.base {bases} --model.base.factor 1,2 --steps 3").cells
        chosen = [cell.config.components["model"].parts["base"] for cell in found]
        assert sorted((part.name, part.fields.get("factor")) for part in chosen) == [
            ("exact", None),
            ("gaussian", 1.0),
            ("gaussian", 2.0),
        ]


def test_a_boolean_without_a_value_is_true() -> None:
    (cell,) = planned("--metric fd --features pca --features.whiten --steps 3").cells
    assert cell.config.components["features"].fields["whiten"] is True


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--sampler deis --churn 0 --sampler.churn 0.5", "--churn and --sampler.churn are the same option"),
        ("--sampler deis --order 1,2 --deis.order 3", "--order and --deis.order are the same option"),
        ("--steps 3 --nfe 4", "say the same thing in two ways"),
        ("--seed 3,10 --seeds 2", "counts from one --seed on"),
        ("--sampler deis --churn linspace:0:inf:3", "the ends are finite"),
        ("--sampler deis --churn", "--churn needs a value"),
        ("--sampler hevn", "did you mean 'heun'"),
        ("--sampler deis --ordr 2", "did you mean '--order'"),
        ("--sampler heun,euler --order 2", "no option --order"),
        ("--sampler heun --nfe 1", "needs at least 2"),
        ("--seeds 0", "at least 1"),
        ("--seeds x", "at least 1"),
        ("--seed 1,x", "'x': it must be an integer"),
        ("--steps 3 --sampler", "--sampler needs a value"),
        ("--seed linspace:0:9:10 --steps linspace:1:100000:100000", "more than 100,000 runs"),
    ],
)
def test_mistakes_are_said_at_once(line: str, message: str) -> None:
    with pytest.raises(SamplerhubError, match=message.replace("(", r"\(")):
        planned(line)


def test_a_file_says_the_same_as_options(tmp_path: Path) -> None:
    file = tmp_path / "sweep.toml"
    file.write_text(
        """
        nfe = [4, 6]
        seeds = 2
        metric = ["kl", {name = "kl-knn", k = 3}]
        samples = 100

        [sampler]
        name = ["deis", "heun"]
        order = [1, 2]
        """
    )
    by_file = planned(shlex.quote(str(file)))
    by_options = planned(
        "--nfe 4,6 --seeds 2 --metric kl --metric kl-knn --metric.kl-knn.k 3 --samples 100 --sampler deis,heun "
        "--sampler.order 1,2"
    )
    assert [cell.key for cell in by_file.cells] == [cell.key for cell in by_options.cells]
    assert len(by_file.cells) == 12
    assert len(planned(f"{shlex.quote(str(file))} --nfe 5").cells) == 6


def test_parts_of_components_are_axes_too(tmp_path: Path) -> None:
    found = planned("--model perturbed --model.scale 0.9,1.1 --model.base exact --steps 3").cells
    assert [cell.config.components["model"].fields["scale"] for cell in found] == [0.9, 1.1]
    file = tmp_path / "sweep.toml"
    file.write_text('steps = 3\n[model]\nname = "perturbed"\nscale = [0.9, 1.1]\nbase = "exact"\n')
    assert [cell.key for cell in planned(shlex.quote(str(file))).cells] == [cell.key for cell in found]


def test_a_file_that_is_no_sweep(tmp_path: Path) -> None:
    file = tmp_path / "sweep.toml"
    file.write_text("nfe = [4")
    with pytest.raises(UnusableFile, match="is not TOML"):
        planned(shlex.quote(str(file)))
    with pytest.raises(UnusableFile, match="cannot read"):
        planned(str(tmp_path / "nowhere.toml"))
