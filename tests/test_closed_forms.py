"""Targets beside the plain mixtures: densities against quadrature, scipy and mpmath, scores against autograd."""

from __future__ import annotations

import math
from itertools import pairwise

import mpmath
import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import integrate, stats

from samplerhub import Denoises, Density, HasMoments, LogSobolev, Problem, Suggests, Target
from samplerhub_models.exact import Exact
from samplerhub_processes.edm import EDM
from samplerhub_targets.box_mixture import noised_interval
from samplerhub_targets.checkerboard import Checkerboard
from samplerhub_targets.lattice import Lattice
from samplerhub_targets.mixture import Mixture
from samplerhub_targets.moons import Moons
from samplerhub_targets.plane import Plane
from samplerhub_targets.random_mixture import RandomMixture
from samplerhub_targets.ring import Ring
from samplerhub_targets.spiral import Spiral
from samplerhub_targets.student_t import StudentT
from samplerhub_targets.uniform import Uniform

F64 = torch.float64
BOXES = Uniform(weights=(1, 2), low=((-1, 0, 0), (1, 1, -2)), high=((0, 1, 3), (1.1, 4, -1.5)))
STUDENTS = StudentT(weights=(1, 2), means=((0, 1), (2, 0)), scales=(0.3, 1), degrees=6)
TARGETS = {
    "plane": Plane(),
    "ring": Ring(),
    "lattice": Lattice(),
    "random": RandomMixture(),
    "student-t": StudentT(),
    "student-t plane": STUDENTS,
    "student-t 6": StudentT(weights=(1,), means=((0,) * 6,), scales=(0.5,), degrees=8),
    "moons": Moons(),
    "spiral": Spiral(),
    "uniform": Uniform(),
    "boxes": BOXES,
    "checkerboard": Checkerboard(),
}
every_target = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS.keys())


def noised(target, n, level, seed=0):
    rng = torch.Generator().manual_seed(seed)
    x = target.sample(n, rng)
    return x + level * torch.randn(x.shape, generator=rng, dtype=F64)


def at(level):
    return torch.full((1, 1), level, dtype=F64)


@every_target
def test_capabilities(target):
    for role in (Target, Denoises, Density, HasMoments, LogSobolev, Suggests):
        assert isinstance(target, role)
    fresh = type(target).model_validate_json(target.model_dump_json())
    target.denoise(torch.zeros(2, *target.shape), torch.ones(1, 1))
    assert fresh == target
    assert hash(fresh) == hash(target)


@every_target
@pytest.mark.parametrize("level", [1e-4, 0.002, 0.05, 0.3, 1.0, 5.0, 150.0, 1e4])
def test_score_is_the_gradient_of_log_prob(target, level):
    y = noised(target, 60, level).requires_grad_()
    (score,) = torch.autograd.grad(target.log_prob(y, at(level)).sum(), y)
    error = (target.denoise(y, at(level)) - (y + level**2 * score)).abs().max().item()
    assert error < 1e-11 * (1 + y.abs().max().item())
    # The score itself, to 1e-8, but for the rounding error of x0, divided by rho^2.
    found = (target.denoise(y, at(level)) - y) / level**2
    rounding = 1e-15 * (1 + y.abs().max().item()) / level**2
    assert (found - score).abs().max().item() < 1e-8 * max(1, score.abs().max().item()) + rounding


@pytest.mark.parametrize("level", [0.0, 0.02, 0.5, 4.0])
@pytest.mark.parametrize("target", [StudentT(), Uniform()], ids=["student-t", "uniform"])
def test_densities_on_the_line_integrate_to_one(target, level):
    if isinstance(target, Uniform):
        breaks = np.array([-60, *np.repeat([-0.5, 0.1, 0.7, 0.9], 3) + np.tile([-8 * level, 0, 8 * level], 4), 60])
    else:
        breaks = np.array([*-np.logspace(4, -2, 30), *np.logspace(-2, 4, 30)])
    breaks = np.unique(breaks)
    x, w = np.polynomial.legendre.leggauss(60)
    half = np.diff(breaks)[:, None] / 2
    y = torch.from_numpy((breaks[:-1, None] + half * (1 + x)).reshape(-1, 1))
    total = (target.log_prob(y, at(level)).exp().numpy() * (half * w).ravel()).sum()
    assert total == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("level", [0.05, 0.4])
