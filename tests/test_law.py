"""The exact law of a run: closed forms, quadrature to many digits, and huge Monte Carlo runs."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import ClassVar

import mpmath as mp
import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

import samplerhub as sh
from samplerhub.errors import Mismatch
from samplerhub.law.chain import Bumps, Chain
from samplerhub.law.flow import Flow
from samplerhub.law.line import Grid, carried, unmoved
from samplerhub.registry import Registry
from samplerhub_models.exact import Exact
from samplerhub_priors.exact import ExactPrior
from samplerhub_priors.gaussian import GaussianPrior
from samplerhub_processes.edm import EDM
from samplerhub_processes.ve import VE
from samplerhub_processes.vp import VP
from samplerhub_samplers.ancestral import Ancestral
from samplerhub_samplers.ddim import DDIM
from samplerhub_samplers.ddpm import DDPM
from samplerhub_samplers.deis import DEIS
from samplerhub_samplers.dormand_prince import DormandPrince
from samplerhub_samplers.dpm_solver_pp_single import DPMSolverPPSingle
from samplerhub_samplers.euler import Euler
from samplerhub_samplers.euler_maruyama import EulerMaruyama
from samplerhub_samplers.exponential_sde import ExponentialSDE
from samplerhub_samplers.heun import Heun
from samplerhub_samplers.predictor_corrector import PredictorCorrector
from samplerhub_samplers.restart import Restart
from samplerhub_samplers.runge_kutta import RK
from samplerhub_samplers.seeds import SEEDS
from samplerhub_targets.gaussian import Gaussian
from samplerhub_targets.mixture import Mixture

F64 = torch.float64
REGISTRY = Registry.discover()
T = 0.7530995852


def paper_times():
    """EDM's grid of 500 levels from 10 to 0.002, entered at index 219, and 0 at the end."""
    a, b = 10 ** (1 / 7), 0.002 ** (1 / 7)
    levels = (a + torch.arange(219, 500, dtype=F64) / 499 * (b - a)) ** 7
    return torch.cat([levels, torch.zeros(1, dtype=F64)])


def edm_times(steps, high=80.0, low=0.002):
    a, b = high ** (1 / 7), low ** (1 / 7)
    return (a + torch.arange(steps + 1, dtype=F64) / steps * (b - a)) ** 7


def setup(sampler, times, target=None, prior=None, model=None, process=None, path=()):
    target = target or Mixture()
    return sh.Setup(
        process=process or EDM(),
        model=model or Exact().of(target),
        sampler=sampler,
        prior=prior or GaussianPrior(),
        target=target,
        times=times,
        shape=tuple(target.shape),
        samples=100,
        seed=0,
        path=tuple(path),
    )


def final(given, fineness=2.0):
    return sh.exact_law(given).last(given, fineness)


# --- the numbers of the paper's setting -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gamma", "value"),
    [(0.0, 0.0104226), (0.5, 0.0024762), (1.0, 0.00088979), (2.0, 0.00014533), (5.0, 6.4785e-5), (20.0, 0.00076379)],
)
def test_the_papers_setting(gamma, value):
    given = setup(EulerMaruyama(churn=gamma) if gamma else DDIM(), paper_times())
    law = final(given, 1.4 if gamma == 0 else 1.0)
    assert law.rho == 0
    assert law.kl(given.target) == pytest.approx(value, rel=5e-5)


def test_the_divergence_of_the_prior():
    given = setup(DDIM(), paper_times())
    start = sh.exact_law(given).laws([0], 2.0)[0]
    assert given.rho[0].item() == pytest.approx(T, abs=1e-10)
    # 30-digit quadrature
    assert start.kl(given.target) == pytest.approx(0.00988496294, abs=1e-11)
    assert start.kl(given.target, "reverse") == pytest.approx(0.01315037670, abs=1e-11)


# --- quadrature to many digits ----------------------------------------------------------------------------------------

WEIGHTS, MEANS, SPREADS = (0.1, 0.9), (-1.0, 0.1), (0.2, 0.1)


