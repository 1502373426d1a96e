"""KL divergences against closed forms and their own standard errors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from samplerhub import Need
from samplerhub.errors import Mismatch
from samplerhub_metrics.kl import FLOOR, KL
from samplerhub_targets.gaussian import Gaussian
from samplerhub_targets.mixture import Mixture

F64 = torch.float64


@dataclass(frozen=True)
class Record:
    samples: torch.Tensor
    reference: torch.Tensor | None = None
    moments: tuple[torch.Tensor, torch.Tensor] | None = None
    rho: float = 0.0
    gaussian: bool = False

    def offers(self, need):
        have = Need.SAMPLES
        have |= Need.REFERENCE if self.reference is not None else Need(0)
        have |= Need.MOMENTS if self.moments is not None else Need(0)
        have |= Need.GAUSSIAN if self.gaussian else Need(0)
        return need in have


def rng(seed):
    return torch.Generator().manual_seed(seed)


def normals(n, d=1, seed=0):
    return torch.randn(n, d, generator=rng(seed), dtype=F64)


def spread(d):
    """Return a covariance with correlations."""
    return torch.eye(d, dtype=F64) + 0.3


def check_zscores(estimates, truth, low=0.5, high=1.3):
    value, stderr = (np.array([getattr(e, name) for e in estimates]) for name in ("value", "stderr"))
    z = (value - truth) / stderr
    # 4 standard errors of the mean over the repeats: no bias that the repeats can see.
    assert abs(value.mean() - truth) < 4 * value.std() / math.sqrt(len(value))
    assert low < z.std() < high
    assert np.mean(np.abs(z) > 3) < 0.02


# --- KL on the line ---------------------------------------------------------------------------------------------------


def paper_kl(p, q, bins=50):
    """Return the estimate as the paper's code computes it, a numpy histogram at a time."""
    low, high = min(p.min(), q.min()), max(p.max(), q.max())
    values = []
    for k in range(bins - 20, bins):
        if k % 4:
            edges = np.linspace(low, high, k)
            P, Q = (np.histogram(x, edges, density=True)[0] + FLOOR for x in (p, q))
            P, Q = P / P.sum(), Q / Q.sum()
            values.append((P * np.log(P / Q)).sum())
    return np.mean(values)


@pytest.mark.parametrize("bins", [25, 50, 101])
def test_plug_in_is_the_papers_histogram_estimate(bins):
    x, y = normals(3000), Mixture().sample(2000, rng(1))
    x[:5], y[7:9] = x.max(), y.max()
    forward, reverse = (KL(bins=bins, direction=d)(Record(x, y)) for d in ("forward", "reverse"))
    assert forward.details["plug-in"] == pytest.approx(paper_kl(x.numpy(), y.numpy(), bins), rel=1e-10)
    assert reverse.details["plug-in"] == pytest.approx(paper_kl(y.numpy(), x.numpy(), bins), rel=1e-10)


@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("n", [300, 20_000])
def test_histogram_kl_is_zero_within_its_error_at_equal_laws(direction, n):
    target, metric = Mixture(), KL(direction=direction)
    check_zscores([metric(Record(target.sample(n, rng(i)), target.sample(n, rng(1000 + i)))) for i in range(200)], 0.0)


@pytest.mark.parametrize(("direction", "truth"), [("forward", 0.00988496294), ("reverse", 0.01315037670)])
def test_histogram_kl_has_the_papers_initial_divergence(direction, truth):
    # H(N(0, T^2) | p_T) and its reverse at T = 0.7530995852, by 30-digit quadrature; bins lose less than 1e-4 of it.
    T, n = 0.7530995852, 1_000_000
    x, y = T * normals(n), Mixture().sample(n, rng(1)) + T * normals(n, seed=2)
    estimate = KL(direction=direction)(Record(x, y))
    assert estimate.stderr < 5e-4
    assert abs(estimate.value - truth) < 3.5 * estimate.stderr + 1e-4


def test_histogram_kl_standard_error_away_from_equality():
    # The bins lower the divergence 0.1353 of these laws a little, so that the mean over the repeats is the truth here.
    estimates = [KL()(Record(normals(2000, seed=i) * 0.8 + 0.5, normals(2000, seed=500 + i))) for i in range(100)]
    truth = float(np.mean([e.value for e in estimates]))
    assert truth == pytest.approx((0.64 + 0.25 - 1 - math.log(0.64)) / 2, rel=0.05)
    check_zscores(estimates, truth, low=0.75)