@pytest.mark.parametrize("name", ["plane", "ring", "lattice", "moons", "spiral", "checkerboard"])
def test_densities_in_the_plane_integrate_to_one(name, level):
    # For smooth densities the trapezoidal rule converges exponentially; only the noise makes the edges smooth.
    line = torch.arange(-5.0, 5.0, 0.025 if level == 0.05 else 0.05, dtype=F64)
    y = torch.cartesian_prod(line, line)
    total = (TARGETS[name].log_prob(y, at(level)).exp().sum() * line.diff()[0] ** 2).item()
    assert total == pytest.approx(1, abs=1e-9)


@every_target
def test_moments_are_those_of_the_samples(target):
    n = 200_000
    x = target.sample(n, torch.Generator().manual_seed(7))
    mean, covariance = target.moments()
    u = x - mean
    assert bool((u.mean(0).abs() < 4.5 * (covariance.diagonal() / n).sqrt()).all())
    for i in range(u.shape[1]):
        products = u * u[:, i : i + 1]
        assert bool(((products.mean(0) - covariance[i]).abs() < 4.5 * products.std(0) / math.sqrt(n)).all())


@every_target
def test_samples_have_the_density(target):
    """E[log p] of samples against another law's, by importance: p/q has mean 1 under q for q the same at more noise."""
    level, wide = 0.3, 0.4
    y = noised(target, 20_000, wide, seed=3)
    ratio = (target.log_prob(y, at(level)) - target.log_prob(y, at(wide))).exp()
    assert abs(ratio.mean().item() - 1) < 4.5 * ratio.std().item() / math.sqrt(len(ratio))
    # Tweedie: x_0 less its posterior mean is uncorrelated with any function of y.
    rng = torch.Generator().manual_seed(5)
    x = target.sample(20_000, rng)
    y = x + level * torch.randn(x.shape, generator=rng, dtype=F64)
    rest = x - target.denoise(y, at(level))
    for f in (torch.ones_like(y), torch.tanh(y), torch.sin(3 * y)):
        assert bool(((rest * f).mean(0).abs() < 4.5 * (rest * f).std(0) / math.sqrt(len(x)) + 1e-12).all())


@pytest.mark.parametrize("target", [StudentT(degrees=3), Uniform()], ids=["student-t", "uniform"])
def test_samples_on_the_line_have_the_law(target):
    x = target.sample(20_000, torch.Generator().manual_seed(2)).squeeze(1).numpy()
    if isinstance(target, StudentT):
        cdf = lambda x: (stats.t(3, -1, 0.2).cdf(x) + stats.t(3, 1, 0.2).cdf(x)) / 2  # noqa: E731
    else:
        cdf = lambda x: 0.8 * stats.uniform(-0.5, 0.6).cdf(x) + 0.2 * stats.uniform(0.7, 0.2).cdf(x)  # noqa: E731
    assert stats.kstest(x, cdf).pvalue > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@every_target
def test_bits_do_not_depend_on_the_batch(target, dtype):
    y = noised(target, 500, 0.5).to(dtype)
    whole, parts = (Problem(EDM(), Exact().of(target), batch=batch) for batch in (None, 48))
    for rho in (0.3, torch.rand(500, 1, generator=torch.Generator().manual_seed(1)).to(dtype)):
        assert torch.equal(whole.x0(y, rho), parts.x0(y, rho))


@every_target
def test_float32_is_as_good_as_its_digits(target):
    for level in (0.002, 0.3, 5.0, 150.0):
        y = noised(target, 200, level).float()
        exact, found = target.denoise(y.double(), at(level)), target.denoise(y, torch.tensor([[level]]))
        assert found.dtype == torch.float32
        # Rounding y moves x0 by up to dx0/dy times that; dx0/dy = Cov[x0 | y]/rho^2 stays below some tens here.
        assert (found - exact).abs().max().item() < 60 * 6e-8 * max(1, level, y.abs().max().item())
        assert target.log_prob(y, torch.tensor([[level]])).isfinite().all()


