"""Samplers of the reverse SDE: orders, laws by exact moments where the method is linear, and what equals what."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

import samplerhub as sh
from samplerhub.errors import InvalidSetting
from samplerhub.testing import check_contract, exact, flow_errors, slope, weak_errors
from samplerhub.testing.law import variance
from samplerhub.timetable import timetable
from samplerhub_grids.exponential import Exponential
from samplerhub_processes.edm import EDM
from samplerhub_processes.ve import VE
from samplerhub_processes.vp import VP
from samplerhub_samplers.ancestral import Ancestral
from samplerhub_samplers.annealed_langevin import AnnealedLangevin
from samplerhub_samplers.ddim import DDIM
from samplerhub_samplers.ddpm import DDPM
from samplerhub_samplers.deis import DEIS
from samplerhub_samplers.dpm_solver import DPMSolver
from samplerhub_samplers.dpm_solver_pp_sde import DPMSolverPPSDE
from samplerhub_samplers.dpm_solver_pp_single import DPMSolverPPSingle
from samplerhub_samplers.euler_maruyama import EulerMaruyama
from samplerhub_samplers.exponential_sde import ExponentialSDE
from samplerhub_samplers.gotta_go_fast import BrownianPath, GottaGoFast
from samplerhub_samplers.heun import Heun
from samplerhub_samplers.predictor_corrector import PredictorCorrector
from samplerhub_samplers.restart import Restart
from samplerhub_samplers.reverse_sde import ReverseSDE
from samplerhub_samplers.sa_solver import SASolver
from samplerhub_samplers.seeds import SEEDS

PROCESSES = [EDM(), VE(), VP()]
PREDICTORS = [
    PredictorCorrector(predictor=p)  # type: ignore[arg-type]
    for p in ("reverse-diffusion", "ancestral", "euler-maruyama")
]
ONE_UNIT = [
    *(SEEDS(order=k, prediction=p) for k in (1, 2, 3) for p in ("noise", "data")),  # type: ignore[arg-type]
    SEEDS(order=2, r_1=0.3),
    SEEDS(order=3, r_1=0.2),
    DDPM(),
    DDPM(variance="large"),
    Ancestral(),
    Ancestral(solver="heun"),
    ExponentialSDE(),
    ExponentialSDE(frozen="data"),
    EulerMaruyama(),
    EulerMaruyama(variable="rho2"),
]
"""Those whose stochasticity is `churn` alone."""


def name(component: object) -> str:
    fields = component.model_dump(exclude_defaults=True) if isinstance(component, sh.Component) else {}
    return " ".join([type(component).__name__, *(f"{k}={v}" for k, v in fields.items())])


def end(sampler: sh.Sampler, process: sh.ForwardProcess, steps: int = 6) -> Tensor:
    """The state y at the end, from a fixed start on the bells and fixed noise."""
    times = falling(process, steps)
    x = sh.sigma(process, times[0]) * torch.randn(16, 2, generator=torch.Generator().manual_seed(3)).double()
    *_, step = sampler(exact.problem(process), x, times, torch.Generator().manual_seed(5))
    return step.x / sh.alpha(process, times[-1])


def falling(process: sh.ForwardProcess, steps: int) -> Tensor:
    """Times uniform in log rho."""
    low, high = exact.levels(process)
    rho = torch.logspace(math.log10(high), math.log10(low), steps + 1, dtype=torch.float64)
    return sh.time_at(process, rho.clamp(low, high))


def of(sampler: sh.GridSampler) -> int:
    """Its declared order; with churn SEEDS has at most 2."""
    order: int = sampler.order  # type: ignore[attr-defined]
    return min(order, 2) if isinstance(sampler, SEEDS) and sampler.churn else order


# --- orders -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("process", PROCESSES, ids=name)
@pytest.mark.parametrize(
    "sampler",
    [*ONE_UNIT, DDIM(), Restart(intervals=()), *(p.replace(corrections=0) for p in PREDICTORS)],
    ids=name,
)
def test_order_without_churn(sampler: sh.GridSampler, process: sh.ForwardProcess) -> None:
    sampler = sampler.replace(churn=0)
    steps = (40, 80, 160)
    errors = flow_errors(sampler, process, steps, of(sampler))
    assert slope(steps, errors) == pytest.approx(of(sampler), abs=0.25), errors


@pytest.mark.parametrize("churn", [0.3, 1.0])
@pytest.mark.parametrize("process", PROCESSES, ids=name)
@pytest.mark.parametrize("sampler", [*ONE_UNIT, *(p.replace(corrections=0) for p in PREDICTORS)], ids=name)
def test_weak_order(sampler: sh.GridSampler, process: sh.ForwardProcess, churn: float) -> None:
    """By the exact variance on a Gaussian; on this one some methods do better than their order at gamma = 1."""
    sampler = sampler.replace(churn=churn)
    steps = (40, 80, 160)
    errors = weak_errors(sampler, process, steps)
    if max(map(abs, errors)) < 1e-12:  # the large variance of DDPM, and Euler in t: exact for this data on VP
        return
    assert slope(steps, errors) > of(sampler) - 0.25, errors
    assert abs(errors[-1]) < {1: 0.08, 2: 1e-3}[of(sampler)], errors


@pytest.mark.parametrize("sampler", [DDIM(eta=0.5), DDIM(eta=1), Ancestral(eta=0.5, solver="heun")], ids=name)
def test_weak_order_with_eta(sampler: DDIM | Ancestral) -> None:
    steps = (40, 80, 160)
    for process in PROCESSES:
        errors = weak_errors(sampler, process, steps)
        assert slope(steps, errors) == pytest.approx(sampler.order, abs=0.25), errors


def test_seeds_3_has_weak_order_2() -> None:
    """Its stages cannot see the area under the path: sum b_i b_j min(c_i, c_j) = 3/8 where order 3 needs 1/3."""
    steps = (80, 160, 320)
    errors = weak_errors(SEEDS(order=3, churn=0.3), EDM(), steps)
    assert slope(steps, errors) == pytest.approx(2, abs=0.25), errors


def test_noise_of_a_stage_must_go_on_in_the_next() -> None:
    """For r_1 other than 1/2 too: with the noise of the halves (the older ComfyUI port) the order would be lost."""

    class Halves(SEEDS):
        def weights(self, process: sh.ForwardProcess, legs: list[sh.Leg]) -> list[tuple[float, ...]]:  # type: ignore[override]
            right = super().weights(process, legs)
            half = SEEDS(churn=self.churn).weights(process, legs)
            return [(*w[:10], *h[10:]) for w, h in zip(right, half)]

    steps = (40, 80, 160)
    assert slope(steps, weak_errors(SEEDS(r_1=0.2, churn=0.3), EDM(), steps)) > 1.75
    assert slope(steps, weak_errors(Halves(r_1=0.2, churn=0.3), EDM(), steps)) < 1.25


def test_restart_converges_with_its_steps() -> None:
    sizes = (10, 20, 40)
    errors = [weak_errors(Restart(intervals=((n, 2, 0.1, 1.0),)), EDM(), (4 * n,))[0] for n in sizes]
    assert slope(sizes, errors) == pytest.approx(2, abs=0.25), errors


@pytest.mark.parametrize("process", PROCESSES, ids=name)
def test_gotta_go_fast_has_order_2(process: sh.ForwardProcess) -> None:
    """With tolerances that accept everything its steps are max_step long in log rho, and it is linear on a Gaussian."""
    low, high = exact.levels(process)
    start, goal = exact.flow(high, low)
    times = sh.time_at(process, torch.tensor([high, low], dtype=torch.float64))
    scale = sh.alpha(process, times)
    sizes = (10, 20, 40)
    solvers = [GottaGoFast(rtol=1e9, atol=1e9, max_step=1 / n, first_step=1e-3) for n in sizes]
    errors = []
    for solver in solvers:
        *_, last = solver.replace(churn=0)(exact.problem(process), start * scale[0], times, torch.Generator())
        errors.append(float((last.x / scale[1] - goal).square().mean().sqrt()))
    assert slope(sizes, errors) == pytest.approx(2, abs=0.25), errors
    for churn in (0.3, 1.0):
        errors = [variance(solver.replace(churn=churn), process, times) - 1 for solver in solvers]
        assert slope(sizes, errors) == pytest.approx(2, abs=0.25), errors


# --- laws -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", PREDICTORS, ids=name)
def test_corrected_law_is_right_in_the_limit(sampler: PredictorCorrector) -> None:
    """A Langevin step by the noise level is linear here. Its own bias, snr^2 rho^2/(1 + rho^2), goes with rho."""
    for process in PROCESSES:
        coarse, fine = weak_errors(sampler, process, (100, 800))
        assert abs(fine) < 4e-3, (coarse, fine)
        assert abs(fine) < abs(coarse) / 3, (coarse, fine)


def spread(sampler: sh.Sampler, n: int, d: int, steps: int = 100) -> tuple[float, float]:
    """Relative error of the variance of standard normal data in d dimensions, and its standard error."""
    low, high = 0.05, 10.0
    y = math.sqrt(1 + high**2) * torch.randn(n, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    problem = sh.Problem(EDM(), exact.Bell(), shape=(d,))  # type: ignore[arg-type]
    *_, step = sampler(problem, y, falling(EDM(), steps), torch.Generator().manual_seed(1))
    return float(step.x.square().mean() / (1 + low**2) - 1), math.sqrt(2 / (n * d))


def test_step_by_the_norm_is_biased_in_few_dimensions_only() -> None:
    """What a chain with step e(y) leaves alone has the density p/e, that is p |score|^2: variance 1 + 2/d, not 1."""
    by_level, by_norm = PredictorCorrector(), PredictorCorrector(step_size="norm")
    expected = variance(by_level, EDM(), falling(EDM(), 100)) - 1
    for sampler, n, d in ((by_level, 10_000, 1), (by_level, 500, 64), (by_norm, 500, 64)):
        error, stderr = spread(sampler, n, d)
        assert error == pytest.approx(expected, abs=4 * stderr)
    error, stderr = spread(by_norm, 10_000, 1)
    assert error > 0.5


def test_annealed_langevin_leaves_its_own_variance() -> None:
    """v/(1 - a/(4 v)) for many repeats; with few, the state lags behind."""
    sampler = AnnealedLangevin(repeats=400, step_size=1.0)
    times = sh.time_at(EDM(), torch.tensor([3.0, 1.0], dtype=torch.float64))
    assert variance(sampler, EDM(), times) == pytest.approx(1 / (1 - 1 / (4 * 2)), rel=1e-9)
    few, many = (weak_errors(AnnealedLangevin(repeats=r), EDM(), (40,))[0] for r in (5, 50))
    assert abs(many) < 0.05 < abs(few)


@pytest.mark.parametrize("d", [1, 16])
def test_gotta_go_fast_reaches_the_law(d: int) -> None:
    errors = []
    for tolerance in (0.1, 0.02):
        error, stderr = spread(GottaGoFast(rtol=tolerance, atol=tolerance), 16_000 // d, d)
        errors.append(abs(error))
        assert abs(error) < tolerance + 3 * stderr
    assert errors[1] < errors[0]


def test_a_known_path_keeps_its_law_whatever_is_rejected() -> None:
    """Reject every large rise, as an error control would: the whole path is standard all the same.

    Drawn anew after each rejection, it is not: its variance falls by more than half.
    """
    n, rng = 20_000, torch.Generator().manual_seed(0)
    path = BrownianPath(torch.zeros(n, 1, dtype=torch.float64))
    u, total, anew = torch.ones(n, dtype=torch.float64), torch.zeros(n, 1, dtype=torch.float64), []
    length = torch.full_like(u, 0.3)
    for _ in range(200):
        u_s, rise = path.piece(u, (u - length).clamp(min=0), torch.randn(n, 1, generator=rng, dtype=torch.float64))
        accepted = (rise[:, 0].abs() < 0.3) | (u - u_s < 0.01)
        path.advance(accepted & (u > 0))
        length = torch.where(accepted, 0.3, (u - u_s) / 2)
        total += torch.where(accepted, rise[:, 0], 0)[:, None]
        u = torch.where(accepted, u_s, u)
    assert bool((u == 0).all())
    assert float(total.square().mean()) == pytest.approx(1, abs=4 * math.sqrt(2 / n))
    assert float((total**4).mean()) == pytest.approx(3, abs=4 * math.sqrt(96 / n))

    left = torch.ones(n)
    for _ in range(200):  # the same without memory: a step of 0.3 is taken only when its noise is small
        z = torch.randn(n, generator=rng) * left.clamp(max=0.3).sqrt()
        taken = z.abs() < 0.3
        anew.append(torch.where(taken, z, 0))
        left = torch.where(taken, left - left.clamp(max=0.3), left)
    assert float(sum(anew).square().mean()) < 0.5  # type: ignore[union-attr]


# --- what equals what -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("process", PROCESSES, ids=name)
def test_one_method_under_several_names(process: sh.ForwardProcess) -> None:
    def same(*samplers: sh.Sampler) -> None:
        first, *others = (end(sampler, process) for sampler in samplers)
        assert all(torch.allclose(first, other, rtol=1e-11, atol=1e-13) for other in others)

    same(DDIM(eta=1), DDPM(), Ancestral(), Ancestral(eta=1), ExponentialSDE(frozen="data"), SEEDS(order=1))
    same(ExponentialSDE(), SEEDS(order=1, prediction="noise"))
    same(DDIM(eta=0.4), Ancestral(eta=0.4))
    for churn in (0, 0.3, 2):
        same(DDPM(churn=churn), Ancestral(churn=churn), ExponentialSDE(frozen="data", churn=churn))
        same(ExponentialSDE(churn=churn), SEEDS(order=1, prediction="noise", churn=churn))
    same(
        DDIM(),
        DDPM(churn=0),
        Ancestral(churn=0),
        Ancestral(eta=0),
        ExponentialSDE(churn=0),
        ExponentialSDE(churn=0, frozen="data"),
        PredictorCorrector(predictor="ancestral", churn=0, corrections=0),
    )
    same(PredictorCorrector(predictor="ancestral", corrections=0), DDPM())
    same(PredictorCorrector(predictor="euler-maruyama", corrections=0), EulerMaruyama())
    same(Heun(), Ancestral(churn=0, solver="heun"), Restart(intervals=()), Restart(intervals=((3, 0, 0.1, 1),)))
    for order in (1, 2, 3):
        same(SEEDS(order=order, prediction="noise", churn=0), DPMSolver(order=order))
    for order in (2, 3):
        same(SEEDS(order=order, churn=0), DPMSolverPPSingle(order=order))
    assert torch.equal(end(DDIM(), process), end(DEIS(order=1), process))


def test_reverse_diffusion_on_ve_is_euler_maruyama_in_rho2() -> None:
    a = end(PredictorCorrector(corrections=0), VE())
    assert torch.allclose(a, end(EulerMaruyama(variable="rho2"), VE()), rtol=1e-12)


def test_equal_law_of_ddim_ddpm_and_ancestral() -> None:
    for process in PROCESSES:
        laws = [weak_errors(s, process, (10,))[0] for s in (DDIM(eta=1), DDPM(), Ancestral(eta=1))]
        assert laws == pytest.approx([laws[0]] * 3, abs=1e-13)


@pytest.mark.parametrize("eta", [0.2, 0.7, 1.0])
def test_a_step_of_ddim_is_frozen_data(eta: float) -> None:
    """With 1 - r^(2 gamma) = eta^2 (1 - r^2)."""
    process = VP()
    low, high = exact.levels(process)
    gamma = math.log1p(-(eta**2) * (1 - (low / high) ** 2)) / (2 * math.log(low / high))
    frozen = end(ExponentialSDE(frozen="data", churn=gamma), process, steps=1)
    assert torch.allclose(end(DDIM(eta=eta), process, steps=1), frozen, rtol=1e-12)


def test_ddpm_is_the_papers() -> None:
    """In x, with alpha_i = (alpha_t/alpha_s)^2, beta_i = 1 - alpha_i: algorithm 2 of Ho et al."""
    process, rng = VP(), torch.Generator().manual_seed(5)
    times = falling(process, 6)
    alpha, sigma = sh.alpha(process, times), sh.sigma(process, times)
    for kind in ("small", "large"):
        x = sigma[0] * torch.randn(16, 2, generator=torch.Generator().manual_seed(3)).double()
        rng.manual_seed(5)
        for i in range(6):
            beta = 1 - (alpha[i] / alpha[i + 1]) ** 2
            eps = exact.problem(process).eps(x / alpha[i], float(sh.rho(process, times[i])))
            mean = (x - beta / sigma[i] * eps) / (1 - beta).sqrt()
            var = beta if kind == "large" else (1 - alpha[i + 1] ** 2) / (1 - alpha[i] ** 2) * beta
            x = mean + var.sqrt() * torch.randn(16, 2, generator=rng, dtype=torch.float64)
        assert torch.allclose(end(DDPM(variance=kind), process), x / alpha[-1], rtol=1e-9)  # type: ignore[arg-type]


def test_reverse_diffusion_is_the_papers() -> None:
    """Song et al., appendix E, VP: x_s = (2 - sqrt(1 - beta)) x + beta score + sqrt(beta) z."""
    process, rng = VP(), torch.Generator().manual_seed(5)
    times = falling(process, 6)
    alpha, sigma = sh.alpha(process, times), sh.sigma(process, times)
    x = sigma[0] * torch.randn(16, 2, generator=torch.Generator().manual_seed(3)).double()
    for i in range(6):
        beta = 1 - (alpha[i] / alpha[i + 1]) ** 2
        score = exact.problem(process).score(x / alpha[i], float(sh.rho(process, times[i]))) / alpha[i]
        z = torch.randn(16, 2, generator=rng, dtype=torch.float64)
        x = (2 - (1 - beta).sqrt()) * x + beta * score + beta.sqrt() * z
    assert torch.allclose(end(PredictorCorrector(corrections=0), process), x / alpha[-1], rtol=1e-9)


@pytest.mark.parametrize("rule", ["level", "norm"])
def test_a_langevin_step_is_the_papers(rule: str) -> None:
    """Song et al., algorithm 4: x + e score + sqrt(2 e) z, then the predictor; e = 2 (snr ||z||/||score||)^2.

    ||z|| is sqrt(d) by the norm, and rho ||score|| in place of it by the level; by the norm e is at most rho^2.
    """
    a, b, snr, d = 2.0, 1.2, 0.3, 2
    y = a * torch.randn(16, d, generator=torch.Generator().manual_seed(3)).double()
    z, z_s = torch.randn(2, 16, d, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    score = exact.problem(EDM()).score(y, a)
    if rule == "level":
        e = torch.full((16, 1), 2 * (snr * a) ** 2, dtype=torch.float64)
    else:
        free = 2 * d * snr**2 / score.square().sum(1, keepdim=True)
        assert 0 < int((free > a**2).sum()) < 8
        e = torch.minimum(free, torch.tensor(a**2))
    x = y + e * score + (2 * e).sqrt() * z
    x = x + (a**2 - b**2) * exact.problem(EDM()).score(x, a) + math.sqrt(a**2 - b**2) * z_s
    sampler = PredictorCorrector(step_size=rule, snr=snr)  # type: ignore[arg-type]
    times = torch.tensor([a, b], dtype=torch.float64)
    (step,) = sampler(exact.problem(EDM()), y, times, torch.Generator().manual_seed(5))
    assert torch.allclose(step.x, x, rtol=1e-10)


def test_seeds_2_is_the_papers() -> None:
    """Predicted noise, gamma = 1, r = 1/2, in x = y: the noise of the two halves of the step."""
    times, rng = falling(EDM(), 6).tolist(), torch.Generator().manual_seed(5)
    y = times[0] * torch.randn(16, 2, generator=torch.Generator().manual_seed(3)).double()
    F = exact.problem(EDM()).eps
    for a, b in itertools.pairwise(times):
        h = math.log(a / b)
        s = a * math.exp(-h / 2)
        z_1, z_2 = (torch.randn(16, 2, generator=rng, dtype=torch.float64) for _ in "12")
        u = y - 2 * s * math.expm1(h / 2) * F(y, a) + s * math.sqrt(math.expm1(h)) * z_1
        noise = math.sqrt(math.exp(2 * h) - math.exp(h)) * z_1 + math.sqrt(math.expm1(h)) * z_2
        y = y - 2 * b * math.expm1(h) * F(u, s) + b * noise
    assert torch.allclose(end(SEEDS(prediction="noise"), EDM()), y, rtol=1e-10)


# --- contract ---------------------------------------------------------------------------------------------------------

EVERY = [
    *ONE_UNIT,
    DDIM(eta=0.7),
    Ancestral(eta=0.5, solver="heun"),
    *PREDICTORS,
    PredictorCorrector(step_size="norm", corrections=2),
    Restart(),
    Restart(intervals=((2, 1, 0.3, 2.0), (3, 2, 0.06, 0.3), (1, 1, 20.0, 40.0)), churn=0.3),
    AnnealedLangevin(),
]


@pytest.mark.parametrize("process", [EDM(), VP()], ids=name)
@pytest.mark.parametrize("sampler", [*EVERY, GottaGoFast(rtol=0.3, atol=0.1)], ids=name)
def test_contract(sampler: sh.Sampler, process: sh.ForwardProcess) -> None:
    check_contract(sampler, process)


@pytest.mark.parametrize("sampler", EVERY, ids=name)
def test_spends_what_it_declares(sampler: sh.Component) -> None:
    for last in ("stop", "denoise"):
        solver = sampler.replace(last=last)
        for steps in range(1, 31):
            problem = sh.Problem(VP(), exact.Bell(), shape=(1,))  # type: ignore[arg-type]
            times = Exponential()(problem, steps)
            *_, step = solver(problem, torch.ones(1, 1), times, torch.Generator())  # type: ignore[operator]
            assert problem.nfe == solver.evaluations(VP(), times)  # type: ignore[attr-defined]
            assert (step.rho == 0) == (last == "denoise")


@pytest.mark.parametrize("sampler", ONE_UNIT, ids=name)
def test_churn_zero_draws_nothing_and_the_window_holds(sampler: sh.GridSampler) -> None:
    for quiet in (sampler.replace(churn=0), sampler.replace(churn_window=(1e6, 1e7))):
        rng = torch.Generator().manual_seed(5)
        before = rng.get_state()
        *_, step = quiet(exact.problem(EDM()), torch.ones(2, 2).double(), falling(EDM(), 5), rng)
        assert torch.equal(rng.get_state(), before)
        assert step.x.isfinite().all()
    assert torch.equal(end(sampler.replace(churn=0), EDM()), end(sampler.replace(churn_window=(1e6, 1e7)), EDM()))
    assert not torch.equal(end(sampler, EDM()), end(sampler.replace(churn_window=(0, 1)), EDM()))


def test_window_of_eta() -> None:
    assert torch.equal(end(DDIM(eta=1, churn_window=(1e6, 1e7)), EDM()), end(DDIM(), EDM()))
    assert torch.equal(end(Ancestral(eta=0.5, churn_window=(1e6, 1e7)), EDM()), end(Ancestral(churn=0), EDM()))


def test_restart_visits_its_intervals() -> None:
    """NFE of the paper's plan, on a grid that is coarser than it: 2 a step of the grid, 2 K N_restart an interval."""
    times = falling(EDM(), 8)
    for intervals, returns in (
        ((), 0),
        (((3, 2, 0.06, 0.3),), 6),
        (((3, 2, 0.06, 0.3), (4, 5, 0.5, 2.0)), 26),
        (((3, 2, 0.001, 0.01),), 0),  # below the grid: the run ends before
        (((3, 2, 20.0, 40.0),), 0),  # above the grid: the run starts after
        (((3, 2, 5.0, 40.0),), 6),
    ):
        assert Restart(intervals=intervals).evaluations(EDM(), times) == 2 * (8 + returns)
    (visits,) = (w for w in Restart().weights(EDM(), Restart().legs(EDM(), times)) if w)
    assert visits[:4] == pytest.approx(visits[4:])
    assert visits[0] == 0.3
    assert all(b < a for a, b in itertools.pairwise(visits[:4]))


