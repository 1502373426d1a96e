"""Log-Sobolev constants against published values, closed forms, and what any test function says from below."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import torch
from scipy.linalg import eigh_tridiagonal

from samplerhub import Density, LogSobolev
from samplerhub_targets.digits import Digits
from samplerhub_targets.gaussian import Gaussian
from samplerhub_targets.log_sobolev import Divergence, compact_support, radius
from samplerhub_targets.mixture import Mixture

F64 = torch.float64
T = 0.7530995852
KINDS = ("paper", "half", "split")
LEVELS = (0.0, 0.05, 0.1, 0.3, 0.5, T, 2.0, 20.0)


def mixtures(kind="paper"):
    return [
        Mixture(lsi=kind),
        Mixture(lsi=kind, weights=(0.5, 0.5), means=(-1, 1), covariances=(0.3, 0.3)),
        Mixture(lsi=kind, weights=(0.7, 0.3), means=(0, 0.4), covariances=(1.0, 0.2)),
    ]


# --- published numbers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("paper", (2.10798, 14.1095, 635.762, 572283)), ("half", (1.35757, 7.18476, 317.946, 286142))],
)
def test_constants_of_the_papers_mixture(kind, expected):
    target = Mixture(lsi=kind)
    for rho, C in zip((T, 0.5, 0.3, 0.1), expected):
        assert target.log_sobolev(rho) == pytest.approx(C, rel=4e-6)


def schlichting(p, v, m2, L, rho):
    """Return the constant of Corollary 2 in 30 digits, for weights p and 1 - p and variances v on the line."""
    with mpmath.workdps(30):
        p, q, v_0, v_1 = mpmath.mpf(p), 1 - mpmath.mpf(p), *(mpmath.mpf(s) + mpmath.mpf(rho) ** 2 for s in v)
        lam = L * (mpmath.log(p) - mpmath.log(q)) / (p - q) if p != q else 2 * mpmath.mpf(L)

        def chi(a, b):
            return b / mpmath.sqrt(a * (2 * b - a)) * mpmath.exp(m2 / (2 * b - a)) if 2 * b > a else mpmath.inf

        return float(
            min(
                max(v_0 * (1 + q * lam), v_1 * (1 + p * lam * chi(v_0, v_1))),
                max(v_1 * (1 + p * lam), v_0 * (1 + q * lam * chi(v_1, v_0))),
            )
        )


@pytest.mark.parametrize("rho", LEVELS)
def test_two_components_in_thirty_digits(rho):
    for kind, L in (("paper", 1), ("half", 0.5)):
        first, second, third = mixtures(kind)
        m2 = mpmath.mpf("1.1") ** 2
        assert first.log_sobolev(rho) == pytest.approx(schlichting("0.1", ("0.04", "0.01"), m2, L, rho), rel=1e-9)
        assert second.log_sobolev(rho) == pytest.approx(schlichting("0.5", ("0.3", "0.3"), 4, L, rho), rel=1e-9)
        m2 = mpmath.mpf("0.4") ** 2
        assert third.log_sobolev(rho) == pytest.approx(schlichting("0.7", ("1", "0.2"), m2, L, rho), rel=1e-9)


def test_equal_variances_have_a_closed_form_when_split():
    p, v, m = 0.3, 0.25, 0.9
    target = Mixture(lsi="split", weights=(p, 1 - p), means=(0, m), covariances=(v, v))
    # Above, eta would leave [0, 1].
    for rho in (0.0, 0.05, 0.1, 0.3, 0.5):
        s = v + rho**2
        L = (math.log(p) - math.log(1 - p)) / (2 * p - 1) / 2
        closed = s * (1 + p * (1 - p) * L * (math.exp(m**2 / s) + 1))
        assert target.log_sobolev(rho) == pytest.approx(closed, rel=1e-9)


# --- the chi-square divergence ----------------------------------------------------------------------------------------


def test_chi_square_is_the_integral():
    mu_a, mu_b = torch.tensor([0.3, -0.2]).double(), torch.tensor([-0.1, 0.4]).double()
    A = torch.tensor([[0.5, 0.2], [0.2, 0.4]]).double()
    B = torch.tensor([[0.6, -0.1], [-0.1, 0.5]]).double()
    rho = 0.3
    x = torch.linspace(-20, 20, 801, dtype=F64)
    grid = torch.cartesian_prod(x, x)
    eye = rho**2 * torch.eye(2).double()
    log_a, log_b = (
        torch.distributions.MultivariateNormal(mu, S + eye).log_prob(grid) for mu, S in ((mu_a, A), (mu_b, B))
    )
    integral = (2 * log_a - log_b).exp().sum() * (x[1] - x[0]) ** 2
    assert Divergence.of(mu_a, A, mu_b, B)(rho) == pytest.approx(integral.item(), rel=1e-10)


def test_chi_square_is_infinite_for_tails_that_are_too_wide():
    zero, one = torch.zeros(1).double(), torch.ones(1, 1).double()
    divergence = Divergence.of(zero, one, zero, 0.4 * one)
    assert divergence(0.3) == math.inf
    # 2 (0.4 + u) > 1 + u from u = 0.2 on.
    assert divergence(math.sqrt(0.19)) == math.inf
    assert divergence(math.sqrt(0.21)) < math.inf


# --- what holds for every target --------------------------------------------------------------------------------------

TARGETS = [
    Gaussian(mean=(0.0, 1.0), covariance=((2.0, 0.5), (0.5, 1.0))),
    *(m for kind in KINDS for m in mixtures(kind)),
    Mixture(weights=(1,), means=(2,), covariances=(0.3,)),
    Mixture(weights=(1, 1, 1), means=(-1, 0.1, 1), covariances=(0.3, 0.3, 0.3)),
    Digits(),
]


@pytest.mark.parametrize("target", TARGETS, ids=repr)
def test_the_constant_is_at_least_the_largest_variance_and_a_capability(target):
    assert isinstance(target, LogSobolev)
    largest = torch.linalg.eigvalsh(target.moments()[1])[-1].item()
    for rho in LEVELS:
        assert target.log_sobolev(rho) >= (largest + rho**2) * (1 - 1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_scaling_and_shifting(kind):
    scale = 3.0
    for target in mixtures(kind):
        other = target.replace(
            means=[scale * mu[0] + 5 for mu in target.means], covariances=[scale**2 * S for S in target.covariances]
        )
        for rho in LEVELS:
            assert other.log_sobolev(scale * rho) == pytest.approx(scale**2 * target.log_sobolev(rho), rel=1e-8)


@pytest.mark.parametrize("rho", LEVELS)
def test_kinds_are_ordered_and_swapping_the_components_does_nothing(rho):
    for paper, half, split in zip(*(mixtures(kind) for kind in KINDS)):
        assert split.log_sobolev(rho) <= half.log_sobolev(rho) <= paper.log_sobolev(rho)
        for target in (paper, half, split):
            fields = ("weights", "means", "covariances")
            swapped = target.replace(**{name: getattr(target, name)[::-1] for name in fields})
            assert swapped.log_sobolev(rho) == pytest.approx(target.log_sobolev(rho), rel=1e-12)


def test_the_constant_does_not_depend_on_axes():
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)).double())[0]
    S = [torch.diag(torch.tensor(v)).double() for v in ((0.5, 0.3, 0.4), (0.6, 0.4, 0.3))]
    mu = torch.tensor([[0.0, 0.2, 0.1], [0.5, -0.3, 0.2]]).double()
    straight = Mixture(weights=(0.4, 0.6), means=mu.tolist(), covariances=[s.tolist() for s in S])
    turned = Mixture(
        weights=(0.4, 0.6), means=(mu @ turn.T).tolist(), covariances=[(turn @ s @ turn.T).tolist() for s in S]
    )
    for rho in LEVELS:
        assert turned.log_sobolev(rho) == pytest.approx(straight.log_sobolev(rho), rel=1e-9)


def test_more_dimensions_of_equal_variance_change_nothing():
    line = Mixture(weights=(0.3, 0.7), means=(0, 1), covariances=(0.3, 0.3))
    space = line.replace(means=((0.0, 2.0, 1.0), (1.0, 2.0, 1.0)))
    for rho in LEVELS:
        assert space.log_sobolev(rho) == pytest.approx(line.log_sobolev(rho), rel=1e-12)


def test_other_mixtures_have_none():
    assert Mixture(weights=(1, 1, 1), means=(-1, 0, 1), covariances=(0.3, 0.3, 0.2)).log_sobolev(1.0) == math.inf
    # 2 S_1 - S_0 and 2 S_0 - S_1 are both indefinite, until there is enough noise.
    crossed = Mixture(weights=(1, 1), means=((0, 0), (1, 0)), covariances=(((1, 0), (0, 0.1)), ((0.1, 0), (0, 1))))
    assert crossed.log_sobolev(0.5) == math.inf
    assert crossed.log_sobolev(1.0) < math.inf


# --- lower bounds: no test function does better -----------------------------------------------------------------------


def from_below(target: Density, rho: float) -> float:
    """Return a lower bound of the best constant on the line: the variance over the energy of the slowest function.

    A log-Sobolev constant is a Poincare constant, Var f <= C E|f'|^2; the best one of those is 1/lambda, lambda the
    smallest positive eigenvalue of f'' + (log p)' f', here by finite volumes.
    """
    sd = math.sqrt(target.moments()[1].item() + rho**2)
    x = np.linspace(-9 * sd, 9 * sd, 6001)
    middle = (x[1:] + x[:-1]) / 2
    p, q = (
        target.log_prob(torch.from_numpy(y)[:, None], torch.full((1, 1), rho).double()).exp().numpy() + 1e-30
        for y in (x, middle)
    )
    h = x[1] - x[0]
    diagonal = (np.append(q, 0) + np.append(0, q)) / (p * h**2)
    off = -q / (np.sqrt(p[1:] * p[:-1]) * h**2)
    values = eigh_tridiagonal(diagonal, off, select="i", select_range=(0, 1), eigvals_only=True)
    return 1 / values[1]


def entropy_ratio(target: Density, rho: float, f) -> float:
    """Return Ent(f^2)/(2 E|f'|^2), which is at most the constant for every f."""
    sd = math.sqrt(target.moments()[1].item() + rho**2)
    y = torch.linspace(-12 * sd, 12 * sd, 40_001, dtype=F64)
    p = target.log_prob(y[:, None], torch.full((1, 1), rho).double()).exp()
    y = y.requires_grad_()
    value = f(y)
    (slope,) = torch.autograd.grad(value.sum(), y)
    g = value.detach() ** 2
    dy = (y[1] - y[0]).item()
    mean = (p * g).sum() * dy
    return (((p * torch.xlogy(g, g)).sum() * dy - mean * mean.log()) / (2 * (p * slope**2).sum() * dy)).item()


def test_the_poincare_constant_of_a_normal_law_is_found():
    assert from_below(Gaussian(mean=(0.0,), covariance=0.5), 0.5) == pytest.approx(0.75, rel=1e-4)


@pytest.mark.parametrize("rho", [0.1, 0.3, 0.5, T, 2.0])
@pytest.mark.parametrize("kind", KINDS)
def test_no_test_function_does_better(kind, rho):
    steps = [lambda y, a=a, b=b: 1.001 + torch.tanh(a * (y - b)) for a in (1.0, 4.0, 15.0) for b in (-0.6, -0.3, 0.5)]
    tilts = [lambda y, a=a: (a * y).exp() for a in (-2.0, 0.5, 2.0)]
    three = Mixture(weights=(1, 1, 1), means=(-1, 0.1, 1), covariances=(0.3, 0.3, 0.3))
    for target in (*mixtures(kind), three):
        C = target.log_sobolev(rho)
        assert from_below(target, rho) <= C
        assert max(entropy_ratio(target, rho, f) for f in steps + tilts) <= C


def test_tilts_attain_the_constant_of_a_normal_law():
    target = Gaussian(mean=(0.3,), covariance=0.5)
    assert entropy_ratio(target, 0.5, lambda y: (0.7 * y).exp()) == pytest.approx(target.log_sobolev(0.5), rel=1e-9)


# --- data in a ball ---------------------------------------------------------------------------------------------------


def test_compact_support():
    assert compact_support(0.0, 0.3) == 0.3
    assert compact_support(1.0, 0.0) == math.inf
    assert compact_support(1.0, 1e-3) == math.inf
    assert compact_support(0.7, 0.5) == pytest.approx(6 * (4 * 0.49 + 0.5) * math.exp(4 * 0.49 / 0.5), rel=1e-12)
    # Two points at distance 2 R, all but.
    two = Mixture(weights=(1, 1), means=(-0.7, 0.7), covariances=(1e-12, 1e-12))
    assert from_below(two, 0.5) <= two.log_sobolev(0.5) <= compact_support(0.7, 0.25)


def test_the_ball_holds_all_points_and_is_nearly_the_smallest():
    angle = torch.linspace(0, 2 * math.pi, 8)[:-1].double()
    for x, R in (
        (torch.stack([angle.cos(), angle.sin()], 1) + 3, 1.0),
        (torch.tensor([[-1.0], [0.1], [1.0]]), 1.0),
        (torch.tensor([[-1.0, 0.0]] * 50 + [[1.0, 0.0]]), 1.0),
        (torch.eye(5), math.sqrt(1 - 1 / 5)),
    ):
        assert R * (1 - 1e-9) <= radius(x) <= 1.02 * R


def test_digits():
    target = Digits()
    x = target.data().flatten(1)
    # No ball that holds two points at distance 2 R is smaller, and the ball around the mean is no better.
    assert torch.cdist(x, x).max().item() / 2 <= target._radius <= (x - x.mean(0)).norm(dim=1).max().item()
    assert target.log_sobolev(0.3) == math.inf
    assert target.log_sobolev(0.5) < math.inf
    assert target.log_sobolev(80.0) == pytest.approx(6 * 80**2, rel=0.05)