def mp_terms(y, rho):
    """Return (log-density, posterior mean, its derivative) of the noised mixture, from its definition."""
    v = [mp.mpf(s) ** 2 for s in SPREADS]
    p = [
        mp.mpf(w) * mp.exp(-((y - mp.mpf(m)) ** 2) / (2 * (v_i + rho**2))) / mp.sqrt(2 * mp.pi * (v_i + rho**2))
        for w, m, v_i in zip(WEIGHTS, MEANS, v)
    ]
    means = [(mp.mpf(m) * rho**2 + v_i * y) / (v_i + rho**2) for m, v_i in zip(MEANS, v)]
    r = [p_i / sum(p) for p_i in p]
    mean = r[0] * means[0] + r[1] * means[1]
    inner = sum(r_i * v_i * rho**2 / (v_i + rho**2) for r_i, v_i in zip(r, v))
    return mp.log(sum(p)), mean, (inner + r[0] * r[1] * (means[0] - means[1]) ** 2) / rho**2


@pytest.mark.parametrize(
    "levels", [(1.0, 0.5), (1.0, 0.6, 0.4), pytest.param((2.0, 1.0, 0.6, 0.35), marks=pytest.mark.slow)]
)
def test_euler_against_30_digits(levels):
    """H = E_prior[log prior - log |Phi'| - log p(Phi)], Phi the map of the start."""
    levels_mp = [mp.mpf(level) for level in levels]

    def integrand(y):
        x, slope = y, mp.mpf(1)
        for a, b in itertools.pairwise(levels_mp):
            _, mean, steep = mp_terms(x, a)
            x, slope = x + (b - a) * (x - mean) / a, slope * (1 + (b - a) * (1 - steep) / a)
        assert slope > 0
        log_prior = -((y / levels_mp[0]) ** 2) / 2 - mp.log(levels_mp[0] * mp.sqrt(2 * mp.pi))
        return mp.exp(log_prior) * (log_prior - mp.log(slope) - mp_terms(x, levels_mp[-1])[0])

    with mp.workdps(30):
        truth = float(
            mp.quad(integrand, [levels_mp[0] * k for k in range(-9, 10)], method="gauss-legendre", maxdegree=5)
        )
    given = setup(DDIM(), torch.tensor(levels, dtype=F64))
    law = final(given)
    assert law.kl(given.target) == pytest.approx(truth, abs=1e-12)


@pytest.mark.parametrize("gamma", [0.3, 4.0])
def test_one_noisy_step_against_30_digits_far_into_the_tails(gamma):
    """q(x) = int prior(y) N(x; S(y), gamma 2 t h) dy at points of all sizes."""
    a, b = mp.mpf("0.8"), mp.mpf("0.3")
    law = final(setup(EulerMaruyama(churn=gamma), torch.tensor([0.8, 0.3], dtype=F64)))
    variance = gamma * 2 * a * (a - b)
    (inside,) = np.nonzero(law.log_density.numpy() > -45)
    for i in inside[np.linspace(0, len(inside) - 1, 4).astype(int)]:
        x = mp.mpf(float(law.x[i]))

        def integrand(y, x=x):
            moved = y + (1 + gamma) * (b - a) * (y - mp_terms(y, a)[1]) / a
            return mp.exp(-(y**2) / (2 * a**2) - (x - moved) ** 2 / (2 * variance)) / (
                2 * mp.pi * a * mp.sqrt(variance)
            )

        with mp.workdps(30):
            q = mp.quad(integrand, [a * k for k in range(-12, 13)], method="gauss-legendre", maxdegree=5)
        assert float(law.log_density[i]) == pytest.approx(float(mp.log(q)), rel=1e-9)


