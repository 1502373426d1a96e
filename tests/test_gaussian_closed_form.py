"""The example that is solved in full, against the equations of its moments, integrated in each process's own time."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from samplerhub import Experiment, Setup, alpha, diffusion2, drift, rho, time_at
from samplerhub.errors import Mismatch
from samplerhub_grids.edm import EDMGrid
from samplerhub_metrics.gaussian_closed_form import GaussianClosedForm
from samplerhub_metrics.kl_exact import KLExact
from samplerhub_models.exact import Exact
from samplerhub_models.gaussian import GaussianScore
from samplerhub_priors.exact import ExactPrior
from samplerhub_priors.gaussian import GaussianPrior
from samplerhub_priors.matched import MatchedPrior
from samplerhub_processes.edm import EDM
from samplerhub_processes.ve import VE
from samplerhub_processes.vp import VP
from samplerhub_samplers.ddim import DDIM
from samplerhub_samplers.euler_maruyama import EulerMaruyama
from samplerhub_samplers.heun import Heun
from samplerhub_targets.gaussian import Gaussian
from samplerhub_targets.mixture import Mixture

F64 = torch.float64
LINE = Gaussian(mean=(0.0,), covariance=1.0)
PAPER = {"model": GaussianScore(shift=0.2, factor=0.8), "prior": MatchedPrior(shift=0.5, factor=0.5)}
"""Figure 9 of the paper."""
SPACE = Gaussian(mean=(0.3, -0.2, 0.1), covariance=((1.0, 0.3, 0.0), (0.3, 0.5, 0.1), (0.0, 0.1, 0.2)))


close = partial(torch.testing.assert_close, rtol=1e-12, atol=1e-12)


class Record:
    def __init__(self, setup):
        self.setup = setup


def setup_of(sampler, target=LINE, model=None, prior=None, process=None, levels=(2.0, 0.5, 0.1, 0.002)):
    process = process or EDM()
    return Setup(
        process=process,
        model=(model or Exact()).of(target),
        sampler=sampler,
        prior=prior or GaussianPrior(),
        target=target,
        times=time_at(process, list(levels)),
        shape=target.shape,
        samples=10,
        seed=0,
        path=tuple(range(len(levels))),
    )


def closed_form(setup, direction="forward"):
    metric = GaussianClosedForm(direction=direction)
    metric.inspect(setup)
    return metric(Record(setup))


def values(estimate):
    return np.array([point.value for point in estimate.curve])


def between(m, V, mu, S, direction):
    if direction == "reverse":
        m, V, mu, S = mu, S, m, V
    P = np.linalg.inv(S)
    return (np.trace(P @ V) + (m - mu) @ P @ (m - mu) - len(m) - math.log(np.linalg.det(P @ V))) / 2


def moments_by_ode(setup, model, gamma):
    """Return mean and covariance of the state x at the recorded times: dm/dt and dV/dt of the reverse SDE in time t."""
    target, process = setup.target, setup.process
    mean, C = (part.numpy() for part in target.moments())
    d = len(mean)
    mu = mean + model.shift

    def slopes(t, z):
        m, V = z[:d], z[d:].reshape(d, d)
        a_t, f, g2 = (float(fn(process, t)) for fn in (alpha, drift, diffusion2))
        level = float(rho(process, t))
        S = model.factor * a_t**2 * (C + level**2 * np.eye(d))
        P = np.linalg.inv(S)
        K = f * np.eye(d) + (1 + gamma(level)) / 2 * g2 * P
        return np.concatenate([K @ m - (K - f * np.eye(d)) @ (a_t * mu), (K @ V + V @ K.T).ravel()]) - np.concatenate(
            [np.zeros(d), gamma(level) * g2 * np.eye(d).ravel()]
        )

    m, V = (part.numpy() for part in setup.prior.normal(setup.problem()))
    z, t, out = np.concatenate([m, V.ravel()]), setup.times.tolist(), []
    window = setup.sampler.churn_window or ()
    stops = sorted({*t, *(float(time_at(process, w)) for w in window if setup.rho[-1] < w < setup.rho[0])})[::-1]
    for a, b in zip([stops[0], *stops], stops):
        if a != b:
            # A hair inside the interval, where gamma is what it is inside.
            z = solve_ivp(slopes, (a - 1e-13 * a, b + 1e-13 * b), z, method="DOP853", rtol=1e-12, atol=1e-15).y[:, -1]
        if b in t:
            out.append((z[:d], z[d:].reshape(d, d)))
    return out


def truth(setup, model, direction):
    gamma = setup.sampler.gamma
    mean, C = (part.numpy() for part in setup.target.moments())
    laws = []
    for t, (m, V) in zip(setup.times.tolist(), moments_by_ode(setup, model, gamma)):
        a_t, level = float(alpha(setup.process, t)), float(rho(setup.process, t))
        laws.append(between(m, V, a_t * mean, a_t**2 * (C + level**2 * np.eye(len(mean))), direction))
    return np.array(laws)


@pytest.mark.parametrize("process", [EDM(), VE(), VP()], ids=repr)
@pytest.mark.parametrize("gamma", [0.0, 0.2, 1.0, 5.0])
@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_on_the_line(process, gamma, direction):
    setup = setup_of(EulerMaruyama(churn=gamma), process=process, levels=(2.0, 0.5, 0.1, 0.03), **PAPER)
    expected = truth(setup, PAPER["model"], direction)
    assert values(closed_form(setup, direction)) == pytest.approx(expected, abs=1e-10, rel=1e-10)


@pytest.mark.parametrize("window", [None, (0.05, 0.7), (0.7, 50.0), (0.0, 0.3)])
@pytest.mark.parametrize("prior", [GaussianPrior(), MatchedPrior(shift=(0.1, 0.4, -0.3), factor=1.7)], ids=repr)
def test_in_space_with_a_window(window, prior):
    model = GaussianScore(shift=-0.1, factor=1.3)
    setup = setup_of(EulerMaruyama(churn=0.7, churn_window=window), SPACE, model, prior)
    for direction in ("forward", "reverse"):
        expected = truth(setup, model, direction)
        assert values(closed_form(setup, direction)) == pytest.approx(expected, abs=1e-9, rel=1e-9)


@pytest.mark.parametrize("off", [0.0, 1e-14, 1e-10, 1e-6])
def test_where_the_variance_has_a_logarithm(off):
    # 1 + gamma = a, and beside it.
    model = GaussianScore(shift=0.2, factor=1.5 + off)
    setup = setup_of(EulerMaruyama(churn=0.5), model=model, prior=PAPER["prior"])
    assert values(closed_form(setup)) == pytest.approx(truth(setup, model, "forward"), abs=1e-10, rel=1e-10)


def test_figure_9():
    estimate = closed_form(setup_of(EulerMaruyama(churn=0.2), **PAPER))
    assert estimate.value == pytest.approx(0.169483, abs=1e-6)
    assert estimate.quantity == "kl"
    assert estimate.bounds == ""
    assert estimate.stderr is None
    assert estimate.details["factor on the covariance in the model"] == pytest.approx(0.8, rel=1e-12)
    assert estimate.details["distance of the means in the model"] == pytest.approx(0.2, rel=1e-12)


# --- limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 3.0])
def test_with_the_exact_score_the_start_is_forgotten_at_rate_gamma(gamma):
    # V/S - 1 decays as r^gamma and the mean as r^((1 + gamma)/2), r = S(v)/S(v_0).
    shift, factor, v_0, v = 0.5, 0.5, 4.0, 0.002**2
    setup = setup_of(EulerMaruyama(churn=gamma), prior=PAPER["prior"])
    r = (1 + v) / (1 + v_0)
    excess, gap2 = (factor - 1) * r**gamma, (r ** ((1 + gamma) / 2) * shift) ** 2
    expected = (excess - math.log1p(excess) + gap2 / (1 + v)) / 2
    assert closed_form(setup).value == pytest.approx(expected, rel=1e-10)


def test_much_noise_leads_to_the_law_of_the_model():
    setup = setup_of(EulerMaruyama(churn=1e7), **PAPER)
    v = 0.002**2
    expected = (0.8 - 1 - math.log(0.8) + 0.2**2 / (1 + v)) / 2
    assert closed_form(setup).value == pytest.approx(expected, rel=1e-6)


def test_no_error_at_all():
    assert closed_form(setup_of(EulerMaruyama(churn=0.3), prior=ExactPrior())).value == pytest.approx(0, abs=1e-14)
    assert closed_form(setup_of(EulerMaruyama(churn=0.3), SPACE, GaussianScore(), MatchedPrior())).value < 1e-14


def test_as_many_axes_as_times_one_axis():
    line = closed_form(setup_of(EulerMaruyama(churn=0.7), **PAPER))
    cube = closed_form(setup_of(EulerMaruyama(churn=0.7), Gaussian(mean=(0.0,) * 3, covariance=1.0), **PAPER))
    assert values(cube) == pytest.approx(3 * values(line), rel=1e-12)


# --- against runs -----------------------------------------------------------------------------------------------------


def test_fine_runs_converge_to_it():
    for sampler, tolerance in ((Heun(), 1e-3), (Heun(churn=1.0), 0.05), (EulerMaruyama(churn=1.0), 0.1)):
        off = []
        for steps in (100, 200):
            levels = np.geomspace(2.0, 0.1, steps + 1).tolist()
            setup = setup_of(sampler, levels=levels, **PAPER)
            closed, run = (metric(Record(setup)).value for metric in (GaussianClosedForm(), KLExact()))
            off.append(abs(run / closed - 1))
        assert off[1] < tolerance
        assert off[1] < 0.6 * off[0]


def test_it_is_a_metric_of_an_experiment():
    experiment = Experiment(
        process=VP(),
        model=GaussianScore(factor=0.9),
        sampler=Heun(churn=0.5),
        grid=EDMGrid(),
        prior=MatchedPrior(),
        target=SPACE,
        metrics=[GaussianClosedForm()],
        samples=8,
        steps=5,
        path=3,
    )
    estimate = experiment.run().metrics["gaussian-closed-form"]
    assert len(estimate.curve) == 3
    assert estimate.curve[0].value == pytest.approx(0, abs=1e-12)
    assert estimate.value == estimate.curve[-1].value > 0


# --- what is refused --------------------------------------------------------------------------------------------------


class Fading(EulerMaruyama):
    def gamma(self, rho):
        return rho / (1 + rho)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": Mixture()}, "Gaussian target"),
        ({"sampler": Fading()}, "gamma varies"),
        ({"sampler": Heun(churn=1.0, churn_noise=1.01)}, "churn_noise = 1.01"),
        ({"prior": ExactPrior(), "target": Mixture()}, "Gaussian target"),
    ],
)
def test_what_is_not_the_example_is_refused(changes, message):
    setup = setup_of(**{"sampler": EulerMaruyama(), **changes})
    with pytest.raises(Mismatch, match=message):
        GaussianClosedForm().inspect(setup)


def test_models_of_another_form_are_refused():
    setup = setup_of(EulerMaruyama())
    for model in (Exact().of(Mixture()), Exact().of(Gaussian(mean=(0.0,), covariance=2.0))):
        with pytest.raises(Mismatch, match="the model's score is not"):
            GaussianClosedForm().inspect(Setup(**{**vars(setup), "model": model}))


def test_priors_with_other_axes_are_refused():
    class Skew(MatchedPrior):
        def normal(self, problem):
            mean, S = super().normal(problem)
            turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=F64))[0]
            return mean, turn @ S @ turn.T

    with pytest.raises(Mismatch, match="other axes"):
        GaussianClosedForm().inspect(setup_of(EulerMaruyama(), SPACE, prior=Skew()))


def test_ddim_with_eta_has_its_gamma():
    for eta in (0.0, 0.6):
        other = closed_form(setup_of(EulerMaruyama(churn=eta**2), **PAPER)).value
        assert closed_form(setup_of(DDIM(eta=eta), **PAPER)).value == pytest.approx(other, rel=1e-12)


# --- the parts of the example -----------------------------------------------------------------------------------------


def test_the_matched_prior_is_the_law_that_it_says():
    prior = MatchedPrior(shift=(0.1, 0.4, -0.3), factor=1.7)
    for process in (EDM(), VP()):
        problem = setup_of(EulerMaruyama(), SPACE, prior=prior, process=process, levels=(2.0, 0.1)).problem()
        mean, S = prior.normal(problem)
        x = prior.sample(problem, 200_000, torch.Generator().manual_seed(0))
        assert x.shape == (200_000, 3)
        sd = S.diagonal().sqrt()
        assert ((x.mean(0) - mean).abs() < 5 * sd / 200_000**0.5).all()
        assert ((torch.cov(x.T) - S).abs() < 0.02 * sd.outer(sd)).all()
        law = torch.distributions.MultivariateNormal(mean, S)
        close(prior.log_prob(problem, x[:9]), law.log_prob(x[:9]))
        a_t, level = float(alpha(process, problem.span[1])), float(rho(process, problem.span[1]))
        data_mean, C = SPACE.moments()
        close(mean, a_t * (data_mean + torch.tensor(prior.shift, dtype=F64)))
        close(S, 1.7 * a_t**2 * (C + level**2 * torch.eye(3, dtype=F64)))


def test_without_error_prior_and_model_are_the_exact_ones():
    setup = setup_of(EulerMaruyama(), SPACE)
    problem, y = setup.problem(), torch.randn(5, 3, dtype=F64, generator=torch.Generator().manual_seed(0))
    for level in (0.01, 1.0, 40.0):
        other = Setup(**{**vars(setup), "model": GaussianScore().of(SPACE)}).problem()
        close(other.x0(y, level), problem.x0(y, level), rtol=1e-9, atol=1e-11)
    close(MatchedPrior().normal(problem), ExactPrior().normal(problem))
    close(MatchedPrior().log_prob(problem, y), ExactPrior().log_prob(problem, y))


@pytest.mark.parametrize("part", [MatchedPrior(shift=(0.1, 0.2)), GaussianScore(shift=(0.1, 0.2))], ids=repr)
def test_a_shift_of_another_length_is_refused(part):
    with pytest.raises(Mismatch, match="shift has 2 numbers; give one for all, or one for each of the 3"):
        part.of(SPACE) if isinstance(part, GaussianScore) else part.normal(setup_of(Heun(), SPACE).problem())


def test_without_moments_both_are_refused():
    class Points:
        shape = (1,)

        def sample(self, n, rng):
            return torch.zeros(n, 1)

    with pytest.raises(Mismatch, match="no method 'moments'"):
        GaussianScore().of(Points())
    problem = setup_of(Heun()).problem()
    problem.target = Points()
    with pytest.raises(Mismatch, match="has no 'moments'"):
        MatchedPrior().normal(problem)
    problem.target = None
    with pytest.raises(Mismatch, match="there is none"):
        MatchedPrior().sample(problem, 3, torch.Generator())
