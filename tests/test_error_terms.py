"""The terms of the path KL divergence against closed forms, quadrature and refined paths."""

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
from samplerhub_grids.exponential import Exponential
from samplerhub_metrics.error_terms import ErrorTerms
from samplerhub_metrics.path_terms import worst_case
from samplerhub_models.exact import Exact
from samplerhub_priors.exact import ExactPrior
from samplerhub_priors.gaussian import GaussianPrior
from samplerhub_processes.edm import EDM
from samplerhub_processes.vp import VP
from samplerhub_samplers.dormand_prince import DormandPrince
from samplerhub_samplers.euler import Euler
from samplerhub_samplers.euler_maruyama import EulerMaruyama
from samplerhub_targets.digits import Digits
from samplerhub_targets.gaussian import Gaussian
from samplerhub_targets.mixture import Mixture

F64 = torch.float64
M, C = 0.5, 0.8
LAW, WRONG = Gaussian(mean=(M,), covariance=C), Gaussian(mean=(0.2,), covariance=0.5)
THREE = Mixture(weights=(0.3, 0.4, 0.3), means=(-1.0, 0.0, 1.0), covariances=(0.09, 0.09, 0.09))


def setup(target=LAW, model=None, *, process=None, prior=None, grid=None, sampler=None, **numbers):
    numbers = {"samples": 1000, "steps": 20, **numbers}
    return sh.Experiment(
        process=process or EDM(t_min=0.05, t_max=5.0),
        model=model or Exact(),
        sampler=sampler or EulerMaruyama(variable="rho2"),
        grid=grid or EDMGrid(),
        prior=prior or GaussianPrior(),
        target=target,
        dtype="float64",
        **numbers,
    ).setup()


def evaluated(metric, of):
    metric.inspect(of)
    nothing = torch.zeros(2, *of.shape, dtype=F64)
    return metric(Recorded(sh.Snapshot(of.span[0], of.rho[-1].item(), nothing), of, metric.needs))


def gaussian_kl(m, v, mu, s):
    return (v / s + (m - mu) ** 2 / s - 1 - math.log(v / s)) / 2


def terms_of_gaussians(rho, m=M, c=C, m_w=0.2, c_w=0.5):
    """Return E_I, and E_D and E_S of each step, for N(m, c), prior N(0, rho^2), score of N(m_w, c_w)."""
    E_I = gaussian_kl(m, c + rho[0] ** 2, 0, rho[0] ** 2)
    E_D, E_S = [], []
    for a, b in itertools.pairwise([r**2 for r in rho]):
        E_D.append((math.log((c + a) / (c + b)) - (a - b) / (c + a)) / 2)
        slope, offset = 1 / (c + a) - 1 / (c_w + a), (m_w - m) / (c_w + a)
        E_S.append((a - b) / 2 * (slope**2 * (c + a) + offset**2))
    return E_I, E_D, E_S


# --- closed forms -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("process", [EDM(t_min=0.05, t_max=5.0), VP(t_min=0.02)], ids=["edm", "vp"])
@pytest.mark.parametrize("grid", [EDMGrid(), Exponential()], ids=["edm", "exponential"])
@pytest.mark.parametrize("n", [200, 4000])
def test_terms_of_gaussians_are_the_closed_forms_at_every_time(process, grid, n):
    of = setup(model=Exact().of(WRONG), process=process, grid=grid, samples=n, path=6)
    estimate = evaluated(ErrorTerms(), of)
    E_I, E_D, E_S = terms_of_gaussians(of.rho.tolist())
    details = estimate.details
    assert details["initialisation"] == pytest.approx(E_I, rel=1e-9)
    for name, truth in (("discretisation", sum(E_D)), ("score", sum(E_S))):
        assert abs(details[name] - truth) < 4 * details[f"{name} stderr"]
    so_far = E_I + np.concatenate([[0], np.cumsum(np.add(E_D, E_S))])
    for k, point in zip(of.path, estimate.curve):
        assert abs(point.value - so_far[k]) < 4.5 * point.stderr + 1e-12
    assert (estimate.value, estimate.stderr) == (estimate.curve[-1].value, estimate.curve[-1].stderr)
    assert (estimate.quantity, estimate.bounds) == ("path-kl", "kl-reverse")
    assert estimate.value == pytest.approx(sum(details[k] for k in ("initialisation", "discretisation", "score")))


