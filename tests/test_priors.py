"""Priors that are fitted, and runs that start inside the process's span."""

from __future__ import annotations

import json
import math
from importlib.util import find_spec
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from scipy import stats

import samplerhub as sh
from samplerhub.cli import main
from samplerhub.config import RunConfig
from samplerhub.errors import BrokenPlugin, InvalidSetting, Mismatch
from samplerhub.registry import Registry
from samplerhub.timetable import horizon
from samplerhub_grids.angle import AngleGrid
from samplerhub_grids.edm import EDMGrid
from samplerhub_grids.exponential import Exponential
from samplerhub_grids.rectified import Rectified
from samplerhub_grids.uniform import Uniform
from samplerhub_metrics.initial_divergence import initial_divergence
from samplerhub_metrics.kl_exact import KLExact
from samplerhub_models.exact import Exact
from samplerhub_priors.exact import ExactPrior
from samplerhub_priors.flow import FlowPrior
from samplerhub_priors.gaussian import GaussianPrior
from samplerhub_priors.matched import MatchedPrior
from samplerhub_priors.mixture_fit import MixtureFit
from samplerhub_priors.student_t import StudentT, most_likely
from samplerhub_processes.edm import EDM
from samplerhub_processes.vp import VP
from samplerhub_samplers.dormand_prince import DormandPrince
from samplerhub_samplers.euler import Euler
from samplerhub_targets.mixture import Mixture

ZUKO = find_spec("zuko") is not None
PLANE = Mixture(
    weights=(0.5, 0.3, 0.2),
    means=((-2.0, 0.0), (1.5, 1.0), (1.0, -2.0)),
    covariances=(0.1, 0.3, ((0.5, 0.3), (0.3, 0.4))),
)
PRIORS = [
    MixtureFit(components=3),
    MixtureFit(components=4, covariance="diagonal"),
    MixtureFit(components=4, covariance="spherical"),
    MixtureFit(components=4, covariance="tied"),
    StudentT(samples=4000),
    StudentT(samples=4000, df=3.0),
    pytest.param(FlowPrior(steps=100), marks=pytest.mark.skipif(not ZUKO, reason="zuko is not installed")),
]


def problem_of(target: Any, process: sh.ForwardProcess, **settings: Any) -> sh.Problem:
    return sh.Problem(process, sh.PosteriorMean(target, target.shape), target=target, shape=target.shape, **settings)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class StudentTData:
    """Data with heavy tails."""

    shape = (2,)

    def __init__(self, df: float = 3.0) -> None:
        self.df, self.drawn = df, 0

    def sample(self, n: int, rng: torch.Generator) -> torch.Tensor:
        self.drawn += n
        z = torch.randn(n, 3, 2, generator=rng, dtype=torch.float64)  # 3 degrees of freedom
        g = torch.randn(n, 3, generator=rng, dtype=torch.float64).square().sum(1, keepdim=True)
        return torch.tensor([1.0, -1.0]) + z[:, 0] * torch.tensor([1.0, 2.0]) * (3 / g).sqrt()


@pytest.mark.parametrize("prior", PRIORS, ids=repr)
@pytest.mark.parametrize("process", [EDM(t_max=0.7), VP(t_max=0.4)], ids=["edm", "vp"])
def test_samples_have_the_density(prior: Any, process: sh.ForwardProcess) -> None:
    # E_prior[q/p] = 1 for every normalised density q; q is narrower than the prior, so that the ratio is bounded.
    problem, n = problem_of(PLANE, process), 40_000
    x = prior.sample(problem, n, seeded(1))
    assert x.dtype == torch.float64
    for shift in (-1.0, 0.0, 1.0):
        spread = 0.6 * x.std(0)
        q = torch.distributions.Normal(x.mean(0) + shift * spread, spread).log_prob(x).sum(1)
        ratio = (q - prior.log_prob(problem, x)).exp()
        assert abs(ratio.mean() - 1) < 4.5 * ratio.std() / math.sqrt(n)


