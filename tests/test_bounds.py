"""Bounds of the KL divergence, and the law in continuous time, against closed forms, quadrature and each other."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from samplerhub import Experiment, Setup, rho, time_at
from samplerhub.errors import Mismatch, NotFinite
from samplerhub_grids.edm import EDMGrid
from samplerhub_metrics.bounds import Course
from samplerhub_metrics.continuous_law import continuous_law
from samplerhub_metrics.gaussian_closed_form import GaussianClosedForm
from samplerhub_metrics.initial_divergence import initial_divergence
from samplerhub_metrics.kl_continuous import KLContinuous
from samplerhub_metrics.kl_exact import KLExact
from samplerhub_metrics.lsi_bound import LSIBound
from samplerhub_metrics.lsi_bound_reverse import LSIBoundReverse
from samplerhub_metrics.pinsker import Pinsker
from samplerhub_metrics.reverse_process import ReverseProcess
from samplerhub_metrics.trajectories import errors_along_data, errors_along_trajectories
from samplerhub_models.exact import Exact
from samplerhub_models.gaussian import GaussianScore
from samplerhub_priors.exact import ExactPrior
from samplerhub_priors.gaussian import GaussianPrior
from samplerhub_priors.matched import MatchedPrior
from samplerhub_processes.edm import EDM
from samplerhub_processes.ve import VE
from samplerhub_processes.vp import VP
from samplerhub_samplers.euler_maruyama import EulerMaruyama
from samplerhub_samplers.heun import Heun
from samplerhub_samplers.restart import Restart
from samplerhub_targets.digits import Digits
from samplerhub_targets.gaussian import Gaussian
from samplerhub_targets.mixture import Mixture

F64 = torch.float64
T = 0.7530995852
STEPS = 100
"""Intervals where no more is needed: their length leaves an error of 10^-3 in bounds, and none to speak of in laws."""
LINE = Gaussian(mean=(0.0,), covariance=1.0)
PAPER = {"target": LINE, "model": GaussianScore(shift=0.2, factor=0.8), "prior": MatchedPrior(shift=0.5, factor=0.5)}
"""Figure 9 of the paper."""
PLANE = Mixture(weights=(0.4, 0.6), means=((0, 0), (1, 0.5)), covariances=(0.3, 0.2))


class Record:
    def __init__(self, setup):
        self.setup = setup


def setup_of(
    gamma=1.0, levels=(T, 0.3, 0.1, 0.002), *, target=None, model=None, prior=None, process=None, sampler=None
):
    target, process = target or Mixture(), process or EDM()
    return Setup(
        process=process,
        model=(model or Exact()).of(target),
        sampler=sampler or EulerMaruyama(churn=gamma),
        prior=prior or GaussianPrior(),
        target=target,
        times=time_at(process, list(levels)),
        shape=target.shape,
        samples=10,
        seed=0,
        path=tuple(range(len(levels))),
    )


def evaluated(metric, setup):
    metric.inspect(setup)
    estimate = metric(Record(setup))
    assert [p.rho for p in estimate.curve] == pytest.approx(setup.rho.tolist())
    assert estimate.value == estimate.curve[-1].value
    return estimate


def values(estimate):
    return np.array([point.value for point in estimate.curve])


class Shifted:
    """A model whose predicted data are off by a smooth function that vanishes with the noise."""

    predicts = "x0"
    shape = (1,)

    def __init__(self, target, size):
        self.target, self.size = target, size

    def __call__(self, y, rho):
        return self.target.denoise(y, rho) + self.size * rho**2 / (0.04 + rho**2) * torch.sin(3 * y)


class ShiftedModel:
    def __init__(self, size):
        self.size = size

    def of(self, target):
        return Shifted(target, self.size)


# --- the start --------------------------------------------------------------------------------------------------------


def test_the_divergence_at_the_start_of_the_paper():
    for direction, expected in (("forward", 0.00988496294), ("reverse", 0.01315037670)):
        value, stderr = initial_divergence(setup_of(), direction, 2)
        assert value == pytest.approx(expected, abs=6e-12)
        assert stderr is None


@pytest.mark.parametrize("process", [EDM(), VP()], ids=repr)
@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_the_divergence_at_the_start_in_space(process, direction):
    # By Monte Carlo between a mixture and a normal law, against quadrature on a fine grid of the plane.
    setup = setup_of(levels=(2.0, 0.1), target=PLANE, process=process)
    x = torch.linspace(-16, 16, 801, dtype=F64)
    y = torch.cartesian_prod(x, x)
    log_p = PLANE.log_prob(y, torch.tensor([[2.0]], dtype=F64))
    log_q = -y.square().sum(1) / 8 - math.log(8 * math.pi)
    p, q = (log_q, log_p) if direction == "forward" else (log_p, log_q)
    truth = ((p.exp() * (p - q)).sum() * (x[1] - x[0]) ** 2).item()
    value, stderr = initial_divergence(setup, direction, 100_000)
    assert 0 < stderr < 0.02 * truth
    assert abs(value - truth) < 4 * stderr


def test_no_divergence_at_an_exact_start():
    for target in (PLANE, Mixture(), LINE):
        assert initial_divergence(setup_of(target=target, prior=ExactPrior()), "forward", 100)[0] == pytest.approx(0)


# --- Theorem 1 --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gamma", "lsi", "expected"),
    [(1, "paper", 0.0089254276), (1, "half", 0.0082965965), (5, "paper", 0.0059325988), (5, "half", 0.0041171783)],
)
def test_theorem_1_for_the_papers_mixture(gamma, lsi, expected):
    estimate = evaluated(LSIBound(), setup_of(gamma, target=Mixture(lsi=lsi)))
    # The notes have 8 digits; what is below rho = 0.002 is beyond them.
    assert estimate.value == pytest.approx(expected, abs=1.01e-10)
    assert (estimate.bounds, estimate.quantity, estimate.stderr) == ("kl", "", None)
    assert estimate.details["method"] == "Theorem 1"
    C = {"paper": 2.10798, "half": 1.35757}[lsi]
    assert estimate.details["log-Sobolev constant at the start"] == pytest.approx(C, rel=1e-5)


@pytest.mark.parametrize("window", [None, (0.05, 0.5), (0.4, 9.0)])
def test_the_decay_is_inside_the_window_only(window):
    target, low, high = Gaussian(mean=(0.0,), covariance=0.5), *(window or (0.0, 9.0))
    sampler = EulerMaruyama(churn=0.7, churn_window=window)
    estimate = evaluated(LSIBound(), setup_of(target=target, sampler=sampler, levels=(2.0, 0.3, 0.01)))
    H_0 = initial_divergence(setup_of(target=target, levels=(2.0, 0.1)), "forward", 2)[0]
    for point in estimate.curve:
        a, b = min(high, 2.0), min(max(low, point.rho), 2.0)
        ratio = (0.5 + min(b, a) ** 2) / (0.5 + a**2)
        assert point.value == pytest.approx(H_0 * ratio**0.7, rel=1e-9)


def test_a_given_constant():
    target = Mixture(weights=(1, 1, 1), means=(-1, 0, 1), covariances=(0.3, 0.3, 0.2))
    vacuous = evaluated(LSIBound(), setup_of(target=target))
    assert (values(vacuous) == vacuous.details["divergence at the start"]).all()
    assert vacuous.details["vacuous"] == "the log-Sobolev constant is infinite: nothing decays"
    given = evaluated(LSIBound(constant=2.0), setup_of(2.0, target=target))
    assert "vacuous" not in given.details
    ratio = (2 + 0.002**2) / (2 + T**2)
    assert given.value == pytest.approx(vacuous.value * ratio**2, rel=1e-9)


@pytest.mark.parametrize(
    "metric",
    [LSIBound(steps=50), LSIBound(form="projected", steps=20), LSIBoundReverse(steps=20), KLContinuous(steps=20)],
)
def test_the_process_drops_out(metric):
    levels = (2.0, 0.3, 0.05)
    one, two, three = (
        values(evaluated(metric, setup_of(0.7, levels, process=process))) for process in (EDM(), VE(), VP())
    )
    assert one == pytest.approx(two, rel=1e-8)
    assert one == pytest.approx(three, rel=1e-8)


class Bumped:
    """A model whose data are off by up to 0.3 rho at some noise levels only, or are not a number there."""

    predicts = "x0"
    shape = (1,)

    def __init__(self, low, high, size=0.3):
        self.low, self.high, self.size = low, high, size

    def __call__(self, y, rho):
        inside = ((rho / self.low).log() / math.log(self.high / self.low)).clamp(0, 1)
        bump = self.size * rho * (math.pi * inside).sin().square()
        return Mixture().denoise(y, rho) + torch.where((inside > 0) & (inside < 1), bump, 0.0)


def test_a_model_that_is_off_at_some_noise_levels_is_not_exact():
    exact = setup_of(levels=np.geomspace(T, 0.05, 41).tolist(), prior=ExactPrior())
    setup = Setup(**{**vars(exact), "model": Bumped(0.2, 0.36), "path": (), "memo": {}})
    for metric, direction in ((LSIBound(steps=STEPS), "forward"), (LSIBoundReverse(steps=STEPS), "reverse")):
        bound = metric(Record(setup))
        assert bound.details["method"] != "Theorem 1"
        assert bound.value > KLExact(direction=direction)(Record(setup)).value > 1e-3
        assert metric(Record(exact)).value == pytest.approx(0, abs=1e-12)


def test_no_interval_is_passed_over_in_the_search_for_an_error():
    ends = ReverseProcess.of(setup_of(), 400).rho
    for level in (ends[7], ends[200], 0.3):
        setup = Setup(**{**vars(setup_of()), "model": Bumped(level * 0.999, level * 1.001)})
        assert ReverseProcess.of(setup, 400).error is not None
    assert ReverseProcess.of(setup_of(), 400).error is None


def test_a_model_that_is_not_a_number_is_not_exact():
    setup = Setup(**{**vars(setup_of()), "model": Bumped(1e-3, 9.0, math.nan)})
    assert ReverseProcess.of(setup, 10).error is not None
    with pytest.raises(NotFinite):
        LSIBound().inspect(setup)


# --- the law in continuous time ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gamma", "expected", "digits"),
    [(0.2, 0.005194, 5e-7), (0.5, 0.0024535, 2e-7), (1, 0.00093285, 3e-8), (2, 0.00019919, 6e-9), (5, 3.787e-6, 6e-10)],
)
def test_the_law_of_the_papers_mixture(gamma, expected, digits):
    assert evaluated(KLContinuous(), setup_of(gamma)).value == pytest.approx(expected, abs=digits)


def test_without_noise_and_error_both_divergences_stay():
    for direction, start in (("forward", 0.00988496294), ("reverse", 0.01315037670)):
        assert values(evaluated(KLContinuous(direction=direction, steps=50), setup_of(0.0))) == pytest.approx(
            start, rel=1e-6
        )


def test_a_very_wrong_score_without_noise_has_a_figure():
    # Where finite volumes diverge: one normal law in place of the mixture's two narrow parts.
    setup = setup_of(0.0, np.geomspace(80.0, 0.002, 401).tolist(), model=GaussianScore(), sampler=Heun())
    ends = Setup(**{**vars(setup), "path": (0, 400), "memo": {}})
    for direction in ("forward", "reverse"):
        continuous = evaluated(KLContinuous(direction=direction, steps=50), setup)
        run = KLExact(direction=direction)(Record(ends))
        assert continuous.details["method"] == "characteristics"
        assert continuous.value == pytest.approx(run.value, rel=1e-3)
    with pytest.raises(NotFinite, match="the solution of its equation diverges"):
        KLContinuous(steps=50).inspect(setup_of(1e-6, (80.0, 0.002), model=GaussianScore()))


def test_without_any_error_there_is_no_divergence():
    law = continuous_law(ReverseProcess.of(setup_of(1.0, prior=ExactPrior()), 50)).law
    assert abs(law.kl).max() < 1e-12
    assert abs(law.kl_reverse).max() < 1e-12


def gaussian_rates(setup):
    """Return the moments along the process, by the closed form, and the rates of section 5 of the paper from them."""
    process = ReverseProcess.of(setup, STEPS)
    model, (mean, C) = setup.model, setup.target.moments()
    S_0, mu, mu_0 = C.item(), model.mean.item(), mean.item()
    m, V = (part.item() for part in setup.prior.normal(setup.problem()))
    a, Y = model.factor, S_0 + process.v[0]
    y = S_0 + process.v
    gamma, r = float(process.gamma[0]), y / Y
    k, c = (1 + gamma) / a, gamma * a / (1 + gamma - a)
    m, V = mu + r ** (k / 2) * (m - mu), y * (c + (V / Y - c) * r ** (k - 1))
    D, gap = m - mu_0, m - mu_0 - (m - mu) / a
    return {
        "error": ((1 - 1 / a) ** 2 * V + gap**2) / y**2,
        "error_reverse": (mu - mu_0) ** 2 / (a * y) ** 2 + (1 - 1 / a) ** 2 / y,
        "projected": -(1 / V - 1 / y) * (1 - 1 / a) * V / y + D * gap / y**2,
        "kl": (V / y + D**2 / y - 1 - np.log(V / y)) / 2,
        "kl_reverse": (y / V + D**2 / V - 1 - np.log(y / V)) / 2,
    }


@pytest.mark.parametrize("gamma", [0.0, 0.2, 1.0, 5.0])
def test_the_law_of_the_example_that_is_solved(gamma):
    setup = setup_of(gamma, (2.0, 0.002), **PAPER)
    law = continuous_law(ReverseProcess.of(setup, STEPS)).law
    for name, expected in gaussian_rates(setup).items():
        assert getattr(law, name) == pytest.approx(expected, rel=1e-5, abs=1e-7), name


def test_the_law_with_a_window():
    sampler = EulerMaruyama(churn=2.0, churn_window=(0.1, 0.6))
    setup = setup_of(levels=(2.0, 0.3, 0.1, 0.01), sampler=sampler, **PAPER)
    closed = values(GaussianClosedForm()(Record(setup)))
    assert values(evaluated(KLContinuous(steps=STEPS), setup)) == pytest.approx(closed, rel=2e-6)


def test_the_law_is_that_of_simulated_states():
    setup = setup_of(0.5, (T, 0.05), model=ShiftedModel(0.3))
    process = ReverseProcess.of(setup, STEPS)
    law = continuous_law(process).law
    simulated = errors_along_trajectories(process, 20_000)
    stderr = simulated.std(1) / 20_000**0.5
    # 2 % is what steps of first order leave.
    assert (np.abs(simulated.mean(1) - law.error) < 4 * stderr + 0.02 * law.error).all()
    reverse = errors_along_data(process, 20_000)
    assert (np.abs(reverse.mean(1) - law.error_reverse) < 4.5 * reverse.std(1) / 20_000**0.5).all()


def test_the_divergence_obeys_its_equation():
    # Proposition 3.2: its derivative, from the figures of the law alone, in the absence of a mixing term: gamma = 0.
    setup = setup_of(0.0, (T, 0.05), model=ShiftedModel(0.3))
    process = ReverseProcess.of(setup, STEPS)
    law = continuous_law(process).law
    gained = np.append(0, np.cumsum((law.projected[1:] + law.projected[:-1]) / 4 * -np.diff(process.v)))
    assert law.kl == pytest.approx(law.kl[0] + gained, rel=2e-3)


@pytest.mark.parametrize(("size", "message"), [(40, "the solution of its equation diverges")])
def test_a_law_that_leaves_its_grid_is_no_figure(size, message):
    class Bolting:
        predicts = "score"
        shape = (1,)

        def __call__(self, y, rho):
            return size * torch.ones_like(y)

    setup = setup_of(1.0, (T, 0.05))
    setup = Setup(**{**vars(setup), "model": Bolting()})
    with pytest.raises(NotFinite, match=message):
        KLContinuous()(Record(setup))


def test_a_law_that_is_not_resolved_is_no_figure():
    # A score error with waves a hundredth as long as a cell of the finest grid.
    class Waves:
        predicts = "score"
        shape = (1,)

        def __call__(self, y, rho):
            return -y / (1 + rho**2) + 30 * torch.sin(1e5 * y)

    setup = setup_of(1.0, (2.0, 0.5), target=LINE)
    with pytest.raises(NotFinite, match="is not resolved"):
        KLContinuous(steps=10)(Record(Setup(**{**vars(setup), "model": Waves()})))


# --- Theorem 2 --------------------------------------------------------------------------------------------------------


def test_figure_9():
    setup = setup_of(0.2, (2.0, 0.002), **PAPER)
    for metric, expected in (
        (LSIBound(form="projected", steps=STEPS), 0.222),
        (LSIBound(form="squared", delta=0.1, steps=STEPS), 0.633),
        (LSIBound(form="squared", delta=0.9, steps=STEPS), 0.185),
    ):
        assert evaluated(metric, setup).value == pytest.approx(expected, rel=3e-3)


@pytest.mark.parametrize("gamma", [0.2, 1.0, 5.0])
def test_theorem_2_by_quadrature_of_closed_forms(gamma):
    """C = S(v), so that exp(-int alpha) is a power of S; rates in closed form; scipy's quadrature."""
    a, Y, k = 0.8, 5.0, (1 + gamma) / 0.8
    c = gamma * a / (1 + gamma - a)

    def rates(v):
        y = 1 + v
        m, V = 0.2 + (y / Y) ** (k / 2) * 0.3, y * (c + (0.5 - c) * (y / Y) ** (k - 1))
        gap = m - (m - 0.2) / a
        projected = -(1 / V - 1 / y) * (1 - 1 / a) * V / y + m * gap / y**2
        return projected, ((1 - 1 / a) ** 2 * V + gap**2) / y**2

    end = 0.002**2
    H_0 = (0.5 + 0.25 / 5 - 1 - math.log(0.5)) / 2
    left = (1 + end) / Y
    source = quad(lambda v: ((1 + end) / (1 + v)) ** gamma * (1 + gamma) / 2 * rates(v)[0], end, 4)[0]
    setup = setup_of(gamma, (2.0, 0.002), **PAPER)
    projected = evaluated(LSIBound(form="projected", steps=STEPS), setup)
    assert projected.value == pytest.approx(left**gamma * H_0 + source, rel=2e-3)
    for share in (0.1, 1.0):
        rate, factor = (1 - share) * gamma, (1 + gamma) ** 2 / (8 * share * gamma)
        source = quad(lambda v, rate=rate: ((1 + end) / (1 + v)) ** rate * rates(v)[1], end, 4)[0] * factor
        bound = evaluated(LSIBound(form="squared", delta=share, steps=STEPS), setup)
        assert bound.value == pytest.approx(left**rate * H_0 + source, rel=2e-3)
        assert bound.details["share of it that is left"] == pytest.approx(left**rate, rel=1e-8)
        assert bound.details["from the score error"] == pytest.approx(source, rel=3e-3)


