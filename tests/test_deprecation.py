"""An old name works, says what the name is now, and is removed in time."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module, metadata
from pathlib import Path

import pytest
from distributions import entries, write_distribution
from packaging.version import Version
from pydantic import BaseModel

import samplerhub
from samplerhub import deprecation
from samplerhub.cli import main
from samplerhub.deprecation import OldName, formerly
from samplerhub.plugin import ROLES
from samplerhub.registry import OWN, Registry

COMPONENT = '''
from typing import Annotated
from pydantic import Field
from samplerhub import Component, Formerly
import torch


class Root(Component):
    """Uniform in a power of time."""

    power: Annotated[float, Formerly("root", "2.0")] = Field(2.0, gt=0)
    """1 is uniform in time."""

    def __call__(self, problem, steps):
        low, high = problem.span
        times = low + (high - low) * (torch.arange(steps, -1, -1).double() / steps) ** self.power
        times[0], times[-1] = high, low
        return times
'''
ENTRY = "'grid', 'acme-power', 'acme_parts:Root', 'Uniform in a power of time.', deprecated=(('acme-root', '2.0'),)"
NAME = "warning: grid 'acme-root' is now 'acme-power'; the old name goes away in acme 2.0"
FIELD = "warning: field of Root 'root' is now 'power'; the old name goes away in acme 2.0"
Command = Callable[..., tuple[str, list[str]]]
RUN = ("run", "--target", "gaussian", "-n", "20", "--steps", "3", "--quiet")


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of an installed distribution that has renamed a grid and its field."""
    folder = tmp_path / "site"
    folder.mkdir()
    write_distribution(folder, "acme", entries(ENTRY))
    (folder / "acme_parts.py").write_text(COMPONENT)
    (folder / "acme-1.0.dist-info" / "top_level.txt").write_text("acme\nacme_parts\n")
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    sys.modules.pop("acme_parts", None)