@pytest.mark.parametrize("prior", PRIORS, ids=repr)
def test_a_fit_belongs_to_the_run_and_not_to_its_seed(prior: Any) -> None:
    x = torch.randn(5, 2, generator=seeded(2), dtype=torch.float64)
    state = torch.get_rng_state()
    first, again = (prior.log_prob(problem_of(PLANE, EDM(t_max=0.7)), x) for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(state, torch.get_rng_state())
    other = prior.log_prob(problem_of(PLANE, EDM(t_max=3.0)), x)
    assert not torch.allclose(first, other)


@pytest.mark.parametrize("prior", [MixtureFit(samples=500), StudentT(samples=500)], ids=repr)
def test_a_prior_is_fitted_once_for_all_blocks_and_metrics(prior: Any) -> None:
    target = StudentTData()
    experiment = sh.Experiment(
        process=EDM(), target=target, model=Flat(), sampler=Euler(), grid=EDMGrid(), prior=prior,
        samples=1000, block=100, steps=2, rho_max=2.0,
    )  # fmt: skip
    experiment.run()
    setup = experiment.setup()
    prior.log_prob(setup.problem(), torch.zeros(1, 2, dtype=torch.float64))
    assert target.drawn == 500


class Flat:
    """A model that predicts 0."""

    predicts = "x0"

    def __call__(self, y: torch.Tensor, rho: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(y)


def test_the_fitted_mixture_is_convolved_with_the_noise() -> None:
    # Two normal laws far apart: each component's moments are those of its data, plus the noise.
    target = Mixture(weights=(0.25, 0.75), means=((-3.0,), (3.0,)), covariances=(0.04, 0.25))
    prior = MixtureFit(components=2, samples=20_000)
    x_0 = target.sample(20_000, sh.stream(0, "mixture-fit data")).double()[:, 0]
    halves = [x_0[x_0 < 0], x_0[x_0 > 0]]
    for rho in (0.1, 1.0, 5.0):
        y = torch.linspace(-6, 6, 50, dtype=torch.float64)
        expected = sum(
            len(half) / 20_000 * stats.norm.pdf(y, half.mean(), math.sqrt(half.var(unbiased=False) + rho**2))
            for half in halves
        )
        p = prior.log_prob(problem_of(target, EDM(t_max=rho)), y[:, None]).exp()
        np.testing.assert_allclose(p, expected, rtol=2e-3, atol=1e-6)


def test_a_fitted_mixture_is_nearer_the_more_noise_covers_it() -> None:
    def divergence(prior: sh.Prior, rho: float) -> float:
        return initial_divergence(setup_at(Mixture(), prior, rho), "reverse", 2)[0]

    at = {rho: divergence(MixtureFit(components=2), rho) for rho in (0.1, 0.5, 2.0)}
    assert 1e-3 > at[0.1] > at[0.5] > at[2.0] > 0
    assert at[0.5] < divergence(MatchedPrior(), 0.5) / 100


def setup_at(target: Any, prior: sh.Prior, rho: float) -> sh.Setup:
    return sh.Experiment(
        process=EDM(), target=target, model=Exact(), sampler=Euler(), grid=EDMGrid(), prior=prior, steps=1, rho_max=rho
    ).setup()


def test_more_components_than_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="10 components cannot be fitted to 5 samples"):
        MixtureFit(components=10, samples=5)


@pytest.mark.parametrize("df", [1.5, 4.0, 15.0])
def test_a_student_t_law_on_the_line_is_the_one_that_scipy_finds(df: float) -> None:
    y = stats.t.rvs(df, loc=2.0, scale=3.0, size=3000, random_state=np.random.default_rng(int(df)))
    expected_df, loc, scale = stats.t.fit(y)
    law = most_likely(torch.as_tensor(y)[:, None], None, 2000)
    found = law.log_prob(torch.as_tensor(y)[:, None]).mean().item()
    assert found >= stats.t.logpdf(y, expected_df, loc, scale).mean() - 1e-9
    assert law.df == pytest.approx(expected_df, rel=2e-2)
    assert law.m.item() == pytest.approx(loc, abs=2e-3)
    assert law.L.item() == pytest.approx(scale, rel=2e-3)


def test_the_likelihood_of_a_student_t_law_is_stationary() -> None:
    y = StudentTData().sample(2000, seeded(3))
    law = most_likely(y, None, 2000)
    m, L = law.m.clone().requires_grad_(), law.L.clone().requires_grad_()
    df = torch.tensor(law.df, dtype=torch.float64, requires_grad=True)
    z = torch.linalg.solve_triangular(L, (y - m).T, upper=False)
    log_p = (
        torch.lgamma((df + 2) / 2) - torch.lgamma(df / 2) - torch.log(math.pi * df) - L.diagonal().log().sum()
        - (df + 2) / 2 * (z.square().sum(0) / df).log1p()
    )  # fmt: skip
    torch.testing.assert_close(law.log_prob(y), log_p.detach())
    slopes = torch.autograd.grad(log_p.mean(), (m, L, df))
    assert all(float(slope.abs().max()) < 1e-4 for slope in slopes)
    reference = stats.multivariate_t(law.m, law.L @ law.L.T, df=law.df)
    np.testing.assert_allclose(law.log_prob(y), reference.logpdf(y.numpy()), rtol=1e-10)


def test_samples_of_a_student_t_law_have_its_quantiles() -> None:
    law = most_likely(StudentTData().sample(500, seeded(4)), 3.0, 500)
    y = law.sample(20_000, seeded(5))
    for i in range(2):
        marginal = stats.t(3.0, law.m[i].item(), law.L[i].norm().item())
        assert stats.kstest(y[:, i].numpy(), marginal.cdf).pvalue > 1e-3


def test_heavy_tails_are_likelier_under_a_student_t_law_than_under_any_normal_law() -> None:
    target = StudentTData()
    problem = problem_of(target, EDM(t_max=1.0))
    fresh = target.sample(20_000, seeded(6))
    x = fresh + sh.normal(fresh, seeded(7))
    best_normal = stats.multivariate_normal(x.mean(0), torch.cov(x.T)).logpdf(x.numpy()).mean()
    assert StudentT().log_prob(problem, x).mean() > best_normal + 0.05


def test_a_student_t_law_of_normal_data_is_normal_but_for_what_is_fitted() -> None:
    # 6 parameters fitted to 20,000 samples: the divergence is chi^2(6)/(2 * 20,000).
    target = Mixture(weights=(1.0,), means=((1.0, 2.0),), covariances=(0.5,))
    value, stderr = initial_divergence(setup_at(target, StudentT(), 2.0), "reverse", 20_000)
    assert stderr is not None
    assert abs(value) < 20 / 40_000 + 4 * stderr


def test_fitted_priors_say_what_is_missing() -> None:
    problem = sh.Problem(EDM(), sh.PosteriorMean(PLANE, (2,)), shape=(2,))
    for prior in (MixtureFit(), StudentT()):
        with pytest.raises(Mismatch, match="is fitted to samples of the target, and there is none"):
            prior.sample(problem, 3, seeded())
    with pytest.raises(Mismatch, match="cannot be fitted to 2 samples of 2 numbers each"):
        StudentT(samples=2).sample(problem_of(PLANE, EDM()), 3, seeded())


@pytest.mark.skipif(ZUKO, reason="zuko is installed")
def test_without_zuko_a_flow_says_how_to_get_it() -> None:
    with pytest.raises(BrokenPlugin, match=r"needs the package zuko.*pip install 'samplerhub\[flow\]'"):
        FlowPrior().sample(problem_of(PLANE, EDM()), 3, seeded())


@pytest.mark.skipif(not ZUKO, reason="zuko is not installed")
def test_a_flow_starts_as_the_best_normal_law_and_leaves_it_only_for_a_better_one() -> None:
    x = PLANE.sample(20_000, seeded(8)).double()
    x = x + sh.normal(x, seeded(9))
    near, far = (problem_of(PLANE, EDM(t_max=t)) for t in (1.0, 80.0))
    for untrained in ((FlowPrior(steps=0), near), (FlowPrior(), far)):
        flow, problem = untrained
        torch.testing.assert_close(flow.log_prob(problem, x), MatchedPrior().log_prob(problem, x), rtol=0, atol=1e-9)
    truth = ExactPrior().log_prob(near, x)
    left, before = ((truth - p.log_prob(near, x)).mean().item() for p in (FlowPrior(steps=300), MatchedPrior()))
    assert -1e-3 < left < before / 4


SKEW = Mixture(weights=(0.3, 0.7), means=((-1.0,), (0.6,)), covariances=(0.3, 0.2))


def cumulants() -> tuple[float, float, float]:
    """Mean, variance and third cumulant of the skewed mixture, by hand."""
    w, mu, v = np.array([0.3, 0.7]), np.array([-1.0, 0.6]), np.array([0.3, 0.2])
    m = w @ mu
    d = mu - m
    return m, w @ (v + d**2), w @ (d**3 + 3 * d * v)


@pytest.mark.parametrize("sigma", [10.0, 20.0, 40.0])
def test_the_divergence_of_the_start_falls_as_the_theory_says(sigma: float) -> None:
    m, C, skew = cumulants()
    plain = initial_divergence(setup_at(SKEW, GaussianPrior(), sigma), "reverse", 2)[0]
    moments = initial_divergence(setup_at(SKEW, MatchedPrior(), sigma), "reverse", 2)[0]
    assert plain == pytest.approx(m**2 / (2 * sigma**2) + C**2 / (4 * sigma**4), rel=3 / sigma**2)
    assert moments == pytest.approx(skew**2 / (12 * sigma**6), rel=9 / sigma**2)
    assert plain <= (m**2 + C) / (2 * sigma**2)


@pytest.mark.parametrize(("sigma", "gain"), [(2, 300), (10, 300_000)])
def test_matching_the_moments_gains_digits(sigma: int, gain: float) -> None:
    # A nearly symmetric mixture: at noise level 2 the start is 1e-2 from N(0, sigma^2), at 10 still 6e-5.
    w, mu, v = (
        (mpmath.mpf("0.3"), mpmath.mpf("0.4"), mpmath.mpf("0.3")),
        (-1, mpmath.mpf("0.1"), mpmath.mpf("1.2")),
        0.05,
    )
    target = Mixture(weights=(0.3, 0.4, 0.3), means=((-1.0,), (0.1,), (1.2,)), covariances=(v,) * 3)
    m = mpmath.fsum(a * b for a, b in zip(w, mu))
    C = v + mpmath.fsum(a * (b - m) ** 2 for a, b in zip(w, mu))

    def exactly(mean: Any, variance: Any) -> float:
        def integrand(y: Any) -> Any:
            p = mpmath.fsum(a * mpmath.npdf(y, b, mpmath.sqrt(v + sigma**2)) for a, b in zip(w, mu))
            return p * mpmath.log(p / mpmath.npdf(y, mean, mpmath.sqrt(variance)))

        with mpmath.workdps(30):
            return float(mpmath.quad(integrand, mpmath.linspace(-12 * sigma, 12 * sigma, 13)))

    plain, moments = (
        initial_divergence(setup_at(target, p, float(sigma)), "reverse", 2)[0]
        for p in (GaussianPrior(), MatchedPrior())
    )
    assert plain == pytest.approx(exactly(0, sigma**2), rel=1e-9)
    assert moments == pytest.approx(exactly(m, C + sigma**2), rel=1e-4)
    assert plain > gain * moments


@pytest.mark.parametrize("grid", [EDMGrid(), Uniform(), Exponential(), AngleGrid(), Rectified()], ids=repr)
@pytest.mark.parametrize("process", [EDM(), VP()], ids=["edm", "vp"])
def test_a_run_starts_and_ends_where_it_is_told(grid: sh.Grid, process: sh.ForwardProcess) -> None:
    common: dict[str, Any] = {
        "process": process, "target": PLANE, "model": Exact(), "sampler": Euler(), "grid": grid,
        "prior": ExactPrior(), "steps": 5, "samples": 4000,
    }  # fmt: skip
    experiment = sh.Experiment(**common, rho_max=2.0, rho_min=0.05)
    assert experiment.setup().rho[[0, -1]].tolist() == pytest.approx([2.0, 0.05], rel=1e-12)
    t_min, t_max = experiment.span
    assert experiment.setup().span == experiment.span
    by_time = sh.Experiment(**common, t_max=t_max, t_min=t_min)
    assert torch.equal(by_time.times, experiment.times)
    assert torch.equal(by_time.run().samples, experiment.run().samples)
    y = experiment.setup().start(4000, seeded()) / sh.alpha(process, t_max).item()
    assert y.var(0).tolist() == pytest.approx((PLANE.moments()[1].diagonal() + 4).tolist(), rel=0.15)


def test_an_adaptive_sampler_keeps_to_the_horizon() -> None:
    result = sh.Experiment(
        process=EDM(), target=PLANE, model=Exact(), sampler=DormandPrince(), grid=EDMGrid(), prior=ExactPrior(),
        steps=1, samples=64, rho_max=3.0, rho_min=0.1,
    ).run()  # fmt: skip
    assert result.rho == pytest.approx(0.1)


def test_churn_may_go_above_a_start_that_is_not_the_process_s_end() -> None:
    times = EDMGrid()(problem_of(PLANE, EDM(), span=(0.1, 2.0)), 4)
    first = Euler(churn=1.0).legs(EDM(), times)[0]
    assert first.rho_t == pytest.approx(math.sqrt(2 * 4 - first.rho_s**2))
    assert Euler(churn=1.0).legs(EDM(t_max=2.0), times)[0].rho_t == 2.0


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        ({"t_max": 3.0, "rho_max": 2.0}, "t_max = 3, rho_max = 2: give one of them"),
        ({"t_min": 0.1, "rho_min": 0.1}, "t_min = 0.1, rho_min = 0.1: give one of them"),
        ({"t_max": 81.0}, "t_max = 81: it must be inside the span of process EDM, 0.002 to 80"),
        ({"t_max": math.nan}, "t_max = nan: it must be inside the span"),
        ({"rho_max": 0.001}, "rho_max = 0.001: it must be one of the noise levels of process EDM, 0.002 to 80"),
        ({"rho_min": -1}, "rho_min = -1: it must be one of the noise levels"),
        ({"rho_max": 1.0, "t_min": 2.0}, "sampling would go from t = 1 to t = 2"),
        ({"t_max": "soon"}, "t_max = 'soon': it must be a number"),
    ],
)
def test_an_impossible_horizon_is_refused(ends: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSetting, match=message):
        sh.Experiment(
            process=EDM(), target=PLANE, model=Exact(), sampler=Euler(), grid=EDMGrid(), prior=GaussianPrior(),
            steps=2, **ends,
        )  # fmt: skip