def test_at_gamma_0_the_projected_form_is_an_equality():
    for model in (GaussianScore(shift=0.2, factor=0.8), ShiftedModel(0.2)):
        target = LINE if isinstance(model, GaussianScore) else Mixture()
        setup = setup_of(0.0, (T, 0.3, 0.05), target=target, model=model)
        bound, kl = (values(evaluated(metric, setup)) for metric in (LSIBound(steps=STEPS), KLContinuous(steps=50)))
        assert bound == pytest.approx(kl, rel=2e-3)


@pytest.mark.parametrize(("gamma", "share"), [(0.2, 1.0), (1.0, 0.498), (2.0, 0.464), (5.0, 0.502)])
def test_the_best_constant_delta(gamma, share):
    setup = setup_of(gamma, (2.0, 0.002), **PAPER)
    best = evaluated(LSIBound(form="squared", delta="constant", steps=STEPS), setup)
    assert best.details["delta/gamma at the end"] == pytest.approx(share, abs=1.5e-3)


@pytest.fixture(scope="module")
def rates():
    """Return a course and a mean square error with structure, for optimisations without sampling."""
    setup = setup_of(1.0, (2.0, 0.002), **PAPER)
    process = ReverseProcess.of(setup, 200)
    course = Course.of(process.v, process.gamma, LINE.log_sobolev)
    return course, gaussian_rates(Setup(**{**vars(setup)}))["error"][::2][: len(process.v)], 0.12


