"""DEIS: its coefficients against 30-digit quadrature, and what it is identical to."""

from __future__ import annotations

import itertools

import mpmath
import pytest
import torch

import samplerhub as sh
from samplerhub.testing import exact
from samplerhub_processes.edm import EDM
from samplerhub_processes.vp import VP
from samplerhub_samplers.ddim import DDIM
from samplerhub_samplers.deis import DEIS


def grid(process: sh.ForwardProcess, steps: int) -> torch.Tensor:
    """EDM's grid over the whole span."""
    low, high = sh.rho(process, list(process.span)).tolist()
    i = torch.arange(steps + 1, dtype=torch.float64) / steps
    return sh.time_at(process, (high ** (1 / 7) + i * (low ** (1 / 7) - high ** (1 / 7))) ** 7)


def reference(
    process: sh.ForwardProcess, variable: str, nodes: tuple[float, ...], a: float, b: float
) -> list[mpmath.mpf]:
    """Integrals of the Lagrange polynomials from rho = a to b, 30 digits; time of a noise level in closed form."""
    with mpmath.workdps(30):
        beta_d, beta_min = (
            (mpmath.mpf(process.beta_d), mpmath.mpf(process.beta_min)) if isinstance(process, VP) else (1, 1)
        )

        def clock(rho: mpmath.mpf) -> mpmath.mpf:
            if variable == "rho" or (variable == "t" and isinstance(process, EDM)):
                return rho
            if variable == "log-rho":
                return mpmath.log(rho)
            L = mpmath.log1p(rho**2)
            return 2 * L / (mpmath.sqrt(beta_min**2 + 2 * beta_d * L) + beta_min)

        c = [mpmath.mpf(node) for node in nodes]
        pieces = mpmath.linspace(mpmath.log(a), mpmath.log(b), 9)

        def weight(j: int) -> mpmath.mpf:
            def integrand(u: mpmath.mpf) -> mpmath.mpf:
                rho = mpmath.exp(u)
                terms = [(clock(rho) - c[k]) / (c[j] - c[k]) for k in range(len(c)) if k != j]
                return mpmath.fprod(terms) * rho

            return mpmath.quad(integrand, pieces)

        return [weight(j) for j in range(len(c))]


@pytest.mark.parametrize("churn", [0.0, 0.3])
@pytest.mark.parametrize("variable", ["rho", "log-rho", "t"])
@pytest.mark.parametrize("process", [EDM(), VP()], ids=["edm", "vp"])
@pytest.mark.parametrize("steps", [5, 18])
def test_coefficients_equal_30_digit_quadrature(
    process: sh.ForwardProcess, variable: str, churn: float, steps: int
) -> None:
    sampler = DEIS(order=4, variable=variable, churn=churn)  # type: ignore[arg-type]
    legs = sampler.legs(process, grid(process, steps))
    nodes = sampler.nodes(process, legs)
    for i in (1, 3, steps - 1):
        expected = reference(process, variable, nodes[i], legs[i].rho_t, legs[i].rho_s)
        assert len(expected) == min(i + 1, 4)
        size = float(max(abs(w) for w in expected))
        for w, e in zip(legs[i].weights[1:], expected):
            assert abs(w - e) <= 1e-12 * size, (i, legs[i].weights, expected)


def test_order_1_is_ddim_to_the_bit() -> None:
    for process, churn in itertools.product((EDM(), VP()), (0.0, 0.3)):
        times = grid(process, 12)
        x = torch.randn(8, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * sh.sigma(
            process, times[0]
        )
        for a, b in zip(
            DEIS(order=1, churn=churn)(exact.problem(process), x, times, torch.Generator().manual_seed(1)),
            DDIM(churn=churn)(exact.problem(process), x, times, torch.Generator().manual_seed(1)),
        ):
            assert torch.equal(a.x, b.x)


def test_variable_t_is_rho_where_time_is_the_noise_level() -> None:
    times = grid(EDM(), 9)
    for a, b in zip(DEIS(variable="t").legs(EDM(), times), DEIS(variable="rho").legs(EDM(), times)):
        assert a.weights == pytest.approx(b.weights, rel=1e-12, abs=0)


def test_uniform_grid_gives_the_adams_bashforth_weights() -> None:
    process = EDM(t_min=1, t_max=2)
    legs = DEIS(order=4, variable="rho").legs(process, torch.linspace(2, 1, 11, dtype=torch.float64))
    assert [w / -0.1 * 24 for w in legs[-1].weights[1:]] == pytest.approx([55, -59, 37, -9], rel=1e-10, abs=0)


@pytest.mark.parametrize(("churn", "expected"), [(0.0, 10), (0.3, 19)])
def test_evaluations(churn: float, expected: int) -> None:
    """The first step starts at the top of the process, where no noise can be added; every other is spliced."""
    process = EDM()
    times = grid(process, 10)
    sampler = DEIS(churn=churn)
    problem = exact.problem(process)
    list(sampler(problem, torch.zeros(3, 2, dtype=torch.float64), times, torch.Generator().manual_seed(0)))
    assert problem.nfe == sampler.evaluations(process, times) == expected


def test_churn_outside_its_window_costs_and_changes_nothing() -> None:
    process, times = EDM(), grid(EDM(), 10)
    x = 80 * torch.randn(4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    off = DEIS(churn=0.3, churn_window=(200, 300))
    rng = torch.Generator().manual_seed(5)
    state = rng.get_state()
    *_, a = off(exact.problem(process), x, times, rng)
    *_, b = DEIS()(exact.problem(process), x, times, torch.Generator())
    assert torch.equal(a.x, b.x)
    assert torch.equal(rng.get_state(), state)
    window = DEIS(churn=0.3, churn_window=(0.05, 5))
    churned = [leg.rho_before for leg in window.legs(process, times) if leg.churned]
    assert churned
    assert all(0.05 <= rho <= 5 for rho in churned)


def test_reset_makes_every_churned_step_one_of_order_1() -> None:
    """Below the first node, where there is no history anyway, every step is churned: DEIS is then DDIM."""
    times = grid(VP(), 12)
    x = torch.randn(8, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * sh.sigma(VP(), times[0])
    reset = DEIS(order=3, churn=0.4, churn_history="reset")
    for a, b in zip(
        reset(exact.problem(VP()), x, times, torch.Generator().manual_seed(1)),
        DDIM(churn=0.4)(exact.problem(VP()), x, times, torch.Generator().manual_seed(1)),
    ):
        assert torch.allclose(a.x, b.x, rtol=1e-12, atol=1e-13)
    assert reset.evaluations(VP(), times) == 12


def test_reset_begins_a_history_again() -> None:
    """With churn on for some steps only, those after it climb back from order 1, with nodes of their own path."""
    times = grid(EDM(), 20)
    legs = DEIS(order=3, variable="rho", churn=0.4, churn_window=(0.5, 3), churn_history="reset").legs(EDM(), times)
    counts = [len(leg.weights) - 1 for leg in legs]
    churned = [i for i, leg in enumerate(legs) if leg.churned]
    assert churned
    assert all(counts[i] == 1 for i in churned)
    after = churned[-1]
    assert counts[after : after + 4] == [1, 2, 3, 3]
    expected = reference(
        EDM(), "rho", (legs[after + 1].rho_t, legs[after].rho_t), legs[after + 1].rho_t, legs[after + 1].rho_s
    )
    assert legs[after + 1].weights[1:] == pytest.approx([float(w) for w in expected], rel=1e-12, abs=0)