def test_one_end_of_the_horizon_takes_the_place_of_the_other_name() -> None:
    base = RunConfig(t_max=3.0, rho_min=0.1)
    over = RunConfig(rho_max=2.0).over(base)
    assert (over.t_max, over.rho_max, over.t_min, over.rho_min) == (None, 2.0, None, 0.1)
    assert RunConfig.parse({"rho_max": 3, "t_min": 0.5}, "it").rho_max == 3.0
    with pytest.raises(InvalidSetting, match="rho_max = 'far' is not a number"):
        RunConfig.parse({"rho_max": "far"}, "it")


def test_a_manifest_repeats_a_short_horizon(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: str) -> dict[str, Any]:
        assert main(["run", *arguments, "--json", "--quiet"]) in (0, None)
        report: dict[str, Any] = json.loads(capsys.readouterr().out)
        return report

    first = run(
        "--target", "mixture", "--prior", "mixture-fit", "--sampler", "heun", "--rho-max", "2", "-n", "500",
        "--steps", "4", "--out", str(tmp_path / "a"),
    )  # fmt: skip
    assert first["manifest"]["settings"]["rho_max"] == 2.0
    assert first["manifest"]["times"][0] == 2.0
    manifest = str(tmp_path / "a" / "manifest.json")
    again = run("--from", manifest, "--out", str(tmp_path / "b"))
    assert again["manifest"]["times"] == first["manifest"]["times"]
    samples = [(tmp_path / name / "samples.safetensors").read_bytes() for name in "ab"]
    assert samples[0] == samples[1]
    assert run("--from", manifest, "--t-max", "1", "--out", str(tmp_path / "c"))["manifest"]["times"][0] == 1.0