def test_more_freedom_in_delta_is_better(rates):
    course, E, H_0 = rates
    K = len(course.gamma)
    E = np.interp(np.arange(K + 1), np.linspace(0, K, len(E)), E)
    shares = {
        "pointwise": course.pointwise_share(H_0, E),
        **{n: course.piecewise_share(H_0, E, n) for n in (32, 8, 2, 1)},
        "constant": course.constant_share(H_0, E),
    }
    ends = {name: float(course.squared(H_0, E, share)[-1]) for name, share in shares.items()}
    # Finer pieces hold coarser ones; the time at which a piece ends is rounded to an interval.
    names = list(ends)
    for better, worse in itertools.pairwise(names):
        assert ends[better] <= ends[worse] * (1 + 1e-7)
    assert ends[1] == pytest.approx(ends["constant"], rel=1e-9)
    for f in np.linspace(0.05, 1, 20):
        assert ends["constant"] <= float(course.squared(H_0, E, np.full(K, f))[-1])


def test_no_delta_that_is_drawn_beats_the_pointwise_one(rates):
    course, E, H_0 = rates
    K = len(course.gamma)
    E = np.interp(np.arange(K + 1), np.linspace(0, K, len(E)), E)
    best = course.pointwise_share(H_0, E)
    least = float(course.squared(H_0, E, best)[-1])
    rng = np.random.default_rng(0)
    for size in (0.5, 0.1, 0.02):
        for _ in range(30):
            wave = rng.standard_normal(5) @ np.cos(np.outer(np.arange(5), np.linspace(0, math.pi, K)))
            tried = np.clip(best * np.exp(size * wave), 1e-3, 1)
            # 1e-5: what intervals of finite length leave.
            assert float(course.squared(H_0, E, tried)[-1]) >= least * (1 - 1e-5)


