"""A second distribution, with a component of each role, beside samplerhub in an environment of their own.

Both are installed from their wheels, as users have them; the folder `thirdparty` is what the page on writing a plugin
shows. By default everything is asked in one process, with ``-m slow`` by the commands that a user types.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from wheels import ROOT, THIRD_PARTY, checked, copied, environment_of, wheel_of

from samplerhub.plugin import ROLES

NAMES = {
    "process": "sigmoid",
    "target": "laplace",
    "model": "soft-threshold",
    "sampler": "er-sde",
    "grid": "cauchy",
    "prior": "truncated",
    "features": "random-signs",
    "metric": "fssd",
    "trainer": "em",
    "engine": "threads",
}
RUN = [f"--{role}={name}" for role, name in NAMES.items() if role not in ("trainer", "metric", "engine", "features")]
FIGURES = ["--metric=fssd", "--metric=fd-random-signs", "--samples=2000", "--steps=20"]
ONLY = {"SAMPLERHUB_PLUGINS": "samplerhub,acme-diffusion", "SAMPLERHUB_STRICT": ""}
"""A machine on which somebody develops may have other plugins, and their metadata are found."""

QUICK = """
import json, sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import acme_diffusion, samplerhub
from samplerhub.cli import main

def told(*arguments):
    printed = StringIO()
    with redirect_stdout(printed):
        code = main(arguments)
    return {"code": code, "said": json.loads(printed.getvalue())}

print(json.dumps({
    "places": [samplerhub.__file__, acme_diffusion.__file__],
    "plugins": told("plugins", "--json"),
    "list": told("list", "--json"),
    "run": told("run", *sys.argv[1:], "--json", "--out", "made"),
    "check": told("check", "prior", "truncated", "--json"),
}))
"""


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with both distributions."""
    acme = wheel_of(THIRD_PARTY, tmp_path_factory.mktemp("acme"))
    return environment_of([wheel, acme], tmp_path_factory.mktemp("environment"))


def test_it_has_a_component_of_each_role() -> None:
    assert list(NAMES) == list(ROLES)


def test_the_page_shows_its_files_as_they_are() -> None:
    """If this fails, copy the file into docs/write-a-plugin.md, below the line that names it."""
    page = (ROOT / "docs" / "write-a-plugin.md").read_text()
    shown = dict(re.findall(r"^<!-- file: (\S+) -->\n```\w+\n(.*?)^```$", page, re.M | re.S))
    files = {*THIRD_PARTY.glob("src/*/*.py"), *THIRD_PARTY.glob("tests/*.py"), THIRD_PARTY / "pyproject.toml"}
    assert shown.keys() == {str(file.relative_to(THIRD_PARTY)) for file in files}
    for name, text in shown.items():
        assert text == (THIRD_PARTY / name).read_text(), f"{name} is not what the page shows"
        assert f"`{name}`:\n\n<!-- file: {name} -->" in page, f"nothing on the page says that it shows {name}"


def test_it_is_found_used_and_checked(python: Path, tmp_path: Path) -> None:
    told = json.loads(checked(python, "-c", QUICK, *RUN, *FIGURES, folder=tmp_path, **ONLY))
    for place in told["places"]:
        assert Path(place).is_relative_to(python.parents[1]), "this is not what the wheel has brought"
    assert all(told[command]["code"] == 0 for command in ("plugins", "list", "run", "check"))

    plugin = next(plugin for plugin in told["plugins"]["said"] if plugin["name"] == "acme")
    assert (plugin["distribution"], plugin["version"], plugin["error"]) == ("acme-diffusion", "0.1.0", None)
    assert {(one["role"], one["name"]) for one in plugin["components"]} >= set(NAMES.items())
    assert not [plugin for plugin in told["plugins"]["said"] if plugin["error"]]
    listed = {(one["role"], one["name"]): one for one in told["list"]["said"]}
    assert listed["model", "soft-threshold"]["aliases"] == ["lasso"]
    assert {listed[one]["distribution"] for one in NAMES.items()} == {"acme-diffusion"}

    manifest = told["run"]["said"]["manifest"]
    used = {role: one for role, one in manifest["components"].items() if one["distribution"] == "acme-diffusion"}
    assert {role: one["name"] for role, one in used.items()} == {
        role: name for role, name in NAMES.items() if role not in ("trainer", "metric", "engine")
    }
    assert set(told["run"]["said"]["metrics"]) == {"fssd", "fd-random-signs"}
    assert manifest["nfe"] == 20
    assert told["check"]["said"]["failed"] == 0