def chapman_kolmogorov(levels, gamma, panels=120):
    """Return forward and reverse KL of Euler-Maruyama by dense Gauss-Legendre matrices, another way to the same law."""
    z, w = np.polynomial.legendre.leggauss(16)
    edges = np.linspace(-9, 9, panels + 1)
    nodes = ((edges[:-1] + edges[1:])[:, None] / 2 + np.diff(edges)[:, None] / 2 * z).ravel()
    weights = np.repeat(np.diff(edges) / 2, 16) * np.tile(w, panels)

    def normal(x, s):
        return np.exp(-((x / s) ** 2) / 2) / (s * math.sqrt(2 * math.pi))

    def parts(y, rho):
        s = [math.hypot(sd, rho) for sd in SPREADS]
        return [w_i * normal(y - m, s_i) for w_i, m, s_i in zip(WEIGHTS, MEANS, s)], s

    def score(y, rho):
        p, s = parts(y, rho)
        pull = sum(-p_i * (y - m) / s_i**2 for p_i, m, s_i in zip(p, MEANS, s))
        return pull / sum(p)

    q = normal(nodes, levels[0])
    for a, b in itertools.pairwise(levels):
        centre = nodes + (1 + gamma) * a * (a - b) * score(nodes, a)
        kernel = normal(nodes[:, None] - centre, math.sqrt(2 * gamma * a * (a - b)))
        q = kernel @ (weights * q)
    p = sum(parts(nodes, levels[-1])[0])
    both = (q > 1e-250) & (p > 1e-250)
    q, p, weights = q[both], p[both], weights[both]
    return weights @ (q * np.log(q / p)), weights @ (p * np.log(p / q))


@pytest.mark.parametrize(("levels", "gamma"), [((1.0, 0.5), 1.0), ((1.0, 0.6, 0.4), 0.5), ((1.2, 0.9, 0.6, 0.4), 2.0)])
def test_euler_maruyama_against_another_quadrature(levels, gamma):
    given = setup(EulerMaruyama(churn=gamma), torch.tensor(levels, dtype=F64))
    law = final(given)
    forward, reverse = chapman_kolmogorov(levels, gamma)
    assert law.kl(given.target) == pytest.approx(forward, abs=1e-10)
    assert law.kl(given.target, "reverse") == pytest.approx(reverse, abs=1e-10)


# --- maps that turn ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Normal:
    """The standard normal density, or that of another mean."""

    mean: float = 0.0
    support: ClassVar[tuple[float, float]] = (-12.0, 12.0)
    width: ClassVar[float] = 1.0

    def density(self, at: Grid) -> torch.Tensor:
        return (-0.5 * (at.nodes - self.mean) ** 2).exp() / math.sqrt(2 * math.pi)


class ChiSquare:
    """Chi-square with one degree of freedom; noncentral with a mean."""

    def __init__(self, mean: float) -> None:
        self.mean = mean

    def density(self, x: torch.Tensor) -> torch.Tensor:
        root = x.sqrt()
        both = (-0.5 * (root - self.mean) ** 2).exp() + (-0.5 * (root + self.mean) ** 2).exp()
        return both / (2 * root * math.sqrt(2 * math.pi))


@pytest.mark.parametrize("mean", [0.0, 0.7, 3.0])
def test_a_square_is_chi_square(mean):
    law = carried(Normal(mean), lambda y: y.square(), 1.0, 0.0, 0.0)
    seen = (law.x > 1e-12) & (law.x < 20)
    truth = ChiSquare(mean).density(law.x[seen])
    assert torch.allclose(law.log_density[seen], truth.log(), atol=1e-6)
    assert float(law.mass.sum()) == pytest.approx(1, abs=1e-10)
    assert float(law.mean) == pytest.approx(1 + mean**2, abs=1e-9)
    assert float(law.covariance) == pytest.approx(2 + 4 * mean**2, abs=1e-8)


def test_the_divergence_of_a_square_from_a_normal():
    """E log q of chi-square with one degree of freedom is -(1/2 + log 2 + log Gamma(1/2) + psi(1/2)/2)."""
    law = carried(Normal(), lambda y: y.square(), 1.0, 0.0, 0.0)
    entropy = 0.5 + math.log(2) + float(mp.loggamma(0.5)) + 0.5 * float(mp.digamma(0.5))
    cross = 0.5 * math.log(2 * math.pi * 4) + (2 + 1) / 8  # E x^2 = 3
    assert law.kl(Gaussian(mean=(0.0,), covariance=4.0)) == pytest.approx(cross - entropy, abs=2e-7)