def test_terms_in_several_dimensions_are_sums_over_them():
    target = Gaussian(mean=(0.5, -1.0, 0.0), covariance=((0.8, 0.2, 0), (0.2, 0.5, 0), (0, 0, 2.0)))
    of = setup(target, samples=4000)
    details = evaluated(ErrorTerms(), of).details
    variances = torch.linalg.eigvalsh(target.moments()[1]).tolist()
    E_D = sum(sum(terms_of_gaussians(of.rho.tolist(), c=c)[1]) for c in variances)
    assert abs(details["discretisation"] - E_D) < 4 * details["discretisation stderr"]
    T2 = of.rho[0].item() ** 2
    E_I = sum(gaussian_kl(0, c + T2, 0, T2) for c in variances) + 1.25 / T2 / 2
    assert details["initialisation"] == pytest.approx(E_I, rel=1e-9)


def fisher_by_quadrature(target, v):
    """Return J(v) on the line."""
    x = torch.linspace(-3, 3, 40_001, dtype=F64)[:, None] * (1.5 + 3 * math.sqrt(v))
    rho = torch.tensor(math.sqrt(v), dtype=F64)
    p, s = target.log_prob(x, rho).exp(), (target.denoise(x, rho) - x)[:, 0] / v
    return torch.trapezoid(p * s * s, x[:, 0]).item()


def entropy_by_quadrature(target, v):
    """Return the entropy of the noised target on the line."""
    x = torch.linspace(-3, 3, 40_001, dtype=F64)[:, None] * (1.5 + 3 * math.sqrt(v))
    log_p = target.log_prob(x, torch.tensor(math.sqrt(v), dtype=F64))
    return -torch.trapezoid(log_p.exp() * log_p, x[:, 0]).item()


@pytest.mark.parametrize("grid", [EDMGrid(), Exponential()], ids=["edm", "exponential"])
@pytest.mark.parametrize("steps", [20, 40])
def test_discretisation_of_a_mixture_is_de_bruijns_by_quadrature(grid, steps):
    # E_D = H(p_0) - H(p_N) - 1/2 sum_k J(v_k) (v_k - v_k+1), and its trapezoidal value, which is larger.
    of = setup(THREE, process=EDM(), grid=grid, steps=steps, samples=10_000)
    details = evaluated(ErrorTerms(), of).details
    v = (of.rho**2).tolist()
    J = [fisher_by_quadrature(THREE, v_k) for v_k in v]
    E_D = entropy_by_quadrature(THREE, v[0]) - entropy_by_quadrature(THREE, v[-1])
    E_D -= sum(J_k * (a - b) for J_k, (a, b) in zip(J, itertools.pairwise(v))) / 2
    trapezoid = (
        sum((J_s - J_t) * (a - b) for (J_t, J_s), (a, b) in zip(itertools.pairwise(J), itertools.pairwise(v))) / 4
    )
    assert abs(details["discretisation"] - E_D) < 4 * details["discretisation stderr"]
    assert details["discretisation stderr"] < 0.01
    assert details["discretisation by the trapezoidal rule"] == pytest.approx(trapezoid, abs=0.05)
    assert E_D < trapezoid < details["worst case of the discretisation"]
    assert details["steps"] == steps


def test_initialisation_by_densities_is_the_divergence_of_the_prior():
    # H(p_T | N(0, T^2)) at T = 0.7530995852, by 30-digit quadrature.
    of = setup(Mixture(), process=EDM(t_max=0.7530995852), samples=20_000)
    details = evaluated(ErrorTerms(), of).details
    assert details["initialisation"] == pytest.approx(0.01315037670, abs=6e-12)
    assert details["initialisation is"] == "quadrature"
    assert details["initialisation stderr"] < 1e-15
    assert evaluated(ErrorTerms(), setup(Mixture(), prior=ExactPrior())).details["initialisation"] == 0


def test_initialisation_in_the_plane_is_a_mean_over_data():
    # Two axes that are independent, and so twice the divergence of one, which is by quadrature.
    plane = Mixture(weights=(0.25,) * 4, means=((-1, -1), (-1, 1), (1, -1), (1, 1)), covariances=(0.09,) * 4)
    line = Mixture(weights=(0.5, 0.5), means=(-1.0, 1.0), covariances=(0.09, 0.09))
    process = EDM(t_min=0.05, t_max=1.0)
    many = evaluated(ErrorTerms(), setup(plane, process=process, samples=20_000)).details
    one = evaluated(ErrorTerms(), setup(line, process=process)).details
    assert many["initialisation is"] == "mean of log(p_T/prior)"
    assert 0 < many["initialisation stderr"] < 0.02 * many["initialisation"]
    assert abs(many["initialisation"] - 2 * one["initialisation"]) < 4 * many["initialisation stderr"]
    exact = evaluated(ErrorTerms(), setup(plane, process=process, prior=ExactPrior())).details
    assert abs(exact["initialisation"]) < 1e-12