def test_for_the_papers_mixture_the_decay_never_pays():
    setup = setup_of(1.0, (T, 0.05), model=ShiftedModel(0.3))
    best = evaluated(LSIBound(form="squared", delta="constant", steps=50), setup)
    assert best.details["delta/gamma at the end"] == 1.0


# --- in more dimensions -----------------------------------------------------------------------------------------------


def test_the_squared_form_by_monte_carlo():
    target = Gaussian(mean=(0.0, 0.0), covariance=1.0)
    setup = setup_of(1.0, (2.0, 0.5, 0.002), **{**PAPER, "target": target})
    line = setup_of(1.0, (2.0, 0.5, 0.002), **PAPER)
    for share in (0.3, 1.0):
        # Two axes like that one: C is the same, and all else twice as large.
        exact = 2 * values(evaluated(LSIBound(form="squared", delta=share, steps=STEPS), line))
        estimate = evaluated(LSIBound(delta=share, trajectories=4000, steps=2 * STEPS), setup)
        stderr = np.array([point.stderr for point in estimate.curve])
        assert stderr[0] < 1e-15
        assert (stderr[1:] > 0).all()
        assert (stderr < 0.02 * exact).all()
        # 1 %: the first order of the simulated steps.
        assert (np.abs(values(estimate) - exact) < 4 * stderr + 0.01 * exact).all()


