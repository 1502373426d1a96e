"""The Frechet distance against closed forms, scipy and its own standard error."""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass
from functools import reduce

import numpy as np
import pytest
import torch
from scipy import linalg

from samplerhub.errors import Mismatch
from samplerhub_metrics import batches
from samplerhub_metrics.batches import Batches, shuffle
from samplerhub_metrics.fd import FD, intercept
from samplerhub_metrics.frechet import Coordinates, Law, Moments, at_equality, frechet, influence
from samplerhub_targets.gaussian import Gaussian

F64 = torch.float64
ESTIMATORS = ("jackknife", "infinity", "plug-in")


@dataclass(frozen=True)
class Record:
    samples: torch.Tensor
    reference: torch.Tensor | None = None
    feature_moments: tuple[torch.Tensor, torch.Tensor] | None = None
    embedding: str = "identity"

    def feature_batches(self):
        return iter(torch.split(self.samples, 100))

    def reference_feature_batches(self):
        return iter(torch.split(self.reference, 100))


def rng(seed):
    return torch.Generator().manual_seed(seed)


def normals(n, d=1, seed=0):
    return torch.randn(n, d, generator=rng(seed), dtype=F64)


def spread(d):
    """Return a covariance with correlations."""
    return torch.eye(d, dtype=F64) + 0.3


def scipy_frechet(x, mu, C):
    S = np.cov(x, rowvar=False)
    root = linalg.sqrtm(S @ C)
    return ((x.mean(0) - mu) ** 2).sum() + np.trace(S + C - 2 * root.real)


def of_moments(x, y):
    """Return the distance by eigenvalues of the product, whatever the ranks."""
    S, C = torch.cov(x.T), torch.cov(y.T)
    values, axes = torch.linalg.eigh(C)
    root = axes * values.clamp(min=0).sqrt()
    M = root.T @ S @ root
    trace = torch.linalg.eigvalsh((M + M.T) / 2).clamp(min=0).sqrt().sum()
    return ((x.mean(0) - y.mean(0)).square().sum() + S.trace() + C.trace() - 2 * trace).item()


# --- the distance -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 2, 8, 64])
def test_it_is_the_form_with_sqrtm(d):
    x, y = normals(400, d) @ spread(d) + 0.2, normals(500, d, seed=1)
    mu, C = y.mean(0), torch.cov(y.T).reshape(d, d)
    if d == 1:
        expected = ((x.mean() - mu) ** 2 + (x.std() - y.std()) ** 2).item()
    else:
        expected = scipy_frechet(x.numpy(), mu.numpy(), C.numpy())
    assert FD()(Record(x, feature_moments=(mu, C))).details["plug-in"] == pytest.approx(expected, rel=1e-10)
    assert FD()(Record(x, y)).details["plug-in"] == pytest.approx(expected, rel=1e-10)


def test_it_is_the_closed_form_of_covariances_that_commute():
    a, b, gap = torch.tensor([4.0, 1.0, 0.0], dtype=F64), torch.tensor([1.0, 9.0, 2.0], dtype=F64), 0.5
    axes, _ = torch.linalg.qr(normals(3, 3))
    p, q = (Law.normal(mean, axes * v @ axes.T) for mean, v in ((torch.zeros(3, dtype=F64), a), (axes[:, 0] * gap, b)))
    assert frechet(p, q) == pytest.approx(gap**2 + (a.sqrt() - b.sqrt()).square().sum().item(), rel=1e-12)


@pytest.mark.parametrize(("n", "m"), [(30, 30), (30, 500), (500, 30), (99, 101)])
def test_fewer_samples_than_dimensions(n, m):
    x, y = normals(n, 100) + 0.5, normals(m, 100, seed=1) @ spread(100)
    # The eigenvalues that are 0 are found as 1e-16 of the largest there, and rooted.
    assert FD()(Record(x, y)).details["plug-in"] == pytest.approx(of_moments(x, y), rel=1e-6)
    mu, C = torch.zeros(100, dtype=F64), spread(100)
    by_moments = Law.normal(x.mean(0), torch.cov(x.T))
    assert frechet(Law.of(x), Law.normal(mu, C)) == pytest.approx(frechet(by_moments, Law.normal(mu, C)), rel=1e-6)


