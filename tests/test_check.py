"""The conformance kit catches what it is there to catch, and `samplerhub check` says so."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import ClassVar

import pytest
import torch
from torch import Tensor

import samplerhub as sh
from samplerhub.cli import main
from samplerhub.registry import Registry
from samplerhub.testing import Finding, check_sampler
from samplerhub_grids.edm import EDMGrid
from samplerhub_models.exact import Exact
from samplerhub_priors.gaussian import GaussianPrior
from samplerhub_processes.edm import EDM
from samplerhub_samplers.deis import DEIS
from samplerhub_samplers.heun import Heun
from samplerhub_targets.mixture import Mixture


class WrongCoefficient(DEIS):
    """DEIS of order 3 with one weight off by 2 %."""

    order: int = 3

    def weights(self, process: sh.ForwardProcess, legs: Sequence[sh.Leg]) -> list[tuple[float, ...]]:
        return [(a, *w[:-1], 1.02 * w[-1]) if len(w) == 3 else (a, *w) for a, *w in super().weights(process, legs)]


class GlobalNoise(Heun):
    """Draws from the global generator."""

    def step(self, run: sh.Run, y: Tensor, leg: sh.Leg) -> Tensor:
        return super().step(run, y, leg) + 1e-9 * torch.randn(y.shape)


class InPlace(Heun):
    """Modifies the state that it was given."""

    def step(self, run: sh.Run, y: Tensor, leg: sh.Leg) -> Tensor:
        return y.copy_(super().step(run, y, leg))


class Understates(Heun):
    """Declares one evaluation less than it spends."""

    def evaluations(self, process: sh.ForwardProcess, times: Tensor) -> int:
        return super().evaluations(process, times) - 1


class Idle(Heun):
    """Does nothing in its last step."""

    def __call__(self, problem: sh.Problem, x: Tensor, times: Tensor, rng: torch.Generator) -> Iterator[sh.Step]:
        before = x
        for step in super().__call__(problem, x, times, rng):
            last = step.t == times[-1]
            yield sh.Step(step.t, before if last else step.x, step.rho)
            before = step.x


class Coupled(Heun):
    """Moves each sample by the mean of its batch."""

    def step(self, run: sh.Run, y: Tensor, leg: sh.Leg) -> Tensor:
        return super().step(run, y, leg) + 1e-6 * y.mean(0)


class TooNoisy(Heun):
    """Adds a tenth more noise than churn asks for."""

    churn: float = 1.0

    def added_variance(self, rho_t: float, rho_s: float) -> float:
        return super().added_variance(rho_t, rho_s)

    def advance(self, run: sh.Run, y: Tensor, leg: sh.Leg) -> Tensor:
        return super().advance(run, y + 0.3 * leg.noise * run.noise(y) if leg.churned else y, leg)


class Overstates(Heun):
    """Claims an order that it does not have."""

    order: ClassVar[int] = 3


def failures(sampler: sh.Sampler) -> list[Finding]:
    return [finding for finding in check_sampler(sampler, {"edm": EDM()}) if not finding.passed]


@pytest.mark.parametrize(
    ("sampler", "check", "measured"),
    [
        (WrongCoefficient(), "order", "0."),
        (GlobalNoise(), "contract", "the global random numbers are left alone"),
        (InPlace(), "contract", "a sampler does not modify"),
        (Understates(), "evaluations", "1 steps: declares 1 evaluations, spends 2"),
        (Idle(), "contract", "the last step changes nothing"),
        (Coupled(), "contract", "a sample depends on the others of its batch"),
        (TooNoisy(), "weak order", "0."),
        (Overstates(), "order", "2.0"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, sh.Component) else "",
)
def test_planted_faults_are_caught(sampler: sh.Sampler, check: str, measured: str) -> None:
    found = [finding for finding in failures(sampler) if finding.check == check]
    assert found
    assert any(measured in finding.measured for finding in found), found


def test_healthy_samplers_pass() -> None:
    assert failures(Heun()) == []
    assert failures(DEIS()) == []


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "grid", "edm"]) == 0
    count = 1 + len(Registry.discover().entries("process"))  # the record, and each process
    assert f"grid edm: {count} of {count} checks hold" in capsys.readouterr().out
    assert main(["check", "process", "vp", "--json"]) == 0
    assert all(finding["passed"] for finding in json.loads(capsys.readouterr().out))
    assert main(["check", "sampler", "huen"]) == 2


@pytest.mark.parametrize("nfe", [10, 31])
@pytest.mark.parametrize("name", [r.entry.name for r in sh.Registry.discover().entries("sampler")])
def test_every_sampler_keeps_to_a_budget(name: str, nfe: int) -> None:
    sampler = sh.Registry.discover().load("sampler", name)()
    run = sh.Experiment(
        process=EDM(),
        target=Mixture(),
        model=Exact(),
        sampler=sampler,  # type: ignore[arg-type]
        grid=EDMGrid(),
        prior=GaussianPrior(),
        samples=64,
        nfe=nfe,
        dtype="float64",
    )
    result = run.run()
    assert nfe / 2 < result.nfe <= nfe
    assert bool(result.samples.isfinite().all())
