"""The score's error along time, and the antisymmetry of its Jacobian, against closed forms."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from scipy.integrate import quad

import samplerhub as sh
from samplerhub.errors import Mismatch
from samplerhub.measure import Recorded
from samplerhub_grids.edm import EDMGrid
from samplerhub_metrics.antisymmetry import Antisymmetry, antisymmetry
from samplerhub_metrics.jacobian import jacobian
from samplerhub_metrics.score_error import ScoreError, simpson
from samplerhub_models.exact import Exact
from samplerhub_priors.gaussian import GaussianPrior
from samplerhub_processes.edm import EDM
from samplerhub_processes.vp import VP
from samplerhub_samplers.ddim import DDIM
from samplerhub_samplers.dormand_prince import DormandPrince
from samplerhub_targets.gaussian import Gaussian
from samplerhub_targets.mixture import Mixture

F64 = torch.float64
M, C = (0.5, -0.2), 0.8
LAW = Gaussian(mean=M, covariance=C)
WRONG = Gaussian(mean=(0.3, -0.2), covariance=0.5)
"""The law whose exact score is taken for that of `LAW`."""


def setup(target=LAW, model=None, *, process=None, sampler=None, **numbers):
    numbers = {"samples": 1000, "steps": 20, **numbers}
    return sh.Experiment(
        process=process or EDM(t_min=0.01, t_max=10.0),
        model=model or Exact().of(WRONG),
        sampler=sampler or DDIM(),
        grid=EDMGrid(),
        prior=GaussianPrior(),
        target=target,
        dtype="float64",
        **numbers,
    ).setup()


def evaluated(metric, of):
    if isinstance(metric, sh.Inspects):
        metric.inspect(of)
    nothing = torch.zeros(2, *of.shape, dtype=F64)
    return metric(Recorded(sh.Snapshot(of.span[0], of.rho[-1].item(), nothing), of, metric.needs))


def squared_score_error(v, mean=M, variance=None):
    """Return E |s_model - s|^2 at rho^2 = v, for states of a Gaussian law; by default the noised target."""
    variance = C + v if variance is None else variance
    slope = 1 / (C + v) - 1 / (0.5 + v)
    offset = [slope * m_y - m / (C + v) + m_w / (0.5 + v) for m_y, m, m_w in zip(mean, M, WRONG.mean)]
    return 2 * slope**2 * variance + sum(o**2 for o in offset)


# --- score-error ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("process", [EDM(t_min=0.01, t_max=10.0), VP(t_min=0.01)], ids=["edm", "vp"])
@pytest.mark.parametrize("n", [100, 3000])
def test_score_error_of_gaussians_is_the_closed_form(process, n):
    of = setup(process=process, samples=n)
    estimate = evaluated(ScoreError(), of)
    u = of.rho[[-1, 0]].square().log().tolist()
    truth = quad(lambda u: math.exp(u) * squared_score_error(math.exp(u)) / 2, *u)[0]
    assert abs(estimate.value - truth) < 4 * estimate.stderr
    assert estimate.stderr < 0.5 / math.sqrt(n)
    assert estimate.details["quadrature error"] < 1e-4
    assert len(estimate.curve) == 65
    for point in estimate.curve:
        assert abs(point.value - squared_score_error(point.rho**2)) < 4.5 * point.stderr
    assert [p.rho for p in estimate.curve] == pytest.approx(sh.rho(process, [p.t for p in estimate.curve]).tolist())


def test_curves_are_of_the_prediction_that_was_asked_for_at_the_recorded_times():
    of = setup(path=4)
    score, eps, x0 = (evaluated(ScoreError(of=name), of) for name in ("score", "eps", "x0"))
    rho = of.rho[list(of.path)].tolist()
    assert [p.rho for p in score.curve] == rho
    for s, e, x, r in zip(score.curve, eps.curve, x0.curve, rho):
        assert (e.value, x.value) == pytest.approx((s.value * r**2, s.value * r**4), rel=1e-12)
        assert (e.stderr, x.stderr) == pytest.approx((s.stderr * r**2, s.stderr * r**4), rel=1e-12)
    assert score.value == eps.value == x0.value


@pytest.mark.parametrize("target", [LAW, Mixture()])
def test_the_exact_score_has_no_error(target):
    for under in ("target", "generated"):
        estimate = evaluated(ScoreError(under=under), setup(target, Exact()))
        assert estimate.value == pytest.approx(0, abs=1e-20)
        assert estimate.stderr == pytest.approx(0, abs=1e-20)


def test_score_error_of_what_is_generated_is_the_closed_form():
    of = setup(samples=4000, path=6)
    estimate = evaluated(ScoreError(under="generated"), of)
    rho = of.rho.tolist()
    m, v, truth = torch.zeros(2, dtype=F64), rho[0] ** 2, []
    for a, b in itertools.pairwise([*rho, rho[-1]]):
        truth.append(squared_score_error(a**2, m.tolist(), v))
        gain = 1 + (b - a) * a / (0.5 + a**2)
        centre = torch.tensor(WRONG.mean, dtype=F64)
        m, v = centre + gain * (m - centre), gain**2 * v
    for k, point in zip(of.path, estimate.curve):
        assert point.rho == rho[k]
        assert abs(point.value - truth[k]) < 4 * point.stderr
    integral = -np.trapezoid(np.array(truth) * np.array(rho) ** 2, np.log(rho))
    assert abs(estimate.value - integral) < 4 * estimate.stderr


@pytest.mark.parametrize("repeats", [60, pytest.param(200, marks=pytest.mark.slow)])
def test_intervals_of_the_score_error_cover_the_truth(repeats):
    of = [setup(samples=100, seed=seed) for seed in range(repeats)]
    u = of[0].rho[[-1, 0]].square().log().tolist()
    truth = quad(lambda u: math.exp(u) * squared_score_error(math.exp(u)) / 2, *u)[0]
    estimates = [evaluated(ScoreError(levels=33), s) for s in of]
    covered = np.mean([abs(e.value - truth) < 1.96 * e.stderr for e in estimates])
    assert covered >= (0.90 if repeats == 200 else 0.85)


def test_simpsons_rule_is_exact_for_cubics():
    x = torch.linspace(0, 2, 9, dtype=F64)
    assert simpson(torch.stack([x**3, x**2], 1), 0.25).tolist() == pytest.approx([4, 8 / 3])
    with pytest.raises(ValueError, match="levels is 12; Simpson's rule"):
        ScoreError(levels=12)


def test_score_error_refuses_what_it_cannot_have():
    class Plain:
        shape = (2,)

        def sample(self, n, rng):
            return LAW.sample(n, rng)

    with pytest.raises(Mismatch, match="needs a target whose exact score is known"):
        sh.Experiment(
            process=EDM(), model=Exact().of(WRONG), sampler=DDIM(), grid=EDMGrid(), prior=GaussianPrior(),
            target=Plain(), metrics=[ScoreError()], steps=2,
        )  # fmt: skip
    with pytest.raises(Mismatch, match="chooses its own steps"):
        evaluated(ScoreError(under="generated"), setup(sampler=DormandPrince()))


# --- antisymmetry -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Linear:
    """E[x_0 | y] = A y/(1 + rho^2)."""

    A: torch.Tensor
    predicts: ClassVar = "x0"

    def __call__(self, y, rho):
        return (y.flatten(1) @ self.A.T.to(y)).reshape(y.shape) / (1 + rho**2)


@dataclass(frozen=True)
class Shaped:
    """Standard normal data of any shape."""

    shape: tuple[int, ...]

    def sample(self, n, rng):
        return torch.randn(n, *self.shape, generator=rng, dtype=F64)


@pytest.mark.parametrize("shape", [(2,), (1, 2, 2), (5,)])
def test_antisymmetry_of_a_linear_score_is_that_of_its_matrix(shape):
    d = math.prod(shape)
    A = torch.randn(d, d, generator=sh.stream(0, "A"), dtype=F64)
    of = setup(Shaped(shape), Linear(A), path=4)
    estimate = evaluated(Antisymmetry(samples=5), of)
    truth = []
    for rho in of.rho[list(of.path)].tolist():
        J = (A / (1 + rho**2) - torch.eye(d)) / rho**2
        truth.append((torch.linalg.norm(J - J.T) / 2 / torch.linalg.norm(J)).item())
    assert [p.value for p in estimate.curve] == pytest.approx(truth, rel=1e-10)
    assert estimate.value == pytest.approx(np.mean(truth), rel=1e-10)
    assert estimate.stderr == pytest.approx(0, abs=1e-12)


def test_antisymmetry_of_exact_scores_is_0_and_of_a_rotation_1():
    modes = Mixture(weights=(0.3, 0.7), means=((0.0, 1.0, 0.0), (1.0, 0.0, 2.0)), covariances=(0.1, 0.2))
    assert evaluated(Antisymmetry(), setup(modes, Exact())).value < 1e-9
    J = torch.tensor([[[0.0, 1.0], [-1.0, 0.0]], [[1.0, 0.5], [0.5, 2.0]], [[0.0, 0.0], [0.0, 0.0]]], dtype=F64)
    assert antisymmetry(J).tolist() == [1, 0, 0]


def test_antisymmetry_of_a_bent_model_has_the_spread_of_its_samples():
    @dataclass(frozen=True)
    class Bent:
        predicts: ClassVar = "score"

        def __call__(self, y, rho):
            return torch.stack([-y[:, 0], y[:, 0] ** 2 / 2], 1)

    of = setup(model=Bent(), steps=1, path=2)
    estimate = evaluated(Antisymmetry(samples=4000), of)
    end = estimate.curve[-1]
    # J = [[-1, 0], [y_1, 0]]: RA = |y_1|/sqrt(2 (1 + y_1^2)), y_1 = N(0.5, 0.8 + rho^2)
    y = torch.linspace(-12, 12, 20_001, dtype=F64)
    p = torch.exp(-((y - 0.5) ** 2) / 2 / (0.8 + end.rho**2))
    truth = (p * y.abs() / (2 * (1 + y**2)).sqrt()).sum() / p.sum()
    assert end.stderr < 0.005
    assert abs(end.value - truth.item()) < 4 * end.stderr


def test_jacobians_are_those_of_torch():
    y = torch.randn(6, 3, generator=sh.stream(0, "y"), dtype=F64)

    def f(y):
        return torch.stack([y[:, 0] * y[:, 1], y[:, 2].sin(), y.square().sum(1)], 1)

    expected = torch.func.vmap(torch.func.jacrev(lambda row: f(row[None])[0]))(y)
    assert torch.allclose(jacobian(f, y), expected)
    assert jacobian(lambda y: torch.ones_like(y), y).abs().max() == 0


def test_antisymmetry_refuses_many_dimensions_and_models_without_gradients():
    with pytest.raises(Mismatch, match="samples have 200 dimensions, and Jacobians are made up to 128"):
        Antisymmetry().inspect(setup(Shaped((200,)), Linear(torch.eye(200))))

    @dataclass(frozen=True)
    class Blocked:
        predicts: ClassVar = "x0"

        def __call__(self, y, rho):
            with torch.no_grad():
                return LAW.denoise(y, rho)

    with pytest.raises(Mismatch, match="gradients do not flow through it"):
        Antisymmetry().inspect(setup(model=Blocked()))