@pytest.fixture
def command(acme: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command that must succeed, and return what it prints on stdout and the lines on stderr."""

    def run(*arguments: str | Path) -> tuple[str, list[str]]:
        code = main([*map(str, arguments)])
        printed = capsys.readouterr()
        assert code == 0, printed.err
        return printed.out, printed.err.splitlines()

    return run


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--grid", "acme-root"], [NAME]),
        (["--grid", "acme-root", "--root", "3"], [NAME, FIELD]),
        (["--grid", "acme:acme-root", "--acme-root.power", "3"], [NAME.replace("'acme-root'", "'acme:acme-root'")]),
        (["--grid", "acme-power", "--grid.root", "3"], [FIELD]),
        (["--grid", "acme-power", "--power", "3"], []),
    ],
    ids=" ".join,
)
def test_a_command_takes_old_names_and_says_the_new_ones(
    arguments: list[str], said: list[str], command: Command, tmp_path: Path
) -> None:
    printed, told = command(*RUN, *arguments, "--json", "--out", tmp_path / "made")
    assert told == said
    grid = json.loads(printed)["manifest"]["components"]["grid"]
    assert (grid["name"], set(grid["fields"])) == ("acme-power", {"power"})
    assert grid["fields"]["power"] == (3.0 if "3" in arguments else 2.0)


def test_files_with_old_names_are_read(command: Command, tmp_path: Path) -> None:
    """An experiment file, and the manifest of a run that was made before; what is given goes over what they say."""
    file = tmp_path / "old.toml"
    file.write_text('target = "gaussian"\ngrid = { name = "acme-root", root = 3.0 }\nsteps = 3\nsamples = 20\n')
    _, told = command("run", file, "--quiet", "--out", tmp_path / "first")
    assert told == [NAME, FIELD]

    manifest = json.loads((tmp_path / "first" / "manifest.json").read_text())
    assert manifest["components"]["grid"]["fields"] == {"power": 3.0}
    manifest["components"]["grid"] |= {"name": "acme-root", "fields": {"root": 3.0}}
    old = tmp_path / "old.json"
    old.write_text(json.dumps(manifest))
    _, told = command("run", "--from", old, "--quiet", "--out", tmp_path / "again")
    assert {NAME, FIELD} <= {*told}
    one, two = ((tmp_path / name / "samples.safetensors").read_bytes() for name in ("first", "again"))
    assert one == two

    printed, _ = command("run", "--from", old, "--power", "1", "--json", "--out", tmp_path / "over")
    assert json.loads(printed)["manifest"]["components"]["grid"]["fields"] == {"power": 1.0}


def test_from_python_they_work_with_a_warning(acme: Path) -> None:
    registry = Registry.discover({})
    with pytest.warns(OldName, match="grid 'acme-root' is now 'acme-power'"):
        component = registry.load("grid", "acme-root")
    with pytest.warns(OldName, match=FIELD.removeprefix("warning: ")):
        made = component.model_validate({"root": 3.0})
    assert made.model_dump() == {"power": 3.0}
    with pytest.raises(ValueError, match="root\n  Extra inputs"):
        component.model_validate({"root": 3.0, "power": 3.0})
    with pytest.raises(ValueError, match="greater than 0"), pytest.warns(OldName):
        component.model_validate({"root": -1.0})


def test_an_old_name_is_not_offered_and_gives_way(acme: Path, command: Command) -> None:
    """It is neither listed nor suggested, and a component that has the name now is the one that is meant."""
    listed = json.loads(command("list", "grid", "--json")[0])
    assert "acme-root" not in {name for one in listed for name in (one["name"], *one["aliases"])}
    write_distribution(acme, "new", entries("'grid', 'acme-root', 'acme_parts:Root', 'Uniform in a power of time.'"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Registry.discover({}).find("grid", "acme-root").distribution == "new"


def test_what_deprecated_says_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    write_distribution(tmp_path, "bad", entries("'grid', 'x', 'bad:X', 'X.', deprecated=('old',)"))
    write_distribution(tmp_path, "odd", entries("'grid', 'x', 'odd:X', 'X.', deprecated=(('Old', '2.0'),)"))
    bad, odd = (plugin for plugin in Registry.discover({}).plugins if plugin.name in ("bad", "odd"))
    assert "deprecated are a tuple of pairs of strings" in str(bad.error)
    assert "'Old': a name has lower case letters" in str(odd.error)


@pytest.mark.parametrize("module", ["samplerhub", "samplerhub.plugin", "samplerhub.errors", "samplerhub.testing"])
def test_an_old_name_in_python(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deprecation, "MOVED", {f"{module}.old_name": ("samplerhub.Estimate", "9.0")})
    with pytest.warns(
        DeprecationWarning, match=f"{module}.old_name is now samplerhub.Estimate; .* samplerhub 9.0"
    ) as w:
        assert import_module(module).old_name is samplerhub.Estimate
    assert w[0].filename == __file__
    with pytest.raises(AttributeError, match=f"module '{module}' has no attribute 'older_name'"):
        _ = import_module(module).older_name


def test_what_is_named_now_exists() -> None:
    for new, _ in deprecation.MOVED.values():
        home, _, name = new.rpartition(".")
        assert hasattr(import_module(home), name)


def overdue(version: Version, own: Registry) -> list[str]:
    """Return the old names of samplerhub that a version has no more."""
    found = [(old, until) for old, (_, until) in deprecation.MOVED.items()]
    for role in ROLES:
        for one in own.entries(role):
            if one.distribution == OWN:
                found += [(f"{role} {old}", until) for old, until in one.entry.deprecated]
                fields = formerly(own.load(role, own.spelled(one)))
                found += [(f"{role} {one.entry.name}: {old}", mark.until) for old, (_, mark) in fields.items()]
    return [f"{old} (until {until})" for old, until in found if version >= Version(until)]


def test_none_is_overdue() -> None:
    """If this fails, remove the old names that it lists: their time was told to everybody."""
    assert not overdue(Version(metadata.version("samplerhub")), Registry.discover())


def test_what_is_overdue_is_found(acme: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deprecation, "MOVED", {"samplerhub.old": ("samplerhub.rho", "2.0")})
    monkeypatch.setattr("test_deprecation.OWN", "acme")
    registry = Registry.discover({"SAMPLERHUB_PLUGINS": "acme"})
    expected = ["samplerhub.old", "grid acme-root", "grid acme-power: root"]
    assert overdue(Version("2.0"), registry) == [f"{old} (until 2.0)" for old in expected]
    assert not overdue(Version("1.9"), registry)


def test_a_record_without_old_names_is_as_it_was() -> None:
    class Plain(samplerhub.Component):
        """A record."""

        size: int = 1
        """Its size."""

    assert isinstance(Plain(size=2), BaseModel)
    with pytest.raises(ValueError, match="sise"):
        Plain.model_validate({"sise": 2})
