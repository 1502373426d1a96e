"""`samplerhub new-plugin` writes distributions that install, pass their own tests and are used at once."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import tomllib
import venv
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest

from samplerhub.cli import main
from samplerhub.plugin import ROLES
from samplerhub.registry import Registry
from samplerhub.scaffold import EXAMPLES, named, render, write
from samplerhub.testing import Kit

ROOT = Path(__file__).parent.parent
RULES = "E,F,I,UP,B,D1,SIM,RUF,NPY,PT"
CHECK = ("ruff", "check", "--no-cache", "--select", RULES, "--ignore", "RUF001,RUF002,RUF003", ".")
FORMAT = ("ruff", "format", "--no-cache", "--check", ".")


def name_of(role: str) -> str:
    return f"samplerhub-own-{role}"


def run(*command: str | Path, folder: Path, paths: Sequence[Path] = ()) -> str:
    """Run a command, which succeeds, and return what it prints."""
    places = [*map(str, paths), *filter(None, sys.path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places), "COLUMNS": "200"}
    done = subprocess.run(
        [*map(str, command)], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a new plugin of each role."""
    folder = tmp_path_factory.mktemp("written")
    for role in ROLES:
        assert main(["new-plugin", name_of(role), "--role", role, "--out", str(folder), "--author", "Ada"]) == 0
    return folder


