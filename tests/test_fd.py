"""The Frechet distance against closed forms, scipy and its own standard error."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy import linalg

from samplerhub import Need
from samplerhub.errors import Mismatch
from samplerhub_metrics.fd import FD, to_moments, to_moments_by_rows, to_samples, to_samples_by_rows
from samplerhub_targets.gaussian import Gaussian

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


# --- Frechet distance -------------------------------------------------------------------------------------------------


def scipy_frechet(x, mu, C):
    S = np.cov(x, rowvar=False)
    root = linalg.sqrtm(S @ C)
    return ((x.mean(0) - mu) ** 2).sum() + np.trace(S + C - 2 * root.real)


@pytest.mark.parametrize("d", [2, 8, 64])
def test_frechet_is_the_form_with_sqrtm(d):
    x, y = normals(400, d) @ spread(d) + 0.2, normals(500, d, seed=1)
    mu, C = y.mean(0), torch.cov(y.T)
    expected = scipy_frechet(x.numpy(), mu.numpy(), C.numpy())
    assert FD()(Record(x, moments=(mu, C))).details["plug-in"] == pytest.approx(expected, abs=1e-8)
    assert FD()(Record(x, y)).details["plug-in"] == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("out", [None, slice(3, None, 20)])
def test_frechet_by_rows_is_frechet_by_moments(out):
    x, y = normals(60, 12) + 0.5, normals(60, 12, seed=1) @ spread(12)
    mu, C = y.mean(0), torch.cov(y.T)
    # With more rows than dimensions the product has 48 eigenvalues 0, each found as 1e-16 of the largest, and rooted.
    assert to_moments_by_rows(x, mu, C)(out) == pytest.approx(to_moments(x, mu, C)(out), abs=1e-5)
    assert to_samples_by_rows(x, y)(out) == pytest.approx(to_samples(x, y)(out), abs=1e-5)


def test_frechet_with_fewer_samples_than_dimensions():
    x, y = normals(30, 100) + 0.5, normals(30, 100, seed=1)
    mu, C = torch.zeros(100, dtype=F64), spread(100)
    assert FD()(Record(x, y)).details["plug-in"] == pytest.approx(to_samples(x, y)(None), abs=1e-5)
    assert FD()(Record(x, moments=(mu, C))).details["plug-in"] == pytest.approx(to_moments(x, mu, C)(None), abs=1e-5)


@pytest.mark.parametrize("exact", [True, False], ids=["moments", "reference"])
@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_frechet_is_right_within_its_error(exact, shift):
    d, n = 4, 500
    law = Gaussian(mean=(0.0,) * d, covariance=spread(d).tolist())
    moments = law.moments() if exact else None
    estimates = [
        FD()(Record(law.sample(n, rng(i)) + shift, None if exact else law.sample(n, rng(1000 + i)), moments))
        for i in range(200)
    ]
    check_zscores(estimates, d * shift**2)


def test_frechet_takes_images_and_says_how_many_it_needs():
    x = normals(50, 16).reshape(50, 1, 4, 4)
    moments = torch.zeros(16, dtype=F64), torch.eye(16, dtype=F64)
    assert FD()(Record(x, moments=moments)) == FD()(Record(x.flatten(1), moments=moments))
    with pytest.raises(Mismatch, match="3 samples or more, to leave some out; there are 2"):
        FD()(Record(x[:2], moments=moments))


def test_the_order_of_samples_does_not_matter():
    x, y = normals(200, 3), normals(200, 3, seed=1) + 0.2
    i, j = torch.randperm(200, generator=rng(0)), torch.randperm(200, generator=rng(1))
    moments = torch.zeros(3, dtype=F64), spread(3)
    pairs = [(Record(x, y), Record(x[i], y[j])), (Record(x, moments=moments), Record(x[i], moments=moments))]
    for record, shuffled in pairs:
        a, b = FD()(record), FD()(shuffled)
        assert (a.value, a.stderr) == pytest.approx((b.value, b.stderr), rel=1e-9)


def test_float32_samples_are_measured_in_float64():
    x, y = normals(500, 2).float(), normals(500, 2, seed=1).float()
    assert FD()(Record(x, y)) == FD()(Record(x.double(), y.double()))
