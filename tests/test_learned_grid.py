"""Grids that are learned through a sampler, and the one that is measured on the data."""

from __future__ import annotations

import itertools
import json
import math

import pytest
import torch

import samplerhub as sh
from samplerhub.cli import main
from samplerhub.errors import InvalidSetting, Mismatch, UnusableFile
from samplerhub.learning.descent import nodes, unknowns
from samplerhub.learning.search import _best, bell
from samplerhub.learning.trials import Trials, flow
from samplerhub_grids.angle import AngleGrid
from samplerhub_grids.edm import EDMGrid
from samplerhub_grids.equidistributed import Equidistributed, steepness
from samplerhub_grids.exponential import Exponential
from samplerhub_grids.learned import LearnedGrid
from samplerhub_metrics.path_terms import Points, discretisation
from samplerhub_models.exact import Exact
from samplerhub_priors.gaussian import GaussianPrior
from samplerhub_processes.edm import EDM
from samplerhub_processes.vp import VP
from samplerhub_samplers.angle import Angle
from samplerhub_samplers.ddim import DDIM
from samplerhub_samplers.deis import DEIS
from samplerhub_samplers.dormand_prince import DormandPrince
from samplerhub_samplers.heun import Heun
from samplerhub_targets.gaussian import Gaussian
from samplerhub_targets.mixture import Mixture

BELLS = Mixture(weights=(0.3, 0.5, 0.2), means=(-1.0, 0.1, 0.9), covariances=(0.01, 0.0225, 0.0064))
PLANE = Mixture(weights=(1, 2, 1), means=((0, 1), (1, -1), (-1, 0)), covariances=(0.02, 0.05, 0.01))


EDM_GRID, ANGLE = EDMGrid(), Angle()
PROCESSES = {"edm": EDM(), "vp": VP()}


def experiment(sampler=ANGLE, steps=8, *, target=BELLS, process="edm", grid=EDM_GRID, seed=0, **settings):
    return sh.Experiment(
        process=PROCESSES[process], target=target, model=Exact(), sampler=sampler, grid=grid, prior=GaussianPrior(),
        steps=steps, seed=seed, **settings,
    )  # fmt: skip


def errors(learned, setting, n=1000):
    """RMS errors of the first grid and of the learned one, on new starting states."""
    trials = Trials.draw(setting.setup(), n, "new")
    grids = (torch.tensor(rho, dtype=torch.float64) for rho in (learned.start, learned.rho))
    return [trials.errors(rho).mean().sqrt().item() for rho in grids]


@pytest.fixture(scope="module")
def learned():
    return sh.learn_grid(experiment(), noises=128)


# --- learned ----------------------------------------------------------------------------------------------------------


def test_the_exact_flow_of_a_gaussian():
    # y - m is scaled by sqrt((c + b^2)/(c + a^2)) from noise level a to b.
    c, m = 0.3, 0.7
    setup = experiment(target=Gaussian(mean=(m,), covariance=c)).setup()
    y = torch.linspace(-200, 200, 16, dtype=torch.float64)[:, None]
    end = flow(setup.problem(), y, 80.0, 0.002)
    torch.testing.assert_close(end, m + (y - m) * math.sqrt((c + 0.002**2) / (c + 80**2)), rtol=1e-7, atol=1e-8)


def test_the_error_falls_at_the_rate_of_the_sampler():
    trials = Trials.draw(experiment(Heun()).setup(), 64, "rate")
    coarse, fine = (
        trials.errors(sh.rho(EDM(), EDMGrid()(trials.setup.problem(), N))).mean().sqrt().item() for N in (400, 800)
    )
    assert coarse / fine == pytest.approx(4, rel=0.15)


def test_a_learned_grid_gains_on_noise_that_it_has_not_seen(learned):
    before, after = errors(learned, experiment())
    assert learned.gain > 6
    assert before / after > 6


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("sampler", [DDIM(), Heun(), DEIS()], ids=["ddim", "heun", "deis"])
def test_it_is_never_worse_than_the_grid_that_it_started_from(sampler, process):
    setting = experiment(sampler, 4, target=PLANE, process=process, grid=AngleGrid())
    learned = sh.learn_grid(setting, noises=64)
    before, after = errors(learned, setting, 400)
    assert learned.error <= learned.error_before
    assert after <= 1.02 * before