@pytest.mark.parametrize("jump", [0.3, 1e-4, -0.3, -1e-4])
def test_a_map_that_jumps(jump):
    """y + jump above 0.2 leaves a gap, or arrives twice where it goes back: E log(q/p) by scipy."""
    law = carried(Normal(), lambda y: y + jump * (y > 0.2), 1.0, 0.0, 0.0)

    def integrand(x):
        q = norm.pdf(x) * (x < 0.2) + norm.pdf(x - jump) * (x - jump > 0.2)
        return q * (math.log(q) - norm.logpdf(x)) if q > 0 else 0.0

    ends = sorted([-9.0, 0.2, 0.2 + jump, 9.0])
    truth = sum(quad(integrand, a, b, epsabs=1e-12)[0] for a, b in itertools.pairwise(ends))
    target = Gaussian()
    assert law.kl(target) == pytest.approx(truth, abs=1e-7)
    assert float(law.mass.sum()) == pytest.approx(1, abs=1e-10)
    # Where nothing arrives, the target's mass is missed, and said to be.
    gap = norm.cdf(0.2 + jump) - norm.cdf(0.2) if jump > 0 else 0.0
    assert law.error(target, "reverse") >= 0.9 * gap


def test_an_adaptive_run_against_samples():
    times = torch.tensor([80.0, 0.02], dtype=F64)
    given = setup(DormandPrince(rtol=1e-3, atol=1e-3), times)
    coarse, law = final(given, 1.0), final(given, 1.4)
    assert law.kl(given.target) == pytest.approx(coarse.kl(given.target), abs=1e-2)
    n = 100_000
    *_, step = given.sampler(
        given.problem(), given.start(n, torch.Generator().manual_seed(1)), times, torch.Generator()
    )
    for f in (torch.sin, torch.cos, lambda x: (3 * x).sin(), lambda x: torch.tanh(8 * (x + 0.4))):
        values = f(step.x.flatten())
        assert abs(float(values.mean() - law.mass @ f(law.x))) < 4.5 * float(values.std()) / math.sqrt(n)


def test_a_folded_run_against_samples():
    """Euler's steps are too long here: what lies between the modes is thrown over to the other side."""
    times = torch.tensor([0.6, 0.35, 0.02], dtype=F64)
    given = setup(FarEuler(), times, target=Mixture(weights=(0.4, 0.6), covariances=(0.01, 0.01)))
    law = final(given)
    order = law.x.diff()
    assert bool((order > 0).any())
    assert bool((order < 0).any())

    n = 2_000_000
    x = given.start(n, torch.Generator().manual_seed(3))
    *_, step = given.sampler(given.problem(), x, times, torch.Generator())
    edges = torch.linspace(-2.5, 1.8, 44, dtype=F64)
    counts = torch.histogram(step.x.flatten(), edges)[0]
    at = torch.bucketize(law.x, edges) - 1
    inside = (at >= 0) & (at < len(counts))
    mass = torch.zeros(len(counts), dtype=F64).index_add(0, at[inside], law.mass[inside])
    z = (counts - n * mass) / (n * mass * (1 - mass)).sqrt().clamp(min=1)
    assert float(z.abs().max()) < 6
    assert float(z.square().mean()) < 2.5


class FarEuler(sh.GridSampler):
    """Euler's method that goes too far: a map that turns."""

    def step(self, run, y, leg):
        return y + 2.5 * (leg.rho_s - leg.rho_t) * run.problem.eps(y, leg.rho_t)


# --- one law by several ways ------------------------------------------------------------------------------------------

CHAINS = [
    EulerMaruyama(churn=0.7),
    EulerMaruyama(churn=0.7, variable="rho2"),
    EulerMaruyama(churn=1.3, churn_window=(0.1, 2.0)),
    DDPM(),
    Ancestral(churn=0.5),
    Ancestral(churn=0.5, solver="heun", last="denoise"),
    ExponentialSDE(),
    DDIM(churn=0.4, churn_noise=1.05),
    DDIM(eta=0.6),
    Heun(churn=0.5),
    Heun(churn=0.8, last="denoise"),
    DEIS(order=1, churn=0.5),
    RK(churn=0.4),
    DPMSolverPPSingle(churn=0.3),
    SEEDS(churn=0.5),
    SEEDS(prediction="noise"),
    PredictorCorrector(),
    PredictorCorrector(predictor="euler-maruyama", churn=0.3),
]
FLOWS = [DDIM(), Euler(), Heun(last="denoise"), DEIS(), EulerMaruyama(churn=0), SEEDS(order=3, churn=0)]


