"""``samplerhub compare``: what differs between runs, which is better, what is a tie, and the picture."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from scipy import stats

from samplerhub.cli import main
from samplerhub.manifest import MetricRecord

RUN = "run --target mixture -n 400 --metric fd --metric energy --quiet"
KINDS = {
    "deis": f"{RUN} --sampler deis --steps 6",
    "again": f"{RUN} --sampler deis --steps 6 --seed 1",
    "heun": f"{RUN} --sampler heun --steps 3 --churn 0.3",
    "order": f"{RUN} --sampler deis --steps 6 --order 2",
    "reverse": f"{RUN.replace('energy', 'kl')} --metric.kl.direction reverse",
    "forward": f"{RUN.replace('energy', 'kl')}",
    "gaussian": f"{RUN.replace('mixture', 'gaussian')}",
    "ring": "run --target ring -n 300 --quiet --steps 4",
    "digits": "run -n 12 --metric fd --nfe 5 --quiet",
    "more": "run -n 12 --metric fd --nfe 5 --quiet --seed 1",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("runs")

    def make(kind: str) -> Path:
        out = folder / kind
        if not out.exists():
            assert main([*KINDS[kind].split(), "--out", str(out)]) == 0
        return out

    return make


@pytest.fixture
def runs(made: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Copies of runs in the working directory, in a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)

    def copies(*kinds: str) -> list[str]:
        for kind in kinds:
            shutil.copytree(made(kind), kind, dirs_exist_ok=True)
        return list(kinds)

    return copies


Said = Callable[..., str]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    def say(*arguments: object, code: int = 0) -> str:
        capsys.readouterr()
        assert main(["compare", *map(str, arguments)]) == code
        out, err = capsys.readouterr()
        return out if code == 0 else err

    return say


def facts(said: Said, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(said(*arguments, "--json"))
    return found


def manifest(run: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(run, "manifest.json").read_text())
    return found


def change(run: str, figures: dict[str, dict[str, Any]]) -> None:
    """Give a run other figures."""
    found = manifest(run)
    found["estimates"] |= {
        name: MetricRecord.model_validate(figure).model_dump(mode="json") for name, figure in figures.items()
    }
    Path(run, "manifest.json").write_text(json.dumps(found))


def test_what_differs_is_shown_and_what_does_not_is_said_once(runs: Callable[..., list[str]], said: Said) -> None:
    text = said(*runs("deis", "heun"))
    lines = text.splitlines()
    assert lines[0].startswith("the same  process edm, target mixture")
    table = {line.split()[0]: line.split()[1:] for line in lines if line and not line.startswith("the ")}
    assert table["sampler"] == ["deis", "heun"]
    assert table["sampler.churn"] == ["0.0", "0.3"]
    assert table["sampler.order"] == ["3", "-"]
    assert table["steps"] == ["6", "3"]
    assert table["NFE"] == ["6", "6"]
    assert "target" not in table
    assert "seed" not in table
    assert "unequal NFE" not in text
    assert max(map(len, lines)) <= 80


def test_nothing_is_lost_between_the_same_and_what_differs(runs: Callable[..., list[str]], said: Said) -> None:
    found = facts(said, *runs("deis", "order"))
    assert found["differ"] == {"sampler.order": [3, 2]}
    assert found["same"]["sampler"] == "deis"
    assert found["same"]["samples"] == 400
    assert found["same"]["sampler (version)"].startswith("samplerhub ")
    assert set(manifest("deis")["environment"]) <= {name.removesuffix(" (environment)") for name in found["same"]}


def test_other_versions_and_files_are_differences(runs: Callable[..., list[str]], said: Said) -> None:
    first, second = runs("deis", "again")
    other = manifest(second)
    other["environment"]["torch"] = "1.0"
    other["components"]["model"] |= {"version": "9.9", "digest": "abc"}
    Path(second, "manifest.json").write_text(json.dumps(other))
    assert set(facts(said, first, second)["differ"]) == {
        "model (version)",
        "model (hash of its files)",
        "seed",
        "torch",
    }


def test_figures_are_those_of_the_manifests(runs: Callable[..., list[str]], said: Said) -> None:
    for run, name in zip(facts(said, *runs("deis", "heun"))["runs"], ("deis", "heun")):
        record = manifest(name)
        assert (run["run"], run["nfe"], run["seconds"]) == (name, record["nfe"], record["seconds"])
        assert {key: figure["value"] for key, figure in run["metrics"].items()} == {
            key: figure["value"] for key, figure in record["estimates"].items()
        }


@pytest.mark.parametrize(
    ("a", "b", "best", "tied"),
    [
        ({"value": 1.0, "stderr": 0.1}, {"value": 1.2, "stderr": 0.1}, 0, True),
        ({"value": 1.0, "stderr": 0.05}, {"value": 1.2, "stderr": 0.05}, 0, False),
        ({"value": 1.2, "stderr": 0.05}, {"value": 1.0, "stderr": 0.05}, 1, False),
        (
            {"value": 0.9, "stderr": 0.01, "better": "larger"},
            {"value": 0.8, "stderr": 0.01, "better": "larger"},
            0,
            False,
        ),
        (
            {"value": 0.8, "stderr": 0.01, "better": "larger"},
            {"value": 0.9, "stderr": 0.01, "better": "larger"},
            1,
            False,
        ),
        ({"value": 1.0, "stderr": None}, {"value": 1.0, "stderr": None}, 0, True),
        ({"value": 1.0, "stderr": None}, {"value": 1.01, "stderr": None}, 0, False),
        ({"value": 1.0, "stderr": None}, {"value": 1.01, "stderr": 0.01}, 0, True),
        ({"value": math.inf, "stderr": None}, {"value": 5.0, "stderr": 1.0}, 1, False),
        ({"value": math.nan, "stderr": None}, {"value": math.inf, "stderr": None}, 1, False),
        ({"value": math.inf, "stderr": None}, {"value": math.inf, "stderr": None}, 0, True),
    ],
)
def test_which_is_better_is_told_by_the_standard_errors(
    runs: Callable[..., list[str]], said: Said, a: dict[str, Any], b: dict[str, Any], best: int, tied: bool
) -> None:
    names = runs("deis", "again")
    for name, figure in zip(names, (a, b)):
        change(name, {"fd": figure, "energy": figure})
    found = facts(said, *names)["metrics"]["fd"]
    assert found["best"] == names[best]
    assert found["tied"] == ([names[1 - best]] if tied else [])
    assert found["not_comparable"] is None
    if a["stderr"] and b["stderr"]:
        z = abs(a["value"] - b["value"]) / math.hypot(a["stderr"], b["stderr"])
        assert found["chance"][1 - best] == pytest.approx(2 * stats.norm.sf(z))
    row = next(line for line in said(*names).splitlines() if line.startswith("fd "))
    assert row.split()[1] == names[best]
    assert (f" = {names[1 - best]}" in row) == tied == ("= a tie" in said(*names))


@pytest.mark.parametrize(
    ("kinds", "metric", "why"),
    [
        (("deis", "gaussian"), "fd", "another target"),
        (("reverse", "forward"), "kl", "measured otherwise"),
        (("deis", "forward"), "energy", "one run has it"),
    ],
)
def test_figures_that_measure_something_else_are_not_compared(
    runs: Callable[..., list[str]], said: Said, kinds: tuple[str, str], metric: str, why: str
) -> None:
    names = runs(*kinds)
    found = facts(said, *names)["metrics"][metric]
    assert (found["best"], found["not_comparable"]) == (None, why)
    assert f"({why})" in said(*names)


@pytest.mark.parametrize(
    ("levels", "comparable"), [((0.002, 0.0), False), ((0.002, 10.0), False), ((0.002, None), True)]
)
def test_samples_at_other_noise_levels_are_not_compared(
    runs: Callable[..., list[str]], said: Said, levels: tuple[float | None, ...], comparable: bool
) -> None:
    names = runs("deis", "heun")
    assert [manifest(name)["rho"] for name in names] == [pytest.approx(0.002, rel=1e-12)] * 2
    for name, level in zip(names, levels):
        Path(name, "manifest.json").write_text(json.dumps(manifest(name) | {"rho": level}))
    found = facts(said, *names)["metrics"]["fd"]
    assert (found["best"] is not None) == comparable
    assert (found["not_comparable"] or "noise levels").startswith("other noise levels") != comparable


def test_other_features_matter_to_what_reads_them(runs: Callable[..., list[str]], said: Said) -> None:
    first, second = runs("deis", "forward")
    change(first, {"kl": manifest(second)["estimates"]["kl"]})
    other = manifest(second)
    other["components"]["features"]["name"] = "other"
    other["components"]["features"]["fields"] = {"layer": 3}
    other["metrics"]["fd"] = manifest(first)["metrics"]["fd"]
    Path(second, "manifest.json").write_text(json.dumps(other))
    first_manifest = manifest(first)
    first_manifest["metrics"]["kl"] = other["metrics"]["kl"]
    Path(first, "manifest.json").write_text(json.dumps(first_manifest))
    metrics = facts(said, first, second)["metrics"]
    assert metrics["fd"]["not_comparable"] == "other features"
    assert metrics["kl"]["not_comparable"] is None


def test_several_runs_fit_into_80_columns_and_unequal_nfe_is_said(runs: Callable[..., list[str]], said: Said) -> None:
    text = said(*runs("deis", "again", "heun", "order", "forward"))
    assert max(map(len, text.splitlines())) <= 80
    assert "the runs spent unequal NFE" in text


def test_runs_of_a_sweep_are_runs(tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sweep = "sweep --sampler deis,heun --nfe 4 --metric fd --target mixture -n 200 --engine serial --quiet --out s"
    assert main(sweep.split()) == 0
    folders = sorted(file.parent for file in Path("s").glob("*/result.json"))
    assert facts(said, *map(str, folders))["differ"]["sampler"] in (["deis", "heun"], ["heun", "deis"])
    assert "samplerhub results s" in said("s", folders[0], code=2)
    assert said(*folders, "--picture", "s.png").splitlines()[-1] == "s.png"


@pytest.mark.parametrize(
    ("kinds", "shape"), [(("deis", "again"), "numbers"), (("ring", "ring-2"), "points"), (("digits", "more"), "images")]
)
def test_the_picture_has_the_samples_beside_each_other(
    runs: Callable[..., list[str]], said: Said, kinds: tuple[str, str], shape: str
) -> None:
    first, second = kinds
    runs(first)
    if second in KINDS:
        runs(second)
    else:
        shutil.copytree(first, second)
    assert said(first, second, "--picture", "beside.png").splitlines()[-1] == "beside.png"
    with Image.open("beside.png") as picture:
        width, height = picture.size
        colours = [len(picture.crop(box).getcolors(1 << 24)) for box in halves(width, height)]
    assert 1.8 < width / height < 2.6
    assert min(colours) > 10
    assert not [left for left in Path().iterdir() if left.name.startswith(".")]


def halves(width: int, height: int) -> list[tuple[int, int, int, int]]:
    return [(0, 0, width // 2, height), (width // 2, 0, width, height)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["deis"], "two runs or more"),
        (["deis", "deis"], "given twice"),
        (["deis", "deis/manifest.json"], "given twice"),
        (["deis", "nowhere"], "nowhere does not exist"),
        (["deis", "."], "has no manifest.json"),
        (["deis", "heun", "--picture", "a.jpg"], "ends in .png"),
        (["deis", "heun", "--picture", "none/a.png"], "cannot write none/a.png"),
        (["deis", "digits", "--picture", "a.png"], "several shapes"),
    ],
)
def test_a_mistake_is_one_message(
    runs: Callable[..., list[str]], said: Said, arguments: list[str], message: str
) -> None:
    runs("deis", "heun", "digits")
    text = said(*arguments, code=2)
    assert message in text
    assert len(text.splitlines()) == 1
    assert not Path("a.png").exists()


def test_samples_that_are_gone_are_said(runs: Callable[..., list[str]], said: Said) -> None:
    first, second = runs("deis", "heun")
    Path(second, "samples.safetensors").unlink()
    assert "there is no file heun/samples.safetensors" in said(first, second, "--picture", "a.png", code=2)
    assert said(first, second)


def test_runs_of_the_same_name_are_told_apart(runs: Callable[..., list[str]], said: Said) -> None:
    runs("deis", "heun")
    shutil.copytree("heun", "elsewhere/deis")
    header = said("deis", "elsewhere/deis").splitlines()[4]
    assert header.split() == ["deis", "elsewhere/deis"]
