"""Metrics of two sets of samples against closed forms, scipy, plain counting and their own standard errors."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist, pdist

from samplerhub import Setup
from samplerhub.errors import Mismatch
from samplerhub.testing import metric as kit
from samplerhub_metrics.c2st import C2ST
from samplerhub_metrics.density_coverage import Coverage, Density
from samplerhub_metrics.discrepancy import Sums, _pure, _pure_between, discrepancy
from samplerhub_metrics.energy import Energy, line_sums, negative_distance
from samplerhub_metrics.kid import KID, cubic
from samplerhub_metrics.manifold import inside
from samplerhub_metrics.mmd import MMD, median_distance
from samplerhub_metrics.nearest import Nearest, two_nearest
from samplerhub_metrics.precision_recall import Precision, Recall
from samplerhub_metrics.sliced_wasserstein import SlicedWasserstein, directions
from samplerhub_metrics.transport import power_cost
from samplerhub_metrics.vectors import shuffled
from samplerhub_metrics.wasserstein import Wasserstein
from samplerhub_targets.digits import Digits
from samplerhub_targets.mixture import Mixture

F64 = torch.float64
ON_FEATURES = [
    KID(),
    MMD(),
    MMD(kernel="laplace"),
    Energy(),
    SlicedWasserstein(),
    SlicedWasserstein(order=1, over="max"),
]
ON_FEATURES += [Precision(), Recall(), Density(), Coverage(), C2ST()]
ALL = [*ON_FEATURES, Wasserstein(), Wasserstein(order=2)]


def named(metric):
    return repr(metric)


@dataclass(frozen=True)
class Record:
    samples: torch.Tensor
    reference: torch.Tensor | None = None
    setup: Setup | None = None
    rho: float = 0.0
    embedding: str = "identity"

    @property
    def features(self):
        return self.samples.flatten(1)

    @property
    def reference_features(self):
        return self.reference.flatten(1)


def rng(seed):
    return torch.Generator().manual_seed(seed)


def normals(n, d=1, seed=0):
    return torch.randn(n, d, generator=rng(seed), dtype=F64)


def repeated(metric, x, y, repeats):
    """Return values and standard errors for samples x(seed) and y(seed) of many seeds."""
    estimates = [metric(Record(x(2 * i), y(2 * i + 1))) for i in range(repeats)]
    return np.array([(e.value, e.stderr) for e in estimates]).T


def check_zscores(values, truth, low=0.5, high=1.35, lowest=0.86):
    """Hold estimates against the truth: no bias that the repeats can see, and errors as large as they say."""
    value, stderr = values
    z = (value - truth) / stderr
    assert abs(value.mean() - truth) < 4 * value.std() / math.sqrt(len(value))
    assert low < z.std() < high
    assert np.mean(np.abs(z) < 1.96) >= lowest
    assert np.mean(np.abs(z) > 4) < 0.02


# --- kernels ----------------------------------------------------------------------------------------------------------


def gaussian_kernel_mean(shift, variance, h, d):
    """Return E exp(-|z|^2/(2 h^2)) for z of mean shift (in every coordinate) and that variance."""
    s = h**2 + variance
    return (h**2 / s) ** (d / 2) * math.exp(-d * shift**2 / (2 * s))


def mean_distance(shift, variance):
    """Return E|z| of a normal number."""
    s = math.sqrt(variance)
    return s * math.sqrt(2 / math.pi) * math.exp(-(shift**2) / (2 * variance)) + shift * math.erf(shift / s / 2**0.5)


def mmd_truth(mu, sd, h, d):
    within = gaussian_kernel_mean(0, 2 * sd**2, h, d) + gaussian_kernel_mean(0, 2, h, d)
    return within - 2 * gaussian_kernel_mean(mu, 1 + sd**2, h, d)


def energy_truth(mu, sd):
    return 2 * mean_distance(mu, 1 + sd**2) - mean_distance(0, 2 * sd**2) - mean_distance(0, 2)


def kid_truth(mu, sd):
    """In one dimension (x y + 1)^3 needs the first three moments."""
    x, y = np.array([1, mu, mu**2 + sd**2, mu**3 + 3 * mu * sd**2]), np.array([1, 0, 1, 0])
    weights = np.array([1, 3, 3, 1])
    return weights @ (x * x) + weights @ (y * y) - 2 * weights @ (x * y)


@pytest.mark.parametrize(("mu", "sd"), [(0.0, 1.0), (0.5, 1.0), (0.0, 1.6)])
@pytest.mark.parametrize(
    ("metric", "truth", "d"),
    [
        (MMD(bandwidth=0.7), lambda mu, sd: mmd_truth(mu, sd, 0.7, 1), 1),
        (MMD(bandwidth=2.0), lambda mu, sd: mmd_truth(mu, sd, 2.0, 5), 5),
        (Energy(), energy_truth, 1),
        (KID(), kid_truth, 1),
    ],
    ids=["mmd", "mmd-5d", "energy", "kid"],
)
def test_kernel_distances_are_right_within_their_error(metric, truth, d, mu, sd):
    n = 300
    values = repeated(metric, lambda s: mu + sd * normals(n, d, s), lambda s: normals(n, d, s), 150)
    check_zscores(values, truth(mu, sd))


def test_distance_of_energies_in_more_dimensions_is_szekelys():
    # For equal covariances E|x - y| in d dimensions by its own quadrature: |z| is a noncentral chi number.
    d, mu, n = 4, 0.6, 300
    far = math.sqrt(2) * stats.ncx2(d, d * mu**2 / 2).expect(np.sqrt)
    near = math.sqrt(2) * stats.chi(d).mean()
    check_zscores(
        repeated(Energy(), lambda s: normals(n, d, s) + mu, lambda s: normals(n, d, s), 100), 2 * far - 2 * near
    )


def test_sums_are_the_kernel_matrices():
    x, y = normals(700, 3) + 0.3, normals(600, 3, 1)
    for k, plain in ((cubic, lambda a, b: (a @ b.T / 3 + 1) ** 3), (negative_distance, lambda a, b: -cdist(a, b))):
        s = Sums.of(k, x, y)
        within = [plain(z.numpy(), z.numpy()) for z in (x, y)]
        for K in within:
            np.fill_diagonal(K, 0)
        K_xy = plain(x.numpy(), y.numpy())
        for given, expected in zip(
            (s.xx, s.yy, s.xy, s.yx), (within[0].sum(1), within[1].sum(1), K_xy.sum(1), K_xy.sum(0))
        ):
            assert given.numpy() == pytest.approx(expected, rel=1e-9)
        assert s.squares == pytest.approx([(K**2).sum() for K in (*within, K_xy)], rel=1e-9)
        assert discrepancy(s)[0] == pytest.approx(
            within[0].sum() / (700 * 699) + within[1].sum() / (600 * 599) - 2 * K_xy.mean(), rel=1e-9
        )


def test_energy_on_the_line_needs_no_pairs():
    x, y = (torch.sort(z.flatten()).values for z in (normals(400) * 2 + 50, normals(300, seed=1) + 50))
    x[10:13] = x[10]
    pairs = Sums.of(negative_distance, x[:, None] - 50, y[:, None] - 50)
    line = line_sums(x.numpy(), y.numpy())
    for name in ("xx", "yy", "xy", "yx"):
        assert getattr(line, name).numpy() == pytest.approx(getattr(pairs, name).numpy(), rel=1e-7)
    assert line.squares == pytest.approx(pairs.squares, rel=1e-9)
    # With the pairs of a sample with itself, it is scipy's.
    plug_in = (line.xx.sum() / 400**2 + line.yy.sum() / 300**2 - 2 * line.xy.sum() / (400 * 300)).item()
    assert math.sqrt(plug_in) == pytest.approx(stats.energy_distance(x.numpy(), y.numpy()), rel=1e-9)


def test_second_order_variance_is_the_mean_over_different_samples():
    x, y = normals(6, 2), normals(5, 2, 1)
    K, C = cubic(x, x).numpy(), cubic(x, y).numpy()
    np.fill_diagonal(K, 0)
    four = list(itertools.permutations(range(6), 4))
    expected = np.mean([K[i, j] ** 2 - 2 * K[i, j] * K[i, k] + K[i, j] * K[k, m] for i, j, k, m in four])
    assert _pure(torch.from_numpy(K.sum(1)), float((K**2).sum())) == pytest.approx(expected, rel=1e-10)
    rows, columns = itertools.permutations(range(6), 2), list(itertools.permutations(range(5), 2))
    tables = [(C[i, j] - C[i, m] - C[k, j] + C[k, m]) ** 2 / 4 for i, k in rows for j, m in columns]
    given = _pure_between(torch.from_numpy(C.sum(1)), torch.from_numpy(C.sum(0)), float((C**2).sum()))
    assert given == pytest.approx(np.mean(tables), rel=1e-10)


def test_median_bandwidth_is_that_of_the_target():
    y = normals(500, 3)
    estimate = MMD()(Record(5 * normals(500, 3, 1), y))
    assert estimate.details["bandwidth"] == pytest.approx(np.median(pdist(y.numpy())), rel=1e-12)
    assert median_distance(np.zeros((9, 2))) == 1
    assert median_distance(np.array([[0.0], [0], [0], [0], [3]])) == pytest.approx(1.2)


def test_no_more_than_the_most_are_compared():
    x, y = normals(3000, 2), normals(3000, 2, 1)
    few = MMD(most=200)(Record(x, y))
    assert few.details["samples"] == 200
    assert few.stderr > 2 * MMD()(Record(x, y)).stderr
    assert few == MMD(most=200)(Record(x.flip(0), y.flip(0)))


# --- transport --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "m"), [(200, 200), (200, 130), (7, 200)])
def test_cost_is_that_of_the_best_plan(n, m):
    x, y = np.sort(normals(n).numpy()[:, 0]), np.sort(normals(m, seed=1).numpy()[:, 0] * 2 + 1)
    assert power_cost(x, y, 1) == pytest.approx(stats.wasserstein_distance(x, y), rel=1e-10)
    copies = math.lcm(n, m)
    a, b = x.repeat(copies // n), y.repeat(copies // m)
    assert power_cost(x, y, 2) == pytest.approx(np.mean((a - b) ** 2), rel=1e-10)
    if n == m:
        C = (x[:, None] - y) ** 2
        assert power_cost(x, y, 2) == pytest.approx(C[linear_sum_assignment(C)].mean(), rel=1e-10)


def islands(n, share):
    """Two points 10 apart, blurred: nearly all of the distance is in the shares."""

    def sample(seed):
        at = torch.where(torch.rand(n, 1, generator=rng(seed), dtype=F64) < share, -5.0, 5.0)
        return at + 0.1 * normals(n, 1, seed + 10**6)

    return sample


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_wasserstein_of_shifted_gaussians(order, shift):
    metric = Wasserstein(order=order)
    check_zscores(
        repeated(metric, lambda s: normals(400, 1, s) + shift, lambda s: normals(400, 1, s), 120), shift**order
    )


def test_wasserstein_of_gaussians_of_different_widths():
    values = repeated(Wasserstein(order=2), lambda s: 2 * normals(500, 1, s) + 1, lambda s: normals(500, 1, s), 100)
    check_zscores(values, 2.0)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("share", [0.3, 0.5])
def test_wasserstein_where_the_bias_falls_as_the_root(order, share):
    # The whole distance is the difference of two shares, and its bias at equal laws is of order n^-1/2, squared or not.
    check_zscores(
        repeated(Wasserstein(order=order), islands(400, share), islands(400, 0.3), 120), (share - 0.3) * 10**order
    )


def test_wasserstein_says_what_was_taken_away():
    x, y = normals(1000), normals(1000, seed=1) + 0.2
    estimate = Wasserstein()(Record(x, y))
    assert estimate.details["plug-in"] == pytest.approx(stats.wasserstein_distance(x.flatten(), y.flatten()), rel=1e-10)
    # E int |F_n - G_m| = sqrt(2/pi (1/n + 1/m)) int sqrt(F (1 - F)) at equal laws, and pooled they are nearly normal.
    u = np.linspace(-8, 8, 4001)
    expected = math.sqrt(2 / math.pi * 2 / 1000) * np.trapezoid(np.sqrt(stats.norm.cdf(u) * stats.norm.sf(u)), u)
    assert estimate.details["floor"] == pytest.approx(expected, rel=0.15)
    assert estimate.details["p-value"] == pytest.approx(1 / 51)
    assert estimate.quantity == "w1"


def test_relabelling_gives_a_p_value():
    p = [Wasserstein()(Record(normals(50, 1, 2 * i), normals(50, 1, 2 * i + 1))).details["p-value"] for i in range(200)]
    assert stats.kstest(p, "uniform").pvalue > 1e-3


def test_directions_are_orthogonal_and_uniform():
    theta = directions(8, 20)
    assert theta.shape == (8, 20)
    assert np.linalg.norm(theta, axis=0) == pytest.approx(np.ones(20))
    assert theta[:, :8].T @ theta[:, :8] == pytest.approx(np.eye(8), abs=1e-12)
    many = directions(3, 3000)
    assert many @ many.T / 3000 == pytest.approx(np.eye(3) / 3, abs=1e-12)
    assert np.abs(many.mean(1)).max() < 4 / math.sqrt(3 * 3000)
    assert (many[0] ** 4).mean() == pytest.approx(1 / 5, abs=0.02)


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_sliced_wasserstein_of_shifted_gaussians(shift):
    d, n = 6, 300
    move = shift * torch.arange(d, dtype=F64)
    metric = SlicedWasserstein(lines=12)
    values = repeated(metric, lambda s: normals(n, d, s) + move, lambda s: normals(n, d, s), 100)
    check_zscores(values, (move @ move).item() / d, low=0.15 if shift else 0.5)


@pytest.mark.parametrize("over", ["mean", "max"])
@pytest.mark.parametrize("order", [1, 2])
def test_sliced_wasserstein_is_zero_at_equal_laws(over, order):
    metric = SlicedWasserstein(order=order, over=over, lines=10)
    check_zscores(repeated(metric, lambda s: normals(200, 5, s), lambda s: normals(200, 5, s), 100), 0.0)


def test_largest_slice_is_the_largest_of_its_lines():
    x, y = normals(2000, 3) + torch.tensor([1.0, 0, 0]), normals(2000, 3, 1)
    theta = directions(3, 50)
    values = [stats.wasserstein_distance(*(z.numpy() @ line for z in (x, y))) for line in theta.T]
    largest, mean = (SlicedWasserstein(order=1, over=over)(Record(x, y)) for over in ("max", "mean"))
    assert largest.details["plug-in"] == pytest.approx(max(values), rel=1e-10)
    assert mean.details["plug-in"] == pytest.approx(np.mean(values), rel=1e-10)
    assert abs(largest.value - np.abs(theta[0]).max()) < 4 * largest.stderr


@pytest.mark.parametrize("order", [1, 2])
def test_on_the_line_there_is_one_slice(order):
    x, y = normals(501), normals(501, seed=1) + 0.3
    line, sliced = Wasserstein(order=order)(Record(x, y)), SlicedWasserstein(order=order)(Record(x, y))
    assert sliced.details["lines"] == 1
    assert sliced.details["plug-in"] == pytest.approx(line.details["plug-in"], rel=1e-10)
    assert abs(sliced.value - line.value) < line.stderr


# --- neighbours -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 2, 20])
def test_balls_are_counted_as_the_papers_say(d):
    k, x, y = 3, normals(150, d).numpy() * 1.1, normals(130, d, 1).numpy()
    y[5:11] = y[5]
    x[3] = y[5]
    given = inside(x, y, k)
    D = cdist(y, y)
    np.fill_diagonal(D, math.inf)
    within = cdist(y, x) <= np.sort(D, 1)[:, k - 1, None]
    assert given.points == within.any(0).mean()
    assert given.balls == within.any(1).mean()
    assert given.depth == within.sum() / 150
    record = Record(torch.from_numpy(x), torch.from_numpy(y))
    assert Precision(k=k)(record).value == given.points
    assert Recall(k=k)(record).value == inside(y, x, k).points
    assert Density(k=k)(record).value == given.depth / k
    assert Coverage(k=k)(record).value == given.balls


@pytest.mark.parametrize("d", [1, 8])
def test_density_and_coverage_have_the_same_value_at_equal_laws_whatever_the_law(d):
    n = 200
    for metric, high in ((Density(), 1.35), (Coverage(), 1.6)):
        values = repeated(metric, lambda s: normals(n, d, s).exp(), lambda s: normals(n, d, s).exp(), 120)
        check_zscores(values, metric.at_equal_laws(n), high=high, lowest=0.8)
    assert Coverage().at_equal_laws(10**9) == pytest.approx(1 - 2**-5, rel=1e-3)


@pytest.mark.parametrize("metric", [Precision(), Recall(), Density(), Coverage()], ids=named)
@pytest.mark.parametrize(("shift", "sd"), [(0.0, 1.0), (0.3, 0.8)])
def test_errors_of_neighbours_are_their_spread(metric, shift, sd):
    value, stderr = repeated(metric, lambda s: sd * normals(500, 6, s) + shift, lambda s: normals(500, 6, s), 60)
    assert 0.7 < math.sqrt((stderr**2).mean()) / value.std() < 1.4


def test_fidelity_and_variety_are_told_apart():
    y = torch.cat([normals(500, 2), normals(500, 2, 1) + 20])
    one_mode = Record(normals(1000, 2, 2), y)
    spread_out = Record(normals(1000, 2, 2) * 60, y)
    assert Precision()(one_mode).value > 0.95
    assert Coverage()(one_mode).value == pytest.approx(0.5, abs=0.03)
    assert Recall()(one_mode).value == pytest.approx(0.5, abs=0.03)
    assert Precision()(spread_out).value < 0.1
    assert Density()(spread_out).value < 0.1
    apart = Record(normals(1000, 2, 2) + 1000, y)
    assert [m(apart).value for m in (Precision(), Recall(), Density(), Coverage())] == [0, 0, 0, 0]
    assert Precision()(apart).stderr > 0


# --- a classifier -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classifier", ["boosting", "logistic", "neighbours"])
def test_accuracy_is_a_half_at_equal_laws(classifier):
    metric = C2ST(classifier=classifier)
    check_zscores(repeated(metric, lambda s: normals(150, 2, s), lambda s: normals(150, 2, s), 60), 0.5)


def test_accuracy_is_the_best_there_is():
    # The best classifier of N(0, 1) and N(2, 1) is right with probability Phi(1), and the total variation 2 Phi(1) - 1.
    x, y = normals(4000) + 2, normals(4000, seed=1)
    for classifier in ("boosting", "logistic", "neighbours", "network"):
        estimate = C2ST(classifier=classifier)(Record(x, y))
        best = stats.norm.cdf(1)
        assert best - 0.03 < estimate.value < best + 4 * estimate.stderr
        assert estimate.details["total variation at least"] == pytest.approx(2 * estimate.value - 1)
        assert estimate.details["p-value"] < 1e-100
        assert estimate.details["told apart"] == 4000


def test_logistic_sees_no_widths_and_trees_do():
    x, y = 2 * normals(2000, 2), normals(2000, 2, 1)
    logistic, boosting = (C2ST(classifier=c)(Record(x, y)) for c in ("logistic", "boosting"))
    assert abs(logistic.value - 0.5) < 0.08
    assert boosting.value > 0.65


# --- memorisation -----------------------------------------------------------------------------------------------------


def digits_setup(samples=300, **fields):
    return kit.setup_of(Digits(**fields), samples)


def test_nearest_of_held_out_and_of_training_images():
    setup = digits_setup()
    train, held_out = Digits().data(), Digits().held_out().data()
    new = Nearest()(Record(held_out, setup=setup))
    assert (new.value, new.details["training data"]) == (1, 1438)
    copies = Nearest()(Record(train[:300], setup=setup))
    assert copies.value == 0
    assert copies.details["copies"] == 1
    assert copies.details["copies there"] < 0.02
    noise = Nearest()(Record(torch.randn(300, 1, 8, 8, generator=rng(0)), setup=setup))
    assert noise.value > 2
    half = Nearest()(Record(torch.cat([train[:359], held_out]), setup=setup))
    assert abs(half.value - 0.5) < 4 * half.stderr
    assert half.details["against"] == "held-out data"
    # The same noise is added to held-out data as there is in the samples.
    rho = 0.5
    noisy = Nearest()(Record(held_out + rho * torch.randn(held_out.shape, generator=rng(1)), setup=setup, rho=rho))
    assert abs(noisy.value - 1) < 4 * noisy.stderr


@dataclass(frozen=True)
class Points:
    """A finite target that holds nothing out."""

    points: torch.Tensor

    @property
    def shape(self):
        return tuple(self.points.shape[1:])

    def sample(self, n, rng):
        return self.points[torch.randint(len(self.points), (n,), generator=rng)]

    def data(self):
        return self.points


def test_nearest_without_held_out_data_leaves_each_datum_out():
    points = normals(400, 3)
    setup = kit.setup_of(Points(points), 100)
    values = [Nearest()(Record(normals(300, 3, 1 + i), setup=setup)) for i in range(60)]
    assert values[0].details["against"] == "each datum left out"
    D = cdist(points.numpy(), points.numpy())
    np.fill_diagonal(D, math.inf)
    assert values[0].details["its distance"] == pytest.approx(D.min(1).mean(), rel=1e-12)
    assert abs(np.mean([e.value for e in values]) - 1) < 4 * values[0].stderr
    assert two_nearest(points.numpy(), points.numpy())[:, 0].max() == 0


def test_nearest_needs_training_data():
    with pytest.raises(
        Mismatch, match="Mixture has no training data: choose a target of finitely many data, as digits"
    ):
        Nearest().inspect(kit.setup_of(Mixture(), 10))
    with pytest.raises(Mismatch, match="split = 'all' holds no data out; choose split = 'train'"):
        Nearest().inspect(digits_setup(split="all"))
    with pytest.raises(Mismatch, match="there are 2 training data; 3 or more are needed"):
        Nearest().inspect(kit.setup_of(Points(normals(2, 3)), 10))
    Nearest().inspect(digits_setup())


# --- all of them ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ALL, ids=named)
def test_the_order_of_samples_does_not_matter(metric):
    x, y = normals(200), normals(200, seed=1) + 0.2
    i, j = torch.randperm(200, generator=rng(0)), torch.randperm(200, generator=rng(1))
    a, b = metric(Record(x, y)), metric(Record(x[i], y[j]))
    assert (a.value, a.stderr) == pytest.approx((b.value, b.stderr), rel=1e-9)
    assert metric(Record(x.float(), y.float())) == metric(Record(x.float().double(), y.float().double()))


@pytest.mark.parametrize("metric", [*ALL, Nearest()], ids=named)
def test_samples_that_are_not_finite_are_counted(metric):
    x, y = normals(200), normals(200, seed=1)
    x[3], x[5] = math.nan, math.inf
    with pytest.raises(Mismatch, match=r"2 of 200 .*samples are not finite"):
        metric(Record(x, y, setup=digits_setup()))


@pytest.mark.parametrize("metric", ALL, ids=named)
def test_a_few_samples_are_refused(metric):
    least = metric.least(Mixture())
    x, y = normals(least), normals(least, seed=1)
    assert math.isfinite(metric(Record(x, y)).value)
    assert math.isfinite(metric(Record(x, y)).stderr)
    with pytest.raises(Mismatch, match=rf"{least} samples or more are needed, .* there are {least - 1}, {least}"):
        metric(Record(x[1:], y))


@pytest.mark.parametrize("metric", ALL, ids=named)
def test_constant_samples_have_figures(metric):
    same = torch.ones(200, 1, dtype=F64)
    for x, y in ((same, same), (same, 2 * same), (same, normals(200))):
        estimate = metric(Record(x, y))
        assert math.isfinite(estimate.value)
        assert 0 <= estimate.stderr < math.inf
    if not hasattr(metric, "at_equal_laws"):
        assert metric(Record(same, same)).value == pytest.approx(0, abs=1e-12)
        assert metric(Record(same, 3 * same)).value > 0


@pytest.mark.parametrize("metric", ON_FEATURES, ids=named)
def test_features_of_different_lengths_are_refused(metric):
    with pytest.raises(Mismatch, match="samples have 2 numbers each and those of the target 3"):
        metric(Record(normals(200, 2), normals(200, 3)))


def test_wasserstein_stays_on_the_line():
    with pytest.raises(Mismatch, match=r"a sample has shape \(1, 8, 8\); choose sliced-wasserstein"):
        Wasserstein().inspect(digits_setup())
    with pytest.raises(Mismatch, match="samples of 3 numbers are not on the line; choose sliced-wasserstein"):
        Wasserstein()(Record(normals(50, 3), normals(50, 3, 1)))
    Wasserstein().inspect(kit.setup_of(Mixture(), 10))


def test_shuffled_rows_have_an_order_of_their_own():
    x = normals(500, 3).numpy()
    y = shuffled(x)
    assert (np.sort(x, 0) == np.sort(y, 0)).all()
    assert (y == shuffled(x[::-1])).all()
    assert not (y == x).all()
    assert abs(stats.spearmanr(y[:, 0], np.arange(500)).statistic) < 0.2


class DensityThatLies(Density):
    """Say another value at equal laws than there is."""

    def at_equal_laws(self, samples):
        """Return it."""
        return 1.1


class DivergenceThatIsNone(Density):
    """Say that the value at equal laws is 0."""

    def at_equal_laws(self, samples):
        """Return it."""
        return 0.0


class TooSure(Recall):
    """Give a tenth of the standard error."""

    def __call__(self, evidence):
        """Return it."""
        return replace(super().__call__(evidence), stderr=super().__call__(evidence).stderr / 10)


@pytest.mark.parametrize(
    ("metric", "why"),
    [
        (DensityThatLies(), "metric-equal-laws"),
        (DivergenceThatIsNone(), "metric-equal-laws"),
        (TooSure(), "metric-stderr"),
    ],
)
def test_the_kit_sees_a_false_value_at_equal_laws(metric, why):
    with pytest.raises(AssertionError, match=why):
        kit.check_metric(metric, Mixture(), 1000)
    kit.check_metric(Density(), Mixture(), 1000)


INTERVALS = [
    (MMD(), 0.7, None),
    (Energy(), 0.7, lambda: energy_truth(0.7, 1.0)),
    (KID(), 0.7, lambda: kid_truth(0.7, 1.0)),
    (Wasserstein(), 0.7, lambda: 0.7),
    (Wasserstein(order=2), 0.7, lambda: 0.49),
    (Precision(), 0.3, None),
    (Recall(), 0.3, None),
    (Density(), 0.3, None),
    (Density(), 0.0, lambda: 1.0),
]


@pytest.mark.slow
@pytest.mark.parametrize(("metric", "shift", "truth"), INTERVALS, ids=lambda value: repr(value)[:40])
def test_intervals_of_95_percent_hold_the_truth(metric, shift, truth):
    value, stderr = repeated(metric, lambda s: normals(1000, 1, s) + shift, lambda s: normals(1000, 1, s), 200)
    expected = value.mean() if truth is None else truth()
    assert 0.90 <= np.mean(np.abs(value - expected) < 1.96 * stderr) <= 0.99
