"""Every registered pair of components that meet in a run makes samples; what does not fit says so."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import samplerhub as sh
from samplerhub.errors import BrokenPlugin, Mismatch, SamplerhubError, UnusableFile
from samplerhub.registry import Registry

REGISTRY = Registry.discover()
FITS_ALL = {"process": "edm", "model": "exact", "sampler": "euler", "grid": "edm", "prior": "gaussian"}


def names(role: str) -> list[str]:
    return [registered.entry.name for registered in REGISTRY.entries(role)]


def made(role: str, name: str) -> Any:
    component = REGISTRY.load(role, name)
    required = [field for field, info in component.model_fields.items() if info.is_required()]
    if required:
        pytest.skip(f"{role} {name!r} needs {', '.join(required)}")
    return component()


def run(target: str, **chosen: str) -> sh.Result:
    """Run four steps on eight samples; skip where a component needs a file or package, or says what else it needs."""
    parts = {role: made(role, name) for role, name in {**FITS_ALL, **chosen}.items()}
    try:
        result = sh.Experiment(target=made("target", target), samples=8, steps=4, **parts).run()
    except (UnusableFile, Mismatch, BrokenPlugin) as declared:
        pytest.skip(str(declared))
    assert result.samples.shape[0] == 8
    assert bool(torch.isfinite(result.samples).all())
    return result


def model_of(target: str) -> str:
    """Return the model that a target suggests, or the network whose shape it has."""
    suggested = made("target", target)
    return str(suggested.suggests.get("model", "exact")) if isinstance(suggested, sh.Suggests) else "exact"


@pytest.mark.parametrize("model", names("model"))
@pytest.mark.parametrize("process", names("process"))
def test_process_and_model(process: str, model: str) -> None:
    for target in ("mixture", "gaussian", "digits"):
        try:
            run(target, process=process, model=model)
            return
        except pytest.skip.Exception as skipped:
            reason = skipped
    raise reason


@pytest.mark.parametrize("grid", names("grid"))
@pytest.mark.parametrize("process", names("process"))
def test_process_and_grid(process: str, grid: str) -> None:
    result = run("mixture", process=process, grid=grid)
    assert bool((result.times.diff() < 0).all())


@pytest.mark.parametrize("prior", names("prior"))
@pytest.mark.parametrize("target", names("target"))
def test_target_and_prior(target: str, prior: str) -> None:
    try:
        model = model_of(target)
    except SamplerhubError as declared:
        pytest.skip(str(declared))
    run(target, model=model, prior=prior)
