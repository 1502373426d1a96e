"""Models made of models, and functions as models, against their formulas and against exact scores."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from pydantic import ValidationError

import samplerhub as sh
from samplerhub.budget import measure_budget
from samplerhub.cli import main
from samplerhub.errors import InvalidSetting, Mismatch
from samplerhub_grids.edm import EDMGrid
from samplerhub_metrics.kl_exact import KLExact
from samplerhub_metrics.score_error import ScoreError
from samplerhub_models.callable import CallableModel
from samplerhub_models.empirical import Empirical
from samplerhub_models.exact import Exact
from samplerhub_models.gaussian import GaussianScore
from samplerhub_models.guided import Guided
from samplerhub_models.mixed import Mixed
from samplerhub_models.network import Network
from samplerhub_models.perturbed import Perturbed
from samplerhub_priors.exact import ExactPrior
from samplerhub_processes.edm import EDM
from samplerhub_processes.flow import Flow
from samplerhub_processes.vp import VP
from samplerhub_samplers.ddim import DDIM
from samplerhub_samplers.deis import DEIS
from samplerhub_samplers.dormand_prince import DormandPrince
from samplerhub_samplers.heun import Heun
from samplerhub_targets.digits import Digits
from samplerhub_targets.gaussian import Gaussian
from samplerhub_targets.mixture import Mixture

F64 = torch.float64
TARGET = Gaussian(mean=(0.5, -0.2), covariance=((1.0, 0.3), (0.3, 0.5)))
OTHER = Gaussian(mean=(-1.0, 0.4), covariance=0.6)
LEVELS = (0.05, 0.5, 1.0, 3.0, 20.0)


def states(n=48, d=2, seed=0):
    """Return states at noise levels that differ from row to row."""
    rng = torch.Generator().manual_seed(seed)
    rho = torch.tensor(LEVELS, dtype=F64).repeat(n)[:n, None]
    return rho * torch.randn(n, d, generator=rng, dtype=F64), rho


def close(a, b, tolerance=1e-12):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def experiment(model, *, target=TARGET, sampler=None, **numbers):
    numbers = {"samples": 64, **({"steps": 12} if "nfe" not in numbers else {}), **numbers}
    parts = {"process": EDM(), "grid": EDMGrid(), "prior": ExactPrior(), "sampler": sampler or DDIM(), **numbers}
    return sh.Experiment(model=model, target=target, dtype="float64", **parts)


# --- perturbed --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("unit", "k"), [("score", 0), ("eps", 1), ("x0", 2)])
def test_the_error_of_the_score_is_what_the_docstring_says(unit, k):
    y, rho = states()
    model = Perturbed(bias=(0.3, -0.7), scale=1.2, noise=0.4, frequency=2.0, unit=unit, window=(0.5, 3.0), seed=5)
    made = sh.made_for(model, TARGET)
    problem, exact = sh.Problem(EDM(), made), sh.Problem(EDM(), Exact().of(TARGET))
    s = exact.score(y, rho)

    rng = sh.stream(5, "perturbed")
    a, c, v = (torch.randn(2, generator=rng, dtype=F64) for _ in range(3))
    b = 2 * math.pi * torch.rand(2, generator=rng, dtype=F64)
    z = y / (1 + rho**2).sqrt()
    inner = (z * (c / math.sqrt(2))).sum(1, keepdim=True)
    g = math.sqrt(2) * torch.cos(2.0 * (a * z + inner) + v * rho.log() + b)
    error = 0.2 * s + rho**-k * (torch.tensor([0.3, -0.7], dtype=F64) + 0.4 * g)
    error = torch.where((rho >= 0.5) & (rho <= 3.0), error, 0.0)
    close(problem.score(y, rho), s + error, 1e-11)
    assert error.abs().max() > 0.1


def test_the_irregular_part_has_mean_square_1_over_seeds():
    y, rho = states(n=1)
    g = torch.stack([Perturbed(noise=1.0, seed=seed).added(y, rho) for seed in range(2000)])
    square, stderr = g.square().mean(0), g.square().std(0) / math.sqrt(2000)
    assert bool(((square - 1).abs() < 4 * stderr).all())
    assert bool((g.mean(0).abs() < 4 * g.std(0) / math.sqrt(2000)).all())


def test_the_score_error_of_a_bias_is_its_closed_form():
    run = experiment(Perturbed(bias=0.1), metrics=[ScoreError()])
    low, high = 0.002, 80.0
    assert run.evaluate()["score-error"].value == pytest.approx(2 * 0.1**2 * math.log(high / low), rel=1e-6)


def test_a_scaled_score_is_that_of_a_gaussian_of_another_covariance():
    kl = [
        experiment(model, metrics=[KLExact()]).evaluate()["kl-exact"].value
        for model in (Perturbed(scale=1 / 0.8), GaussianScore(factor=0.8), Perturbed())
    ]
    assert kl[0] == pytest.approx(kl[1], rel=1e-9)
    assert kl[0] > 2 * kl[2] > 0


def test_a_budget_tells_the_error_that_was_put_in():
    exact, wrong = (
        measure_budget(experiment(Perturbed(bias=bias, window=(0.1, 10.0)), metrics=[KLExact()]), fine=4)
        for bias in (0.0, 0.3)
    )
    assert exact.shares["score"].value == pytest.approx(0, abs=1e-9)
    assert wrong.shares["score"].value > 0.5 * wrong.total.value > 0


def test_a_bias_for_other_coordinates_and_a_window_upside_down_are_refused():
    y, rho = states()
    with pytest.raises(Mismatch, match="bias has 3 numbers; give one for all, or one for each of the 2"):
        sh.made_for(Perturbed(bias=(1.0, 2.0, 3.0)), TARGET)(y, rho)
    with pytest.raises(ValidationError, match="rho_low <= rho_high"):
        Perturbed(window=(3.0, 1.0))


# --- mixed ------------------------------------------------------------------------------------------------------------


def test_mixed_changes_models_at_the_level_row_by_row():
    y, rho = states()
    made = sh.made_for(Mixed(above=Exact(target=OTHER), below=Exact(), level=1.0), TARGET)
    expected = torch.where(rho >= 1.0, OTHER.denoise(y, rho), TARGET.denoise(y, rho))
    close(made(y, rho), expected)
    for level in LEVELS:
        one = torch.full((1, 1), level, dtype=F64)
        close(made(y, one), (OTHER if level >= 1 else TARGET).denoise(y, one))


def test_the_bits_of_a_row_do_not_depend_on_the_rows_beside_it():
    digits = Network()
    rho = torch.tensor([0.5, 4.0, 0.7, 2.0] * 8).reshape(-1, 1, 1, 1)
    y = rho * torch.randn(32, *digits.shape, generator=torch.Generator().manual_seed(0))
    made = Mixed(above=digits, below=Perturbed(base=digits, bias=0.2), level=1.0)
    problem = sh.Problem(EDM(), made)
    close(problem.x0(y[:5], rho[:5]), problem.x0(y, rho)[:5], 0)
    assert made.shape == digits.shape
    assert made.sigma_data == digits.sigma_data


def test_parts_for_data_of_other_shapes_are_refused():
    with pytest.raises(Mismatch, match="made of models for samples of shapes"):
        experiment(Mixed(above=Network(), below=Exact()))


# --- guided -----------------------------------------------------------------------------------------------------------


def test_guidance_is_its_formula_inside_the_window_and_the_conditional_model_outside():
    y, rho = states()
    guided = Guided(unconditional=Exact(target=OTHER), weight=2.5, window=(0.5, 3.0))
    D_c, D_u = TARGET.denoise(y, rho), OTHER.denoise(y, rho)
    expected = torch.where((rho >= 0.5) & (rho <= 3), D_u + 2.5 * (D_c - D_u), D_c)
    close(sh.made_for(guided, TARGET)(y, rho), expected)


def test_guidance_in_closed_form_leads_the_mean_away():
    """Between N(m_c, v) and N(m_u, v) it is the exact model of the mean m_u + weight (m_c - m_u)."""
    c, u, away = (Gaussian(mean=(m,), covariance=0.5) for m in (1.0, 0.4, 0.4 + 3 * 0.6))
    y, rho = states(d=1)
    close(sh.made_for(Guided(unconditional=Exact(target=u), weight=3.0), c)(y, rho), away.denoise(y, rho))


@pytest.mark.parametrize(
    "sampler", [DDIM(), Heun(), DEIS(churn=0.5), DDIM(last="denoise")], ids=lambda s: type(s).__name__
)
def test_both_evaluations_count_and_a_budget_is_kept(sampler):
    window = (0.3, 5.0)
    asked = []
    plain = experiment(Exact(), sampler=sampler, steps=15)
    run = experiment(Guided(window=window), sampler=sampler, steps=15)

    class Spy:
        predicts = "x0"

        def __call__(self, y, rho):
            asked.append(rho.item())
            return TARGET.denoise(y, rho)

    experiment(Spy(), sampler=sampler, steps=15).run()
    inside = sum(window[0] <= level <= window[1] for level in asked)
    assert 0 < inside < len(asked)
    assert run.run().nfe == plain.run().nfe + inside == len(asked) + inside

    for nfe in (12, 21, 40):
        steps = len(experiment(Guided(window=window), sampler=sampler, nfe=nfe).times) - 1
        spent = [experiment(Guided(window=window), sampler=sampler, steps=k).run().nfe for k in (steps, steps + 1)]
        assert spent[0] <= nfe < spent[1]


def test_costs_add_up_through_parts():
    rho = torch.tensor(LEVELS, dtype=F64)
    guided = Guided(window=(0.5, 3.0))
    assert sh.cost_of(guided, rho).tolist() == [1, 2, 2, 2, 1]
    assert sh.cost_of(Perturbed(base=guided), rho).tolist() == [1, 2, 2, 2, 1]
    assert sh.cost_of(Mixed(above=guided, below=Guided(conditional=guided), level=2.0), rho).tolist() == [2, 3, 3, 2, 1]
    problem = sh.Problem(EDM(), sh.made_for(guided, TARGET))
    y, levels = states(n=5)
    problem.x0(y, levels)
    assert problem.rows == 8
    problem.x0(y, 1.0)
    assert problem.rows == 18


def test_a_sampler_that_counts_its_calls_is_given_no_budget_that_it_would_exceed():
    with pytest.raises(Mismatch, match="keeps to a budget of calls, and calls of model Guided cost more"):
        experiment(Guided(), sampler=DormandPrince(), nfe=60)
    assert experiment(Perturbed(bias=0.1), sampler=DormandPrince(), nfe=60).run().nfe <= 60


# --- functions as models ----------------------------------------------------------------------------------------------

MIXTURE = Mixture()
PROCESSES = [None, VP(), Flow()]


def function_of(output, input, time, factor, process):
    """Return the exact model of the mixture as a function of these conventions, written from their definitions."""

    def function(state, given):
        given = given / factor
        if process is None:
            t = {"t": given, "rho": given, "sigma": given, "log-rho": given.exp(), "log-snr": (-given / 2).exp()}[time]
            alpha, sigma, dalpha, dsigma = (torch.ones_like(t), t, torch.zeros_like(t), torch.ones_like(t))
        else:
            if time == "t":
                t = given
            else:
                goal = {"rho": given, "log-rho": given.exp(), "log-snr": (-given / 2).exp()}.get(time)
                low, high = (torch.full_like(given, end) for end in process.span)
                for _ in range(200):
                    middle = (low + high) / 2
                    at = sh.sigma(process, middle) if time == "sigma" else sh.rho(process, middle)
                    below = at < (given if time == "sigma" else goal)
                    low, high = torch.where(below, middle, low), torch.where(below, high, middle)
                t = (low + high) / 2
            with torch.enable_grad():
                s = t.detach().requires_grad_()
                alpha, sigma = process.alpha(s), process.sigma(s)
                (dalpha,) = torch.autograd.grad(alpha.sum(), s, retain_graph=True)
                (dsigma,) = torch.autograd.grad(sigma.sum(), s)
            alpha, sigma = alpha.detach(), sigma.detach()
        alpha, sigma, dalpha, dsigma = (number[:, None] for number in (alpha, sigma, dalpha, dsigma))
        rho = sigma / alpha
        y = state / alpha if input == "x" else state
        x0 = MIXTURE.denoise(y, rho)
        eps = (y - x0) / rho
        with torch.enable_grad():
            z = state.detach().requires_grad_()
            log_p = MIXTURE.log_prob(z / alpha if input == "x" else z, rho)
            (score,) = torch.autograd.grad(log_p.sum(), z)
        return {
            "x0": x0, "eps": eps, "v": alpha * eps - sigma * x0,
            "velocity": dalpha * x0 + dsigma * eps, "score": score,
        }[output]  # fmt: skip

    return function


@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("output", ["x0", "eps", "v", "velocity", "score"])
def test_every_convention_gives_the_exact_posterior_mean(output, process):
    y, rho = states(d=1)
    exact = MIXTURE.denoise(y, rho)
    for input, time in itertools.product(("x", "y"), ("t", "rho", "sigma", "log-rho", "log-snr")):
        function = function_of(output, input, time, 0.25, process)
        model = CallableModel(function=function, output=output, input=input, time=time, factor=0.25, process=process)
        assert (model(y, rho) - exact).abs().max() < 1e-10, (output, input, time)
        one = torch.full((1, 1), 3.0, dtype=F64)
        assert (model(y, one) - MIXTURE.denoise(y, one)).abs().max() < 1e-10, (output, input, time)


def test_a_function_for_one_process_runs_in_another():
    model = CallableModel(function=function_of("v", "x", "t", 1.0, VP()), output="v", process=VP())
    numbers = {"target": MIXTURE, "process": EDM(t_min=0.02, t_max=100.0), "sampler": Heun()}
    close(experiment(model, **numbers).run().samples, experiment(Exact(), **numbers).run().samples, 1e-8)


def test_a_function_is_asked_at_the_ends_of_its_process_in_single_precision():
    model = CallableModel(function=lambda x, t: x * t[:, None], output="eps", process=VP())
    run = experiment(model, process=VP()).run()
    assert bool(run.samples.isfinite().all())
    single = sh.Problem(VP(), model)
    for t in VP().span:
        assert bool(single.x0(torch.ones(3, 2), sh.rho(VP(), t).item()).isfinite().all())
    with pytest.raises(InvalidSetting, match=r"noise level 1000 is outside .*: keep the run inside with --rho-max"):
        single.x0(torch.ones(3, 2), 1000.0)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 2)

    def forward(self, x, t):
        return self.layer(x) * t[:, None]


def test_a_module_computes_in_its_own_type_and_its_parameters_are_in_the_digest():
    net = Net().eval()
    model = CallableModel(function=net, output="x0", shape=(2,))
    y, rho = states()
    close(model(y, rho), (net.layer(y.float()) * rho.float()).double().detach().requires_grad_(False), 1e-6)
    before = model.digest
    assert CallableModel(function=net).digest == before
    with torch.no_grad():
        net.layer.bias += 1
    assert CallableModel(function=net).digest != before
    with pytest.raises(ValidationError, match="in training mode: call its eval"):
        CallableModel(function=Net())


def test_a_text_is_no_function():
    with pytest.raises(ValidationError, match="imported on the command line's word alone"):
        CallableModel(function="os:getcwd")


# What a function may get wrong, and what is said of it.
WRONG = {
    "spread over the rows": (lambda y, rho: rho * y / (1 + rho**2), r"a tensor of shape \(16, 16\)"),
    "one row": (lambda y, rho: y[:1], r"a tensor of shape \(1, 1\)"),
    "a number": (lambda y, rho: y.mean(), r"a tensor of shape \(\)"),
    "a float": (lambda y, rho: 0.5, "an object float"),
    "an array": (lambda y, rho: y.numpy(), "an object ndarray"),
    "a tuple": (lambda y, rho: (y, rho), "an object tuple"),
    "nothing": (lambda y, rho: None, "an object NoneType"),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("output", ["x0", "eps", "v", "velocity", "score"])
def test_an_output_of_another_shape_is_refused(wrong, output):
    function, found = WRONG[wrong]
    message = rf"returned {found} for a state of shape \(16, 1\); .* time has shape \(16,\): .* write time\[:, None\]"
    run = experiment(CallableModel(function=function, output=output, input="y"), target=MIXTURE, samples=16, steps=2)
    with pytest.raises(Mismatch, match=message):
        run.run()


def test_the_hint_is_for_the_shape_of_the_state():
    class Flat(torch.nn.Module):
        def forward(self, x, t):
            return x.flatten(1)

    model = CallableModel(function=Flat().eval())
    with pytest.raises(Mismatch, match=r"Flat returned a tensor of shape \(2, 48\) .* time\[:, None, None, None\]"):
        model(torch.ones(2, 3, 4, 4), torch.ones(1, 1, 1, 1))


def test_a_class_and_a_function_of_one_argument_are_refused():
    with pytest.raises(ValidationError, match=r"Net is a class: give an object of it, such as net = Net\(\)\.eval\(\)"):
        CallableModel(function=Net)
    with pytest.raises(ValidationError, match="is called with a state and a time: too many positional arguments"):
        CallableModel(function=lambda x: x)
    assert CallableModel(function=torch.mul).function is torch.mul  # written in C: it cannot be asked what it takes


def test_a_wrong_function_on_the_command_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "mine_of_wrong_shape.py").write_text(
        "import torch\ndef wrong(y, rho):\n    return rho * y / (1 + rho**2)\n"
        "class Net(torch.nn.Module):\n    def forward(self, y, rho):\n        return y\n"
    )
    monkeypatch.chdir(tmp_path)
    words = ["run", "--target", "mixture", "--model", "callable", "--quiet", "-n", "32", "--model.function"]
    for name, message in (("wrong", "write time[:, None]"), ("Net", "Net is a class")):
        assert main([*words, f"mine_of_wrong_shape:{name}"]) == 2
        assert message in " ".join(capsys.readouterr().err.split())


# --- exact and empirical ----------------------------------------------------------------------------------------------


def test_finite_data_have_an_exact_model_of_their_own():
    with pytest.raises(Mismatch, match=r"choose the exact model of its data \(--model empirical\), a trained model"):
        Exact().of(Digits())
    assert sh.made_for(Empirical(), Digits()).shape == (1, 8, 8)