@pytest.mark.slow
@pytest.mark.parametrize("target", [BELLS, PLANE], ids=["1-D", "2-D"])
@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("steps", [8, 12, 20])
def test_it_gains_with_a_good_sampler_everywhere(target, process, steps):
    setting = experiment(Angle(order=4), steps, target=target, process=process)
    before, after = errors(sh.learn_grid(setting), setting)
    assert before / after > 6


def test_what_is_worse_on_held_out_noise_is_not_taken(learned):
    trials = Trials.draw(experiment().setup(), 200, "other")
    good, bad = torch.tensor(learned.rho, dtype=torch.float64), torch.tensor(learned.start, dtype=torch.float64)
    for candidates in ([good, bad, bad], [bad, bad, good]):
        taken, error, before, _ = _best(candidates, trials)
        assert torch.equal(taken, good)
        assert error <= before
        assert error == trials.errors(good).mean().sqrt().item()


def test_the_standard_error_of_the_gain(learned):
    # The spread of the gain over new sets of held-out starts is what one set says of it.
    setting, gains, said = experiment(), [], []
    ends = [torch.tensor(rho, dtype=torch.float64) for rho in (learned.start, learned.rho)]
    for k in range(40):
        _, error, before, stderr = _best(ends, Trials.draw(setting.setup(), 100, f"set {k}"))
        gains.append(before / error)
        said.append(stderr)
    assert 0.4 < sum(said) / 40 / torch.tensor(gains).std().item() < 1.6


def test_the_same_seed_learns_the_same_nodes():
    first, again, other = (sh.learn_grid(experiment(DDIM(), 3, seed=seed), noises=16) for seed in (0, 0, 1))
    assert first == again
    assert first.rho != other.rho


def test_nodes_fall_strictly_whatever_the_unknowns():
    rng = torch.Generator().manual_seed(0)
    for scale in (1, 30, 1000):
        theta = scale * torch.randn(19, generator=rng, dtype=torch.float64)
        rho = nodes(theta, (80.0, 0.002))
        assert bool((rho.diff() < 0).all())
        assert (rho[0].item(), rho[-1].item()) == (80.0, 0.002)
    rho = sh.rho(EDM(), EDMGrid()(experiment().problem(), 12))
    torch.testing.assert_close(nodes(unknowns(rho), (80.0, 0.002)), rho, rtol=1e-10, atol=0)


def test_bells_stand_between_the_angle_and_equal_steps_of_the_log():
    problem = experiment().problem()
    ends = sh.rho(EDM(), Exponential()(problem, 9))
    torch.testing.assert_close(bell(ends, 0.3, 1.0), sh.rho(EDM(), AngleGrid(center=0.3)(problem, 9)))
    torch.testing.assert_close(bell(ends, 0.3, 1e4), ends, rtol=1e-6, atol=0)


def test_a_grid_of_one_step_has_nothing_to_learn():
    learned = sh.learn_grid(experiment(steps=1), noises=16)
    assert learned.rho == learned.start
    assert learned.gain == 1


def test_a_last_denoising_is_part_of_what_is_learned():
    setting = experiment(Angle(last="denoise"), 5)
    learned = sh.learn_grid(setting, noises=64)
    before, after = errors(learned, setting)
    assert before / after > 3


@pytest.mark.parametrize(
    ("sampler", "message"),
    [(DEIS(churn=0.5), "draws noise"), (DormandPrince(), "chooses its own steps")],
    ids=["noise", "adaptive"],
)
def test_a_sampler_through_which_no_grid_can_be_learned_is_refused(sampler, message):
    with pytest.raises(Mismatch, match=message):
        sh.learn_grid(experiment(sampler))


def test_too_few_starting_states_are_refused():
    with pytest.raises(InvalidSetting, match="noises = 3"):
        sh.learn_grid(experiment(), noises=3)


# --- the file ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def file(learned, tmp_path):
    learned.write(tmp_path / "angle.grid.json")
    return tmp_path / "angle.grid.json"