@pytest.mark.parametrize("dead", [1, 10, 19])
def test_singular_covariances(dead):
    d = 20
    x, y = normals(200, d), normals(200, d, seed=1) @ spread(d)
    x[:, :dead] = 0.7
    y[:, dead // 2 : dead] = -0.2
    # The blocks that do not vary add the squared gap of the means and the variances of the other set.
    live = torch.arange(dead, d)
    S, C = torch.cov(x.T), torch.cov(y.T)
    root = linalg.sqrtm((S[live][:, live] @ C[live][:, live]).numpy()).real
    expected = (x.mean(0) - y.mean(0)).square().sum() + S.trace() + C.trace() - 2 * np.trace(root)
    estimate = FD()(Record(x, y))
    assert estimate.details["plug-in"] == pytest.approx(expected.item(), rel=1e-9)
    assert math.isfinite(estimate.value)
    assert estimate.stderr > 0


def test_samples_that_are_all_the_same():
    mu, C = torch.zeros(3, dtype=F64), spread(3)
    estimate = FD()(Record(torch.full((50, 3), 2.0), feature_moments=(mu, C)))
    assert (estimate.value, estimate.stderr) == (pytest.approx(12 + C.trace().item()), 0)
    y = normals(50, 3)
    against = FD()(Record(torch.full((50, 3), 2.0), y))
    assert against.details["plug-in"] == pytest.approx(((y - 2).mean(0).square().sum() + y.var(0).sum()).item())
    assert against.stderr > 0
    same = FD()(Record(torch.ones(50, 3), torch.ones(50, 3)))
    assert (same.value, same.stderr) == (0, 0)


# --- running sums -----------------------------------------------------------------------------------------------------


def test_moments_of_parts_are_the_moments_of_all():
    x = normals(1000, 5) @ spread(5) + 100
    whole = Moments.of(x)
    merged = reduce(Moments.__add__, map(Moments.of, torch.split(x, [1, 2, 500, 497])))
    for moments in (whole, merged):
        assert moments.n == 1000
        assert torch.allclose(moments.mean, x.mean(0), rtol=1e-13)
        assert torch.allclose(moments.covariance, torch.cov(x.T), rtol=1e-10)


def test_float32_features_are_summed_in_float64():
    x = (normals(100_000, 2) + 1000).float()
    assert torch.allclose(Moments.of(x).covariance, torch.cov(x.double().T), rtol=1e-9)
    x, y = normals(500, 2).float(), normals(500, 2, seed=1).float()
    single, double = FD()(Record(x, y)), FD()(Record(x.double(), y.double()))
    assert single.details["plug-in"] == pytest.approx(double.details["plug-in"], rel=1e-9)


# --- bias and standard error ------------------------------------------------------------------------------------------


def test_influence_is_the_derivative_in_the_weight_of_a_sample():
    x, y = normals(40, 3) + 0.3, normals(50, 3, seed=1) @ spread(3)
    p, q = Law.of(x), Law.of(y)
    at = Coordinates.between(p, q)
    assert at.distance == pytest.approx(frechet(p, q), rel=1e-12)
    for sample, law, shift, W, other in ((x, p, p.mean - q.mean, at.W, q), (y, q, q.mean - p.mean, at.V, p)):
        n, h = len(sample), 1e-5
        # Weights (1 - h)/n + h at sample 7: the covariance of the weighted law, times n/(n - 1) as in `Law.of`.
        w = torch.full((n,), 1 / n, dtype=F64)

        def distance(step, sample=sample, w=w, n=n, other=other):
            w = (1 - step) * w
            w[7] += step
            mean = w @ sample
            c = sample - mean
            return frechet(Law.normal(mean, (c.T * w) @ c * n / (n - 1)), other)

        slope = (distance(h) - distance(-h)) / (2 * h)
        psi = influence([sample], law, shift, W)
        assert psi.mean().item() == pytest.approx(0, abs=1e-12)
        # With the divisor n - 1 the quadratic part is n/(n - 1) as large.
        linear = 2 * (sample - law.mean) @ shift
        assert (linear + (psi - linear) * n / (n - 1))[7].item() == pytest.approx(slope, rel=1e-6)


def test_both_covariances_are_the_same_diagonal_in_the_coordinates():
    p, q = Law.of(normals(40, 4)), Law.of(normals(50, 4, seed=1) @ spread(4))
    at = Coordinates.between(p, q)
    for root, W in ((p.root, at.W), (q.root, at.V)):
        assert torch.allclose(W @ root @ root.T @ W.T, torch.diag(at.s), atol=1e-12)
    assert torch.allclose(at.W @ at.V.T, torch.eye(4, dtype=F64), atol=1e-12)


@pytest.mark.parametrize("m", [800, math.inf])
def test_variance_at_equal_laws_is_that_of_normal_moments(m):
    d, n, repeats = 3, 400, 3000
    law = Law.normal(torch.zeros(d, dtype=F64), spread(d))
    values = []
    for i in range(repeats):
        x, y = (normals(k, d, seed=s) @ law.root.T for k, s in ((n, i), (800, 10_000 + i)))
        values.append(frechet(Law.of(x), law if m == math.inf else Law.of(y)))
    expected = at_equality(Coordinates.between(law, law).s, law, law, n, m)
    # The variance of 3,000 chi-square-like values is known to 4 % or so, and of order 1/n it differs.
    assert np.var(values) == pytest.approx(expected, rel=0.15)


def test_infinity_is_exact_for_a_line_in_the_inverse_size():
    assert intercept([3 + 0.7 / j for j in range(1, 8)]) == pytest.approx(3, rel=1e-13)


def covered(estimates, truth):
    value, stderr = (np.array([getattr(e, name) for e in estimates]) for name in ("value", "stderr"))
    z = (value - truth) / stderr
    # 4 standard errors of the mean over the repeats: no bias that the repeats can see.
    assert abs(value.mean() - truth) < 4 * value.std() / math.sqrt(len(value))
    return np.mean(np.abs(z) < 1.96), z.std()


def repeated(metric, d, n, exact, shift, repeats):
    law = Gaussian(mean=(0.0,) * d, covariance=spread(d).tolist())
    moments = law.moments() if exact else None
    return [
        metric(Record(law.sample(n, rng(i)) + shift, None if exact else law.sample(n, rng(10_000 + i)), moments))
        for i in range(repeats)
    ]


@pytest.mark.parametrize("exact", [True, False], ids=["moments", "reference"])
@pytest.mark.parametrize("shift", [0.0, 0.5])
@pytest.mark.parametrize("metric", [FD(), FD(estimator="infinity", groups=5)], ids=["jackknife", "infinity"])
def test_it_is_right_within_its_error(metric, exact, shift):
    share, deviation = covered(repeated(metric, 4, 500, exact, shift, 100), 4 * shift**2)
    assert share >= 0.88  # 95 % less 3 standard errors of 100 repeats
    assert 0.5 < deviation < 1.3


@pytest.mark.slow
@pytest.mark.parametrize("exact", [True, False], ids=["moments", "reference"])
@pytest.mark.parametrize("shift", [0.0, 0.5])
@pytest.mark.parametrize(("d", "n"), [(4, 100), (4, 500), (16, 300), (16, 1000)])
def test_coverage_of_its_intervals(d, n, exact, shift):
    share, _ = covered(repeated(FD(), d, n, exact, shift, 400), d * shift**2)
    # At equal laws the error is no longer normal, and the interval, which has to hold at all laws, is wider than there.
    assert 0.90 <= share <= (0.99 if shift else 1)


def test_bootstrap_and_influence_agree_where_laws_differ():
    x, y = normals(500, 3) + 0.5, normals(400, 3, seed=1)
    by_influence, by_bootstrap = FD()(Record(x, y)), FD(bootstrap=200)(Record(x, y))
    assert by_bootstrap.value == by_influence.value
    # 200 resamples know a standard deviation to 5 %.
    assert by_bootstrap.stderr == pytest.approx(by_influence.stderr, rel=0.2)


def test_jackknife_takes_most_of_the_bias():
    d, n = 32, 200
    law = Gaussian(mean=(0.0,) * d, covariance=spread(d).tolist())
    estimates = [FD()(Record(law.sample(n, rng(i)), law.sample(n, rng(1000 + i)))) for i in range(20)]
    bias, left = (np.mean(values) for values in zip(*((e.details["plug-in"], e.value) for e in estimates)))
    assert abs(left) < 0.05 * bias


# --- input ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_order_of_samples_does_not_matter(estimator):
    x, y = normals(200, 3), normals(200, 3, seed=1) + 0.2
    i, j = torch.randperm(200, generator=rng(0)), torch.randperm(200, generator=rng(1))
    moments = torch.zeros(3, dtype=F64), spread(3)
    metric = FD(estimator=estimator, bootstrap=10)
    pairs = [(Record(x, y), Record(x[i], y[j])), (Record(x, None, moments), Record(x[i], None, moments))]
    for record, other in pairs:
        a, b = metric(record), metric(other)
        assert (a.value, a.stderr) == pytest.approx((b.value, b.stderr), rel=1e-9)


def test_shuffling_is_a_permutation_that_is_drawn_from_the_rows():
    x = torch.arange(100.0).reshape(50, 2)
    y = x[shuffle(x)]
    assert torch.equal(y, x.flip(0)[shuffle(x.flip(0))])
    assert torch.equal(y[y[:, 0].argsort()], x)
    assert abs(np.corrcoef(y[:, 0], np.arange(50))[0, 1]) < 0.5


def test_it_says_what_was_compared():
    x, y = normals(50, 2), normals(60, 2, seed=1)
    details = FD()(Record(x, y, embedding="digits 0123")).details
    assert (details["features"], details["dimensions"]) == ("digits 0123", 2)
    assert (details["samples"], details["reference"]) == (50, 60)
    moments = torch.zeros(2, dtype=F64), spread(2)
    assert FD()(Record(x, feature_moments=moments)).details["against"] == "closed form"


def test_it_refuses_few_samples_and_samples_that_are_not_finite():
    moments = torch.zeros(16, dtype=F64), torch.eye(16, dtype=F64)
    x = normals(50, 16)
    assert math.isfinite(FD()(Record(x[:4], feature_moments=moments)).value)
    with pytest.raises(Mismatch, match="needs 4 samples or more; there are 3"):
        FD()(Record(x[:3], feature_moments=moments))
    with pytest.raises(Mismatch, match="needs 4 samples of the target or more; there are 2"):
        FD()(Record(x, x[:2]))
    x[3, 2], x[9] = math.nan, math.inf
    with pytest.raises(Mismatch, match="2 of 50 samples are not finite"):
        FD()(Record(x, feature_moments=moments))
    with pytest.raises(Mismatch, match="2 of 50 samples of the target are not finite"):
        FD()(Record(normals(50, 16), x))


def test_more_features_than_are_held_give_the_same_figures(monkeypatch):
    x, y = normals(2000, 3), normals(2000, 3, seed=1)
    held = [FD(estimator=estimator)(Record(x, y)) for estimator in ESTIMATORS]
    monkeypatch.setattr(batches, "HELD", 0)
    assert [FD(estimator=estimator)(Record(x, y)) for estimator in ESTIMATORS] == held


def test_a_batch_is_let_go_before_the_next_one_but_one(monkeypatch):
    monkeypatch.setattr(batches, "HELD", 50 * 8 * 100)
    alive, most = weakref.WeakSet(), 0

    class Vectors(torch.Tensor):
        pass

    def source():
        nonlocal most
        for k in range(20):
            x = normals(50, 100, seed=k).as_subclass(Vectors)
            alive.add(x)
            most = max(most, len(alive))
            yield x

    for _ in Batches(source, normals(1000), 10, "samples").grouped():
        pass
    assert most <= 4


def test_groups_have_the_same_size_and_rows_are_in_the_order_of_their_ranks():
    x = normals(1003, 2)
    grouped = Batches(lambda: torch.split(x, 64), x, 10, "samples")
    sizes = [0] * 10
    for group, rows in grouped.grouped():
        sizes[group] += len(rows)
    assert sorted(sizes) == [100] * 7 + [101] * 3
    assert torch.equal(grouped.rows(), x[shuffle(x)])
