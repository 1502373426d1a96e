"""The Runge-Kutta samplers and EDM's Algorithm 2 against other people's code and the paper's text."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import RK23, RK45, solve_ivp

import samplerhub as sh
from samplerhub.errors import InvalidSetting
from samplerhub.testing import exact, flow_errors, slope
from samplerhub_models.exact import Exact
from samplerhub_processes.edm import EDM
from samplerhub_processes.ve import VE
from samplerhub_processes.vp import VP
from samplerhub_samplers.adaptive import EmbeddedPair
from samplerhub_samplers.bogacki_shampine import BogackiShampine
from samplerhub_samplers.ddim import DDIM
from samplerhub_samplers.dormand_prince import DormandPrince
from samplerhub_samplers.dpm_solver import DPMSolver
from samplerhub_samplers.dpm_solver_adaptive import DPMSolverAdaptive
from samplerhub_samplers.edm_stochastic import EDMStochastic
from samplerhub_samplers.euler import Euler
from samplerhub_samplers.heun import Heun
from samplerhub_samplers.runge_kutta import RK
from samplerhub_samplers.tableaux import BOGACKI_SHAMPINE, DORMAND_PRINCE, TABLEAUX, Tableau, trees
from samplerhub_targets.gaussian import Gaussian


def test_tableaux_are_scipys() -> None:
    for pair, theirs in ((DORMAND_PRINCE, RK45), (BOGACKI_SHAMPINE, RK23)):
        for row, their_row in zip(pair.a, theirs.A):
            assert row == pytest.approx(their_row[: len(row)], abs=1e-15)
        assert pair.b == pytest.approx(theirs.B, abs=1e-15)
        assert pair.c == pytest.approx(theirs.C, abs=1e-15)
        assert np.abs(pair.error) == pytest.approx(np.abs(theirs.E), abs=1e-15)


@pytest.mark.parametrize("name", TABLEAUX)
def test_a_wrong_coefficient_does_not_pass(name: str) -> None:
    """Each tableau with one of its numbers changed in the sixth digit breaks its own conditions."""
    tableau = TABLEAUX[name]
    wrong_b = (*tableau.b[:-1], tableau.b[-1] + 1e-6)
    with pytest.raises(ValueError, match="the condition of order"):
        Tableau(tableau.order, tableau.a, wrong_b)
    if tableau.order > 1:
        i = next(i for i in reversed(range(len(tableau.b))) if tableau.b[i] and i)
        row = (*tableau.a[i][:-1], tableau.a[i][-1] + 1e-6)
        with pytest.raises(ValueError, match="the condition of order"):
            Tableau(tableau.order, (*tableau.a[:i], row, *tableau.a[i + 1 :]), tableau.b)
    with pytest.raises(ValueError, match="the condition of order"):
        Tableau(tableau.order + 1, tableau.a, tableau.b)


def test_a_wrong_error_estimate_does_not_pass() -> None:
    for pair in (DORMAND_PRINCE, BOGACKI_SHAMPINE):
        for wrong in ((9.0,) * len(pair.error), (pair.error[0] + 1e-6, *pair.error[1:])):
            with pytest.raises(ValueError, match="the condition of order"):
                Tableau(pair.order, pair.a, pair.b, wrong)


def test_attempt_of_a_pair_is_scipys_step() -> None:
    """One step from 3 to 2 in the noise level: solution and error estimate are those of scipy's class."""
    y = exact.flow(10, 0.05)[0][:4] * 0.3
    start, end = torch.full((4,), 3.0, dtype=torch.float64), torch.full((4,), 2.0, dtype=torch.float64)
    for sampler, theirs in ((DormandPrince(variable="rho"), RK45), (BogackiShampine(variable="rho"), RK23)):
        tried = sampler.attempt(exact.problem(EDM()), y, start, end, None)
        for row in range(4):
            problem = exact.problem(EDM())
            f = lambda rho, y, p=problem: p.eps(torch.from_numpy(y)[None], float(rho))[0].numpy()  # noqa: E731
            K = [f(3.0, y[row].numpy())]
            for a, c in zip(theirs.A[1:], theirs.C[1:]):
                K.append(f(3.0 - c, y[row].numpy() - np.dot(np.array(K).T, a[: len(K)])))
            y_s = y[row].numpy() - np.dot(np.array(K).T, theirs.B)
            K.append(f(2.0, y_s))
            assert tried.y[row].numpy() == pytest.approx(y_s, rel=1e-12, abs=0)
            error = np.abs(np.dot(np.array(K).T, theirs.E))
            assert np.abs(tried.error[row].numpy()) == pytest.approx(error, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("pair", ["12", "23"])
def test_attempt_of_dpm_solver_adaptive_is_two_steps_of_dpm_solver(pair: str) -> None:
    """The higher solution is DPM-Solver of that order, the lower one that of the order below with the same node."""
    y = exact.flow(10, 0.05)[0][:4] * 0.3
    times = torch.tensor([3.0, 2.0], dtype=torch.float64)
    start, end = times[0].expand(4), times[1].expand(4)
    tried = DPMSolverAdaptive(pair=pair).attempt(exact.problem(EDM()), y, start, end, None)  # type: ignore[arg-type]
    high, low = int(pair[1]), int(pair[0])
    (upper,) = DPMSolver(order=high)(exact.problem(EDM()), y, times, torch.Generator())
    lower_sampler = DPMSolver(order=low) if low == 1 else DPMSolver(order=low, r_1=1 / 3)
    (lower,) = lower_sampler(exact.problem(EDM()), y, times, torch.Generator())
    assert torch.allclose(tried.y, upper.x, rtol=1e-12)
    assert torch.allclose(tried.error, upper.x - lower.x, rtol=1e-9, atol=1e-14)


def test_evaluations_at_a_tolerance() -> None:
    """The controller: what it spends is held, so that a change of its rule is seen."""
    process, (low, high) = EDM(), (0.05, 10.0)
    start, end = exact.flow(high, low)
    times = torch.tensor([high, low], dtype=torch.float64)
    for sampler, at_most in (
        (DormandPrince(rtol=1e-7, atol=1e-7), 85),
        (BogackiShampine(rtol=1e-5, atol=1e-5), 80),
        (DPMSolverAdaptive(rtol=1e-4, atol=1e-4), 100),
    ):
        problem = exact.problem(process)
        path = list(sampler(problem, start, times, torch.Generator()))
        assert problem.nfe < at_most, (type(sampler), problem.nfe)
        assert float((path[-1].x - end).square().mean().sqrt()) < 50 * sampler.rtol


def test_numbers_of_rooted_trees() -> None:
    assert [len(trees(n)) for n in range(1, 9)] == [1, 1, 2, 4, 9, 20, 48, 115]


STEPS = {1: (40, 80, 160), 2: (40, 80, 160), 3: (40, 80, 160), 4: (40, 80, 160), 5: (60, 80, 100), 8: (16, 20, 24, 28)}


@pytest.mark.parametrize("process", [EDM(), VE(), VP()], ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("variable", ["rho", "log-rho", "t", "angle"])
@pytest.mark.parametrize("tableau", TABLEAUX)
def test_order_of_every_tableau_in_every_clock(tableau: str, variable: str, process: sh.ForwardProcess) -> None:
    sampler = RK(tableau=tableau, variable=variable, sigma_data=0.8)  # type: ignore[arg-type]
    errors = flow_errors(sampler, process, STEPS[sampler.order], 1)
    measured = slope(STEPS[sampler.order], errors)
    assert measured > sampler.order - 0.25, errors
    # Methods of order 5 and 8 reach rounding before their slope has come down; their order conditions are exact.
    assert measured < sampler.order + 0.25 or sampler.order >= 5, errors


def test_heun_and_euler_are_runge_kutta() -> None:
    times = sh.time_at(VP(), torch.logspace(1, -1.5, 11, dtype=torch.float64))
    x = torch.randn(8, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for friendly, rk in (
        (Heun(), RK(tableau="heun", variable="rho")),
        (Euler(), RK(tableau="euler", variable="t")),
        (DDIM(), RK(tableau="euler", variable="rho")),
    ):
        for a, b in zip(
            friendly(exact.problem(VP()), x, times, torch.Generator()),
            rk(exact.problem(VP()), x, times, torch.Generator()),
        ):
            assert torch.allclose(a.x, b.x, rtol=1e-13, atol=1e-14)


def test_euler_in_t_is_the_textbook_step() -> None:
    """x_s = x_t + (s - t) [f x_t - g^2/2 score(x_t)], written out."""
    process, model = VP(), exact.Bells()
    x = torch.randn(8, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    times = torch.tensor([0.8, 0.6], dtype=torch.float64)
    (step,) = Euler()(exact.problem(process), x, times, torch.Generator())
    alpha, sigma, rho = (f(process, 0.8) for f in (sh.alpha, sh.sigma, sh.rho))
    score = (alpha * model(x / alpha, rho.view(1, 1)) - x) / sigma**2
    expected = x - 0.2 * (sh.drift(process, 0.8) * x - sh.diffusion2(process, 0.8) / 2 * score)
    assert torch.allclose(step.x, expected, rtol=1e-12)


@pytest.mark.parametrize("sampler", [DormandPrince(), BogackiShampine()], ids=lambda s: type(s).__name__)
def test_gaussian_data_stand_still_in_the_angle(sampler: EmbeddedPair) -> None:
    """With the right scale every step is accepted, as long as it may be, and the flow is exact."""
    process, c = EDM(), 0.7
    target = Gaussian(mean=(0.0, 0.0), covariance=((c**2, 0), (0, c**2)))
    problem = sh.Problem(process, Exact().of(target), target=target)
    x = 80 * torch.randn(16, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    times = torch.tensor([80, 0.002], dtype=torch.float64)
    *_, last = sampler(problem, x, times, torch.Generator())
    assert torch.allclose(last.x, x * ((0.002**2 + c**2) / (80**2 + c**2)) ** 0.5, rtol=1e-10)
    assert problem.nfe <= 50


def test_dormand_prince_agrees_with_scipy() -> None:
    """One sample at a time in scipy, in the same variable and at tight tolerances."""
    process, (low, high) = EDM(), (0.05, 10.0)
    start, _ = exact.flow(high, low)
    times = torch.tensor([high, low], dtype=torch.float64)
    *_, last = DormandPrince(rtol=1e-9, atol=1e-9)(exact.problem(process), start[:3], times, torch.Generator())
    for x, y in zip(start[:3], last.x):
        problem = exact.problem(process)
        path = solve_ivp(
            lambda rho, y, problem=problem: problem.eps(torch.from_numpy(y)[None], float(rho))[0].numpy(),
            (high, low), x.numpy(), rtol=1e-9, atol=1e-9,
        )  # fmt: skip
        assert y.numpy() == pytest.approx(path.y[:, -1], abs=1e-7)


def test_dormand_prince_gives_up_with_advice() -> None:
    with pytest.raises(
        InvalidSetting, match=r"max_steps = 3 attempts were not enough for 64 of 64 samples.*loosen rtol"
    ):
        list(
            DormandPrince(max_steps=3)(
                exact.problem(EDM()), exact.flow(10, 0.05)[0], torch.tensor([10, 0.05]).double(), torch.Generator()
            )
        )


def algorithm_2(
    D: exact.Bells, x: torch.Tensor, t: list[float], churn: float, s_min: float, s_max: float, noise: float, seed: int
) -> torch.Tensor:
    """Karras et al. (2022), Algorithm 2, line by line; t_N = 0 is the last of t."""
    rng = torch.Generator().manual_seed(seed)
    N = len(t) - 1
    level = lambda value: torch.full((1, 1), value, dtype=torch.float64)  # noqa: E731
    for i in range(N):
        gamma = min(churn / N, math.sqrt(2) - 1) if s_min <= t[i] <= s_max else 0.0
        if gamma > 0:
            epsilon = noise * torch.randn(x.shape, generator=rng, dtype=torch.float64)
            t_hat = t[i] + gamma * t[i]
            x = x + math.sqrt(t_hat**2 - t[i] ** 2) * epsilon
        else:
            t_hat = t[i]
        d = (x - D(x, level(t_hat))) / t_hat
        x_next = x + (t[i + 1] - t_hat) * d
        if t[i + 1] != 0:
            d_prime = (x_next - D(x_next, level(t[i + 1]))) / t[i + 1]
            x_next = x + (t[i + 1] - t_hat) * (d / 2 + d_prime / 2)
        x = x_next
    return x


@pytest.mark.parametrize(
    "settings", [(0, 0, 1e9, 1), (3, 0.05, 50, 1.003), (10, 0.05, 50, 1.003), (80, 0, 1e9, 1.007)], ids=str
)
def test_edm_stochastic_is_algorithm_2(settings: tuple[float, float, float, float]) -> None:
    churn, s_min, s_max, noise = settings
    process = EDM()
    times = torch.linspace(80 ** (1 / 7), 0.002 ** (1 / 7), 18, dtype=torch.float64) ** 7
    times[0], times[-1] = 80, 0.002
    x = 80 * torch.randn(32, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    sampler = EDMStochastic(s_churn=churn, s_min=s_min, s_max=s_max, s_noise=noise)
    problem = exact.problem(process)
    *_, last = sampler(problem, x, times, torch.Generator().manual_seed(5))
    expected = algorithm_2(exact.Bells(), x, [*times.tolist(), 0.0], churn, s_min, s_max, noise, seed=5)
    assert torch.allclose(last.x, expected, rtol=1e-10, atol=1e-12)
    assert last.rho == 0
    assert problem.nfe == sampler.evaluations(process, times) == 35


def test_heun_is_edm_without_churn() -> None:
    """The same nodes, the last step to 0 by the posterior mean."""
    process = VP()
    times = sh.time_at(process, torch.logspace(1.5, -1.9, 9, dtype=torch.float64))
    x = torch.randn(8, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    *_, a = Heun(last="denoise")(exact.problem(process), x, times, torch.Generator())
    *_, b = EDMStochastic()(exact.problem(process), x, times, torch.Generator())
    assert torch.allclose(a.x, b.x, rtol=1e-12)
