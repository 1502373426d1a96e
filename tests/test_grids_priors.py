"""Grids, priors and the exact model."""

from __future__ import annotations

import math

import pytest
import torch

from samplerhub import Problem, rho, sigma
from samplerhub.errors import InvalidSetting, Mismatch
from samplerhub_grids.angle import AngleGrid
from samplerhub_grids.edm import EDMGrid
from samplerhub_grids.exponential import Exponential
from samplerhub_grids.rectified import Rectified
from samplerhub_grids.uniform import Uniform
from samplerhub_models.exact import Exact
from samplerhub_priors.exact import ExactPrior
from samplerhub_priors.gaussian import GaussianPrior
from samplerhub_processes.edm import EDM
from samplerhub_processes.geometric import VEGeometric
from samplerhub_processes.ve import VE
from samplerhub_processes.vp import VP
from samplerhub_targets.digits import Digits
from samplerhub_targets.gaussian import Gaussian
from samplerhub_targets.mixture import Mixture

PROCESSES = [EDM(), VE(), VEGeometric(), VP()]
GRIDS = [EDMGrid(), EDMGrid(exponent=1), Uniform(), Exponential(), AngleGrid(), Rectified()]
TARGET = Mixture()


def problem_of(process, target=TARGET, span=None):
    return Problem(process, Exact().of(target), target=target, shape=target.shape, span=span)


@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("grid", GRIDS, ids=repr)
@pytest.mark.parametrize("steps", [1, 2, 17, 1000])
def test_a_grid_goes_down_from_one_end_of_the_span_to_the_other(process, grid, steps):
    low, high = process.span
    for span in [(low, high), (low + 0.1 * (high - low), low + 0.7 * (high - low))]:
        times = grid(problem_of(process, span=span), steps)
        assert times.dtype == torch.float64
        assert times.shape == (steps + 1,)
        assert (times[-1].item(), times[0].item()) == span
        assert bool((times.diff() < 0).all())


@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: type(p).__name__)
def test_grids_are_uniform_in_their_variable(process):
    problem = problem_of(process)
    variables = {
        EDMGrid(): lambda t: rho(process, t) ** (1 / 7),
        EDMGrid(exponent=1): lambda t: rho(process, t),
        Exponential(): lambda t: rho(process, t).log(),
        Uniform(): lambda t: t,
        AngleGrid(center=0.5): lambda t: torch.atan(rho(process, t) / 0.5),
        Rectified(): lambda t: rho(process, t) / (rho(process, t) + 0.3),
    }
    for grid, variable in variables.items():
        steps = variable(grid(problem, 40)).diff()
        torch.testing.assert_close(steps, steps.mean().expand(40), rtol=1e-9, atol=0)


def test_the_edm_grid_has_karras_values():
    # Karras et al., eq. 5 with N = 18, sigma in [0.002, 80], exponent 7, in plain Python.
    a, b = 80 ** (1 / 7), 0.002 ** (1 / 7)
    expected = [(a + i / 17 * (b - a)) ** 7 for i in range(18)]
    assert EDMGrid()(problem_of(EDM()), 17).tolist() == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("grid", GRIDS, ids=repr)
def test_a_grid_without_steps_is_refused(grid):
    with pytest.raises(InvalidSetting, match="grid of 0 steps"):
        grid(problem_of(EDM()), 0)


@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: type(p).__name__)
def test_the_gaussian_prior_is_scaled_noise(process):
    target = Gaussian(mean=(1.0, 2.0), covariance=((1.0, 0.0), (0.0, 1.0)))
    n, scale = 40_000, sigma(process, process.span[1]).item()
    x = GaussianPrior().sample(problem_of(process, target), n, torch.Generator().manual_seed(0))
    assert x.dtype == torch.float64
    assert x.shape == (n, 2)
    assert x.mean().item() / scale == pytest.approx(0, abs=4 / math.sqrt(2 * n))
    assert x.var().item() / scale**2 == pytest.approx(1, abs=4 * math.sqrt(2 / (2 * n)))


def test_the_exact_prior_has_the_moments_of_the_noised_target():
    target = Gaussian(mean=(1.0, -2.0), covariance=((1.0, 0.3), (0.3, 0.5)))
    process, n = VP(t_max=0.3), 100_000
    x = ExactPrior().sample(problem_of(process, target), n, torch.Generator().manual_seed(1))
    t = torch.tensor(0.3, dtype=torch.float64)
    mean, covariance = target.moments()
    expected = process.alpha(t) ** 2 * covariance + process.sigma(t) ** 2 * torch.eye(2, dtype=torch.float64)
    assert bool(((x.mean(0) - process.alpha(t) * mean).abs() < 4 * (expected.diagonal() / n).sqrt()).all())
    d = expected.diagonal()
    error = ((torch.outer(d, d) + expected**2) / n).sqrt()
    assert bool(((torch.cov(x.T) - expected).abs() < 4 * error).all())


@pytest.mark.parametrize("prior", [GaussianPrior(), ExactPrior()], ids=repr)
def test_a_prior_draws_from_its_stream_alone(prior):
    problem = problem_of(EDM())
    before = torch.get_rng_state()
    x, again = (prior.sample(problem, 100, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(x, again)
    assert torch.equal(before, torch.get_rng_state())


def test_the_exact_prior_needs_a_target():
    problem = Problem(EDM(), Exact().of(TARGET), shape=(1,))
    with pytest.raises(Mismatch, match="there is none"):
        ExactPrior().sample(problem, 10, torch.Generator())


def test_the_exact_model_is_the_targets_posterior_mean():
    model = Exact().of(TARGET)
    y, level = torch.randn(10, 1), torch.tensor([[0.5]])
    assert model.predicts == "x0"
    assert model.shape == (1,)
    assert torch.equal(model(y, level), TARGET.denoise(y, level))


def test_the_exact_model_says_what_a_target_lacks():
    with pytest.raises(Mismatch, match=r"Digits has no method 'denoise'; choose a trained model"):
        Exact().of(Digits())
