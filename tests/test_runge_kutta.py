"""The Runge-Kutta samplers and EDM's Algorithm 2 against other people's code and the paper's text."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from samplerhub_processes.edm import EDM
from samplerhub_processes.vp import VP
from samplerhub_samplers import dormand_prince
from samplerhub_samplers.dormand_prince import DormandPrince
from samplerhub_samplers.edm_stochastic import EDMStochastic
from samplerhub_samplers.heun import Heun
from scipy.integrate import RK45, solve_ivp

import samplerhub as sh
from samplerhub.errors import InvalidSetting
from samplerhub.testing import exact


def test_tableau_is_scipys() -> None:
    for row, theirs in zip(dormand_prince.A[:-1], RK45.A):
        assert row == pytest.approx(theirs[: len(row)], abs=1e-15)
    assert dormand_prince.A[-1] == pytest.approx(RK45.B, abs=1e-15)
    assert dormand_prince.C[:-1] == pytest.approx(RK45.C, abs=1e-15)
    assert np.abs(dormand_prince.E) == pytest.approx(np.abs(RK45.E), abs=1e-15)


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


@pytest.mark.parametrize("settings", [(0, 0, 1e9, 1), (10, 0.05, 50, 1.003), (80, 0, 1e9, 1.007)], ids=str)
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