def test_the_standard_error_is_honest():
    target = Gaussian(mean=(0.0, 0.0), covariance=1.0)
    metric = LSIBound(delta=0.5, trajectories=300, steps=40)
    setups = [setup_of(1.0, (2.0, 0.05), **{**PAPER, "target": target}) for _ in range(40)]
    estimates = [metric.of(Setup(**{**vars(setup), "seed": i})) for i, setup in enumerate(setups)]
    spread = np.std([e.value for e in estimates])
    assert 0.7 < spread / np.mean([e.stderr for e in estimates]) < 1.4


def test_theorem_1_and_its_error_in_the_plane():
    estimate = evaluated(LSIBound(trajectories=20_000), setup_of(1.0, (2.0, 0.1), target=PLANE))
    start, end = estimate.curve
    left = estimate.details["share of it that is left"]
    assert end.value == pytest.approx(left * start.value, rel=1e-12)
    assert end.stderr == pytest.approx(left * start.stderr, rel=1e-12)
    assert 0 < left < 1


# --- a bound bounds ---------------------------------------------------------------------------------------------------

CASES = [
    setup_of(gamma, levels, target=target, model=model, prior=prior)
    for gamma in (0.2, 4.0)
    for target, levels in (
        (Mixture(), (T, 0.3, 0.05)),
        (Mixture(lsi="split", weights=(0.5, 0.5), means=(-1, 1), covariances=(0.3, 0.2)), (2.0, 0.5, 0.05)),
    )
    for model, prior in (
        (Exact(), GaussianPrior()),
        (ShiftedModel(0.2), ExactPrior()),
        (ShiftedModel(-0.5), MatchedPrior(shift=0.3, factor=1.5)),
        (GaussianScore(), GaussianPrior()),
    )
]