# --- Student's t ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("degrees", [2.1, 5.0, 50.0])
@pytest.mark.parametrize("d", [1, 3, 30])
def test_student_without_noise_is_scipys(degrees, d):
    target = StudentT(weights=(1,), means=((0,) * d,), scales=(0.3,), degrees=degrees)
    y = torch.zeros(9, d, dtype=F64)
    y[:, 0] = 0.3 * torch.tensor([0, 1e-6, 0.1, 1, 3, 30, 1e3, 1e4, 9e4], dtype=F64)
    expected = stats.multivariate_t(np.zeros(d), 0.09 * np.eye(d), df=degrees).logpdf(y.numpy())
    np.testing.assert_allclose(target.log_prob(y, at(0.0)).numpy(), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("level", [0.01, 0.5, 20.0])
def test_student_with_noise_is_the_integral(level):
    target = StudentT(weights=(1,), means=(0,), scales=(0.3,), degrees=4)

    def p(x, y):
        student = 0.375 / 0.3 * (1 + (x / 0.3) ** 2 / 4) ** -2.5
        return student * math.exp(-(((y - x) / level) ** 2) / 2) / (math.sqrt(2 * math.pi) * level)

    for y in (0.0, 0.4, 3.0, 25.0):
        breaks = sorted({0.0, *(y + k * level for k in (-8, -2, 0, 2, 8)), *(0.3 * k for k in (-8, -2, 2, 8))})
        ends = [-400.0, *breaks, 400.0]
        total, first = (
            math.fsum(integrate.quad(f, a, b, epsrel=1e-12, limit=200)[0] for a, b in pairwise(ends))
            for f in (lambda x, y=y: p(x, y), lambda x, y=y: x * p(x, y))
        )
        point = torch.tensor([[y]], dtype=F64)
        assert target.log_prob(point, at(level)).item() == pytest.approx(math.log(total), abs=1e-8)
        assert target.denoise(point, at(level)).item() == pytest.approx(first / total, rel=1e-8, abs=1e-10)


def test_student_moments_and_constant():
    mean, covariance = StudentT(weights=(1,), means=(2,), scales=(0.5,), degrees=2.5).moments()
    assert (mean.item(), covariance.item()) == (2, pytest.approx(0.25 * 2.5 / 0.5))
    assert StudentT().log_sobolev(10.0) == math.inf


# --- boxes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("h", [1e-3, 0.3, 5.0])
def test_intervals_against_60_digits(h):
    with mpmath.workdps(60):
        for rho in (1e-7, 0.002, 0.1, 0.29, 0.31, 1.0, 4.9, 5.1, 150.0, 1e5):
            for s in (0.0, 1e-9, 0.2, 0.2999, 0.3, -0.3001, 1.0, -5.0001, 7.0, 50.0):
                log_p, mean = noised_interval(*(torch.tensor([x], dtype=F64) for x in (s, h, rho)))
                S, H, R = (mpmath.mpf(x) for x in (abs(s), h, rho))
                p, q = (S - H) / R, (S + H) / R
                Z = (mpmath.erfc(p / mpmath.sqrt(2)) - mpmath.erfc(q / mpmath.sqrt(2))) / 2
                expected = mpmath.log(Z / (2 * H))
                assert abs(log_p.item() - expected) < 1e-12 * (1 + abs(expected)), (h, rho, s)
                m = S - R * (mpmath.npdf(p) - mpmath.npdf(q)) / Z
                assert abs(mean.item() * (-1 if s < 0 else 1) - m) < 1e-12 * (1 + S), (h, rho, s)


def test_boxes_without_noise_are_uniform():
    y = torch.tensor([[-0.6], [-0.4], [0.5], [0.8], [100.0]], dtype=F64)
    expected = torch.tensor([0, 0.8 / 0.6, 0, 0.2 / 0.2, 0], dtype=F64)
    torch.testing.assert_close(Uniform().log_prob(y, at(0.0)).exp(), expected)
    torch.testing.assert_close(Uniform().log_prob(y.float(), torch.zeros(1, 1)).exp(), expected.float())


def test_posterior_means_stay_in_the_boxes():
    for dtype in (torch.float32, F64):
        y = torch.tensor([[-1e6], [-0.5], [0.1], [0.3], [1e6]], dtype=dtype)
        for level in (1e-7, 1e-3, 1.0, 1e3):
            x0 = Uniform().denoise(y, torch.tensor([[level]], dtype=dtype))
            assert bool(((x0 > -0.5 - 1e-6) & (x0 < 0.9 + 1e-6)).all())


def test_the_ball_of_the_default_boxes_is_the_papers():
    assert Uniform()._radius == pytest.approx(0.7, abs=1e-15)
    assert Checkerboard()._radius == pytest.approx(2 * math.sqrt(2))


def test_the_checkerboard_has_half_the_board():
    x = Checkerboard().sample(4000, torch.Generator().manual_seed(0))
    assert bool((x.abs() <= 2).all())
    assert bool(((x + 2).floor().sum(1) % 2 == 0).all())


# --- mixtures ---------------------------------------------------------------------------------------------------------


def test_ready_made_mixtures_are_mixtures():
    y = torch.randn(50, 2, generator=torch.Generator().manual_seed(0), dtype=F64)
    angle = [2 * math.pi * k / 8 for k in range(8)]
    ring = Mixture(
        weights=(1,) * 8, means=[(2 * math.cos(a), 2 * math.sin(a)) for a in angle], covariances=[0.1**2] * 8
    )
    points = [(i, j) for i in range(-2, 3) for j in range(-2, 3)]
    lattice = Mixture(weights=(1,) * 25, means=points, covariances=[0.1**2] * 25)
    plane = Mixture(weights=(0.1, 0.9), means=((-1, -1), (0.1, 0.1)), covariances=(0.04, 0.01))
    for ours, plain in ((Ring(), ring), (Lattice(), lattice), (Plane(), plane)):
        torch.testing.assert_close(ours.log_prob(y, at(0.3)), plain.log_prob(y, at(0.3)))
        torch.testing.assert_close(ours.denoise(y, at(0.3)), plain.denoise(y, at(0.3)))
        for theirs, found in zip(plain.moments(), ours.moments()):
            torch.testing.assert_close(found, theirs)
    assert Plane().log_sobolev(0.5) == plane.log_sobolev(0.5)


def test_random_mixtures_have_a_seed():
    a, b, c = RandomMixture(seed=1), RandomMixture(seed=1), RandomMixture(seed=2)
    assert a.moments()[0].equal(b.moments()[0])
    assert not a.moments()[0].equal(c.moments()[0])
    assert RandomMixture(dimension=1).suggests["metric"] == "kl"
    many = RandomMixture(modes=4000, dimension=3, spread=2.0)._law
    assert many[1].std().item() == pytest.approx(2, rel=0.05)
    assert many[0].std().item() * 4000 == pytest.approx(1, rel=0.1)


# --- curves -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [Moons(), Moons(width=0.03), Spiral(), Spiral(turns=3)], ids=str)
def test_curves_are_integrals(target):
    level = 0.02
    v = (torch.arange(40_000, dtype=F64) + 0.5) / 40_000
    p = target.density(v) / 40_000
    for y in noised(target, 10, level):
        s = target.width**2 + level**2
        q = torch.stack([(points - y).square().sum(1) for points in target.branches(v)])
        e = p * (-q / (2 * s)).exp()
        expected = e.sum() / len(q) / (2 * math.pi * s)
        # The midpoint rule with 40,000 nodes is good to 1e-7, from the ends of the curve.
        assert target.log_prob(y[None], at(level)).exp().item() == pytest.approx(expected.item(), rel=1e-6)


def test_moons_are_scikit_learns():
    from sklearn.datasets import make_moons

    x = make_moons(20_000, noise=0.1, random_state=0)[0]
    mean, covariance = (part.numpy() for part in Moons().moments())
    np.testing.assert_allclose(x.mean(0), mean, atol=4.5 * math.sqrt(covariance.max() / len(x)))
    np.testing.assert_allclose(np.cov(x.T), covariance, atol=0.02)


def test_curves_lie_in_their_ball():
    for target in (Moons(), Spiral()):
        x = target.branches(torch.linspace(0, 1, 1009, dtype=F64))
        farthest = torch.cdist(torch.cat(x), torch.cat(x)).max().item()
        assert farthest / 2 <= target._radius <= 1.2 * farthest / 2
        assert 6 * 80**2 < target.log_sobolev(80.0) < 1.02 * 6 * 80**2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: StudentT(degrees=2), "greater than 2"),
        (lambda: StudentT(scales=(1,)), "2 weights, 2 means and 1 scales"),
        (lambda: StudentT(means=((0, 1), (1,))), r"means have lengths \[2, 1\]"),
        (lambda: Uniform(low=(0.2, 0.7)), r"box 0 reaches from \(0.2,\) to \(0.1,\)"),
        (lambda: Uniform(low=(0.2,)), "2 weights, 1 lower and 2 upper corners"),
        (lambda: Uniform(low=((0.2, 1), (0, 0))), r"corners have lengths \[2, 2, 1, 1\]"),
        (lambda: Ring(modes=0), "greater than or equal to 1"),
        (lambda: Moons(width=0), "greater than or equal to 0.01"),
    ],
)
def test_bad_fields_say_what_is_wrong(make, message):
    with pytest.raises(ValidationError, match=message):
        make()
