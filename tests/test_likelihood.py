"""Likelihoods by the probability-flow ODE, against closed forms, quadrature and differences."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from scipy.stats import norm

import samplerhub as sh
from samplerhub.errors import Mismatch, SamplerhubError
from samplerhub.measure import Recorded
from samplerhub_grids.edm import EDMGrid
from samplerhub_metrics.flow_likelihood import Flow
from samplerhub_metrics.kl_exact import KLExact
from samplerhub_metrics.kl_nll import KLNll
from samplerhub_metrics.nll import NLL
from samplerhub_models.exact import Exact
from samplerhub_priors.exact import ExactPrior
from samplerhub_priors.gaussian import GaussianPrior
from samplerhub_processes.edm import EDM
from samplerhub_processes.vp import VP
from samplerhub_samplers.ddim import DDIM
from samplerhub_samplers.deis import DEIS
from samplerhub_samplers.dormand_prince import DormandPrince
from samplerhub_samplers.euler import Euler
from samplerhub_samplers.heun import Heun
from samplerhub_targets.digits import Digits
from samplerhub_targets.gaussian import Gaussian
from samplerhub_targets.mixture import Mixture

F64 = torch.float64
LINE = Mixture()
PLANE = Gaussian(mean=(0.5, 1.0), covariance=((1.0, 0.3), (0.3, 0.5)))


def setup(target=LINE, *, prior=None, process=None, sampler=None, model=None, **numbers):
    numbers = {"samples": 1000, "steps": 20, **numbers}
    return sh.Experiment(
        process=process or EDM(t_max=10.0),
        model=model or Exact(),
        sampler=sampler or Euler(),
        grid=EDMGrid(),
        prior=prior or GaussianPrior(),
        target=target,
        dtype="float64",
        **numbers,
    ).setup()


def evaluated(metric, of):
    metric.inspect(of)
    nothing = torch.zeros(2, *of.shape, dtype=F64)
    return metric(Recorded(sh.Snapshot(of.span[0], of.rho[-1].item(), nothing), of, metric.needs))


@dataclass(frozen=True)
class Shrunk:
    """A linear model in the plane that is the posterior mean of no law where A is not symmetric."""

    A: torch.Tensor
    predicts: ClassVar = "x0"
    shape: ClassVar = (2,)

    def __call__(self, y, rho):
        return y @ self.A.T / (1 + rho**2)


@dataclass(frozen=True)
class Blocked:
    """The exact posterior mean without its gradients."""

    target: Mixture
    predicts: ClassVar = "x0"

    def __call__(self, y, rho):
        return self.target.denoise(y.detach(), rho)


def flowed(mean, C, of, model_variances):
    """Return the law of the exact flow of a model with eps = rho (y - m)/(c + rho^2) from N(mean, C) on the line."""
    high, low = of.rho[0].item(), of.rho[-1].item()
    gain = math.sqrt((model_variances + low**2) / (model_variances + high**2))
    return gain * mean, gain**2 * C


# --- the flow ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("process", [EDM(t_max=10.0), VP()], ids=["edm", "vp"])
def test_the_exact_flow_from_the_exact_prior_has_the_density_of_the_target(process):
    for target in (Mixture(), PLANE):
        of = setup(target, prior=ExactPrior(), process=process)
        rho = of.rho[-1].item()
        y = target.sample(50, sh.stream(0, "y")) + rho
        flow = Flow(of, 1e-8, None)
        log_q = flow.log_prob(y, rho)[:, 0]
        assert torch.allclose(log_q, target.log_prob(y, torch.tensor(rho, dtype=F64)), atol=1e-5)


@pytest.mark.parametrize("process", [EDM(t_max=10.0), VP()], ids=["edm", "vp"])
def test_the_flow_of_a_gaussian_prior_is_gaussian_in_closed_form(process):
    of = setup(Gaussian(mean=(0.0,), covariance=0.5), process=process)
    y = torch.linspace(-2, 2, 9, dtype=F64)[:, None]
    log_q = Flow(of, 1e-9, None).log_prob(y, of.rho[-1].item())[:, 0]
    mean, variance = flowed(0.0, of.rho[0].item() ** 2, of, 0.5)
    assert np.allclose(log_q, norm(mean, math.sqrt(variance)).logpdf(y[:, 0]), atol=1e-7)


def test_there_and_back_is_the_identity_and_cancels_the_determinants():
    of = setup(PLANE)
    y, flow = PLANE.sample(20, sh.stream(0, "y")), Flow(of, 1e-9, None)
    Y, up = flow.transport(y, 0.01, 10.0)
    back, down = flow.transport(Y, 10.0, 0.01)
    assert torch.allclose(back, y, atol=1e-7)
    assert torch.allclose(up + down, torch.zeros_like(up), atol=1e-7)
    assert flow.transport(y, 1.0, 1.0)[1].abs().max() == 0


def test_probes_have_no_bias_and_the_exact_trace_is_that_of_a_model_without_a_potential():
    A = torch.tensor([[0.8, 0.5], [-0.4, 0.3]], dtype=F64)
    of = setup(PLANE, model=Shrunk(A))
    y = PLANE.sample(2, sh.stream(0, "y"))
    # d eps_i/dy_i = (1 - A_ii/(1 + rho^2))/rho, in log rho: 2 - tr A/(1 + rho^2)
    a, b = 0.1, 5.0
    truth = 2 * math.log(b / a) - 1.1 * (math.log(b / a) - math.log((1 + b**2) / (1 + a**2)) / 2)
    exact = Flow(of, 1e-9, None).transport(y, a, b)[1]
    assert exact.flatten().tolist() == pytest.approx([truth] * 2, abs=1e-7)
    probed = Flow(of, 1e-5, 300).transport(y, a, b)[1]
    assert probed.std() > 0.01
    assert probed.mean().item() == pytest.approx(truth, abs=4 * probed.std().item() / math.sqrt(600))


def test_chunks_of_a_set_are_integrated_alike(monkeypatch):
    of = setup(PLANE)
    y = PLANE.sample(40, sh.stream(0, "y"))
    whole = Flow(of, 1e-9, 3).log_prob(y, 0.1)
    monkeypatch.setattr("samplerhub_metrics.flow_likelihood.ROWS", 35)
    assert torch.allclose(Flow(of, 1e-9, 3).log_prob(y, 0.1), whole, atol=1e-6)


# --- nll --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("samples", [200, 3000])
@pytest.mark.parametrize("exact_up_to", [16, 0], ids=["exact", "probes"])
def test_nll_is_the_cross_entropy_of_gaussians(samples, exact_up_to):
    m, c = 0.3, 0.5
    of = setup(Gaussian(mean=(m,), covariance=c), samples=samples, model=None)
    estimate = evaluated(NLL(unit="nats", exact_up_to=exact_up_to), of)
    low, high = of.rho[-1].item(), of.rho[0].item()
    gain = math.sqrt((c + low**2) / (c + high**2))
    mean, variance = m - gain * m, gain**2 * high**2
    truth = (math.log(2 * math.pi * variance) + (c + low**2 + (m - mean) ** 2) / variance) / 2
    assert abs(estimate.value - truth) < 4 * estimate.stderr
    assert estimate.stderr == pytest.approx(0.7 / math.sqrt(samples), rel=0.3)
    assert estimate.details["integration error"] < 1e-3


def test_nll_of_the_exact_model_is_the_mean_log_density_and_bits_are_nats():
    of = setup(prior=ExactPrior(), samples=300)
    nats, bits = evaluated(NLL(unit="nats", tolerance=1e-8), of), evaluated(NLL(tolerance=1e-8), of)
    y, _ = NLL().data(of, 300)
    log_p = Mixture().log_prob(y, of.rho[-1])
    assert nats.value == pytest.approx(-log_p.mean().item(), abs=1e-5)
    assert nats.stderr == pytest.approx(log_p.std().item() / math.sqrt(300), rel=1e-3)
    assert bits.value == pytest.approx(nats.value / math.log(2), rel=1e-12)


REPEATS = pytest.mark.parametrize("repeats", [60, pytest.param(200, marks=pytest.mark.slow)])


def check_coverage(covered):
    """Hold the share of 95 % intervals that cover against 90 %, less the scatter of 60 repeats."""
    assert np.mean(covered) >= (0.90 if len(covered) == 200 else 0.85)


@REPEATS
def test_intervals_of_nll_cover_the_truth(repeats):
    target = Gaussian(mean=(0.0,) * 3, covariance=0.5)
    covered = []
    for seed in range(repeats):
        process = EDM(t_min=0.1, t_max=5.0)
        of = setup(target, prior=ExactPrior(), process=process, samples=40, seed=seed, steps=2)
        estimate = evaluated(NLL(unit="nats", exact_up_to=0, probes=2, tolerance=1e-3), of)
        truth = 1.5 * (math.log(2 * math.pi * (0.5 + of.rho[-1].item() ** 2)) + 1)
        covered.append(abs(estimate.value - truth) < 1.96 * estimate.stderr)
    check_coverage(covered)


def test_dequantised_nll_bounds_the_code_length():
    # Values on a lattice of width w under N(0, c): the code length is -E log P(cell).
    w, c = 0.25, 0.5

    class Lattice(Gaussian):
        def sample(self, n, rng):
            return (super().sample(n, rng) / w).round() * w

    of = setup(Lattice(mean=(0.0,), covariance=c), prior=ExactPrior(), samples=2000)
    estimate = evaluated(NLL(unit="nats", dequantise=w), of)
    law = norm(0, math.sqrt(c + of.rho[-1].item() ** 2))
    k = np.arange(-20, 21) * w
    cells = norm(0, math.sqrt(c)).cdf(k + w / 2) - norm(0, math.sqrt(c)).cdf(k - w / 2)
    code = -(cells * np.log(law.cdf(k + w / 2) - law.cdf(k - w / 2))).sum()
    assert code - 3 * estimate.stderr < estimate.value < code + 0.02 + 3 * estimate.stderr
    assert "0.25" in estimate.details["dequantisation"]


def test_nll_takes_the_held_out_data():
    class Split(Gaussian):
        def held_out(self):
            return Gaussian(mean=(5.0,), covariance=0.01)

    y, held_out = NLL().data(setup(Split()), 100)
    assert held_out
    assert y.mean().item() == pytest.approx(5.0, abs=0.1)


# --- KL of the flow and of the sampler --------------------------------------------------------------------------------


def gaussian_kl(m, v, mu, s):
    return (v / s + (m - mu) ** 2 / s - 1 - math.log(v / s)) / 2


@pytest.mark.parametrize("process", [EDM(t_max=10.0), VP()], ids=["edm", "vp"])
@pytest.mark.parametrize("n", [300, 3000])
def test_kl_of_eulers_law_of_a_gaussian_is_the_closed_form_along_the_path(process, n):
    m, c = 0.5, 0.8
    of = setup(Gaussian(mean=(m,), covariance=c), process=process, sampler=DDIM(), samples=n, path=5, steps=12)
    estimate = evaluated(KLNll(), of)
    rho = of.rho.tolist()
    mean, variance, truth = 0.0, rho[0] ** 2, [gaussian_kl(0, rho[0] ** 2, m, c + rho[0] ** 2)]
    for a, b in itertools.pairwise(rho):
        gain = 1 + (b - a) * a / (c + a**2)
        mean, variance = m + gain * (mean - m), gain**2 * variance
        truth.append(gaussian_kl(mean, variance, m, c + b**2))
    assert [point.rho for point in estimate.curve] == [rho[k] for k in of.path]
    for k, point in zip(of.path, estimate.curve):
        assert abs(point.value - truth[k]) < 4 * point.stderr + 1e-12
    assert (estimate.value, estimate.stderr) == (estimate.curve[-1].value, estimate.curve[-1].stderr)
    assert estimate.quantity == "kl"
    assert estimate.details["folded"] == 0


@REPEATS
def test_intervals_of_the_kl_of_eulers_law_cover_the_truth(repeats):
    covered = []
    for seed in range(repeats):
        of = setup(Gaussian(mean=(0.5,), covariance=0.8), sampler=DDIM(), samples=1000, steps=12, seed=seed)
        estimate = evaluated(KLNll(), of)
        rho = of.rho.tolist()
        gain = math.prod(1 + (b - a) * a / (0.8 + a**2) for a, b in itertools.pairwise(rho))
        truth = gaussian_kl(0.5 - gain * 0.5, gain**2 * rho[0] ** 2, 0.5, 0.8 + rho[-1] ** 2)
        covered.append(abs(estimate.value - truth) < 1.96 * estimate.stderr)
    check_coverage(covered)


@pytest.mark.parametrize("sampler", [Euler(), DEIS(), Heun()], ids=lambda s: type(s).__name__)
def test_kl_of_a_samplers_law_on_the_line_is_that_of_the_map_by_quadrature(sampler):
    of = setup(sampler=sampler, samples=4000, steps=15)
    rho = of.rho.tolist()
    x = torch.linspace(-6, 6, 40_001, dtype=F64)[:, None] * rho[0]
    *_, step = sampler(of.problem(), x, of.times, sh.stream(0, "none"))
    y = step.x
    log_slope = (torch.gradient(y[:, 0], spacing=(x[:, 0],))[0]).log()
    log_pi = GaussianPrior().log_prob(of.problem(), x)
    ratio = log_pi - log_slope - Mixture().log_prob(y, of.rho[-1])
    truth = torch.trapezoid(log_pi.exp() * ratio, x[:, 0]).item()
    estimate = evaluated(KLNll(), of)
    assert abs(estimate.value - truth) < 4 * estimate.stderr
    assert estimate.stderr < 0.02
    assert evaluated(KLExact(), of).value == pytest.approx(truth, abs=1e-5)


def test_the_determinant_in_several_dimensions_is_that_of_the_affine_map():
    of = setup(PLANE, samples=50, steps=8)
    estimate = evaluated(KLNll(), of)
    rho, eye = of.rho.tolist(), torch.eye(2, dtype=F64)
    mean, C = PLANE.moments()
    x = of.start(50, sh.stream(0, "points"))
    y, log_det = x, 0.0
    for a, b in itertools.pairwise(rho):
        A = eye + (b - a) * a * torch.linalg.inv(C + a**2 * eye)
        y, log_det = mean + (y - mean) @ A.T, log_det + A.det().log().item()
    ratio = GaussianPrior().log_prob(of.problem(), x) - log_det - PLANE.log_prob(y, of.rho[-1])
    assert estimate.value == pytest.approx(ratio.mean().item(), rel=1e-9)


def test_kl_of_the_flow_is_kept_from_start_to_end():
    # With an exact score the flow moves both laws alike: the divergence is that of the prior, at every time.
    of = setup(process=EDM(t_max=0.7530995852), samples=10_000, path=3)
    forward, reverse = evaluated(KLNll(law="flow"), of), evaluated(KLNll(direction="reverse"), of)
    for estimate, truth in ((forward, 0.00988496294), (reverse, 0.01315037670)):
        assert len(estimate.curve) == 3
        for point in estimate.curve:
            assert abs(point.value - truth) < 4 * point.stderr
        assert estimate.stderr < 3e-3
    assert (forward.quantity, reverse.quantity) == ("kl", "kl-reverse")


def test_kl_of_the_flow_is_zero_from_the_exact_prior():
    of = setup(PLANE, prior=ExactPrior(), samples=100)
    for metric in (KLNll(law="flow", tolerance=1e-8), KLNll(direction="reverse", tolerance=1e-8)):
        assert evaluated(metric, of).value == pytest.approx(0, abs=1e-5)


def test_a_denoised_end_is_measured_without_noise():
    of = setup(Gaussian(covariance=0.5), sampler=Euler(last="denoise"), prior=ExactPrior(), samples=4000, steps=400)
    estimate = evaluated(KLNll(), of)
    low = of.rho[-1].item()
    # D shrinks a law of variance c + rho^2, which the fine Euler steps reach to 1 %, to c^2/(c + rho^2).
    assert abs(estimate.value) < 4 * estimate.stderr + 1e-3
    assert low < 0.01


def test_a_map_that_folds_is_reported_and_its_figure_is_a_lower_bound():
    # Three long steps of Heun's through a mixture with well separated modes fold the line.
    target = Mixture(weights=(0.5, 0.5), means=(-1.0, 1.0), covariances=(0.01, 0.01))
    of = setup(target, process=EDM(t_min=0.05, t_max=3.0), sampler=Heun(), steps=3, samples=2000)
    x = 3 * torch.linspace(-6, 6, 1_000_001, dtype=F64)[:, None]
    *_, step = of.sampler(of.problem(), x, of.times, sh.stream(0, "none"))
    y, mass = step.x[:, 0].numpy(), norm.pdf(x[:, 0] / 3) * 12e-6
    q, edges = np.histogram(y, 2000, weights=mass)
    centres = torch.from_numpy((edges[1:] + edges[:-1]) / 2)[:, None]
    p = target.log_prob(centres, of.rho[-1]).exp().numpy() * np.diff(edges)
    truth = (q[q > 0] * np.log(q[q > 0] / p[q > 0])).sum()
    estimate = evaluated(KLNll(), of)
    assert 0.01 < estimate.details["folded"] <= 0.5
    assert truth - 0.5 < estimate.value < truth + 3 * estimate.stderr


@dataclass(frozen=True)
class Single:
    """The exact posterior mean or noise, in single precision, as a network computes it."""

    target: sh.Target
    predicts: str
    dtype: ClassVar = torch.float32

    def __call__(self, y, rho):
        D = self.target.denoise(y, rho)
        return D if self.predicts == "x0" else (y - D) / rho


@pytest.mark.parametrize("predicts", ["x0", "eps"])
@pytest.mark.parametrize("target", [LINE, PLANE], ids=["line", "plane"])
def test_single_precision_is_enough(target, predicts):
    for metric in (KLNll(), KLNll(law="flow"), NLL()):
        single, double = (
            evaluated(metric, setup(target, process=EDM(), model=model, samples=300))
            for model in (Single(target, predicts), None)
        )
        assert single.value == pytest.approx(double.value, abs=0.05 * double.stderr + 1e-4)


# --- refusals ---------------------------------------------------------------------------------------------------------


class Unknown:
    """A prior without a density."""

    def sample(self, problem, n, rng):
        return torch.randn(n, *problem.shape, generator=rng, dtype=F64)


def test_what_cannot_be_had_is_refused_before_sampling():
    refused = [
        (NLL(), {"prior": Unknown()}, "prior 'unknown' has no method 'log_prob'"),
        (NLL(), {"target": Digits(), "prior": ExactPrior(), "model": Tiny()}, "the density of the exact prior"),
        (NLL(), {"model": Blocked(Mixture())}, "gradients do not flow through it"),
        (KLNll(), {"sampler": Euler(churn=0.5)}, "draws noise .* law 'flow'"),
        (KLNll(), {"sampler": DormandPrince()}, "chooses its own steps"),
        (KLNll(exact_up_to=1), {"target": PLANE}, "samples have 2 dimensions, .* up to 1"),
    ]
    for metric, changes, message in refused:
        with pytest.raises(Mismatch, match=message):
            metric.inspect(setup(**changes))
    with pytest.raises(Mismatch, match="target whose density is known"):
        sh.Experiment(
            process=EDM(), model=Tiny(), sampler=Euler(), grid=EDMGrid(), prior=GaussianPrior(), target=Digits(),
            metrics=[KLNll()], steps=2,
        )  # fmt: skip


@dataclass(frozen=True)
class Tiny:
    """No network at all."""

    predicts: ClassVar = "x0"

    def __call__(self, y, rho):
        return y / (1 + rho**2)


def test_a_flow_that_noise_does_not_stop_can_still_be_had_of_a_stochastic_sampler():
    of = setup(sampler=Euler(churn=0.5), samples=100)
    assert evaluated(KLNll(law="flow"), of).details["law"].startswith("the ODE's")


def test_a_sampler_is_not_inverted():
    with pytest.raises(ValueError, match="needs the inverse of the sampler's map"):
        KLNll(direction="reverse", law="sampler")


def test_a_flow_that_cannot_be_integrated_is_an_error():
    @dataclass(frozen=True)
    class Wild:
        predicts: ClassVar = "x0"

        def __call__(self, y, rho):
            return y + torch.where(rho > 1, float("nan"), 0.0) * y

    with pytest.raises(SamplerhubError, match="could not be integrated from"):
        Flow(setup(model=Wild()), 1e-5, None).log_prob(torch.ones(3, 1, dtype=F64), 0.1)
