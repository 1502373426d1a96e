"""Targets against quadrature, scipy, autograd and Monte Carlo."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import stats
from scipy.special import logsumexp

from samplerhub import Denoises, Density, HasMoments, IsGaussian, Problem, Suggests, Target
from samplerhub_models.exact import Exact
from samplerhub_processes.edm import EDM
from samplerhub_targets.digits import Digits
from samplerhub_targets.gaussian import Gaussian
from samplerhub_targets.mixture import Mixture

F64 = torch.float64


def points(K, d, seed=0, scale=1.0):
    return (scale * np.random.default_rng(seed).normal(size=(K, d))).tolist()


def matrix(d, seed):
    A = np.random.default_rng(seed).normal(size=(d, d))
    return (A @ A.T / d + 0.05 * np.eye(d)).tolist()


TARGETS = {
    "line": Mixture(),
    "gaussian": Gaussian(),
    "gaussian diagonal": Gaussian(mean=(1.0, -1.0), covariance=((0.5, 0.0), (0.0, 2.0))),
    "gaussian full": Gaussian(mean=points(1, 3)[0], covariance=matrix(3, 1)),
    "isotropic plane": Mixture(weights=(1, 2, 3), means=points(3, 2), covariances=(0.1, 0.2, 0.05)),
    "isotropic 6": Mixture(weights=(1, 2, 3), means=points(3, 6), covariances=(0.1, 0.2, 0.05)),
    "full plane": Mixture(weights=(1, 2), means=points(2, 2), covariances=(matrix(2, 1), 0.3)),
    "full 6": Mixture(weights=(1, 2, 1), means=points(3, 6), covariances=[matrix(6, i) for i in range(3)]),
}
MIXTURES = {name: target for name, target in TARGETS.items() if isinstance(target, Mixture)}
every_target = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS.keys())


def scipy_log_prob(target, y, level):
    """Return the log-density by scipy, component by component."""
    if isinstance(target, Gaussian):
        w, means, covariances = (1.0,), (target.mean,), (target.covariance,)
    else:
        w, means, covariances = target.weights, target.means, target.covariances
    eye = np.eye(y.shape[1])
    terms = [
        math.log(w_i / sum(w)) + stats.multivariate_normal(mu, S * eye + level**2 * eye).logpdf(y)
        if isinstance(S, float)
        else math.log(w_i / sum(w)) + stats.multivariate_normal(mu, np.array(S) + level**2 * eye).logpdf(y)
        for w_i, mu, S in zip(w, means, covariances)
    ]
    return logsumexp(terms, axis=0)


@every_target
def test_capabilities(target):
    for role in (Target, Denoises, Density, HasMoments, Suggests):
        assert isinstance(target, role)
    assert isinstance(target, IsGaussian) == isinstance(target, Gaussian)


@every_target
@pytest.mark.parametrize("level", [0.002, 0.3, 5.0])
def test_log_prob_is_scipys(target, level):
    y = torch.randn(50, *target.shape, generator=torch.Generator().manual_seed(0), dtype=F64)
    expected = scipy_log_prob(target, y.numpy(), level)
    np.testing.assert_allclose(target.log_prob(y, torch.full((1, 1), level, dtype=F64)), expected, rtol=1e-9)


@every_target
@pytest.mark.parametrize("level", [0.002, 0.3, 5.0, 150.0])
def test_score_is_the_gradient_of_log_prob(target, level):
    y = (target.sample(50, torch.Generator().manual_seed(0)) + level).requires_grad_()
    rho = torch.full((1, 1), level, dtype=F64)
    (score,) = torch.autograd.grad(target.log_prob(y, rho).sum(), y)
    # x0 is a rounded number of the size of y: its rounding error is all that may differ.
    torch.testing.assert_close(target.denoise(y, rho), y + level**2 * score, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("level", [0.05, 0.5])
def test_denoise_is_the_posterior_mean_by_quadrature(level):
    target = Mixture()
    x = torch.linspace(-4, 4, 200_001, dtype=F64)
    prior = torch.from_numpy(
        sum(w * stats.norm(m, math.sqrt(v)).pdf(x) for w, m, v in ((0.1, -1, 0.04), (0.9, 0.1, 0.01)))
    )
    for y in (-1.3, -0.4, 0.0, 0.7):
        joint = prior * torch.exp(-((y - x) ** 2) / (2 * level**2))
        expected = torch.trapezoid(x * joint, x) / torch.trapezoid(joint, x)
        found = target.denoise(torch.tensor([[y]], dtype=F64), torch.tensor([[level]], dtype=F64))
        assert found.item() == pytest.approx(expected.item(), rel=1e-9, abs=1e-12)


@every_target
def test_every_shape_of_the_noise_level(target):
    y = torch.randn(5, *target.shape, dtype=F64)
    levels = torch.tensor([0.01, 0.1, 1.0, 10.0, 100.0], dtype=F64)
    rows = torch.cat([target.denoise(y[i : i + 1], levels[i].reshape(1, 1)) for i in range(5)])
    densities = torch.cat([target.log_prob(y[i : i + 1], levels[i].reshape(1, 1)) for i in range(5)])
    for rho in (levels, levels[:, None]):
        torch.testing.assert_close(target.denoise(y, rho), rows)
        torch.testing.assert_close(target.log_prob(y, rho), densities)
    torch.testing.assert_close(target.denoise(y, levels[2]), target.denoise(y, levels[2].expand(5)))


@every_target
def test_float32_is_as_good_as_its_digits(target):
    rng = torch.Generator().manual_seed(0)
    for level in (0.002, 0.3, 5.0, 150.0):
        x = target.sample(200, rng)
        y = (x + level * torch.randn(x.shape, generator=rng, dtype=F64)).float()
        rho = torch.tensor([[level]])
        exact, found = target.denoise(y.double(), rho.double()), target.denoise(y, rho)
        assert found.dtype == torch.float32
        # Rounding y moves x0 by up to dx0/dy times that; dx0/dy = Cov[x0 | y]/rho^2 stays below some tens here.
        assert (found - exact).abs().max().item() < 50 * 6e-8 * max(1, level)
        assert target.log_prob(y, rho).isfinite().all()


def test_close_components_far_from_the_origin_survive_float32():
    # |y|^2 - 2 mu.y + |mu|^2 in float32 would be noise here: the squares are 1e4, the variances 1e-4.
    d, n = 16, 100
    means = 30 + 0.03 * np.random.default_rng(0).normal(size=(40, d))
    target = Mixture(weights=[1] * 40, means=means.tolist(), covariances=[1e-4] * 40)
    y = target.sample(n, torch.Generator().manual_seed(0)).float()
    rho = torch.tensor([[0.01]])
    exact = target.denoise(y.double(), rho.double())
    assert (target.denoise(y, rho) - exact).abs().max().item() < 1e-4


def test_far_tails_stay_finite():
    for dtype in (torch.float32, F64):
        y = torch.tensor([[-1e4], [1e4], [1e3]], dtype=dtype)
        for level in (1e-6, 1.0, 150.0):
            rho = torch.tensor([[level]], dtype=dtype)
            assert Mixture().denoise(y, rho).isfinite().all()
            assert Mixture().log_prob(y, rho).isfinite().all()


@every_target
def test_moments_are_those_of_the_samples(target):
    n = 200_000
    x = target.sample(n, torch.Generator().manual_seed(5))
    mean, covariance = target.moments()
    u = x - mean
    assert bool((u.mean(0).abs() < 4.5 * (covariance.diagonal() / n).sqrt()).all())
    for i in range(u.shape[1]):
        products = u * u[:, i : i + 1]
        error = products.std(0) / math.sqrt(n)
        assert bool(((products.mean(0) - covariance[i]).abs() < 4.5 * error).all())


@pytest.mark.parametrize("target", [TARGETS["line"], TARGETS["gaussian"]], ids=["line", "gaussian"])
def test_samples_have_the_density(target):
    x = target.sample(20_000, torch.Generator().manual_seed(2)).squeeze(1).sort().values
    grid = torch.linspace(-8, 8, 400_001, dtype=F64)
    density = target.log_prob(grid[:, None], torch.zeros(1, 1, dtype=F64)).exp()
    cdf = torch.cumulative_trapezoid(density, grid)
    assert cdf[-1].item() == pytest.approx(1, abs=1e-9)
    result = stats.kstest(x.numpy(), lambda x: np.interp(x, grid[1:].numpy(), cdf.numpy()))
    assert result.pvalue > 1e-3


@every_target
def test_sampling_draws_from_its_stream_alone(target):
    before = torch.get_rng_state()
    x, again = (target.sample(50, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(x, again)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@every_target
def test_bits_do_not_depend_on_the_batch(target, dtype):
    y = torch.randn(500, *target.shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    whole, parts = (Problem(EDM(), Exact().of(target), batch=batch) for batch in (None, 48))
    for rho in (0.3, torch.rand(500, 1, generator=torch.Generator().manual_seed(1)).to(dtype)):
        assert torch.equal(whole.x0(y, rho), parts.x0(y, rho))


@every_target
def test_using_a_target_changes_nothing_about_it(target):
    fresh = type(target).model_validate_json(target.model_dump_json())
    target.denoise(torch.zeros(2, *target.shape), torch.ones(1, 1))
    assert target == fresh
    assert hash(target) == hash(fresh)
    fresh.denoise(torch.zeros(2, *target.shape), torch.ones(1, 1))
    assert target == fresh
    with pytest.raises(ValidationError, match="frozen"):
        target.__setattr__(next(iter(type(target).model_fields)), ())


def test_a_variance_will_do_for_a_covariance_and_the_dimension_follows_the_mean():
    short, long = Gaussian(mean=(1, 2), covariance=4), Gaussian(mean=(1, 2), covariance=((4, 0), (0, 4)))
    y, rho = torch.randn(3, 2, dtype=F64), torch.full((1, 1), 0.7, dtype=F64)
    assert torch.equal(short.denoise(y, rho), long.denoise(y, rho))
    assert torch.equal(short.moments()[1], long.moments()[1])
    assert torch.equal(Gaussian(mean=(0, 0, 0)).moments()[1], torch.eye(3, dtype=F64))


def test_numbers_will_do_for_means_on_the_line():
    assert Mixture(weights=(1, 1), means=(-1, 2.5), covariances=(1, 1)).means == ((-1.0,), (2.5,))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Mixture(weights=(1,)), "1 weights, 2 means and 2 covariances"),
        (lambda: Mixture(weights=(1, -1)), "greater than 0"),
        (lambda: Mixture(means=((0, 1), (1,))), r"means have lengths \[2, 1\]"),
        (lambda: Mixture(covariances=(1, -0.5)), "covariance 1 is -0.5; a variance must be positive"),
        (lambda: Mixture(covariances=(1, ((1, 0), (0, 1)))), r"covariance 1 has rows of lengths \[2, 2\]"),
        (
            lambda: Mixture(means=points(2, 2), covariances=(1, ((1, 2), (2, 1)))),
            "covariance 1 has the eigenvalue -1; all of them must be positive",
        ),
        (
            lambda: Mixture(means=points(2, 2), covariances=(1, ((1, 0.5), (0, 1)))),
            "covariance 1 differs from its transpose by 0.5",
        ),
        (lambda: Gaussian(mean=()), "at least 1 item"),
        (lambda: Gaussian(mean=(0, 0), covariance=((1,),)), r"rows of lengths \[1\]; .* a matrix of 2 x 2 numbers"),
        (lambda: Gaussian(covariance=-2), "covariance is -2; a variance must be positive"),
        (lambda: Gaussian(covariance=((-1,),)), "eigenvalue -1"),
        (lambda: Gaussian(mean=(0, 0), covariance=((1, 0.5), (0, 1))), "differs from its transpose by 0.5"),
    ],
)
def test_bad_fields_say_what_is_wrong(make, message):
    with pytest.raises(ValidationError, match=message):
        make()


def test_digits_are_the_images():
    from sklearn.datasets import load_digits

    images = load_digits().images
    assert [len(Digits(split=s).data()) for s in ("train", "held-out", "all")] == [1438, 359, 1797]
    np.testing.assert_array_equal(Digits(split="all").data()[:, 0], images / 8 - 1)
    np.testing.assert_array_equal(Digits(split="held-out").data()[:, 0], images[4::5] / 8 - 1)
    assert Digits().data().min().item() == -1
    assert Digits().data().max().item() == 1


def test_digits_are_drawn_with_replacement_from_the_split():
    target = Digits()
    x = target.sample(3000, torch.Generator().manual_seed(0))
    assert x.shape == (3000, *target.shape)
    assert x.dtype == F64
    known = {image.numpy().tobytes() for image in target.data()}
    assert all(image.numpy().tobytes() in known for image in x)
    mean, covariance = target.moments()
    np.testing.assert_allclose(covariance, np.cov(target.data().flatten(1).T, bias=True), atol=1e-12)
    error = (covariance.diagonal() / 3000).sqrt()
    assert bool(((x.flatten(1).mean(0) - mean).abs() <= 4.5 * error + 1e-12).all())
    assert not isinstance(target, Denoises)
