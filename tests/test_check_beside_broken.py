"""Broken components of one distribution are found by their own checks, and cost those of another nothing."""

from __future__ import annotations

import pytest

from samplerhub.errors import BrokenPlugin
from samplerhub.registry import Registry
from samplerhub.testing import Kit

ENTRIES = """
from samplerhub.plugin import Entry, hookimpl

@hookimpl
def samplerhub_entries():
    return [
        Entry("process", "backwards", "acme_broken:Backwards", "A process whose span is swapped."),
        Entry("process", "raising", "acme_broken:Raising", "A process that cannot be made."),
        Entry("target", "lost", "acme_broken:Lost", "A target whose file is gone."),
        Entry("metric", "moody", "acme_broken:Moody", "A metric that does not know its needs."),
    ]
"""
PARTS = '''
from typing import ClassVar
import torch
from samplerhub import Component

class Backwards(Component):
    """A process whose span is swapped."""

    span: ClassVar = (5.0, -7.0)

    def alpha(self, t):
        return torch.ones_like(t)

    def sigma(self, t):
        return t.exp()

class Raising(Backwards):
    """A process that cannot be made."""

    def model_post_init(self, context):
        raise RuntimeError("no table")

class Lost(Component):
    """A target whose file is gone."""

    @property
    def shape(self):
        raise FileNotFoundError("gone.npy")

    def sample(self, n, rng):
        return torch.randn(n, 2, generator=rng)

class Moody(Component):
    """A metric that does not know its needs."""

    @property
    def needs(self):
        raise RuntimeError("not today")

    def __call__(self, evidence):
        return None
'''


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """Return what is installed where a distribution has broken components of several roles."""
    folder = tmp_path_factory.mktemp("broken")
    (folder / "acme_entries.py").write_text(ENTRIES)
    (folder / "acme_broken.py").write_text(PARTS)
    info = folder / "acme_broken-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-broken\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[samplerhub]\nacme = acme_entries\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        found = Registry.discover()
        for role, name in (("process", "backwards"), ("target", "lost"), ("metric", "moody")):
            found.load(role, name)
    return found


@pytest.mark.parametrize(
    ("role", "name", "left_out"),
    [
        ("grid", "uniform", {"backwards", "raising"}),
        ("model", "exact", {"lost"}),
        ("metric", "kl-gaussian", {"lost"}),
        ("features", "identity", {"lost"}),
    ],
)
def test_nothing_is_tried_on_what_is_broken(registry: Registry, role: str, name: str, left_out: set[str]) -> None:
    report = Kit(registry).check(role, name)
    assert report.state == "passed", str(report)
    assert {f.about for f in report.findings if "is broken: " in f.measured} == left_out


def test_it_is_said_what_is_wrong_with_each(
    registry: Registry,
) -> None:
    kit = Kit(registry)
    broken = {**kit.broken("process"), **kit.broken("target")}
    assert broken["backwards"] == "process backwards is broken: process-span failed: span = (5.0, -7.0)"
    assert "process raising is broken: RuntimeError: no table (" in broken["raising"]
    assert "FileNotFoundError: gone.npy (" in broken["lost"]
    assert broken["lost"].count("acme_broken.py:28)") == 1


@pytest.mark.parametrize(
    ("role", "name", "said"),
    [
        ("process", "backwards", "span = (5.0, -7.0)"),
        ("process", "raising", "RuntimeError: no table"),
        ("target", "lost", "FileNotFoundError: gone.npy"),
        ("metric", "moody", "RuntimeError: not today"),
    ],
)
def test_it_fails_its_own_checks(registry: Registry, role: str, name: str, said: str) -> None:
    report = Kit(registry).check(role, name)
    assert report.state == "failed"
    assert any(f.measured.startswith(said) for f in report.failures), str(report)


def test_it_cannot_be_asked_for(registry: Registry) -> None:
    with pytest.raises(BrokenPlugin, match="process backwards is broken, and nothing can be tried on it"):
        Kit(registry, ["backwards"]).check("grid", "uniform")