def test_the_file_holds_what_was_learned(learned, file):
    assert sh.LearnedNodes.read(file) == learned
    assert learned.components["sampler"].target == "samplerhub_samplers.angle:Angle"
    levels = sh.rho(EDM(), LearnedGrid(file=str(file))(experiment().problem(), 8))
    assert levels.tolist() == pytest.approx(learned.rho, rel=1e-12)


def test_the_nodes_serve_any_process_between_the_same_noise_levels(tmp_path):
    learned = sh.learn_grid(experiment(DDIM(), rho_min=0.02, rho_max=50.0), noises=16)
    learned.write(tmp_path / "short.grid.json")
    grid = LearnedGrid(file=str(tmp_path / "short.grid.json"))
    low, high = sh.time_at(VP(), [0.02, 50]).tolist()
    problem = sh.Problem(VP(), Exact().of(BELLS), target=BELLS, shape=(1,), span=(low, high))
    assert sh.rho(VP(), grid(problem, 8)).tolist() == pytest.approx(learned.rho, rel=1e-9)
    with pytest.raises(Mismatch, match=r"noise levels 50 to 0\.02 and the run goes from 80 to 0\.002"):
        experiment(grid=grid)


def test_another_number_of_steps_is_refused(file):
    grid = LearnedGrid(file=str(file))
    with pytest.raises(Mismatch, match="learned for 8 steps and the run has 9: give --steps 8"):
        experiment(steps=9, grid=grid)


def test_a_budget_takes_the_steps_of_the_file_if_it_can(file):
    grid = LearnedGrid(file=str(file))
    assert len(experiment(steps=None, nfe=10, grid=grid).times) == 9
    with pytest.raises(InvalidSetting, match="with the 8 steps of grid LearnedGrid, sampler Angle spends 8"):
        experiment(steps=None, nfe=7, grid=grid)


def test_a_wrong_file_is_refused(learned, tmp_path):
    problem, file = experiment().problem(), tmp_path / "wrong.grid.json"
    with pytest.raises(UnusableFile, match="samplerhub learn-grid"):
        LearnedGrid()(problem, 8)
    with pytest.raises(UnusableFile, match="cannot read"):
        LearnedGrid(file=str(file))(problem, 8)
    whole = json.loads(learned.model_dump_json())
    rho = list(learned.rho)
    for text, message in [
        ("{", "not JSON"),
        ("[1, 2]", "no learned grid"),
        (json.dumps({**whole, "rho": rho[::-1]}), "do not decrease"),
        (json.dumps({**whole, "rho": [*rho[:3], rho[2], *rho[3:]]}), "do not decrease"),
        (json.dumps({**whole, "rho": [*rho[:-1], -1.0]}), "greater than 0"),
        (json.dumps({**whole, "surprise": 1}), "surprise"),
    ]:
        file.write_text(text)
        with pytest.raises(UnusableFile, match=message):
            LearnedGrid(file=str(file))(problem, 8)


def test_the_command_writes_a_file_that_a_run_reads(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["learn-grid", "--target", "mixture", "--sampler", "ddim", "--steps", "4", "--noises", "16"]) == 0
    assert "on starting states that were held out" in capsys.readouterr().out
    run = ["run", "--target", "mixture", "--sampler", "ddim", "--grid", "ddim-4.grid.json", "-n", "64", "--json"]
    assert main([*run, "--nfe", "4"]) == 0
    manifest = json.loads(capsys.readouterr().out)["manifest"]
    learned = sh.LearnedNodes.read(tmp_path / "ddim-4.grid.json")
    assert manifest["times"] == pytest.approx(learned.rho, rel=1e-9)
    assert manifest["components"]["grid"]["name"] == "learned"
    assert manifest["components"]["grid"]["digest"]
    assert {role: one.name for role, one in learned.components.items()} == {
        "process": "edm", "target": "mixture", "model": "exact", "sampler": "ddim", "grid": "edm", "prior": "gaussian",
    }  # fmt: skip


# --- equidistributed --------------------------------------------------------------------------------------------------


def problem_of(target):
    return sh.Problem(EDM(), Exact().of(target), target=target, shape=target.shape)


