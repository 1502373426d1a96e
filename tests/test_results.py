"""``samplerhub results``: the table, its filters and files, what failed; and the index that saves reading folders."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from scipy import stats

from samplerhub.cli import main
from samplerhub.cli.exporting import as_json, writer_of
from samplerhub.errors import SamplerhubError
from samplerhub.manifest import Manifest, MetricRecord
from samplerhub.sweep import Kept, Store, groups
from samplerhub.sweep import index as index_of
from samplerhub.sweep.result import RESULT, _sha256

SWEEP = (
    "sweep --sampler deis,heun --nfe 4,6 --seeds 3 --metric kl --metric energy --target mixture -n 300 --engine serial"
)
COLUMNS = ["key", "target", "sampler", "samples", "seed", "nfe", "nfe_spent", "seconds"]
FIGURES = ["kl", "kl_stderr", "energy", "energy_stderr"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweeps") / "first"
    assert main([*SWEEP.split(), "--quiet", "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def sweep(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a sweep of 12 runs, in a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    shutil.copytree(made, tmp_path / "first")
    monkeypatch.chdir(tmp_path)
    return Path("first")


Asked = Callable[..., str]


@pytest.fixture
def asked(capsys: pytest.CaptureFixture[str]) -> Asked:
    def ask(*arguments: object, code: int = 0) -> str:
        capsys.readouterr()
        assert main(["results", *map(str, arguments)]) == code
        out, err = capsys.readouterr()
        return out if code == 0 else err

    return ask


def listed(asked: Asked, *arguments: object) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(asked(*arguments, "--json"))
    return found


def test_the_table_is_grouped_over_seeds_and_says_once_what_is_the_same(sweep: Path, asked: Asked) -> None:
    head, same, empty, header, *lines = asked(sweep).splitlines()
    assert head == "12 runs in 4 groups, 3 seeds each"
    assert same == "all: target mixture, samples 300"
    assert empty == ""
    assert header.split() == ["sampler", "nfe", "kl", "energy"]
    assert [line.split()[:2] for line in lines] == [["deis", "4"], ["deis", "6"], ["heun", "4"], ["heun", "6"]]
    assert all("±" in line and len(line) <= 80 for line in lines)


def test_a_group_has_the_mean_of_its_runs_and_their_spread(sweep: Path, asked: Asked) -> None:
    runs, together = listed(asked, sweep), listed(asked, sweep, "--per", "group")
    assert (len(runs), len(together)) == (12, 4)
    for group in together:
        values = [run["energy"] for run in runs if (run["sampler"], run["nfe"]) == (group["sampler"], group["nfe"])]
        assert group["seeds"] == len(values) == 3
        assert group["energy"] == pytest.approx(sum(values) / 3, rel=1e-12)
        assert group["energy_stderr"] == pytest.approx(stats.sem(values), rel=1e-9)
        assert group["kl_stderr"] == 0


def test_json_is_one_object_a_run_as_its_manifest_has_it(sweep: Path, asked: Asked) -> None:
    for run in listed(asked, sweep):
        assert list(run) == COLUMNS + FIGURES
        manifest = Manifest.model_validate_json((sweep / run["key"] / "manifest.json").read_text())
        assert (run["seed"], run["nfe_spent"], run["seconds"]) == (
            manifest.settings.seed,
            manifest.nfe,
            manifest.seconds,
        )
        assert run["sampler"] == manifest.components["sampler"].name
        assert (run["energy"], run["energy_stderr"]) == (
            manifest.estimates["energy"].value,
            manifest.estimates["energy"].stderr,
        )


def test_every_run_is_a_row_where_that_is_asked_for(sweep: Path, asked: Asked) -> None:
    lines = asked(sweep, "--per", "run", "--where", "sampler=heun", "--where", "nfe<5").splitlines()
    assert lines[:2] == ["3 of 12 runs", "all: target mixture, sampler heun, samples 300, NFE 4"]
    assert [line.split()[0] for line in lines[3:]] == ["seed", "0", "1", "2"]


@pytest.mark.parametrize(
    ("conditions", "count"),
    [
        (["sampler=deis"], 6),
        (["sampler==deis", "nfe<=4"], 3),
        (["sampler=deis,heun", "seed=0,2"], 8),
        (["sampler!=deis"], 6),
        (["sampler!=deis,heun"], 0),
        (["nfe>4"], 6),
        (["nfe >= 4"], 12),
        (["nfe=4.0"], 6),
        (["seed<1"], 4),
        (["kl<1e9"], 12),
        (["kl<0"], 0),
        (["grid=edm"], 12),
        (["grid.exponent=7"], 12),
        (["edm.exponent>7"], 0),
        (["order=3"], 6),
        (["order!=3"], 6),
        (["steps=2"], 3),
        (["dtype=float32"], 12),
        (["kl.direction=forward"], 12),
    ],
)
def test_conditions_on_what_was_asked_for_what_was_default_and_what_came_out(
    sweep: Path, asked: Asked, conditions: list[str], count: int
) -> None:
    where = [word for condition in conditions for word in ("--where", condition)]
    assert len(listed(asked, sweep, *where)) == count
    if count == 0:
        assert asked(sweep, *where) == "none of 12 runs is wanted by --where\n"


def test_a_condition_on_a_figure_is_about_what_a_row_is(sweep: Path, asked: Asked) -> None:
    best = min(listed(asked, sweep, "--per", "group"), key=lambda group: group["energy"])
    (only,) = listed(asked, sweep, "--per", "group", "--where", f"energy<={best['energy']!r}")
    assert only == best


def test_sorting_puts_the_best_first(sweep: Path, asked: Asked) -> None:
    kl = [row["kl"] for row in listed(asked, sweep, "--sort", "kl")]
    assert kl == sorted(kl)
    assert [row["kl"] for row in listed(asked, sweep, "--sort", "kl", "--reverse")] == sorted(kl, reverse=True)
    order = [(row["seed"], row["nfe"]) for row in listed(asked, sweep, "--sort", "seed", "--sort", "nfe")]
    assert order == sorted(order)


def test_the_best_are_ranked_at_equal_nfe_and_ties_are_marked(sweep: Path, asked: Asked) -> None:
    rows = listed(asked, sweep, "--best", "energy")
    assert [(row["nfe"], row["rank"]) for row in rows] == [(4, 1), (4, 2), (6, 1), (6, 2)]
    runs = listed(asked, sweep)
    for best, other in zip(rows[::2], rows[1::2]):
        assert best["energy"] <= other["energy"]
        assert best["tied"] is False
        seeds = [
            [run["energy"] for run in runs if (run["sampler"], run["nfe"]) == (row["sampler"], row["nfe"])]
            for row in (best, other)
        ]
        assert other["tied"] == (stats.ttest_rel(*seeds).pvalue > 0.05)
    text = asked(sweep, "--best", "energy")
    assert text.index("NFE 4") < text.index("NFE 6")
    assert ("2 =" in text) == any(row["tied"] for row in rows) == ("t-test" in text)
    assert text.splitlines()[4].split() == ["sampler", "energy", "kl"]


def test_only_the_metrics_that_are_asked_for(sweep: Path, asked: Asked) -> None:
    assert asked(sweep, "--metric", "energy").splitlines()[3].split() == ["sampler", "nfe", "energy"]
    assert asked(sweep, "--metric", "seconds", "--metric", "nfe_spent").splitlines()[3].split() == [
        "sampler",
        "nfe",
        "spent",
        "seconds",
    ]
    assert list(listed(asked, sweep, "--metric", "kl")[0]) == [*COLUMNS, "kl", "kl_stderr"]


def test_three_metrics_fit_into_80_columns_and_what_does_not_fit_follows_below(
    sweep: Path, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in sweep.glob(f"*/{RESULT}"):
        rewrite(file, lambda manifest: {"fd": {"value": 0.012345, "stderr": 0.00123}})
    assert max(map(len, asked(sweep).splitlines())) <= 80
    assert asked(sweep).splitlines()[3].split() == ["sampler", "nfe", "kl", "energy", "fd"]
    monkeypatch.setenv("COLUMNS", "40")
    narrow = asked(sweep).splitlines()
    assert max(map(len, narrow[2:])) <= 40
    assert sum(line.split()[:2] == ["sampler", "nfe"] for line in narrow) == 2


def rewrite(file: Path, more: Callable[[dict[str, Any]], dict[str, Any]], axes: dict[str, Any] | None = None) -> None:
    """Add figures to a run's result, with the hash that it then has."""
    result = json.loads(file.read_text())["result"]
    for name, estimate in more(result["manifest"]).items():
        result["manifest"]["estimates"][name] = MetricRecord.model_validate(estimate).model_dump(mode="json")
    result["axes"] = axes if axes is not None else result["axes"]
    file.write_text(json.dumps({"sha256": _sha256(result), "result": result}))


