"""Grids, priors and the exact model."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from samplerhub import Problem, Registry, rho, sigma, time_at
from samplerhub.errors import InvalidSetting, Mismatch, UnusableFile
from samplerhub_grids.angle import AngleGrid
from samplerhub_grids.beta import Beta
from samplerhub_grids.cosine import Cosine
from samplerhub_grids.edm import EDMGrid
from samplerhub_grids.explicit import Explicit
from samplerhub_grids.exponential import Exponential
from samplerhub_grids.iddpm import IDDPMGrid
from samplerhub_grids.power import Power
from samplerhub_grids.rectified import Rectified
from samplerhub_grids.spacings import Leading, Linspace, Trailing
from samplerhub_grids.uniform import Uniform
from samplerhub_grids.vp import VPGrid
from samplerhub_models.exact import Exact
from samplerhub_priors.exact import ExactPrior
from samplerhub_priors.gaussian import GaussianPrior
from samplerhub_processes.cosine import VPCosine
from samplerhub_processes.discrete import Discrete
from samplerhub_processes.edm import EDM
from samplerhub_processes.flow import Flow
from samplerhub_processes.geometric import VEGeometric
from samplerhub_processes.iddpm import IDDPM
from samplerhub_processes.ou import OU
from samplerhub_processes.sub_vp import SubVP
from samplerhub_processes.ve import VE
from samplerhub_processes.vp import VP
from samplerhub_targets.digits import Digits
from samplerhub_targets.gaussian import Gaussian
from samplerhub_targets.mixture import Mixture

PROCESSES = [
    EDM(), VE(), VEGeometric(), VP(), SubVP(), VPCosine(), OU(), Flow(), IDDPM(), IDDPM(t_max=None), Discrete(),
]  # fmt: skip
GRIDS = [
    EDMGrid(), EDMGrid(exponent=1), Uniform(), Exponential(), AngleGrid(), Rectified(), VPGrid(), Cosine(),
    Cosine(offset=0), IDDPMGrid(), Power(), Power(exponent=7), Beta(), Beta(a=0.3, b=0.3), Leading(), Linspace(),
    Trailing(), Explicit(),
]  # fmt: skip
TARGET = Mixture()


def problem_of(process, target=TARGET, span=None):
    return Problem(process, Exact().of(target), target=target, shape=target.shape, span=span)


@pytest.mark.parametrize("grid", GRIDS, ids=repr)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    process=st.sampled_from(PROCESSES), steps=st.one_of(st.integers(1, 200), st.sampled_from([600, 999, 1000, 1001])),
    ends=st.sampled_from([(0.0, 1.0), (0.1, 0.7), (0.0, 0.002), (0.8, 1.0)]),
)  # fmt: skip
def test_a_grid_goes_down_from_one_end_of_the_span_to_the_other(grid, process, steps, ends):
    low, high = process.span
    span = (low + ends[0] * (high - low), low + ends[1] * (high - low)) if ends != (0, 1) else (low, high)
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
        VPGrid(): lambda t: (19.9 * (1 + rho(process, t) ** 2).log() * 2 + 0.01).sqrt(),
        Cosine(): lambda t: torch.acos(math.cos(math.pi / 2 * 0.008 / 1.008) / (1 + rho(process, t) ** 2).sqrt()),
        Power(exponent=3): lambda t: t ** (1 / 3),
    }
    for grid, variable in variables.items():
        steps = variable(grid(problem, 40)).diff()
        torch.testing.assert_close(steps, steps.mean().expand(40), rtol=1e-8, atol=0)


def test_the_edm_grid_has_karras_values():
    # Karras et al., eq. 5 with N = 18, sigma in [0.002, 80], exponent 7, in plain Python.
    a, b = 80 ** (1 / 7), 0.002 ** (1 / 7)
    expected = [(a + i / 17 * (b - a)) ** 7 for i in range(18)]
    assert EDMGrid()(problem_of(EDM()), 17).tolist() == pytest.approx(expected, rel=1e-13)


# --- the grids of the literature, from their formulas -----------------------------------------------------------------


def test_table_1_of_edm():
    """Its four columns of time steps for N steps: N - 1 here, for the last goes to noise level 0 (last = denoise)."""
    N = 18
    i = np.arange(N)

    vp = 1 + i / (N - 1) * (1e-3 - 1)
    for grid in (Uniform(), VPGrid()):
        assert grid(problem_of(VP()), N - 1).tolist() == pytest.approx(vp.tolist(), rel=1e-9)

    ve = 100**2 * (0.02**2 / 100**2) ** (i / (N - 1))
    assert Exponential()(problem_of(VE()), N - 1).tolist() == pytest.approx(ve.tolist(), rel=1e-9)

    M, j_0, C_1, C_2 = 1000, 8, 0.001, 0.008
    abar = np.sin(np.pi / 2 * np.arange(M + 1) / (M * (C_2 + 1))) ** 2
    u = np.zeros(M + 1)
    for j in range(M, 0, -1):
        u[j - 1] = np.sqrt((u[j] ** 2 + 1) / max(abar[j - 1] / abar[j], C_1) - 1)
    for n in (2, 3, N, 500, 992):
        rows = np.floor(j_0 + (M - 1 - j_0) / (n - 1) * np.arange(n) + 0.5).astype(int)
        process = EDM(t_max=80.2037, t_min=0.00642541)
        times = IDDPMGrid()(problem_of(process), n - 1).tolist()
        assert times == pytest.approx(u[rows].tolist(), rel=1e-6)
        assert times[1:-1] == pytest.approx(u[rows].tolist()[1:-1], rel=1e-9)

    edm = (80 ** (1 / 7) + i / (N - 1) * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    assert EDMGrid()(problem_of(EDM()), N - 1).tolist() == pytest.approx(edm.tolist(), rel=1e-12)


def test_grids_that_are_the_same_on_a_process():
    for process, grid, same in [
        (VP(), VPGrid(), Uniform()),
        (VPCosine(), Cosine(), Uniform()),
        (VP(), Beta(a=1, b=1), Uniform()),
        (EDM(), EDMGrid(exponent=1), Uniform()),
        (EDM(), EDMGrid(), Power(exponent=7)),
        (EDM(), Cosine(offset=0), AngleGrid(center=1)),
    ]:
        times, others = grid(problem_of(process), 13), same(problem_of(process), 13)
        torch.testing.assert_close(times, others, rtol=1e-9, atol=0)


def test_beta_has_the_quantiles_of_the_distribution():
    times = Beta(a=0.7, b=1.3)(problem_of(Discrete()), 8)
    expected = 1 + 999 * scipy.stats.beta(0.7, 1.3).ppf(1 - np.arange(9) / 8)
    assert times.tolist() == pytest.approx(expected.tolist(), rel=1e-9)


SPACINGS = {
    # timesteps of diffusers 0.42.1's DDIMScheduler(timestep_spacing=...).set_timesteps(7), which count from 0
    Linspace(): [999, 832, 666, 500, 333, 166, 0],
    Leading(): [852, 710, 568, 426, 284, 142, 0],
    Trailing(): [999, 856, 713, 570, 428, 285, 142],
}


@pytest.mark.parametrize("grid", SPACINGS, ids=repr)
@pytest.mark.parametrize("process", [Discrete(), VP()], ids=["table", "no table"])
def test_spacings_are_those_of_diffusers(grid, process):
    rows = torch.tensor(SPACINGS[grid], dtype=torch.float64)
    times = grid(problem_of(process), 6 if grid == Linspace() else 7)
    inner = {Linspace(): times, Leading(): times[1:], Trailing(): times[:-1]}[grid]
    scale = 1.0 if process == Discrete() else 1e-3
    torch.testing.assert_close(inner, (rows + 1) * scale, rtol=1e-12, atol=0)


@pytest.mark.parametrize("steps", [1, 3, 50, 333, 499])
def test_spacings_are_the_published_formulas(steps):
    """Lin et al., Table 2, as numpy computes it in diffusers."""
    T, problem = 1000, problem_of(Discrete())
    linspace = np.linspace(0, T - 1, steps + 1).round()[::-1]
    leading = (np.arange(steps) * (T // steps))[::-1]
    trailing = np.round(np.arange(T, 0, -T / steps))[:steps] - 1
    assert (Linspace()(problem, steps) - 1).tolist() == linspace.tolist()
    assert (Leading()(problem, steps) - 1).tolist() == [T - 1, *leading]
    assert (Trailing()(problem, steps) - 1).tolist() == [*trailing, 0]


def test_spacings_keep_to_the_rows_of_a_shorter_run():
    times = Linspace()(problem_of(Discrete(), span=(10.5, 500)), 7)
    assert times[1:-1].tolist() == times[1:-1].round().tolist()


@pytest.mark.parametrize("suffix", [".json", ".npy", ".txt"])
def test_explicit_nodes_are_taken_as_they_are(tmp_path, suffix):
    nodes, file = [80.0, 5.5, 0.7, 0.002], tmp_path / f"nodes{suffix}"
    if suffix == ".npy":
        np.save(file, np.array(nodes))
    else:
        file.write_text(json.dumps(nodes) if suffix == ".json" else "80, 5.5\n0.7 0.002")
    for grid in (Explicit(file=file), Explicit(nodes=nodes)):
        assert grid(problem_of(EDM()), 3).tolist() == nodes
    assert Explicit(file=file).digest == Explicit(nodes=nodes).digest != Explicit().digest
    levels = Explicit(file=file, unit="rho")(problem_of(VE(t_min=4e-6, t_max=6400)), 3)
    assert levels.tolist() == pytest.approx([node**2 for node in nodes], rel=1e-12)


def test_explicit_nodes_are_interpolated_in_log_rho():
    times = Explicit(nodes=(80, 1, 0.002))(problem_of(EDM()), 6)
    expected = np.exp(np.interp(np.arange(7) / 6, [0, 0.5, 1], np.log([80, 1, 0.002])))
    assert times.tolist() == pytest.approx(expected.tolist(), rel=1e-12)
    torch.testing.assert_close(Explicit()(problem_of(VP()), 5), Exponential()(problem_of(VP()), 5), rtol=1e-12, atol=0)


@pytest.mark.parametrize("nodes", [(80, 3, 3, 0.002), (0.002, 80), (80,)], ids=str)
def test_explicit_nodes_that_do_not_decrease(nodes):
    with pytest.raises(InvalidSetting, match="two or more, and decreasing"):
        Explicit(nodes=nodes)(problem_of(EDM()), 3)


def test_explicit_nodes_end_where_the_run_does():
    with pytest.raises(InvalidSetting, match=r"go from t = 80 to -0\.002, and the run from 80 to 0\.002"):
        Explicit(nodes=(80, 1, -0.002))(problem_of(EDM()), 2)
    with pytest.raises(InvalidSetting, match="noise levels, which must be positive"):
        Explicit(nodes=(80, 1, 0), unit="rho")(problem_of(EDM()), 2)


def test_time_0_may_be_an_explicit_node():
    problem = problem_of(VEGeometric(t_min=0))
    for end in (0.0, 1e-15):
        assert Explicit(nodes=(1, 0.5, end))(problem, 2).tolist() == [1, 0.5, 0]
    torch.testing.assert_close(Explicit(nodes=(1, 0.5, 0))(problem, 4), torch.tensor([1, 0.75, 0.5, 0.25, 0]).double())
    with pytest.raises(InvalidSetting, match="begin and end at the nodes"):
        Explicit(nodes=(1, 0.5, 1e-6))(problem, 2)


@pytest.mark.parametrize("suffix", [".json", ".npy", ".txt"])
def test_a_file_without_nodes_is_not_the_default(tmp_path, suffix):
    file = tmp_path / f"nodes{suffix}"
    if suffix == ".npy":
        np.save(file, np.zeros(0))
    else:
        file.write_text("[]" if suffix == ".json" else "")
    with pytest.raises(UnusableFile, match="holds no nodes"):
        Explicit(file=file)(problem_of(EDM()), 3)


def test_no_nodes_are_not_the_default():
    with pytest.raises(ValueError, match="there are none: give two or more"):
        Explicit(nodes=())
    assert Explicit(nodes=None) == Explicit()


@pytest.mark.parametrize("steps", [1, 7, 450, 897, 898, 899, 900, 901])
@pytest.mark.parametrize("grid", [Leading(), Linspace(), Trailing()], ids=repr)
def test_an_end_given_as_a_noise_level_is_the_row_itself(grid, steps):
    """The time of a noise level is off by rounding: 900.0000000000001 and 3 + 1e-15 are rows 900 and 3."""
    process = Discrete()
    start, end = (time_at(process, rho(process, row)).item() for row in (900.0, 3.0))
    assert start != 900
    times, exact = (grid(problem_of(process, span=span), steps) for span in ((end, start), (3.0, 900.0)))
    torch.testing.assert_close(times, exact, rtol=1e-12, atol=0)
    assert times.diff().max() < (-0.9 if steps < 898 else -0.99 * 897 / steps)


@pytest.mark.parametrize(
    ("grid", "field"),
    [
        (EDMGrid(exponent=0.001), "exponent = 0.001"), (EDMGrid(exponent=1e300), r"exponent = 1e\+300"),
        (Rectified(center=1e-300), "center = 1e-300"), (AngleGrid(center=1e-300), "center = 1e-300"),
        (Power(exponent=0.001), "exponent = 0.001"),
        (Power(exponent=1e300), r"exponent = 1e\+300"),
    ],
    ids=repr,
)  # fmt: skip
def test_a_field_that_is_too_extreme_is_named(grid, field):
    with pytest.raises(InvalidSetting, match=f"grid {type(grid).__name__} with {field}: 5 steps from"):
        grid(problem_of(EDM()), 5)


def test_log_snr_is_another_name_of_exponential():
    assert Registry.discover().load("grid", "log-snr") is Exponential


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
    with pytest.raises(Mismatch, match=r"Digits has no method 'denoise'; choose the exact model of its data"):
        Exact().of(Digits())