@pytest.mark.parametrize("case", range(len(CASES)))
def test_bounds_are_above_the_law(case):
    setup = CASES[case]
    process = ReverseProcess.of(setup, 40)
    law, K = continuous_law(process, 1e-3).law, len(process.gamma)
    course = Course.of(process.v, process.gamma, setup.target.log_sobolev)
    shares = [course.constant_share(law.kl[0], law.error), course.pointwise_share(law.kl[0], law.error)]
    bounds = [course.squared(law.kl[0], law.error, share) for share in (*shares, np.full(K, 0.3))]
    if process.error is None:
        bounds.append(course.exact(law.kl[0]))
    for bound in bounds:
        assert (bound >= law.kl * (1 - 1e-4) - 1e-9).all()
    # This one is an equality but for the difference between the log-Sobolev inequality and the truth.
    assert (course.projected(law.kl[0], law.projected) >= law.kl * (1 - 5e-3) - 1e-9).all()
    nothing = Course(process.v, process.gamma, np.zeros(K))
    reverse = nothing.squared(law.kl_reverse[0], law.error_reverse, np.ones(K))
    assert (reverse >= law.kl_reverse * (1 - 1e-4) - 1e-9).all()


@pytest.mark.parametrize("case", [0, 9])
def test_the_metrics_are_those_bounds(case):
    setup = CASES[case]
    law = {name: values(KLContinuous(direction=name, steps=30)(Record(setup))) for name in ("forward", "reverse")}
    for metric, direction in (
        (LSIBound(steps=60), "forward"),
        (LSIBound(form="squared", steps=60), "forward"),
        (LSIBoundReverse(steps=60), "reverse"),
    ):
        bound = evaluated(metric, setup)
        assert bound.bounds == {"forward": "kl", "reverse": "kl-reverse"}[direction]
        assert (values(bound) >= law[direction] * (1 - 1e-3)).all()


