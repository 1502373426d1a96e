"""The metric kl-exact: its figures, its errors, its curves and its refusals."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import pytest
import torch

import samplerhub as sh
from samplerhub.errors import Mismatch
from samplerhub_grids.edm import EDMGrid
from samplerhub_metrics.kl_exact import KLExact, _mass
from samplerhub_models.exact import Exact
from samplerhub_priors.exact import ExactPrior
from samplerhub_priors.gaussian import GaussianPrior
from samplerhub_processes.edm import EDM
from samplerhub_processes.vp import VP
from samplerhub_samplers.ddim import DDIM
from samplerhub_samplers.ddpm import DDPM
from samplerhub_samplers.deis import DEIS
from samplerhub_samplers.dormand_prince import DormandPrince
from samplerhub_samplers.euler_maruyama import EulerMaruyama
from samplerhub_samplers.heun import Heun
from samplerhub_targets.gaussian import Gaussian
from samplerhub_targets.mixture import Mixture

F64 = torch.float64


def run(sampler, metric=None, target=None, steps=10, **settings):
    """Return the estimate of an experiment with few samples."""
    settings = {"process": EDM(), "model": Exact(), "grid": EDMGrid(), "prior": GaussianPrior(), **settings}
    experiment = sh.Experiment(
        sampler=sampler,
        target=target or Mixture(),
        metrics={"kl-exact": metric or KLExact()},
        samples=settings.pop("samples", 8),
        steps=steps,
        **settings,
    )
    result = experiment.run()
    return result.metrics["kl-exact"]


@pytest.mark.parametrize(
    ("sampler", "law"),
    [(Heun(), "pushforward"), (DEIS(), "pushforward"), (EulerMaruyama(), "chain"), (Heun(churn=1), "chain")],
)
@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_a_run_of_ten_steps(sampler, law, direction):
    estimate = run(sampler, KLExact(direction=direction))
    assert estimate.details["law"] == law
    assert estimate.stderr is None
    assert estimate.quantity == {"forward": "kl", "reverse": "kl-reverse"}[direction]
    assert 0 <= estimate.details["error"] <= 1e-6
    closer = run(sampler, KLExact(direction=direction, tolerance=1e-9))
    assert abs(estimate.value - closer.value) <= 1e-6


def test_the_samples_of_the_run_have_that_law():
    """E log(q/p) over the samples, q by interpolation, is the divergence within its standard error."""
    experiment = sh.Experiment(
        process=VP(),
        model=Exact(),
        sampler=EulerMaruyama(churn=0.7),
        grid=EDMGrid(),
        prior=GaussianPrior(),
        target=Mixture(),
        metrics={"kl-exact": KLExact()},
        samples=200_000,
        steps=20,
        dtype="float64",
    )
    result = experiment.run()
    setup = experiment.setup()
    law = sh.exact_law(setup).last(setup, 2.0)
    y = result.samples.flatten() / sh.alpha(VP(), setup.times[-1])
    inside = torch.searchsorted(law.x, y).clamp(1, len(law.x) - 1)
    share = (y - law.x[inside - 1]) / (law.x[inside] - law.x[inside - 1])
    log_q = torch.lerp(law.log_density[inside - 1], law.log_density[inside], share)
    ratio = log_q - Mixture().log_prob(y[:, None], torch.full((1, 1), law.rho, dtype=F64))
    stderr = float(ratio.std()) / math.sqrt(len(y))
    assert stderr < 0.01
    assert abs(float(ratio.mean()) - result.metrics["kl-exact"].value) < 4.5 * stderr


def test_along_the_path():
    estimate = run(DDPM(), path=6, steps=10)
    assert len(estimate.curve) == 6
    assert [p.t for p in estimate.curve] == sorted((p.t for p in estimate.curve), reverse=True)
    assert estimate.curve[0].t == 80
    assert estimate.curve[-1].value == estimate.value
    assert all(p.stderr is None for p in estimate.curve)
    # The start: pure noise against the noised mixture, in the leading order 1/4 (variance/rho^2)^2 + mean^2/(2 rho^2).
    variance, mean = 0.1219, -0.01
    leading = (variance / 80**2) ** 2 / 4 + mean**2 / (2 * 80**2)
    assert estimate.curve[0].value == pytest.approx(leading, rel=1e-3)


@pytest.mark.parametrize("sampler", [Heun(), EulerMaruyama()])
def test_every_point_of_the_path_is_the_end_of_a_shorter_run(sampler):
    times = torch.logspace(0.5, -1, 7, dtype=F64)
    setup = sh.Setup(EDM(), Exact().of(Mixture()), sampler, GaussianPrior(), Mixture(), times, (1,), 8, 0)
    laws = sh.exact_law(setup).laws([0, 2, 3, 6], 1.4)
    for i, law in zip((2, 3, 6), laws[1:]):
        shorter = sh.Setup(
            EDM(), Exact().of(Mixture()), sampler, GaussianPrior(), Mixture(), times[: i + 1], (1,), 8, 0
        )
        assert law.t == times[i].item()
        assert law.kl(Mixture()) == pytest.approx(sh.exact_law(shorter).last(shorter, 1.4).kl(Mixture()), abs=1e-8)


@pytest.mark.parametrize("sampler", [DDIM(), Heun(churn=0.5), DEIS(churn=0.5), DDPM()])
def test_gaussians_in_many_dimensions(sampler):
    target = Gaussian(mean=(0.5, -1.0, 0.0), covariance=((1.0, 0.6, 0.1), (0.6, 0.5, 0.0), (0.1, 0.0, 0.2)))
    estimate = run(sampler, target=target, path=3)
    assert estimate.details["law"] == "affine"
    assert estimate.details["error"] < 1e-9
    assert len(estimate.curve) == 3


def test_nothing_is_lost_by_an_exact_prior_and_many_steps():
    coarse, fine = (run(Heun(), prior=ExactPrior(), steps=n).value for n in (40, 160))
    assert fine < coarse / 100
    assert fine < 1e-5


@dataclass(frozen=True)
class Single:
    """The exact model, computed in single precision."""

    target: Mixture = field(default_factory=Mixture)
    predicts: ClassVar[Literal["x0"]] = "x0"
    dtype: ClassVar[torch.dtype] = torch.float32

    def __call__(self, y, rho):
        return self.target.denoise(y, rho)


@pytest.mark.parametrize("sampler", [Heun(), EulerMaruyama()])
def test_a_model_in_single_precision(sampler):
    single, double = run(sampler, model=Single()), run(sampler)
    assert single.value == pytest.approx(double.value, abs=2e-5)
    assert single.details["error"] < 2e-5


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"sampler": DEIS(churn=0.5)}, "kl-exact.*memory.*churn 0"),
        ({"target": Mixture(means=((0.0, 1.0), (1.0, 0.0)), covariances=(0.1, 0.2))}, "a Gaussian target|1-D|one-dim"),
    ],
)
def test_what_cannot_be_had_is_refused_before_sampling(settings, match):
    chosen = {"sampler": DDIM(), **settings}
    with pytest.raises(Mismatch, match=match):
        sh.Experiment(
            process=EDM(),
            model=Exact(),
            grid=EDMGrid(),
            prior=GaussianPrior(),
            metrics=[KLExact()],
            steps=5,
            **{"target": Mixture(), **chosen},
        )


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_figures_that_have_not_converged_are_refused_before_sampling(direction):
    sampler = DormandPrince()
    with pytest.raises(Mismatch, match=r"known to \S+ only, the tolerance is 1e-06: set --metric.tolerance \S+, "):
        run(sampler, KLExact(direction=direction), steps=1)
    loose = run(sampler, KLExact(direction=direction, tolerance=1e-3), steps=1)
    assert 1e-6 < loose.details["error"] <= 1e-3
    assert loose.value > -loose.details["error"]


def assembled(target, **settings):
    """Return an experiment of few samples by Heun's method."""
    given = {"process": EDM(), "model": Exact(), "sampler": Heun(), "grid": EDMGrid(), "prior": GaussianPrior()}
    return sh.Experiment(**given, target=target, samples=8, **settings)