@pytest.mark.parametrize("end", [".csv", ".json", ".parquet"])
def test_files_have_what_json_has(sweep: Path, asked: Asked, end: str) -> None:
    file = Path(f"table{end}")
    assert asked(sweep, "--out", file) == f"table{end}\n"
    wanted = listed(asked, sweep)
    if end == ".json":
        assert json.loads(file.read_text()) == wanted
    elif end == ".parquet":
        table = pyarrow.parquet.read_table(file)
        assert table.column_names == list(wanted[0])
        assert table.to_pylist() == wanted
        assert str(table.schema.field("kl_stderr").type) == str(table.schema.field("energy").type) == "double"
    else:
        rows = list(csv.DictReader(file.read_text().splitlines()))
        assert list(rows[0]) == list(wanted[0])
        assert [float(row["energy"]) for row in rows] == [row["energy"] for row in wanted]
        assert {row["kl_stderr"] for row in rows} == {""}
        assert [row["key"] for row in rows] == [row["key"] for row in wanted]
    asked(sweep, "--out", file, "--best", "kl")
    assert not [left for left in Path().iterdir() if left.name.startswith(".table")]


ODD = [
    {"a": "x", "b": 1, "c": math.inf, "d": [1, 2], "e": True, "f": None},
    {"a": 'comma, "quote"\nline', "b": 2.5, "c": math.nan, "d": "text", "e": False},
    {"a": "ü", "c": -math.inf},
]


