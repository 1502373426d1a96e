"""Every bundled pair of components that meet in a run makes samples; a pair is skipped only by a declared need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import samplerhub as sh
from samplerhub.registry import Registry

REGISTRY = Registry.discover()
FITS_ALL = {"process": "edm", "model": "exact", "sampler": "euler", "grid": "edm", "prior": "gaussian"}
PACKAGES = {("prior", "flow"): "zuko"}
"""The skips that are allowed: a component whose package, of an extra, is not installed. There are no others."""
QUICK = {
    ("prior", "flow"): {"samples": 500, "steps": 10, "batch": 64},
    ("prior", "mixture-fit"): {"samples": 400},
    ("prior", "student-t"): {"samples": 1000},
}
"""Fields with which a component takes no seconds."""
TARGETS = {"network": "digits", "empirical": "digits"}
"""Targets of the models that are made for data; the others take the mixture."""
STEPS = 4


def names(role: str) -> list[str]:
    return [known.entry.name for known in REGISTRY.entries(role) if known.distribution == "samplerhub"]


def noise(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Predict the noise in standard normal data."""
    t = t.reshape(-1, *[1] * (x.ndim - 1))
    return t * x / (1 + t**2)


class Bench:
    """Makes components by name, with the files and functions that they need, and runs them together."""

    def __init__(self, folder: Path) -> None:
        rng = np.random.default_rng(0)
        np.save(folder / "points.npy", rng.normal(size=(50, 2)))
        pixels = rng.integers(0, 256, (20, 6, 6), dtype=np.uint8)
        for i, image in enumerate(pixels):
            Image.fromarray(image).save(folder / f"{i}.png")
        header = np.array([0x803, *pixels.shape], dtype=">u4")
        (folder / "train-images-idx3-ubyte").write_bytes(header.tobytes() + pixels.tobytes())
        self.folder = folder
        self.needs: dict[tuple[str, str], dict[str, Any]] = {
            ("target", "array"): {"file": folder / "points.npy"},
            ("target", "images"): {"source": folder},
            ("target", "fashion-mnist"): {"folder": folder},
            ("model", "callable"): {"function": noise},
        }

    def made(self, role: str, name: str, process: sh.ForwardProcess | None = None) -> Any:
        if package := PACKAGES.get((role, name)):
            pytest.importorskip(package)
        fields = self.needs.get((role, name), {}) | QUICK.get((role, name), {})
        if (role, name) == ("grid", "learned"):
            assert process is not None
            fields = {"file": str(self.nodes(process))}
        return REGISTRY.load(role, name)(**fields)

    def nodes(self, process: sh.ForwardProcess) -> Path:
        """Return the file of a grid that serves the process."""
        start, end = sh.rho(process, list(process.span)).flip(0).log().tolist()
        rho = tuple(torch.linspace(start, end, STEPS + 1, dtype=torch.float64).exp().tolist())
        file = self.folder / f"{type(process).__name__}.grid.json"
        sh.LearnedNodes(
            rho=rho, start=rho, components={}, seed=0, noises=8, error=1, error_before=1, gain_stderr=0
        ).write(file)
        return file

    def run(self, target: str, **chosen: str) -> sh.Result:
        """Run four steps on eight samples."""
        choice = {**FITS_ALL, **chosen}
        process = self.made("process", choice.pop("process"))
        parts = {role: self.made(role, name, process) for role, name in choice.items()}
        made = self.made("target", target)
        result = sh.Experiment(process=process, target=made, samples=8, steps=STEPS, **parts).run()
        assert result.samples.shape == (8, *made.shape)
        assert bool(torch.isfinite(result.samples).all())
        return result


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


@pytest.mark.parametrize("model", names("model"))
@pytest.mark.parametrize("process", names("process"))
def test_process_and_model(bench: Bench, process: str, model: str) -> None:
    bench.run(TARGETS.get(model, "mixture"), process=process, model=model)


@pytest.mark.parametrize("grid", names("grid"))
@pytest.mark.parametrize("process", names("process"))
def test_process_and_grid(bench: Bench, process: str, grid: str) -> None:
    result = bench.run("mixture", process=process, grid=grid)
    assert bool((result.times.diff() < 0).all())


@pytest.mark.parametrize("prior", names("prior"))
@pytest.mark.parametrize("target", names("target"))
def test_target_and_prior(bench: Bench, target: str, prior: str) -> None:
    made = bench.made("target", target)
    model = "exact" if isinstance(made, sh.Denoises) else "empirical"
    bench.run(target, model=str(made.suggests.get("model", model)), prior=prior)