def named(sampler):
    fields = sampler.model_dump(exclude_defaults=True)
    return " ".join([type(sampler).__name__, *(f"{k}={v}" for k, v in fields.items())])


@pytest.mark.parametrize("sampler", [*CHAINS, *FLOWS], ids=named)
def test_the_line_agrees_with_the_affine_law(sampler):
    """On a Gaussian both ways are open, and share no code."""
    process = (EDM(), VP())[[*CHAINS, *FLOWS].index(sampler) % 2]
    target = Gaussian(mean=(0.4,), covariance=0.3)
    times = sh.time_at(process, torch.logspace(1, -1, 6, dtype=F64))
    given = setup(sampler, times, target=target, process=process)
    truth = sh.exact_law(given)
    assert truth.method == "affine"
    ways = Chain(given) if sampler in CHAINS else Flow(given)
    for exact, law in zip(truth.laws([0, 2, 5], 1.0), ways.laws([0, 2, 5], 1.4)):
        assert law.rho == exact.rho
        assert float(law.mean) == pytest.approx(float(exact.mean), abs=1e-8)
        assert float(law.covariance) == pytest.approx(float(exact.covariance), rel=1e-8)
        for direction in ("forward", "reverse"):
            # The reverse reaches further into the tails than the nodes do at this fineness.
            assert law.kl(target, direction) == pytest.approx(exact.kl(target, direction), rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("sampler", [DDIM(), Heun(), DDIM(last="denoise")], ids=named)
def test_a_chain_without_noise_is_the_flow(sampler):
    given = setup(sampler, edm_times(6))
    flow, chain = Flow(given).laws([3, 6], 2.0), Chain(given).laws([3, 6], 2.0)
    for a, b in zip(flow, chain):
        assert a.rho == b.rho
        assert a.kl(Mixture()) == pytest.approx(b.kl(Mixture()), abs=1e-9)


def test_moments_of_noisy_runs_of_the_mixture_against_samples():
    times = edm_times(8, 5.0, 0.05)
    for sampler in (SEEDS(churn=0.8), PredictorCorrector(), Heun(churn=0.6), EulerMaruyama(churn=0.6)):
        given = setup(sampler, times)
        law = final(given, 1.0)
        n = 100_000
        *_, step = sampler(
            given.problem(), given.start(n, torch.Generator().manual_seed(1)), times, torch.Generator().manual_seed(2)
        )
        for f in (torch.sin, torch.cos, torch.tanh, lambda x: (3 * x).sin(), lambda x: torch.tanh(8 * (x + 0.4))):
            values = f(step.x.flatten())
            truth = float(law.mass @ f(law.x))
            assert abs(float(values.mean()) - truth) < 4.5 * float(values.std()) / math.sqrt(n), named(sampler)


# --- affine laws ------------------------------------------------------------------------------------------------------


def fixed_step_samplers():
    for registered in REGISTRY.entries("sampler"):
        made = REGISTRY.load("sampler", registered.entry.name)
        if isinstance(made(), sh.Budgeted):
            churned = made(churn=0.5) if "churn" in made.model_fields else made()
            yield pytest.param(churned, id=registered.entry.name)


@pytest.mark.parametrize("sampler", list(fixed_step_samplers()))
def test_affine_laws_against_samples(sampler):
    target = Gaussian(mean=(0.5, -1.0), covariance=((1.0, 0.6), (0.6, 0.5)))
    times = edm_times(6, 10.0, 0.1)
    given = setup(sampler, times, target=target)
    exact = sh.exact_law(given)
    assert exact.method == "affine"
    law = exact.last(given)
    n = 40_000
    start = given.start(n, torch.Generator().manual_seed(1))
    *_, step = sampler(given.problem(), start, times, torch.Generator().manual_seed(2))
    error = (step.x.mean(0) - law.mean) / (law.covariance.diagonal() / n).sqrt()
    assert float(error.abs().max()) < 4.5
    C, variances = step.x.T.cov(), law.covariance.diagonal()
    stderr = ((law.covariance**2 + variances[:, None] * variances) / n).sqrt()
    assert float(((C - law.covariance) / stderr).abs().max()) < 4.5


@pytest.mark.parametrize("process", [EDM(), VE(), VP()], ids=["edm", "ve", "vp"])
@pytest.mark.parametrize("gamma", [0.0, 0.4, 2.0])
def test_the_gaussian_recursion(process, gamma):
    """mean' = (1 + h k) mean + h (1 + gamma) g^2 s mu/(2 V), var' = (1 + h k)^2 var + gamma g^2 h."""
    mu, v_0 = 0.7, 0.25
    times = sh.time_at(process, torch.logspace(0.5, -1.5, 9, dtype=F64))
    f, g2 = sh.drift(process, times), sh.diffusion2(process, times)
    s, rho = sh.alpha(process, times), sh.rho(process, times)
    mean, var = 0.0, float(sh.sigma(process, times[0]) ** 2)
    for i in range(8):
        h, V = float(times[i] - times[i + 1]), float(s[i] ** 2 * (v_0 + rho[i] ** 2))
        k = -float(f[i]) - (1 + gamma) * float(g2[i]) / (2 * V)
        mean = (1 + h * k) * mean + h * (1 + gamma) * float(g2[i] * s[i]) * mu / (2 * V)
        var = (1 + h * k) ** 2 * var + gamma * float(g2[i]) * h
    given = setup(EulerMaruyama(churn=gamma), times, target=Gaussian(mean=(mu,), covariance=v_0), process=process)
    law = final(given)
    assert float(law.mean * s[-1]) == pytest.approx(mean, rel=1e-10)
    assert float(law.covariance * s[-1] ** 2) == pytest.approx(var, rel=1e-10)


def test_the_divergence_of_gaussians():
    C, S = torch.tensor([[2.0, 0.3], [0.3, 0.5]], dtype=F64), torch.tensor([[1.0, -0.2], [-0.2, 0.8]], dtype=F64)
    m, mu = torch.tensor([0.1, 0.2], dtype=F64), torch.tensor([-0.3, 1.0], dtype=F64)
    law = sh.GaussianLaw(0.0, 0.0, m, C)
    target = Gaussian(mean=tuple(mu.tolist()), covariance=tuple(tuple(row) for row in S.tolist()))
    a, b = (torch.distributions.MultivariateNormal(*pair) for pair in ((m, C), (mu, S)))
    assert law.kl(target) == pytest.approx(float(torch.distributions.kl_divergence(a, b)), rel=1e-12)
    assert law.kl(target, "reverse") == pytest.approx(float(torch.distributions.kl_divergence(b, a)), rel=1e-12)
    flat = sh.GaussianLaw(0.0, 0.0, m, torch.diag(torch.tensor([1.0, 0.0], dtype=F64)))
    assert flat.kl(target) == flat.kl(target, "reverse") == math.inf


def test_an_exact_start_and_an_exact_flow_leave_nothing():
    target = Gaussian(mean=(0.5, -1.0), covariance=((1.0, 0.6), (0.6, 0.5)))
    given = setup(DDPM(), edm_times(400), target=target, prior=ExactPrior())
    laws = sh.exact_law(given).laws([0, 400], 1.0)
    assert abs(laws[0].kl(target)) < 1e-14
    assert 0 < laws[1].kl(target) < 1e-3


# --- sums of bumps ----------------------------------------------------------------------------------------------------


def test_bumps_on_a_grid():
    rng = torch.Generator().manual_seed(0)
    centres, weights = torch.randn(300, generator=rng, dtype=F64), torch.rand(300, generator=rng, dtype=F64)
    for at in (Grid(-9.0, 0.01, 1801), Grid(0.3, 0.2, 4), Grid(-30.0, 0.7, 80), Grid(20.0, 0.1, 5)):
        for width in (0.02, 0.3, 1.5):
            truth = (-0.5 * ((at.nodes[:, None] - centres) / width) ** 2).exp() @ weights
            truth = truth / (width * math.sqrt(2 * math.pi))
            found = Bumps(centres, weights, width, 12.0).density(at)
            assert torch.allclose(found, truth, rtol=1e-12, atol=1e-29)


def test_quantiles():
    law = unmoved(Normal(), 1.0, 0.0, 0.0)
    p = torch.tensor([1e-4, 0.1, 0.5, 0.9], dtype=F64)
    assert torch.allclose(law.quantile(p), torch.special.ndtri(p), atol=1e-4)


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sampler", "match"),
    [
        (DEIS(churn=0.5), "keeps a memory of its past.*churn 0"),
        (Restart(), "do not simply add"),
        (REGISTRY.load("sampler", "annealed-langevin")(), "loop of its own"),
        (SEEDS(order=3, churn=0.5), "2 draws of noise inside"),
    ],
)
def test_noise_that_cannot_be_followed(sampler, match):
    given = setup(sampler, edm_times(8))
    with pytest.raises(Mismatch, match=match):
        final(given)