def test_the_law_is_computed_once(monkeypatch):
    rows = []
    denoise = Mixture.denoise
    monkeypatch.setattr(Mixture, "denoise", lambda self, y, rho: rows.append(len(y)) or denoise(self, y, rho))
    experiment = assembled(Mixture(), metrics=[KLExact()], steps=5, path=3)
    assert max(rows) > 1000
    rows.clear()
    assert len(experiment.run().metrics["kl-exact"].curve) == 3
    assert max(rows) < 100


class Doubled(Mixture):
    """A density that integrates to 2."""

    def log_prob(self, y, rho):
        return super().log_prob(y, rho) + math.log(2)


@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("sampler", [Heun(last="denoise"), EulerMaruyama()])
def test_a_density_that_is_none(sampler, direction):
    with pytest.raises(Mismatch, match=r"the density of Doubled integrates to 2 at rho = "):
        run(sampler, KLExact(direction=direction), target=Doubled())


@pytest.mark.parametrize("rho", [0.0, 0.002, 1.0, 80.0])
@pytest.mark.parametrize(
    "target",
    [Mixture(), Mixture(covariances=(1e-8, 1.0)), Mixture(weights=(1e-4, 0.9999), means=((1e3,), (0.0,))), Gaussian()],
    ids=["mixture", "narrow and wide", "rare and far", "normal"],
)
def test_the_mass_of_targets(target, rho):
    assert _mass(assembled(target, steps=2).setup(), target, rho) == pytest.approx(1, abs=2e-5)


@dataclass(frozen=True)
class Constant:
    """A model that says the same wherever it is asked."""

    value: float
    predicts: ClassVar[Literal["x0"]] = "x0"
    dtype: ClassVar[torch.dtype] = F64

    def __call__(self, y, rho):
        return torch.full_like(y, self.value)


@pytest.mark.parametrize("value", [0.1, 0.0])
@pytest.mark.parametrize("sampler", [DDIM(last="denoise"), EulerMaruyama(last="denoise")])
def test_a_law_with_an_atom(sampler, value):
    with pytest.raises(Mismatch, match=r"the law has an atom \(a share 1 of all starts"):
        run(sampler, model=Constant(value))
    stopped = run(sampler.replace(last="stop"), model=Constant(value))
    assert stopped.value > 1


@pytest.mark.parametrize("sampler", [DDIM(), EulerMaruyama(), DEIS(churn=0.5)])
def test_a_model_that_is_not_finite(sampler):
    with pytest.raises(Mismatch, match="the model Constant returned NaN or infinity at t = 80"):
        run(sampler, model=Constant(math.nan))


class Wild(Constant):
    """A model whose map turns more often than can be told."""

    def __call__(self, y, rho):
        return torch.sin(20 * y)


def test_a_map_that_turns_too_often_is_refused_at_once():
    with pytest.raises(Mismatch, match=r"branches that lie over each other.*not resolved"):
        run(DDIM(), model=Wild(0.0))
