"""The pytest plugin: a marked test runs once for each component of the distribution that is tested."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ACME = """
from samplerhub.plugin import Entry, hookimpl

@hookimpl
def samplerhub_entries():
    return [
        Entry("grid", "squared", "acme:Squared", "Uniform in the root of time."),
        Entry("grid", "backwards", "acme:Backwards", "From data to noise."),
        Entry("model", "needy", "acme:Needy", "A model that needs a size."),
    ]

def __getattr__(name):
    import acme_grids
    return getattr(acme_grids, name)
"""
GRIDS = '''
import torch
from samplerhub import Component

class Squared(Component):
    """Uniform in the root of time."""

    def __call__(self, problem, steps):
        low, high = problem.span
        times = low + (high - low) * (torch.arange(steps, -1, -1).double() / steps) ** 2
        times[0], times[-1] = high, low
        return times

class Backwards(Squared):
    """From data to noise."""

    def __call__(self, problem, steps):
        return super().__call__(problem, steps).flip(0)

class Needy(Component):
    """A model that needs a size."""

    size: int
    """Its size."""
'''
TEST = """
import pytest


@pytest.mark.samplerhub
def test_conformance(component):
    component.check(on=("edm",))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return the folder of an installed distribution, acme-grids, with a test file of a few lines."""
    (tmp_path / "acme.py").write_text(ACME)
    (tmp_path / "acme_grids.py").write_text(GRIDS)
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "acme_grids"\n[tool.pytest.ini_options]\n')
    (tmp_path / "test_acme.py").write_text(TEST)
    info = tmp_path / "site" / "acme_grids-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-grids\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[samplerhub]\nacme = acme\n")
    return tmp_path


def session(folder: Path, *arguments: str) -> tuple[int, str]:
    """Run pytest there, as a session of its own, and return its exit code and output."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "SAMPLERHUB_"))}
    environment["PYTHONPATH"] = f"{folder}{os.pathsep}{folder / 'site'}"
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "-W", "error", "--strict-markers", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    return done.returncode, done.stdout + done.stderr


def test_one_test_for_each_component_of_ones_own(project: Path) -> None:
    code, said = session(project)
    assert code == 1
    assert "PASSED test_acme.py::test_conformance[grid-squared]" in said
    assert "FAILED test_acme.py::test_conformance[grid-backwards]" in said
    assert "grid-falls (edm) failed" in said
    assert "usually:  the order of the nodes reversed" in said
    assert "cannot be made without size" in said
    assert "1 failed, 1 passed, 1 skipped" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("arguments", "collected"),
    [
        (["--samplerhub-role", "grid"], {"grid-squared", "grid-backwards"}),
        (["--samplerhub-name", "squ*"], {"grid-squared"}),
        (["--samplerhub-name", "squared", "--samplerhub-name", "needy"], {"grid-squared", "model-needy"}),
        (
            ["--samplerhub-distribution", "samplerhub", "--samplerhub-role", "grid", "--samplerhub-name", "edm"],
            {"grid-edm"},
        ),
        (["--samplerhub-distribution", "*", "--samplerhub-name", "[su]*rm"], {"grid-uniform", "target-uniform"}),
    ],
    ids=lambda value: " ".join(sorted(value)),
)
def test_options_choose(project: Path, arguments: list[str], collected: set[str]) -> None:
    code, said = session(project, "--collect-only", *arguments)
    assert code == 0
    assert {line.partition("[")[2].rstrip("]") for line in said.splitlines() if "::" in line} == collected


def test_a_test_of_one_role_is_left_out_by_an_option_for_another(project: Path) -> None:
    both = "".join(TEST.replace("samplerhub\n", f"samplerhub(role='{role}')\n") for role in ("model", "grid"))
    (project / "test_acme.py").write_text(both.replace("test_conformance", "test_model", 1))
    code, said = session(project, "--samplerhub-role", "grid", "--samplerhub-name", "squared")
    assert code == 0, said
    assert "1 passed, 1 skipped" in said


@pytest.mark.parametrize(
    ("test", "arguments", "message"),
    [
        (TEST, ["--samplerhub-role", "gird"], "no samplerhub role 'gird'; did you mean 'grid'?"),
        (TEST, ["--samplerhub-name", "sqared"], "no samplerhub name 'sqared'; did you mean 'squared'?"),
        (TEST, ["--samplerhub-distribution", "acme"], "no samplerhub distribution 'acme'"),
        (
            TEST,
            ["--samplerhub-role", "model", "--samplerhub-name", "squared"],
            "no samplerhub component has role model, name squared, distribution acme_grids, all at once",
        ),
        (TEST, ["--samplerhub-role", "prior"], "no samplerhub component has role prior, distribution acme_grids"),
        (TEST.replace("samplerhub\n", "samplerhub(role='prior')\n"), [], "distribution acme_grids, role prior, all"),
        (TEST.replace("(component)", "()"), [], "is marked samplerhub and has no argument `component`"),
        (TEST.replace("samplerhub\n", "samplerhub('grid')\n"), [], "takes role, name and distribution, by keyword"),
        (TEST.replace("samplerhub\n", "samplerhub(name='no')\n"), [], "no samplerhub name 'no'"),
    ],
)
def test_mistakes_are_said(project: Path, test: str, arguments: list[str], message: str) -> None:
    (project / "test_acme.py").write_text(test)
    code, said = session(project, "--collect-only", *arguments)
    assert code == 2
    assert message in " ".join(said.split())
    assert "Traceback" not in said


def test_without_a_project_the_distribution_must_be_said(project: Path) -> None:
    (project / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    code, said = session(project, "--collect-only")
    assert code == 2
    assert "say --samplerhub-distribution NAME, or '*' for all" in " ".join(said.split())


UNRELATED = """
import sys
import pytest


@pytest.fixture
def component():
    return "mine"


def test_it_is_mine_and_nothing_was_imported(component):
    assert component == "mine"
    loaded = {"torch", "pydantic", "numpy", "typer", "samplerhub.registry", "samplerhub.testing"} & set(sys.modules)
    assert not loaded
    assert LOADED == ("samplerhub.pytest_plugin" in sys.modules)
"""


def test_it_costs_other_projects_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_other.py").write_text(UNRELATED.replace("LOADED", "True"))
    assert session(tmp_path)[0] == 0
    (tmp_path / "test_other.py").write_text(UNRELATED.replace("LOADED", "False"))
    assert session(tmp_path, "-p", "no:samplerhub")[0] == 0
    code, said = session(tmp_path, "--fixtures")
    assert code == 0
    assert "samplerhub" not in said