@pytest.mark.parametrize("repeats", [60, pytest.param(200, marks=pytest.mark.slow)])
def test_intervals_of_the_sum_cover_the_truth(repeats):
    of = [setup(model=Exact().of(WRONG), samples=100, seed=seed) for seed in range(repeats)]
    E_I, E_D, E_S = terms_of_gaussians(of[0].rho.tolist())
    truth = E_I + sum(E_D) + sum(E_S)
    estimates = [evaluated(ErrorTerms(), s) for s in of]
    covered = np.mean([abs(e.value - truth) < 1.96 * e.stderr for e in estimates])
    assert covered >= (0.90 if repeats == 200 else 0.85)


# --- what the sum is --------------------------------------------------------------------------------------------------


def path_kl(rho, finer):
    """Return the divergence of Gaussian paths at the nodes and at `finer` - 1 times between any two of them.

    By the chain rule: from x at v to y at w < v, the reverse SDE has the law N(m + g (x - m), g (v - w)) with
    g = (C + w)/(C + v), and the sampler N(x + (v - w) S(x_k), v - w), x_k the state at the last node.
    """
    total = gaussian_kl(M, C + rho[0] ** 2, 0, rho[0] ** 2)
    for a, b in itertools.pairwise([r**2 for r in rho]):
        times = np.linspace(a, b, finer + 1)
        for v, w in itertools.pairwise(times):
            g, h = (C + w) / (C + v), v - w
            # difference of the means, as p x + q x_k + r with x, x_k centred: cov(x, x_k) = C + v, var x_k = C + a
            p, q, r = (g - 1), h / (0.5 + a), -h * (0.2 - M) / (0.5 + a)
            square = p**2 * (C + v) + 2 * p * q * (C + v) + q**2 * (C + a) + r**2
            total += (g - 1 - math.log(g) + square / h) / 2
    return total


@pytest.mark.parametrize("finer", [1, 7, 100])
def test_the_sum_is_the_divergence_of_the_paths(finer):
    # For Gaussians the nodes alone tell the paths apart as well as all times do.
    rho = setup(model=Exact().of(WRONG), steps=8).rho.tolist()
    E_I, E_D, E_S = terms_of_gaussians(rho)
    assert path_kl(rho, finer) == pytest.approx(E_I + sum(E_D) + sum(E_S), rel=1e-10)


@pytest.mark.parametrize("steps", [5, 20, 80])
def test_the_sum_bounds_the_divergence_of_the_sampler_it_speaks_of(steps):
    of = setup(model=Exact().of(WRONG), steps=steps, samples=4000, path=5)
    estimate = evaluated(ErrorTerms(), of)
    rho = of.rho.tolist()
    m, v, kl = 0.0, rho[0] ** 2, []
    for a, b in itertools.pairwise([*rho, rho[-1]]):
        kl.append(gaussian_kl(M, C + a**2, m, v))
        gain = 1 - (a**2 - b**2) / (0.5 + a**2)
        m, v = 0.2 + gain * (m - 0.2), gain**2 * v + a**2 - b**2
    for k, point in zip(of.path, estimate.curve):
        assert point.value > kl[k] - 4 * point.stderr - 1e-12
    # The recursion is that of the sampler itself.
    x = of.start(20_000, sh.stream(1, "x"))
    *_, step = of.sampler(of.problem(), x, of.times, sh.stream(1, "noise"))
    assert step.x.mean().item() == pytest.approx(m, abs=4 * math.sqrt(v / 20_000))
    assert step.x.var().item() == pytest.approx(v, rel=4 * math.sqrt(2 / 20_000))


@pytest.mark.parametrize("process", [EDM(t_min=0.05, t_max=5.0), VP(t_min=0.02)], ids=["edm", "vp"])
def test_the_sum_is_a_bound_of_that_sampler_alone(process):
    own = evaluated(ErrorTerms(), setup(process=process))
    others = (
        EulerMaruyama(variable="rho2", churn=0.5), EulerMaruyama(variable="rho2", last="denoise"), EulerMaruyama(),
        Euler(), Euler(churn=1.0), DormandPrince(),
    )  # fmt: skip
    assert own.bounds == "kl-reverse"
    assert own.curve_of == "KL of paths, target from generated, so far (nats)"
    for sampler in others:
        other = evaluated(ErrorTerms(), setup(process=process, sampler=sampler))
        assert (other.value, other.quantity, other.bounds) == (own.value, "path-kl", "")
        assert "not the run's" in other.details["of"]


def test_fine_steps_in_another_variable_are_not_those_steps():
    other = evaluated(ErrorTerms(), setup(sampler=EulerMaruyama(), steps=4000, samples=10))
    assert other.bounds == ""