@pytest.mark.parametrize("c", [1e-12, 0.25])
def test_on_a_gaussian_equal_errors_are_equal_steps_of_the_log_of_the_variance(c):
    # J = 1/(c + v), and sqrt(-J') = 1/(c + v): equal steps of log(c + v), which for data at a point is log v.
    v = sh.rho(EDM(), Equidistributed(levels=400)(problem_of(Gaussian(mean=(0.5,), covariance=c)), 12)) ** 2
    steps = (c + v).log().diff()
    torch.testing.assert_close(steps, steps.mean().expand(12), rtol=2e-3, atol=0)


def test_the_measured_slope_of_the_fisher_information():
    # One component makes a Gaussian that does not say so: measured, it has the slope of the closed form, without
    # noise. For the bells, differences of J by quadrature.
    c = torch.tensor([[0.5, 0.1], [0.1, 0.2]], dtype=torch.float64)
    v = torch.logspace(-4, 3, 12, dtype=torch.float64)
    one = Mixture(weights=(1,), means=((0, 1),), covariances=(tuple(map(tuple, c.tolist())),))
    exact = (torch.linalg.eigvalsh(c)[:, None] + v).pow(-2).sum(0)
    torch.testing.assert_close(steepness(problem_of(one), one, v, 4000), exact, rtol=0.1, atol=0)

    def fisher(v):
        y = torch.linspace(-60, 60, 400_001, dtype=torch.float64)[:, None]
        rho = torch.tensor(math.sqrt(v), dtype=torch.float64)
        score = (BELLS.denoise(y, rho) - y)[:, 0] / v
        return torch.trapezoid(BELLS.log_prob(y, rho).exp() * score**2, y[:, 0]).item()

    v = torch.tensor([0.003, 0.03, 0.3, 3.0], dtype=torch.float64)
    slope = [(fisher(0.999 * x) - fisher(1.001 * x)) / (0.002 * x) for x in v.tolist()]
    measured = steepness(problem_of(BELLS), BELLS, v, 20_000)
    torch.testing.assert_close(measured, torch.tensor(slope, dtype=torch.float64), rtol=0.06, atol=0)


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("target", [BELLS, PLANE], ids=["1-D", "2-D"])
def test_every_step_has_the_same_error_and_the_sum_is_smaller(process, target):
    total = {}
    for grid in (Equidistributed(), EDMGrid(), Exponential()):
        setup = experiment(steps=30, target=target, process=process, grid=grid, samples=4000).setup()
        parts, _ = discretisation(setup, Points.of(target, setup, "check"), 4)
        steps = parts.mean(1)
        total[type(grid)] = steps.sum().item()
        spread = steps / steps.mean() - 1
        if isinstance(grid, Equidistributed):
            assert spread.abs().max() < 0.3
        else:
            assert spread.abs().max() > 0.9
    assert total[Equidistributed] < 0.96 * min(total[EDMGrid], total[Exponential])


def test_it_is_measured_once_for_a_run_and_always_the_same():
    calls = []

    class Counting(Mixture):
        def sample(self, n, rng):
            calls.append(n)
            return super().sample(n, rng)

    problem = problem_of(Counting())
    first = Equidistributed()(problem, 7)
    Equidistributed()(problem, 20)
    assert calls == [512]
    assert torch.equal(first, Equidistributed()(problem_of(Mixture()), 7))
    assert all(a > b for a, b in itertools.pairwise(first.tolist()))


def test_without_a_target_it_says_so():
    with pytest.raises(Mismatch, match="has no target"):
        Equidistributed()(sh.Problem(EDM(), Exact().of(BELLS), shape=(1,)), 5)


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("/", "must end in .grid.json"),
        ("plain.json", "as in --out plain.grid.json"),
        ("nodes", "as in --out nodes.grid.json"),
        ("folder.grid.json", "is a folder"),
    ],
)
def test_a_file_that_grid_would_not_take_is_refused_before_anything_is_learned(
    out, said, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.grid.json").mkdir()
    assert main(["learn-grid", "--target", "mixture", "--steps", "4", "--out", out]) == 2
    err = " ".join(capsys.readouterr().err.split())
    assert f"error: --out {out}" in err
    assert said in err
    assert "learning" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["folder.grid.json"]