def test_histogram_kl_of_degenerate_sets():
    same = torch.ones(10, 1)
    assert KL()(Record(same, same)).value == pytest.approx(0, abs=1e-12)
    apart = KL()(Record(same, 2 * same))
    assert apart.details["uncovered"] == 1
    assert apart.value > 1
    for x, y in ((same[:1], same), (same, same[:1])):
        with pytest.raises(Mismatch, match="2 samples or more; there are 1"):
            KL()(Record(x, y))


# --- KL between Gaussians ---------------------------------------------------------------------------------------------


def gaussian_truth(m, C, mu, S):
    P = torch.linalg.inv(S)
    return ((P @ C).trace() + (m - mu) @ P @ (m - mu) - len(m) - (P @ C).logdet()).item() / 2


@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize(("d", "n"), [(1, 400), (3, 200), (8, 200)])
@pytest.mark.parametrize("equal", [True, False])
def test_gaussian_kl_has_no_bias_and_an_honest_error(direction, d, n, equal):
    mu, S = torch.full((d,), 0.3, dtype=F64), spread(d)
    law = Gaussian(mean=mu.tolist(), covariance=S.tolist())
    if not equal:
        law = Gaussian(mean=(mu + 0.5).tolist(), covariance=(0.7 * S + 0.2 * torch.eye(d)).tolist())
    pair = (*law.moments(), mu, S) if direction == "forward" else (mu, S, *law.moments())
    metric = KL(direction=direction)
    estimates = [metric(Record(law.sample(n, rng(i)), moments=(mu, S), gaussian=True)) for i in range(300)]
    check_zscores(estimates, gaussian_truth(*pair))


def test_gaussian_kl_plug_in_is_the_closed_form():
    x, mu, S = normals(100, 3) @ spread(3) + 1, torch.zeros(3, dtype=F64), spread(3)
    m, C = x.mean(0), torch.cov(x.T)
    forward, reverse = (KL(direction=d)(Record(x, moments=(mu, S), gaussian=True)) for d in ("forward", "reverse"))
    assert forward.details["plug-in"] == pytest.approx(gaussian_truth(m, C, mu, S), rel=1e-10)
    assert reverse.details["plug-in"] == pytest.approx(gaussian_truth(mu, S, m, C), rel=1e-10)


@pytest.mark.parametrize(("direction", "least"), [("forward", 5), ("reverse", 7)])
def test_gaussian_kl_says_how_many_samples_it_needs(direction, least):
    moments = torch.zeros(4, dtype=F64), torch.eye(4, dtype=F64)
    assert math.isfinite(KL(direction=direction)(Record(normals(least, 4), moments=moments, gaussian=True)).value)
    with pytest.raises(Mismatch, match=f"needs {least} samples or more; there are {least - 1}"):
        KL(direction=direction)(Record(normals(least - 1, 4), moments=moments, gaussian=True))


# --- both -------------------------------------------------------------------------------------------------------------


def test_the_order_of_samples_does_not_matter():
    x, y = normals(200, 3), normals(200, 3, seed=1) + 0.2
    i, j = torch.randperm(200, generator=rng(0)), torch.randperm(200, generator=rng(1))
    moments = torch.zeros(3, dtype=F64), spread(3)
    pairs = [
        (KL(), Record(x[:, :1], y[:, :1]), Record(x[i, :1], y[j, :1])),
        (KL(), Record(x, moments=moments, gaussian=True), Record(x[i], moments=moments, gaussian=True)),
    ]
    for metric, record, shuffled in pairs:
        a, b = metric(record), metric(shuffled)
        assert (a.value, a.stderr) == pytest.approx((b.value, b.stderr), rel=1e-9)


def test_float32_samples_are_measured_in_float64():
    x, y = normals(500, 2).float(), normals(500, 2, seed=1).float()
    assert KL()(Record(x[:, :1], y[:, :1])) == KL()(Record(x[:, :1].double(), y[:, :1].double()))