class Remembers(sh.GridSampler):
    """A sampler that uses its first evaluation again and again, and noise."""

    @property
    def depth(self):
        return 1

    def step(self, run, y, leg):
        if not run.past:
            run.past.appendleft(run.problem.eps(y, leg.rho_t))
        return y + (leg.rho_s - leg.rho_t) * run.past[0]


class Uniform(sh.GridSampler):
    """A sampler that draws what is not normal."""

    def step(self, run, y, leg):
        e = run.problem.eps(y, leg.rho_t)
        return y + (leg.rho_s - leg.rho_t) * e + torch.rand(y.shape, generator=run.rng, dtype=y.dtype)


@pytest.mark.parametrize("sampler", [Remembers(churn=0.3), Uniform()], ids=["memory", "uniform"])
def test_the_real_run_has_to_agree_with_the_legs(sampler):
    with pytest.raises(Mismatch, match="keeps a memory of its past"):
        sh.exact_law(setup(sampler, edm_times(5)))


def test_adaptive_steps_in_the_plane_are_not_affine():
    target = Gaussian(mean=(0.5, -1.0), covariance=((1.0, 0.6), (0.6, 0.5)))
    with pytest.raises(Mismatch, match="no affine map"):
        sh.exact_law(setup(DormandPrince(rtol=1e-9, atol=1e-9), edm_times(1, 10.0, 0.1), target=target))


