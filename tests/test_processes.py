"""What is derived from alpha and sigma, against the textbook."""

from __future__ import annotations

import math

import pytest
import torch

import samplerhub as sh
from samplerhub.errors import InvalidSetting
from samplerhub_processes.edm import EDM
from samplerhub_processes.vp import VP

T = torch.logspace(-3, 0, 200, dtype=torch.float64)


def test_vp_is_the_textbook_sde() -> None:
    beta = 19.9 * T + 0.1
    assert torch.allclose(sh.drift(VP(), T), -beta / 2, rtol=1e-12)
    assert torch.allclose(sh.diffusion2(VP(), T), beta, rtol=1e-10)
    assert torch.allclose(sh.alpha(VP(), T) ** 2 + sh.sigma(VP(), T) ** 2, torch.ones_like(T), rtol=1e-14)


def test_vp_keeps_its_digits_near_zero() -> None:
    """sigma^2 = 1 - exp(-B) by expm1: at t = 1e-9 all digits, where 1 - exp(-B) has six."""
    B = (19.9 / 2 * 1e-9 + 0.1) * 1e-9
    assert sh.sigma(VP(t_min=1e-12), 1e-9).item() == pytest.approx(math.sqrt(B - B**2 / 2), rel=1e-14, abs=0)


def test_edm_is_the_textbook_sde() -> None:
    assert torch.equal(sh.drift(EDM(), T), torch.zeros_like(T))
    assert torch.allclose(sh.diffusion2(EDM(), T), 2 * T, rtol=1e-14)
    assert torch.allclose(sh.log_snr(EDM(), T), -2 * T.log(), rtol=1e-14)


def test_numbers_lists_and_tensors_are_times() -> None:
    assert sh.rho(VP(), 0.5).item() == sh.rho(VP(), [0.5])[0] == sh.rho(VP(), torch.tensor([0.5]))[0]


@pytest.mark.parametrize("level", [1e-3, 81.0, float("nan")])
def test_levels_outside_the_span(level: float) -> None:
    with pytest.raises(InvalidSetting, match=r"outside the process's range: rho goes from 0\.002 at t = 0\.002 to 80"):
        sh.time_at(EDM(), level)


@pytest.mark.parametrize("process", [EDM(), VP()], ids=["edm", "vp"])
def test_moments_of_x_t(process: sh.ForwardProcess) -> None:
    """x_t simulated from the SDE dx = f x dt + g dW in small steps has mean alpha x_0 and standard deviation sigma."""
    n, steps, x_0 = 20_000, 2000, 0.7
    end = 0.3
    rng = torch.Generator().manual_seed(0)
    t = torch.linspace(process.span[0], end, steps + 1, dtype=torch.float64)
    f, g = sh.drift(process, t[:-1]).tolist(), sh.diffusion2(process, (t[:-1] + t[1:]) / 2).sqrt().tolist()
    h = (t[1] - t[0]).item()
    alpha, sigma = sh.alpha(process, t), sh.sigma(process, t)
    x = alpha[0] * x_0 + sigma[0] * torch.randn(n, generator=rng, dtype=torch.float64)
    for f_t, g_t in zip(f, g):
        x = x + h * f_t * x + math.sqrt(h) * g_t * torch.randn(n, generator=rng, dtype=torch.float64)
    assert x.mean().item() == pytest.approx((alpha[-1] * x_0).item(), abs=5 * sigma[-1].item() / math.sqrt(n))
    # 5 standard errors of the standard deviation, and the scheme's own error of order h.
    assert x.std().item() == pytest.approx(sigma[-1].item(), rel=5 / math.sqrt(2 * n) + 10 * h)


def test_span_is_ordered() -> None:
    with pytest.raises(ValueError, match="t_min 3 must be below t_max 2"):
        EDM(t_min=3, t_max=2)