def test_restart_returns_by_as_many_steps_as_a_finer_grid_has() -> None:
    times = falling(EDM(), 80)
    rho = sh.rho(EDM(), times)
    reached = rho[(rho - 0.06).abs().argmin()]
    between = int(((rho > reached) & (rho <= 0.3)).sum())
    assert between > 3
    assert Restart().evaluations(EDM(), times) == 2 * (80 + 2 * between)


@pytest.mark.parametrize(
    ("repeats", "nfe", "kept", "half"),
    [
        (20, 1000, 20, False),
        (20, 24, 2, True),
        (20, 10, 0, True),
        (2, 1000, 2, True),
        (2, 24, 2, True),
        (2, 10, 0, True),
    ],
)
def test_restart_keeps_to_half_a_budget_by_its_own_steps(repeats: int, nfe: int, kept: int, half: bool) -> None:
    """Counted by N_restart; a grid with more steps in the interval returns by as many, and may take more."""
    sampler = Restart(intervals=((3, repeats, 0.06, 0.3),)).within(nfe)
    assert [interval[1] for interval in sampler.intervals] == [kept] * bool(kept)
    assert 2 * 3 * kept <= nfe // 2
    times = timetable(exact.problem(EDM()), Exponential(), sampler, steps=None, nfe=nfe)
    assert sampler.evaluations(EDM(), times) <= nfe
    assert (2 * (len(times) - 1) >= nfe // 2) == half


def test_restart_contracts_an_error_of_the_model() -> None:
    """The start of the paper: noise forgets errors. A biased start is forgotten in the interval, not by the flow."""
    times = falling(EDM(), 40)
    far = torch.full((2000, 1), 5.0, dtype=torch.float64)  # at rho = 10, half a deviation off, and all alike
    ends = []
    for sampler in (Heun(), Restart(intervals=((20, 4, 0.1, 3.0),))):
        problem = sh.Problem(EDM(), exact.Bell(), shape=(1,))  # type: ignore[arg-type]
        *_, step = sampler(problem, far, times, torch.Generator().manual_seed(0))
        ends.append(abs(float(step.x.mean())))
    assert ends[1] < ends[0] / 5


def test_two_units_of_one_thing_are_refused() -> None:
    for wrong in (lambda: DDIM(eta=0.5, churn=0.3), lambda: Ancestral(eta=0.5, churn=0.3)):
        with pytest.raises(ValidationError, match=r"eta = 0.5 and churn = 0.3 are two units of one thing.*set one"):
            wrong()
    with pytest.raises(ValidationError, match=r"\(2, 1\) must go from low to high"):
        Restart(intervals=((3, 2, 2.0, 1.0),))
    with pytest.raises(ValidationError, match=r"eta = 0.5 and churn = 1 are two units of one thing"):
        Ancestral(eta=0.5, churn=1.0)
    with pytest.raises(ValidationError, match=r"must lie before the second stage"):
        SEEDS(order=3, r_1=0.7)


def test_eta_says_churn_and_a_record_of_both_is_read_again() -> None:
    sampler = Ancestral(eta=0.5)
    assert sampler.churn == 0.25
    assert Ancestral.model_validate_json(sampler.model_dump_json()) == sampler
    assert sampler.replace(last="denoise").replace(last="stop") == sampler == Ancestral().replace(eta=0.5)
    assert sampler.replace(eta=None) == Ancestral()
    with pytest.raises(ValidationError, match=r"eta = 0.5 and churn = 0.3 are two units"):
        sampler.replace(churn=0.3)
    for wrong in (-1, "much", 2):
        with pytest.raises(ValidationError, match=r"eta"):
            Ancestral(eta=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [*dict.fromkeys(map(type, ONE_UNIT)), PredictorCorrector, DPMSolverPPSDE, SASolver])
def test_the_reverse_sde_has_gamma_1_and_no_noise_before_a_step(kind: type[ReverseSDE]) -> None:
    assert issubclass(kind, ReverseSDE)
    assert kind().churn == 1
    assert not any(leg.churned or leg.noise for leg in kind().legs(VP(), falling(VP(), 5)))


def test_gotta_go_fast_gives_up_with_advice() -> None:
    with pytest.raises(InvalidSetting, match=r"max_steps = 3 attempts were not enough for 64 of 64 samples.*loosen"):
        list(
            GottaGoFast(max_steps=3)(
                exact.problem(EDM()), exact.flow(10, 0.05)[0], torch.tensor([10, 0.05]).double(), torch.Generator()
            )
        )


def test_gotta_go_fast_denoises_and_spends_less_when_loose() -> None:
    spent = []
    for tolerance in (0.02, 0.2):
        problem = exact.problem(EDM())
        x = 10 * torch.randn(32, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        *_, step = GottaGoFast(rtol=tolerance, atol=tolerance, last="denoise")(
            problem, x, falling(EDM(), 1), torch.Generator().manual_seed(0)
        )
        assert step.rho == 0
        spent.append(problem.nfe)
    assert spent[1] < spent[0] / 2