@pytest.mark.parametrize("sampler", [EulerMaruyama(churn=0.5), EulerMaruyama(churn=2.0), Heun(churn=1.0), Heun()])
@pytest.mark.parametrize("process", [EDM(), VP()], ids=["edm", "vp"])
def test_bounds_are_above_the_exact_law_of_a_fine_run(sampler, process):
    problem = setup_of(levels=(T, 0.02), process=process).problem()
    setup = setup_of(levels=np.geomspace(T, 0.02, 101).tolist(), process=process, sampler=sampler)
    setup = Setup(**{**vars(setup), "path": ()})
    assert problem.span == pytest.approx(setup.span)
    kl = KLExact()(Record(setup)).value
    bound = LSIBound(steps=STEPS)(Record(setup)).value
    # At gamma = 0 they are equal but for the steps of the run.
    assert bound >= kl * (1 - 1e-3)


def test_the_reverse_bound_is_lowest_at_gamma_1_and_symmetric():
    bounds = [
        evaluated(LSIBoundReverse(steps=STEPS), setup_of(g, (2.0, 0.002), **PAPER)).value
        for g in (0.25, 0.5, 1.0, 2.0, 4.0)
    ]
    assert bounds[0] == pytest.approx(bounds[4], rel=1e-12)
    assert bounds[1] == pytest.approx(bounds[3], rel=1e-12)
    assert bounds[0] > bounds[1] > bounds[2]
    # E|eps|^2 of the noised target is (0.2/0.8)^2/S^2 + 0.25^2/S, in v from almost 0 to 4.
    integral = 0.0625 * (1 - 1 / 5 + math.log(5))
    start = (2 + 0.25 / 2.5 - 1 + math.log(0.5)) / 2
    assert bounds[2] == pytest.approx(start + integral / 2, rel=1e-3)


def test_the_reverse_bound_in_space_by_monte_carlo():
    target = Gaussian(mean=(0.0, 0.0), covariance=1.0)
    line = values(evaluated(LSIBoundReverse(steps=STEPS), setup_of(0.5, (2.0, 0.5, 0.01), **PAPER)))
    plane = evaluated(
        LSIBoundReverse(samples=20_000, steps=STEPS), setup_of(0.5, (2.0, 0.5, 0.01), **{**PAPER, "target": target})
    )
    stderr = np.array([point.stderr for point in plane.curve])
    assert (np.abs(values(plane) - 2 * line) <= 4 * stderr + 2e-4 * line).all()


def test_with_the_exact_score_the_reverse_bound_is_the_start():
    for gamma in (0.0, 1.0):
        assert values(evaluated(LSIBoundReverse(), setup_of(gamma))) == pytest.approx(0.01315037670, rel=1e-8)


# --- Pinsker ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [0.0, 1.0])
def test_pinsker_is_above_the_distance(gamma):
    setup = setup_of(gamma, (2.0, 0.5, 0.002), **PAPER)
    law = gaussian_law(setup, gamma)
    y = torch.linspace(-40, 40, 40_001, dtype=F64)
    bound, sharper = (values(evaluated(Pinsker(kl=kl, steps=STEPS), setup)) for kl in ("lsi-bound", "kl-continuous"))
    kl = values(GaussianClosedForm()(Record(setup)))
    assert sharper == pytest.approx(np.sqrt(2 * kl), rel=1e-4)
    for i, (m, V, S) in enumerate(law):
        generated, target = (torch.distributions.Normal(a, b**0.5).log_prob(y).exp() for a, b in ((m, V), (0.0, S)))
        distance = torch.trapezoid((generated - target).abs(), y).item()
        assert distance <= sharper[i] * (1 + 1e-4) <= bound[i] * (1 + 1e-3)


def gaussian_law(setup, gamma):
    m, V = (part.item() for part in setup.prior.normal(setup.problem()))
    k = (1 + gamma) / 0.8
    Y = 1 + setup.rho[0].item() ** 2
    for level in setup.rho.tolist():
        S = 1 + level**2
        r = S / Y
        yield 0.2 + r ** (k / 2) * (m - 0.2), S * (r ** (k - 1) * V / Y + gamma * (1 - r ** (k - 1)) / (k - 1)), S


def test_pinsker_says_when_it_is_vacuous_and_carries_errors():
    far = setup_of(0.0, (2.0, 0.1), target=LINE, prior=MatchedPrior(shift=9.0))
    estimate = evaluated(Pinsker(), far)
    assert estimate.value > 2
    assert estimate.details["vacuous"] == "no L1 distance is larger than 2"
    assert estimate.bounds == "l1"
    plane = setup_of(1.0, (2.0, 0.1), target=PLANE)
    kl, root = LSIBound()(Record(plane)), Pinsker()(Record(plane))
    assert root.value == pytest.approx(math.sqrt(2 * kl.value), rel=1e-12)
    assert root.stderr == pytest.approx(kl.stderr / root.value, rel=1e-12)