@pytest.mark.parametrize("steps", [1, 2, 10, 100])
@pytest.mark.parametrize("grid", [EDMGrid(), Exponential()], ids=["edm", "exponential"])
def test_the_worst_case_is_that_of_a_point(grid, steps):
    # For data in one point J = d/v: E_D = d/2 [log(v_0/v_N) - sum_k (v_k - v_k+1)/v_k], below the bound.
    v = setup(grid=grid, steps=steps).rho ** 2
    point = 3 / 2 * ((v[0] / v[-1]).log() - ((v[:-1] - v[1:]) / v[:-1]).sum()).item()
    assert 0 < point <= worst_case(v, 3) * (1 + 1e-12)
    q = (v[0] / v[-1]).item() ** (1 / steps)
    if isinstance(grid, Exponential):
        assert worst_case(v, 3) == pytest.approx(3 / 2 * (q - 1) * (1 + (steps - 1) * (1 - 1 / q)), rel=1e-9)


# --- without an exact score -------------------------------------------------------------------------------------------


class Hidden:
    """A Gaussian that does not say so, with held-out data of a law of its own."""

    shape = (1,)

    def __init__(self, kept=LAW):
        self.kept = kept

    def sample(self, n, rng):
        return LAW.sample(n, rng)

    def held_out(self):
        return self.kept


def test_without_an_exact_score_the_figures_say_what_they_are():
    of = setup(Hidden(), Exact().of(LAW), samples=4000)
    estimate = evaluated(ErrorTerms(), of)
    details, (_, E_D, _) = estimate.details, terms_of_gaussians(of.rho.tolist())
    assert (estimate.quantity, estimate.bounds) == ("path-kl stand-in", "")
    assert details["score"].startswith("unknown")
    assert "under-estimates J" in details["discretisation is"]
    # With the best model the loss is the smallest: nothing is under-estimated, and there is no gap.
    assert abs(details["discretisation"] - sum(E_D)) < 4 * details["discretisation stderr"]
    assert abs(details["generalisation gap"]) < 4 * details["generalisation gap stderr"]
    # E KL(N(x_0, T^2) || N(0, T^2)) = m_2^2/(2 T^2), above the divergence of the mixture of them
    T2 = of.rho[0].item() ** 2
    assert details["initialisation is"].startswith("a bound")
    assert abs(details["initialisation"] - (M**2 + C) / (2 * T2)) < 4 * details["initialisation stderr"]
    assert details["initialisation"] > gaussian_kl(M, C + T2, 0, T2) + 4 * details["initialisation stderr"]


def test_the_generalisation_gap_is_that_of_the_losses():
    of = setup(Hidden(Gaussian(mean=(M + 1,), covariance=C)), Exact().of(LAW), samples=4000)
    details = evaluated(ErrorTerms(), of).details
    v = (of.rho**2).tolist()
    # Shifting the data by 1 shifts x_0 - D by 1 - C/(C + v): the loss grows by its square, over v.
    truth = sum((a - b) / (2 * a) * (a / (C + a)) ** 2 / a for a, b in itertools.pairwise(v))
    assert abs(details["generalisation gap"] - truth) < 4 * details["generalisation gap stderr"]


def test_digits_have_a_stand_in_and_a_bound():
    @dataclass(frozen=True)
    class Mean:
        predicts: ClassVar = "x0"
        shape: ClassVar = (1, 8, 8)

        def __call__(self, y, rho):
            return 0 * y

    of = setup(Digits(), Mean(), samples=100, steps=3)
    details = evaluated(ErrorTerms(), of).details
    m_2 = Digits().held_out().data().flatten(1).square().sum(1).mean().item()
    assert details["initialisation"] == pytest.approx(m_2 / (2 * of.rho[0].item() ** 2), rel=0.1)


def test_what_cannot_be_had_is_refused():
    class Plain:
        shape = (1,)

        def sample(self, n, rng):
            return LAW.sample(n, rng)

    with pytest.raises(Mismatch, match=r"target 'plain' has neither an exact score .* nor held-out data"):
        ErrorTerms().inspect(setup(Plain(), Exact().of(LAW)))

    class Vague:
        def sample(self, problem, n, rng):
            return torch.randn(n, 1, generator=rng, dtype=F64)

    with pytest.raises(Mismatch, match="needs the law of the prior, and 'vague' is known neither"):
        ErrorTerms().inspect(setup(prior=Vague()))


def test_quadrature_within_steps_converges():
    of = setup(THREE, process=EDM(), steps=5, samples=200)
    few, many = (evaluated(ErrorTerms(nodes=nodes), of).details["discretisation"] for nodes in (8, 24))
    assert few == pytest.approx(many, rel=1e-3)
    assert quad(lambda v: fisher_by_quadrature(THREE, v), 0.25, 1.0)[0] / 2 == pytest.approx(
        entropy_by_quadrature(THREE, 1.0) - entropy_by_quadrature(THREE, 0.25), rel=1e-6
    )