def test_the_mixture_in_the_plane_is_refused():
    target = Mixture(means=((0.0, 1.0), (1.0, 0.0)), covariances=(0.1, 0.2))
    with pytest.raises(Mismatch, match="no affine map"):
        sh.exact_law(setup(Euler(), edm_times(5), target=target))


def test_too_many_dimensions():
    target = Gaussian(mean=(0.0,) * 2000)
    with pytest.raises(Mismatch, match=r"batch of \d+ states"):
        sh.exact_law(setup(DDPM(), edm_times(20), target=target))


def test_a_prior_without_a_density():
    class Sampled:
        def sample(self, problem, n, rng):
            return torch.rand(n, 1, generator=rng, dtype=F64)

    given = setup(DDIM(), edm_times(5), prior=Sampled())
    with pytest.raises(Mismatch, match="density is known"):
        final(given)


def test_a_prior_whose_density_is_none():
    class Twice(GaussianPrior):
        def log_prob(self, problem, x):
            return super().log_prob(problem, x) + math.log(2)

    with pytest.raises(Mismatch, match="integrates to 2"):
        final(setup(DDIM(), edm_times(5), prior=Twice()))


def test_a_target_that_has_no_density_where_the_run_ends():
    class Atoms(Mixture):
        """Two points, which have a density only while there is noise."""

        def log_prob(self, y, rho):
            spread = torch.as_tensor(rho, dtype=F64).reshape(-1)
            both = torch.stack([-((y[:, 0] - m) ** 2) / (2 * spread**2) - spread.log() for m in (-1.0, 1.0)])
            return both.logsumexp(0) - 0.5 * math.log(8 * math.pi)

    given = setup(Heun(last="denoise"), edm_times(5), target=Atoms(), model=Exact().of(Mixture()))
    with pytest.raises(Mismatch, match=r"no density at noise level 0.*last = stop"):
        final(given).kl(given.target)
    stopped = setup(Heun(), edm_times(5), target=Atoms(), model=Exact().of(Mixture()))
    assert final(stopped).kl(stopped.target) > 0