# --- what is refused, before anything is sampled ----------------------------------------------------------------------


class Undensified:
    """A start of which nothing is known."""

    def sample(self, problem, n, rng):
        return torch.randn(n, *problem.shape, generator=rng, dtype=F64)


@pytest.mark.parametrize(
    ("metric", "setup", "message"),
    [
        (LSIBound(), setup_of(sampler=Heun(churn=1.0, churn_noise=1.01)), "churn_noise = 1.01"),
        (LSIBound(), setup_of(sampler=Restart(churn=1.0)), "adds noise beyond that of gamma"),
        (LSIBound(), setup_of(prior=Undensified()), "the density of the prior 'undensified' is not known"),
        (LSIBound(form="exact"), setup_of(model=ShiftedModel(0.1)), "'exact' is for the exact score"),
        (LSIBound(form="projected"), setup_of(target=PLANE), "set form to squared"),
        (LSIBound(form="squared"), setup_of(0.0, model=ShiftedModel(0.1)), "gamma > 0 everywhere, and it is 0 at rho"),
        (LSIBoundReverse(), setup_of(0.0, model=ShiftedModel(0.1)), "gamma > 0 everywhere"),
        (
            LSIBoundReverse(),
            setup_of(model=ShiftedModel(0.1), sampler=Heun(churn=1.0, churn_window=(0.1, 0.5))),
            "it is 0 at rho = 0.75",
        ),
        (KLContinuous(), setup_of(prior=Undensified()), "the density of the prior"),
        (Pinsker(kl="kl-continuous"), setup_of(target=PLANE), "on the line only"),
    ],
)
def test_what_is_not_defined_is_refused(metric, setup, message):
    with pytest.raises(Mismatch, match=message):
        metric.inspect(setup)


def test_a_target_without_constant_or_density():
    class Plain:
        shape = (1,)

        def __init__(self, names):
            for name in names:
                setattr(self, name, getattr(Mixture(), name))

        def sample(self, n, rng):
            return Mixture().sample(n, rng)

    setup = setup_of()
    plain = Setup(**{**vars(setup), "target": Plain(["denoise", "log_prob"])})
    with pytest.raises(Mismatch, match="knows no log-Sobolev constant"):
        LSIBound().inspect(plain)
    assert evaluated(LSIBound(constant=4.8e6), plain).value < 0.00988496294
    with pytest.raises(Mismatch, match="the density of the target 'plain' is not known"):
        LSIBound(constant=1.0).inspect(Setup(**{**vars(setup), "target": Plain(["denoise"])}))
    # The score of a target that knows its density alone is the gradient of that.
    dense = Setup(**{**vars(setup), "target": Plain(["log_prob"])})
    assert evaluated(LSIBound(constant=4.8e6), dense).details["method"] == "Theorem 1"


def run(**changes):
    parts = {
        "process": EDM(),
        "model": Exact(),
        "sampler": EulerMaruyama(),
        "grid": EDMGrid(),
        "prior": GaussianPrior(),
        "target": Mixture(),
        "metrics": [LSIBound(), LSIBoundReverse(), Pinsker()],
        "samples": 16,
        "steps": 20,
        "path": 5,
    }
    return Experiment(**{**parts, **changes})


def test_bounds_of_an_experiment():
    estimates = run().run().metrics
    assert list(estimates) == ["lsi-bound", "lsi-bound-reverse", "pinsker"]
    assert [e.bounds for e in estimates.values()] == ["kl", "kl-reverse", "l1"]
    times = run().times
    for estimate in estimates.values():
        assert [p.t for p in estimate.curve] == times[[0, 5, 10, 15, 20]].tolist()
        assert [p.rho for p in estimate.curve] == rho(EDM(), times)[[0, 5, 10, 15, 20]].tolist()
        assert "not the sampler's steps" in estimate.details["covers"]
    curve = values(estimates["lsi-bound"])
    assert (np.diff(curve) <= 0).all()
    assert estimates["pinsker"].value == pytest.approx(math.sqrt(2 * curve[-1]), rel=1e-12)


def test_experiments_that_have_no_bound_are_refused_before_sampling():
    with pytest.raises(Mismatch, match="metric 'lsi-bound'"):
        run(target=Digits(), model=GaussianScore())
    with pytest.raises(Mismatch, match="metric 'lsi-bound-reverse': with an error"):
        run(model=GaussianScore(), sampler=Heun(), metrics=[LSIBoundReverse()])