def test_the_truth_of_a_target_is_defined_once() -> None:
    registry = Registry.discover()
    assert issubclass(registry.load("prior", "exact"), sh.NoisedTarget)
    assert isinstance(Exact().of(PLANE), sh.PosteriorMean)
    with pytest.raises(Mismatch, match="which StudentTData does not know"):
        ExactPrior().log_prob(problem_of(StudentTData(), EDM()), torch.zeros(1, 2))


def test_half_the_steps_do_where_the_start_is_near() -> None:
    def at_the_end(prior: sh.Prior, steps: int, rho_max: float | None = None) -> float:
        return sh.Experiment(
            process=EDM(), target=SKEW, model=Exact(), sampler=Euler(), grid=EDMGrid(), prior=prior,
            metrics={"kl": KLExact(tolerance=1e-3)}, steps=steps, rho_max=rho_max,
        ).evaluate()["kl"].value  # fmt: skip

    full = at_the_end(GaussianPrior(), 24)
    assert at_the_end(MatchedPrior(), 12, 2.0) < full
    assert at_the_end(MatchedPrior(), 12) > full


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ({"rho_max": 80.0000001}, "rho_max = 80.0000001: .* 0.002 to 80"),
        ({"t_max": 80 + 1e-10}, "t_max = 80.0000000001: .* 0.002 to 80"),
        ({"t_max": 100.0}, "t_max = 100: .* 0.002 to 80"),
        ({"t_max": 1.0, "t_min": 1.0 + 1e-8}, "from t = 1 to t = 1.00000001"),
    ],
    ids=str,
)
def test_an_end_outside_the_span_has_the_digits_that_show_it(ends: dict[str, float], said: str) -> None:
    with pytest.raises(InvalidSetting, match=said):
        horizon(EDM(), **ends)


@pytest.mark.parametrize("number", ["steps", "nfe"])
def test_a_run_has_at_most_a_million_steps(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["show", "grid", "edm"] if number == "steps" else ["run", "--target", "mixture"]
    assert main([*command, f"--{number}", "100000000000"]) == 2
    assert f"{number} = 100000000000: it must be at least 1, at most 1,000,000" in capsys.readouterr().err