def test_odd_values_are_read_back(tmp_path: Path) -> None:
    names = list("abcdef")
    for end in (".csv", ".json", ".parquet"):
        file = tmp_path / f"odd{end}"
        writer_of(file)(file, names, ODD)  # type: ignore[arg-type]
    assert json.loads((tmp_path / "odd.json").read_text()) == json.loads(as_json(ODD))  # type: ignore[arg-type]
    assert [row["c"] for row in json.loads((tmp_path / "odd.json").read_text())] == ["Infinity", "NaN", "-Infinity"]
    with (tmp_path / "odd.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["a"] for row in rows] == [row["a"] for row in ODD]
    assert float(rows[0]["c"]) == math.inf
    assert math.isnan(float(rows[1]["c"]))
    assert [row["d"] for row in rows] == ["[1, 2]", "text", ""]
    table = pyarrow.parquet.read_table(tmp_path / "odd.parquet").to_pydict()
    assert table["a"] == [row["a"] for row in ODD]
    assert table["b"] == [1.0, 2.5, None]
    assert table["c"][0] == math.inf
    assert table["d"] == ["[1, 2]", "text", None]
    assert table["e"] == [True, False, None]
    assert table["f"] == [None, None, None]


def test_without_pyarrow_parquet_is_refused_before_anything_is_read(sweep: Path) -> None:
    code = "import sys; sys.modules['pyarrow'] = None; from samplerhub.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "results", str(sweep), "--out", "x.parquet"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "pip install 'samplerhub[parquet]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not Path("x.parquet").exists()


def test_results_need_neither_torch_nor_scipy_stats(sweep: Path) -> None:
    code = (
        "import sys; from samplerhub.cli import main; main(['results', 'first', '--best', 'energy']); "
        "sys.exit(' '.join({'torch', 'scipy.stats', 'matplotlib'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere"),
        (["."], "no finished run"),
        (["first", "--where", "sampler"], "is no condition"),
        (["first", "--where", "nfe<ten"], "'ten' is no number"),
        (["first", "--where", "sampler<3"], "no sampler is a number"),
        (["first", "--where", "smapler=deis"], "did you mean 'sampler'"),
        (["first", "--sort", "lk"], "nothing here is called 'lk'"),
        (["first", "--metric", "fd"], "--metric fd: no run has it; known: kl, energy"),
        (["first", "--best", "fd"], "--best fd"),
        (["first", "--best", "kl", "--sort", "kl"], "leave --sort out"),
        (["first", "--out", "table.xls"], ".csv, .parquet, .json"),
        (["first", "--out", "none/table.csv"], "cannot write none/table.csv"),
        (["first", "--per", "seed"], "'seed'"),
    ],
)
def test_a_mistake_is_one_message(sweep: Path, asked: Asked, arguments: list[str], said: str) -> None:
    message = asked(*arguments, code=2)
    assert said in message
    assert len(message.splitlines()) == 1