@pytest.mark.slow
class TestByCommand:
    """What a user types, each command in a process of its own."""

    def samplerhub(self, python: Path, folder: Path, *arguments: str) -> str:
        return checked(python.parent / "samplerhub", *arguments, folder=folder, **ONLY)

    @pytest.mark.parametrize(("role", "name"), NAMES.items())
    def test_list_and_show(self, role: str, name: str, python: Path, tmp_path: Path) -> None:
        assert "acme-diffusion 0.1.0" in self.samplerhub(python, tmp_path, "list", role)
        shown = self.samplerhub(python, tmp_path, "show", role, name)
        assert "acme-diffusion 0.1.0" in shown
        facts = json.loads(self.samplerhub(python, tmp_path, "show", role, name, "--json"))
        assert (facts["role"], facts["name"], facts["distribution"]) == (role, name, "acme-diffusion")

    def test_the_exact_score_is_right_and_the_wrong_one_is_measured(self, python: Path, tmp_path: Path) -> None:
        """With the posterior mean of its target a run has no error but that of the steps; soft thresholding has one."""
        common = ("run", "--target", "laplace", "--sampler", "er-sde", "--metric", "fssd", "--metric", "kl", "--json")
        common = (*common, "--samples", "4000", "--steps", "50")
        exact, wrong = (
            json.loads(self.samplerhub(python, tmp_path, *common, "--model", model, "--out", model))["metrics"]
            for model in ("exact", "lasso")
        )
        assert abs(exact["fssd"]["value"]) < 4 * exact["fssd"]["stderr"]
        assert exact["kl"]["value"] < 0.01
        assert wrong["fssd"]["value"] > 10 * wrong["fssd"]["stderr"]
        assert wrong["kl"]["value"] > 0.1

    def test_a_run_is_made_again_on_its_engine(self, python: Path, tmp_path: Path) -> None:
        self.samplerhub(python, tmp_path, "run", *RUN, *FIGURES, "--block", "300", "--out", "one")
        self.samplerhub(python, tmp_path, "run", "--from", "one/manifest.json", "--engine", "threads", "--out", "two")
        one, two = ((tmp_path / name / "samples.safetensors").read_bytes() for name in ("one", "two"))
        assert one == two

    def test_sweep(self, python: Path, tmp_path: Path) -> None:
        options = ["--target", "laplace", "--sampler", "er-sde,deis", "--steps", "5,10", "--metric", "fssd"]
        told = self.samplerhub(python, tmp_path, "sweep", *options, "--samples", "500", "--out", "swept")
        assert told.startswith("4 runs: 4 done")

    def test_the_model_reads_what_the_trainer_writes(self, python: Path, tmp_path: Path) -> None:
        file = "ring.em.safetensors"
        self.samplerhub(python, tmp_path, "train", "--target", "ring", "--trainer", "em", "--out", file)
        options = ["--target", "ring", "--model", file, "--samples", "2000", "--metric", "energy", "--json"]
        energy = json.loads(self.samplerhub(python, tmp_path, "run", *options))["metrics"]["energy"]
        assert abs(energy["value"]) < 0.05

    def test_it_is_checked(self, python: Path, tmp_path: Path) -> None:
        for role, name in NAMES.items():
            on = ["--on", "edm", "--on", "vp"] if role == "sampler" else []
            assert "checks hold" in self.samplerhub(python, tmp_path, "check", role, name, *on)

    def test_its_own_tests_pass(self, python: Path, tmp_path: Path) -> None:
        folder = copied(THIRD_PARTY, tmp_path / "acme")
        told = checked(python, "-m", "pytest", "-q", folder=folder, **ONLY)
        assert "10 passed, 1 skipped" in told, "the model that is to be trained first is skipped"

    def test_its_types_are_right(self, python: Path, tmp_path: Path) -> None:
        folder = copied(THIRD_PARTY, tmp_path / "acme")
        typed = ("-m", "mypy", "--follow-imports", "silent", "--config-file", "pyproject.toml", "src")
        checked(python, *typed, folder=folder)