@pytest.fixture(scope="module")
def installed(written: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pip has put all of them."""
    place = tmp_path_factory.mktemp("installed")
    pip = (sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index")
    run(*pip, "--target", place, *sorted(written.glob("samplerhub-*")), folder=place)
    return place


def test_there_is_an_example_for_every_role() -> None:
    assert set(EXAMPLES) == set(ROLES)


def test_what_is_written_is_formatted_and_without_a_fault(written: Path) -> None:
    run(sys.executable, "-m", *CHECK, folder=written)
    run(sys.executable, "-m", *FORMAT, folder=written)


def test_the_longest_names_are_formatted_as_well(tmp_path: Path) -> None:
    for role in ROLES:
        names = named("x" * 36, role, f"y{role}".ljust(27, "y"), "S" + "s" * 98 + ".", "A" * 60)
        write(render(names), tmp_path / role)
    run(sys.executable, "-m", *CHECK, folder=tmp_path)
    run(sys.executable, "-m", *FORMAT, folder=tmp_path)


def test_a_distribution_says_who_it_is(written: Path) -> None:
    folder = written / name_of("sampler")
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["name"] == "samplerhub-own-sampler"
    assert project["entry-points"]["samplerhub"] == {"own-sampler": "samplerhub_own_sampler"}
    assert project["authors"] == [{"name": "Ada"}]
    assert f"Copyright (c) {date.today().year} Ada\n" in (folder / "LICENSE").read_text()
    assert "samplerhub run --sampler own-sampler\n" in (folder / "README.md").read_text()
    assert "runs/" in (folder / ".gitignore").read_text().split()
    assert {file.name for file in folder.glob(".*")} == {".gitignore"}


@pytest.mark.parametrize("role", ROLES)
def test_it_keeps_what_its_role_promises(role: str, installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(installed))
    report = Kit(Registry.discover(), ("edm", "mixture")).check(role, f"own-{role}")
    assert report.state == "passed", str(report)


def test_its_own_test_is_the_kit(written: Path, installed: Path) -> None:
    command = (sys.executable, "-m", "pytest", "-q", "-rA", "-W", "error")
    tested = run(*command, folder=written / name_of("grid"), paths=[installed])
    assert "1 passed" in tested
    assert "test_conformance[grid-own-grid]" in tested


def test_a_sampler_is_used_at_once(installed: Path, tmp_path: Path) -> None:
    arguments = ["run", "--sampler", "own-sampler", "--theta", "0.75", "-n", "64", "--out", "made"]
    run(sys.executable, "-m", "samplerhub", *arguments, folder=tmp_path, paths=[installed])
    manifest = json.loads((tmp_path / "made" / "manifest.json").read_text())
    sampler = manifest["components"]["sampler"]
    assert (sampler["distribution"], sampler["fields"]["theta"]) == ("samplerhub-own-sampler", 0.75)
    assert manifest["nfe"] == 2 * (len(manifest["times"]) - 1)


def test_the_model_reads_what_the_trainer_writes(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And finds mean and variance of a Gaussian, which are the minimum."""
    import torch

    import samplerhub as sh
    from samplerhub_targets.gaussian import Gaussian

    monkeypatch.syspath_prepend(str(installed))
    registry = Registry.discover()
    trainer, model = (registry.load(role, "own-trainer") for role in ("trainer", "model"))
    target, file = Gaussian(mean=(1.0, -2.0), covariance=0.25), tmp_path / "own.safetensors"
    fit = trainer()
    assert isinstance(fit, sh.Trainer)
    *_, progress = fit(target, file, 0)
    assert progress.done == progress.total
    fitted = model.model_validate({"weights": file})
    assert isinstance(fitted, sh.ScoreModel)
    y, rho = torch.randn(50, 2, generator=torch.Generator().manual_seed(0)), torch.full((1, 1), 0.7)
    assert torch.allclose(fitted(y, rho), target.denoise(y, rho), atol=0.05)


def test_it_says_what_to_do_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new-plugin", "samplerhub-ralston"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("samplerhub-ralston: the sampler ralston\n")
    after = shown.partition("Next:\n")[2].splitlines()
    assert [line.strip() for line in after[:3]] == [
        "pip install -e ./samplerhub-ralston",
        "python -m pytest samplerhub-ralston",
        "samplerhub run --sampler ralston",
    ]

    arguments = ["acme", "--role", "grid", "--component", "tail", "--summary", "Dense at the end.", "--author", "Bob"]
    assert main(["new-plugin", *arguments, "--out", "deep/er", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["folder"], facts["class"], facts["author"]) == ("deep/er/acme", "acme.tail:Tail", "Bob")
    assert sorted(facts["files"]) == sorted(
        str(file.relative_to("deep/er/acme")) for file in Path("deep/er/acme").rglob("*") if file.is_file()
    )
    assert 'r"""Dense at the end.\n' in Path("deep/er/acme/src/acme/tail.py").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["Ralston"], "NAME 'Ralston': lower case letters, digits and single hyphens .* as in 'ralston'"),
        (["my_sampler"], "as in 'my-sampler'"),
        (["2m"], "a letter comes first"),
        (["x" * 37], "has 37 characters; at most 36 are allowed"),
        (["samplerhub-3m"], "leaves '3m' for the component.*--component"),
        (["torch"], "there is a Python package 'torch' already .*; choose another name$"),
        (["samplerhub"], "there is a Python package 'samplerhub' already .*; choose another name$"),
        (["lambda"], "the package would be called 'lambda'"),
        (["acme-x", "--component", "none"], "the class would be called 'None'"),
        (["samplerhub-grid-sampler"], "would be GridSampler, which is the name of something that its file imports"),
        (["acme-x", "--role", "samplr"], "no role named 'samplr'; did you mean 'sampler'"),
        (["samplerhub-deis"], "a sampler named 'deis' is installed already, that of samplerhub .*--component"),
        (["samplerhub-lms"], "a sampler named 'lms' is installed already"),
        (["acme-x", "--role", "trainer", "--component", "network"], "a model named 'network' is installed already"),
        (["acme-x", "--component", "Tail"], "component 'Tail': lower case letters"),
        (["acme-x", "--summary", "No full stop"], "one sentence .* ends with a full stop"),
        (["acme-x", "--summary", 'Says "hm".'], "one sentence"),
        (["acme-x", "--author", "Ada\nBob"], "give a name on one line"),
        (["there"], "there is there already, and is left as it is"),
        (["acme-x", "--out", "file"], "cannot write file/acme-x: .*--out DIR"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "file").touch()
    assert main(["new-plugin", *arguments]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert re.search(message, said), said
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "there"]


def test_an_earlier_attempt_may_be_removed(
    installed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(installed))
    assert main(["new-plugin", "samplerhub-own-grid", "--component", "fresh", "--out", str(tmp_path)]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "remove that one first if it is an earlier attempt: pip uninstall samplerhub-own-grid" in said


def test_files_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    from samplerhub.errors import UnusableFile

    with pytest.raises(UnusableFile, match="cannot write"):
        write({"a/b": "1", "a/b/c": "2"}, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_without_git_the_authors_are_those_of_the_distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert main(["new-plugin", "acme-x", "--out", str(tmp_path)]) == 0
    assert "The acme-x authors\n" in (tmp_path / "acme-x" / "LICENSE").read_text()


def test_git_is_asked_who_the_author_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config").write_text('[user]\n\tname = Emmy \\"von\\" Göttingen\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    assert main(["new-plugin", "acme-x"]) == 0
    assert 'Emmy "von" Göttingen' in (tmp_path / "acme-x" / "LICENSE").read_text()
    project = tomllib.loads((tmp_path / "acme-x" / "pyproject.toml").read_text())["project"]
    assert project["authors"] == [{"name": 'Emmy "von" Göttingen'}]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment, which has what is installed here."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    inside = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=folder).strip()
    Path(inside, "here.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    return python


@pytest.mark.slow
@pytest.mark.parametrize("role", ROLES)
def test_every_role_from_the_first_command_to_the_last(role: str, fresh: Path, tmp_path: Path) -> None:
    """The commands that `new-plugin` prints, in a new environment, then `check`, mypy and a wheel."""
    environment = {**os.environ, "PATH": f"{fresh.parent}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "200"}
    environment.pop("PYTHONPATH", None)

    def does(*command: str) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    samplerhub = (str(fresh), "-m", "samplerhub")
    name = f"own{role}"  # folder and package of one name, where the one must not stand in for the other
    facts = json.loads(does(*samplerhub, "new-plugin", name, "--role", role, "--json"))
    install, test, use = (shlex.split(line) for line in facts["next"])
    assert install[:3] == ["pip", "install", "-e"]
    pip = (sys.executable, "-m", "pip", "--python", str(fresh), "install", "-q")
    does(*pip, "--no-deps", "--no-build-isolation", "--no-index", *install[2:])
    assert test[0] == "python"
    assert "1 passed" in does(str(fresh), *test[1:], "-q", "-W", "error")
    does(*samplerhub, *use[1:])
    does(*samplerhub, "check", role, name)
    listed = json.loads(does(*samplerhub, "list", role, "--json"))
    assert name in {one["distribution"] for one in listed if one["name"] == name}

    environment["MYPYPATH"] = str(ROOT)
    typed = (str(fresh), "-m", "mypy", "--follow-imports", "silent", "--config-file")
    does(*typed, f"{name}/pyproject.toml", f"{name}/src", f"{name}/tests")
    does(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index", f"./{name}")
    assert list(tmp_path.glob("*.whl"))