def test_a_single_run_is_no_sweep(sweep: Path, asked: Asked) -> None:
    (key, *_) = Store(sweep).keys()
    assert "samplerhub compare" in asked(sweep / key, code=2)


class Failing:
    """What a failed run is known by."""

    def __init__(self, key: str) -> None:
        self.key, self.axes = key, {"sampler": "bad", "nfe": 3}


def test_what_failed_and_what_cannot_be_read_is_named(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(sweep)
    first, second, *_ = store.keys()
    assert main(["results", str(sweep)]) == 0  # the index has them now
    file = sweep / first / RESULT
    file.write_text(file.read_text().replace('"seed"', '"sead"', 1))
    (sweep / second / RESULT).write_bytes(b"\xff\x00")
    store.fail(Failing("f" * 12), ValueError("no square"))  # type: ignore[arg-type]
    capsys.readouterr()
    assert main(["results", str(sweep)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("10 runs in 4 groups\n")
    assert "seeds" in out.splitlines()[3]
    assert "failed sampler bad, nfe 3: ValueError: no square" in err
    assert f"{first}/{RESULT} was changed: its hash is another" in err
    assert f"cannot read {sweep}/{second}/{RESULT}" in err
    assert "1 run failed" in err
    assert "2 runs cannot be read" in err
    assert main(["results", str(sweep), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 10
    for file in sweep.glob(f"*/{RESULT}"):
        file.unlink()
    assert main(["results", str(sweep)]) == 2
    assert "none can be read" in capsys.readouterr().err


def test_what_was_default_then_and_asked_for_later_is_one_group(
    sweep: Path, asked: Asked, capsys: pytest.CaptureFixture[str]
) -> None:
    again = SWEEP.replace("--seeds 3", "--seeds 4") + " --churn 0 --quiet --out first"
    assert main(again.split()) == 0
    assert "12 there before" in capsys.readouterr().out
    rows = listed(asked, sweep, "--per", "group")
    assert [(row["seeds"], row["churn"]) for row in rows] == [(4, 0)] * 4
    assert len(listed(asked, sweep, "--where", "churn=0")) == 16


# What is ranked with what


def swept(folder: str, options: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Do a sweep, and return what it says."""
    capsys.readouterr()
    assert main(["sweep", *options.split(), "--engine", "serial", "--quiet", "--out", folder]) == 0
    out, err = capsys.readouterr()
    return out + err


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("here")
def test_a_run_is_on_every_board_for_which_it_was_asked(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    """``rk`` spends 8 evaluations of 8 and of 10."""
    swept("s", "--target mixture --sampler rk,deis --nfe 8,10 --seeds 2 --metric energy -n 100", capsys)
    rows = listed(asked, "s", "--best", "energy")
    assert sorted((row["nfe"], row["sampler"], row["nfe_spent"], row["seeds"]) for row in rows) == [
        (8, "deis", 8, 2),
        (8, "rk", 8, 2),
        (10, "deis", 10, 2),
        (10, "rk", 8, 2),
    ]
    assert asked("s").startswith("8 runs in 4 groups, 2 seeds each\n")


@pytest.mark.usefixtures("here")
def test_steps_that_need_a_budget_are_the_same_as_the_budget(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    for more in ("--nfe 5", "--steps 5"):
        assert "2 done" in swept(
            "s", f"--target mixture --sampler deis {more} --seeds 2 --metric energy -n 100", capsys
        )
    (row,) = listed(asked, "s", "--per", "group")
    assert (row["seeds"], row["nfe"]) == (2, 5)


@pytest.mark.usefixtures("here")
def test_a_metric_that_is_added_splits_no_ranking(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    base = "--target mixture --nfe 5 --seeds 2 -n 100 --sampler"
    swept("s", f"{base} deis,heun --metric energy", capsys)
    before = listed(asked, "s", "--best", "energy")
    swept("s", f"{base} heun,ddim --metric kl --metric energy", capsys)
    rows = listed(asked, "s", "--best", "energy")
    assert [row["rank"] for row in rows] == [1, 2, 3]
    assert [row["seeds"] for row in rows] == [2, 2, 2]
    assert {row["sampler"]: row["energy"] for row in before}.items() <= {
        r["sampler"]: r["energy"] for r in rows
    }.items()
    assert [row["sampler"] for row in rows if "kl" in row] == [
        row["sampler"] for row in rows if row["sampler"] != "deis"
    ]
    assert [row["rank"] for row in listed(asked, "s", "--best", "kl")] == [1, 2]
    assert "8 runs in 3 groups, 2 seeds each" in asked("s")
    assert "4 there before" in swept("s", f"{base} heun,ddim --metric energy --metric kl --dtype float32", capsys)
    assert main(["report", "s"]) == 0


@pytest.mark.usefixtures("here")
def test_samples_at_other_noise_levels_are_not_ranked_together(
    asked: Asked, capsys: pytest.CaptureFixture[str]
) -> None:
    swept("s", "--target mixture --sampler deis,heun --nfe 5 --rho-min 0.002,10 --metric kl -n 100", capsys)
    rows = listed(asked, "s", "--best", "kl")
    assert [(row["rank"], row["rho"]) for row in rows] == [(1, 0.002), (2, 0.002), (1, 10.0), (2, 10.0)]
    titles = [line for line in asked("s", "--best", "kl").splitlines() if "noise level" in line]
    assert titles == ["rho-min 0.002, noise level 0.002", "rho-min 10, noise level 10"]
    swept("t", "--target mixture --sampler heun --sampler.last stop,denoise --nfe 6 --metric kl -n 100", capsys)
    assert [row["rank"] for row in listed(asked, "t", "--best", "kl")] == [1, 1]  # the one is denoised
    swept("u", "--target mixture --process edm,vp --rho-min 0.1 --nfe 6 --metric kl -n 100", capsys)
    assert [row["rank"] for row in listed(asked, "u", "--best", "kl")] == [1, 2]  # the same but for rounding


@pytest.mark.usefixtures("here")
def test_samplers_that_nothing_limits_are_ranked_together(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    both = "dormand-prince,bogacki-shampine"
    swept("s", f"--target mixture --sampler {both},deis --metric energy -n 100", capsys)
    rows = listed(asked, "s", "--best", "energy")
    assert [(row["rank"], row.get("nfe")) for row in rows] == [(1, 10), (1, None), (2, None)]
    assert "no budget of NFE" in asked("s", "--best", "energy")
    assert main(["report", "s"]) == 0


@pytest.mark.usefixtures("here")
def test_two_contents_of_one_file_are_two_rows_that_can_be_told(
    asked: Asked, capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    for seed, name in ((0, "b.npy"), (1, "b.npy"), (1, "c.npy")):
        np.save(name, np.random.default_rng(seed).normal(size=(50, 2)))
        said.append(swept("s", f"--target {name} --model empirical --nfe 4 --metric energy -n 50", capsys))
    assert ["1 done" in one for one in said] == [True, True, False]  # the last has the contents of the one before
    rows = listed(asked, "s")
    assert len({row["target.contents"] for row in rows}) == len(rows) == 2
    kept = [run for run in Store(Path("s")).runs() if isinstance(run, Kept)]
    for row, run in zip(rows, sorted(kept, key=lambda run: [row["key"] for row in rows].index(run.key))):
        assert str(run.manifest.components["target"].digest).startswith(row["target.contents"])


@pytest.mark.usefixtures("here")
def test_lists_are_found_however_they_are_written(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    windows = "--churn-window 0.1,10 --churn-window 1,20"
    swept("s", f"--target mixture --sampler deis --churn 0.3 {windows} --nfe 4 --metric kl -n 50", capsys)
    for text, count in (
        ("0.1,10", 1),
        ("[0.1, 10]", 1),
        ("[0.10,10.0]", 1),
        ("[0.1,10],[1,20]", 2),
        ("0.1", 0),
        ("[10, 0.1]", 0),
    ):
        assert len(listed(asked, "s", "--where", f"churn-window={text}")) == count
        assert len(listed(asked, "s", "--where", f"churn-window!={text}")) == 2 - count


def test_versions_that_differ_are_said(
    sweep: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["results", str(sweep)]) == 0
    assert "versions" not in capsys.readouterr().err
    for file, torch in zip(sorted(sweep.glob(f"*/{RESULT}")), ("1.0", "1.0", "1.1")):
        result = json.loads(file.read_text())["result"]
        result["manifest"]["environment"]["torch"] = torch
        result["manifest"]["components"]["sampler"] |= {"distribution": "other", "version": torch}
        file.write_text(json.dumps({"sha256": _sha256(result), "result": result}))
    again = [*SWEEP.split(), "--quiet", "--out", str(sweep)]
    for arguments in (["results", str(sweep)], ["results", str(sweep), "--json"], again):
        assert main(arguments) == 0
        err = capsys.readouterr().err
        assert "different versions of torch: 1.0 (2), 1.1 (1), " in err
        assert "different versions of other: 1.0 (2), 1.1 (1)" in err


def test_a_seed_of_more_than_64_bits_is_text_in_parquet(tmp_path: Path) -> None:
    file = tmp_path / "x.parquet"
    writer_of(file)(file, ["seed"], [{"seed": 10**20 - 1}, {"seed": 1}, {"seed": 2**63 - 1}])
    assert pyarrow.parquet.read_table(file).to_pydict()["seed"] == ["99999999999999999999", "1", str(2**63 - 1)]
    writer_of(file)(file, ["seed"], [{"seed": -(2**63)}, {"seed": 2**63 - 1}])
    assert pyarrow.parquet.read_table(file).to_pydict()["seed"] == [-(2**63), 2**63 - 1]


def test_the_record_of_a_failure_that_is_not_whole_is_named(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Store(sweep).fail(Failing("f" * 12), ValueError("no square"))  # type: ignore[arg-type]
    (sweep / "failed" / "0123456789ab.json").write_text('{"key": "0')
    assert main(["results", str(sweep)]) == 0
    err = capsys.readouterr().err
    assert "failed 0123456789ab: why is not known" in err
    assert "2 runs failed" in err


# The index


def entries(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / index_of.INDEX).read_text())["runs"]
    return found


def plain(folder: Path) -> list[Any]:
    runs = [run for run in Store(folder).runs() if isinstance(run, Kept)]
    return [(run, run.manifest) for run in runs]


def test_the_index_says_what_the_folders_say(sweep: Path) -> None:
    read = plain(sweep)
    assert set(entries(sweep)) == set(Store(sweep).keys())
    assert plain(sweep) == read
    assert len(groups(run for run, _ in plain(sweep))) == 4


def test_what_is_in_the_index_is_not_read_again(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = [run for run, _ in plain(sweep)]
    monkeypatch.setattr(Store, "read", lambda store, key: pytest.fail(f"{key} was read"))
    assert list(Store(sweep).runs()) == before


def test_figures_that_are_not_finite_pass_through_the_index(sweep: Path) -> None:
    file = next(sweep.glob(f"*/{RESULT}"))
    odd = {"value": math.inf, "stderr": math.nan, "better": "larger"}
    rewrite(file, lambda manifest: {"odd": odd | {"value": "Infinity", "stderr": "NaN"}})
    for _ in range(2):
        (figure,) = [run.figures["odd"] for run, _ in plain(sweep) if "odd" in run.figures]
        assert figure.value == math.inf
        assert figure.stderr is not None
        assert math.isnan(figure.stderr)
        assert figure.better == "larger"


@pytest.mark.parametrize("damage", ["", "{", "null", '{"format": 2, "runs": {"x": 3}}', '{"format": 1, "runs": {}}'])
def test_a_damaged_index_is_made_again(sweep: Path, damage: str) -> None:
    before = plain(sweep)
    whole = entries(sweep)
    (sweep / index_of.INDEX).write_text(damage)
    assert plain(sweep) == before
    assert entries(sweep) == whole


def test_a_run_that_is_new_gone_or_changed_is_noticed_whatever_the_clock_says(sweep: Path, asked: Asked) -> None:
    assert len(listed(asked, sweep)) == 12
    first, second, *_ = Store(sweep).keys()
    shutil.rmtree(sweep / first)
    file = sweep / second / RESULT
    old = file.stat()
    rewrite(file, lambda manifest: {"energy": {"value": 77.0, "stderr": 1.0}})
    os.utime(file, ns=(old.st_atime_ns, old.st_mtime_ns - 10**18))  # the clock was set back by thirty years
    rows = {row["key"]: row for row in listed(asked, sweep)}
    assert first not in rows
    assert rows[second]["energy"] == 77.0
    assert set(entries(sweep)) == set(rows)


def test_a_folder_that_cannot_be_written_goes_without_an_index(
    sweep: Path, monkeypatch: pytest.MonkeyPatch, asked: Asked
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    (sweep / index_of.INDEX).unlink()
    monkeypatch.setattr(os, "replace", refuse)  # a mode would not stop root
    assert len(listed(asked, sweep)) == 12
    assert not (sweep / index_of.INDEX).exists()
    assert not [left for left in sweep.iterdir() if left.name.startswith(".index")]


def test_a_write_that_was_killed_leaves_the_old_index(sweep: Path) -> None:
    plain(sweep)
    whole = (sweep / index_of.INDEX).read_bytes()
    (sweep / ".index.json.0123abcd.json").write_bytes(whole[:100])
    assert len(plain(sweep)) == 12
    assert (sweep / index_of.INDEX).read_bytes() == whole


def test_a_manifest_behind_the_index_that_has_gone_is_named(sweep: Path) -> None:
    (run, *_) = Store(sweep).runs()
    assert isinstance(run, Kept)
    list(Store(sweep).runs())
    (run, *_) = Store(sweep).runs()
    assert isinstance(run, Kept)
    shutil.rmtree(run.folder)
    with pytest.raises(SamplerhubError, match=run.key):
        _ = run.manifest
