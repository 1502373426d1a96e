"""Single-step exponential integrators: DPM-Solver and DPM-Solver++, against their papers' formulas in x."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

import samplerhub as sh
from samplerhub.testing import check_contract, exact, flow_errors, slope, weak_errors
from samplerhub.timetable import timetable
from samplerhub_grids.exponential import Exponential
from samplerhub_processes.edm import EDM
from samplerhub_processes.ve import VE
from samplerhub_processes.vp import VP
from samplerhub_samplers.ddim import DDIM
from samplerhub_samplers.deis import DEIS
from samplerhub_samplers.dpm_solver import DPMSolver
from samplerhub_samplers.dpm_solver_pp_single import DPMSolverPPSingle
from samplerhub_samplers.seeds import SEEDS
from samplerhub_samplers.single_step import stages

PROCESSES = [EDM(), VE(), VP()]
ALL = [
    *(DPMSolver(order=k) for k in (1, 2, 3)),
    *(DPMSolver(order=2, r_1=r) for r in (0.2, 1.0)),
    *(DPMSolver(order=3, r_1=r) for r in (0.2, 0.6, 1.0)),
    *(DPMSolverPPSingle(order=k) for k in (2, 3)),
    *(DPMSolverPPSingle(order=k, r_1=r) for k in (2, 3) for r in (0.2, 0.9)),
]
FAST = DPMSolver(orders="fast")


def name(component: object) -> str:
    fields = component.model_dump(exclude_defaults=True) if isinstance(component, sh.Component) else {}
    return " ".join([type(component).__name__, *(f"{k}={v}" for k, v in fields.items())])


def end(sampler: sh.Sampler, process: sh.ForwardProcess, times: Tensor, seed: int = 0) -> Tensor:
    """The state x at the last of the times, from a fixed start on the bells."""
    x = sh.sigma(process, times[0]) * torch.randn(16, 2, generator=torch.Generator().manual_seed(3)).double()
    *_, step = sampler(exact.problem(process), x, times, torch.Generator().manual_seed(seed))
    return step.x


def some_times(process: sh.ForwardProcess, steps: int = 6) -> Tensor:
    """Times that are uniform in nothing."""
    low, high = exact.levels(process)
    u = torch.linspace(0, 1, steps + 1, dtype=torch.float64) ** 1.3
    return sh.time_at(process, torch.exp(math.log(high) + u * math.log(low / high)).clamp(low, high))


@pytest.mark.parametrize("process", PROCESSES, ids=name)
@pytest.mark.parametrize("sampler", ALL, ids=name)
def test_order_of_convergence(sampler: DPMSolver | DPMSolverPPSingle, process: sh.ForwardProcess) -> None:
    steps = (40, 80, 160)
    errors = flow_errors(sampler, process, steps, sampler.order)
    assert slope(steps, errors) == pytest.approx(sampler.order, abs=0.25), errors


@pytest.mark.parametrize("process", PROCESSES, ids=name)
def test_order_of_the_fast_split_is_what_its_last_step_leaves(process: sh.ForwardProcess) -> None:
    """A last step of order 2 has a local error of h^3, which is order 3; one of order 1 leaves order 2."""
    for steps, order in (((62, 122, 242), 3), ((481, 961, 1921), 2), ((480, 960, 1920), 2)):
        errors = flow_errors(FAST, process, steps, 1)
        assert slope(steps, errors) == pytest.approx(order, abs=0.25), errors


@pytest.mark.parametrize("churn", [0.3, 1.0])
@pytest.mark.parametrize("sampler", [*(DPMSolver(order=k) for k in (1, 2, 3)), DPMSolverPPSingle(order=3)], ids=name)
def test_weak_order_under_churn(sampler: DPMSolver | DPMSolverPPSingle, churn: float) -> None:
    """At order 3 the errors are so small that they change sign on their way: a bound says the order there."""
    steps = (40, 80, 160)
    for process in PROCESSES:
        errors = weak_errors(sampler.replace(churn=churn), process, steps)
        if sampler.order == 3:
            assert all(abs(error) < 15 / n**3 for n, error in zip(steps, errors)), errors
        else:
            assert slope(steps, errors) == pytest.approx(sampler.order, abs=0.25), errors
            assert abs(errors[-1]) < {1: 0.04, 2: 1e-3}[sampler.order], errors


@pytest.mark.parametrize("process", PROCESSES, ids=name)
@pytest.mark.parametrize("sampler", [*ALL, FAST, FAST.replace(churn=0.3)], ids=name)
def test_contract(sampler: sh.Sampler, process: sh.ForwardProcess) -> None:
    check_contract(sampler, process)


@pytest.mark.parametrize("sampler", [*ALL[:3], FAST, *ALL[-6:-4]], ids=name)
def test_spends_what_it_declares(sampler: sh.GridSampler) -> None:
    process = VP()
    for last in ("stop", "denoise"):
        solver = sampler.replace(last=last)
        for steps in range(1, 31):
            problem = sh.Problem(process, exact.Bell(), shape=(1,))  # type: ignore[arg-type]
            times = Exponential()(problem, steps)
            list(solver(problem, torch.ones(1, 1), times, torch.Generator()))
            assert problem.nfe == solver.evaluations(process, times)


def test_the_fast_split_is_the_papers() -> None:
    """K = floor(NFE/3) + 1 steps: 3, ..., 3, 2, 1 or 3, ..., 3, 1 or 3, ..., 3, 2."""
    assert {n: FAST.plan(n) for n in range(1, 11)} == {
        1: [1], 2: [2], 3: [2, 1], 4: [3, 1], 5: [3, 2], 6: [3, 2, 1], 7: [3, 3, 1], 8: [3, 3, 2], 9: [3, 3, 2, 1],
        10: [3, 3, 3, 1],
    }  # fmt: skip
    for n in range(1, 31):
        assert sum(FAST.plan(n)) == n
        assert len(FAST.plan(n)) == n // 3 + 1


@pytest.mark.parametrize("nfe", [1, 2, 10, 11, 12, 20])
def test_a_budget_buys_the_fast_split(nfe: int) -> None:
    problem = exact.problem(VP())
    times = timetable(problem, Exponential(), FAST, steps=None, nfe=nfe)
    steps = list(FAST(problem, torch.ones(4, 2).double(), times, torch.Generator()))
    assert problem.nfe == nfe
    assert len(steps) == nfe // 3 + 1


def test_fast_is_of_order_3() -> None:
    with pytest.raises(ValidationError, match=r"order = 2 must be 3"):
        DPMSolver(order=2, orders="fast")


def test_order_1_has_no_first_stage() -> None:
    for sampler in (DPMSolver, SEEDS):
        with pytest.raises(ValidationError, match=r"r_1 = 0.3: at order 1 a step has no first stage; leave r_1 out"):
            sampler(order=1, r_1=0.3)
        assert sampler(order=1).replace(last="denoise").order == 1


def test_order_1_is_ddim_and_deis() -> None:
    for process in PROCESSES:
        times = some_times(process)
        ddim = end(DDIM(), process, times)
        assert torch.allclose(end(DPMSolver(order=1), process, times), ddim, rtol=1e-13)
        assert torch.equal(end(DEIS(order=1), process, times), ddim)


def dpm_solver(order: int, eps: Callable[[Tensor, float], Tensor], x: Tensor, s: float, t: float) -> Tensor:
    """DPM-Solver-2 and -3 from s to t as in Lu et al. (2022a), algorithms 1 and 2, on the VP process."""
    a, o, lam, time = clock(VP())
    h = lam(t) - lam(s)
    if order == 2:
        s_1 = time(lam(s) + h / 2)
        u = a(s_1) / a(s) * x - o(s_1) * math.expm1(h / 2) * eps(x, s)
        return a(t) / a(s) * x - o(t) * math.expm1(h) * eps(u, s_1)
    r_1, r_2 = 1 / 3, 2 / 3
    s_1, s_2 = time(lam(s) + r_1 * h), time(lam(s) + r_2 * h)
    u_1 = a(s_1) / a(s) * x - o(s_1) * math.expm1(r_1 * h) * eps(x, s)
    D_1 = eps(u_1, s_1) - eps(x, s)
    phi = math.expm1(r_2 * h) / (r_2 * h) - 1
    u_2 = a(s_2) / a(s) * x - o(s_2) * math.expm1(r_2 * h) * eps(x, s) - o(s_2) * r_2 / r_1 * phi * D_1
    D_2 = eps(u_2, s_2) - eps(x, s)
    return a(t) / a(s) * x - o(t) * math.expm1(h) * eps(x, s) - o(t) / r_2 * (math.expm1(h) / h - 1) * D_2


def dpm_solver_pp(order: int, x_0: Callable[[Tensor, float], Tensor], x: Tensor, s: float, t: float) -> Tensor:
    """DPM-Solver++ 2S (Lu et al., 2022b, algorithm 1) and 3S, from s to t, on the VP process."""
    a, o, lam, time = clock(VP())
    h = lam(t) - lam(s)
    if order == 2:
        s_1 = time(lam(s) + h / 2)
        u = o(s_1) / o(s) * x - a(s_1) * math.expm1(-h / 2) * x_0(x, s)
        return o(t) / o(s) * x - a(t) * math.expm1(-h) * x_0(u, s_1)
    r_1, r_2 = 1 / 3, 2 / 3
    s_1, s_2 = time(lam(s) + r_1 * h), time(lam(s) + r_2 * h)
    u_1 = o(s_1) / o(s) * x - a(s_1) * math.expm1(-r_1 * h) * x_0(x, s)
    D_1 = x_0(u_1, s_1) - x_0(x, s)
    phi = math.expm1(-r_2 * h) / (r_2 * h) + 1
    u_2 = o(s_2) / o(s) * x - a(s_2) * math.expm1(-r_2 * h) * x_0(x, s) + a(s_2) * r_2 / r_1 * phi * D_1
    D_2 = x_0(u_2, s_2) - x_0(x, s)
    return o(t) / o(s) * x - a(t) * math.expm1(-h) * x_0(x, s) + a(t) / r_2 * (math.expm1(-h) / h + 1) * D_2


def clock(process: sh.ForwardProcess) -> tuple[Callable[[float], float], ...]:
    """alpha, sigma, lambda = log(alpha/sigma), and the time of a lambda."""
    return (
        lambda t: float(sh.alpha(process, t)),
        lambda t: float(sh.sigma(process, t)),
        lambda t: float(sh.log_snr(process, t)) / 2,
        lambda lam: float(sh.time_at(process, math.exp(-lam))),
    )


@pytest.mark.parametrize("order", [2, 3])
def test_equals_the_papers_formulas(order: int) -> None:
    process = VP()
    times = some_times(process)
    problem = exact.problem(process)

    def eps(x: Tensor, t: float) -> Tensor:
        return problem.eps(x / float(sh.alpha(process, t)), float(sh.rho(process, t)))

    def x_0(x: Tensor, t: float) -> Tensor:
        return problem.x0(x / float(sh.alpha(process, t)), float(sh.rho(process, t)))

    x = sh.sigma(process, times[0]) * torch.randn(16, 2, generator=torch.Generator().manual_seed(3)).double()
    noise = data = x
    for s, t in zip(times[:-1].tolist(), times[1:].tolist()):
        noise, data = dpm_solver(order, eps, noise, s, t), dpm_solver_pp(order, x_0, data, s, t)
    assert torch.allclose(end(DPMSolver(order=order), process, times), noise, rtol=1e-9, atol=1e-11)
    assert torch.allclose(end(DPMSolverPPSingle(order=order), process, times), data, rtol=1e-9, atol=1e-11)


def test_weights_of_a_stage_sum_to_the_exact_integral() -> None:
    """A constant prediction is integrated exactly: B + C is rho_k - rho_t for noise, 1 - rho_k/rho_t for data."""
    a, b = 3.0, 1.2
    for r in ((), (0.4,), (0.25, 2 / 3)):
        for rho, A, B, C in stages(a, b, r, "noise"):
            assert (1, pytest.approx(rho - a, rel=1e-14)) == (A, B + C)
        for rho, A, B, C in stages(a, b, r, "data"):
            assert (pytest.approx(rho / a, rel=1e-14), pytest.approx(1 - rho / a, rel=1e-14)) == (A, B + C)
