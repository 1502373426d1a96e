"""The variance-exploding processes against the textbook."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError

from samplerhub import diffusion2, drift, rho, sigma, time_at
from samplerhub_processes.geometric import VEGeometric
from samplerhub_processes.ve import VE

PROCESSES = [VE(), VE(t_min=0.01, t_max=0.55), VEGeometric(), VEGeometric(sigma_min=0.1, sigma_max=2, t_min=0, t_max=2)]


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_noise_level_increases_and_has_its_inverse(process):
    t = torch.linspace(*process.span, 201, dtype=torch.float64)
    assert bool((rho(process, t).diff() > 0).all())
    torch.testing.assert_close(time_at(process, rho(process, t)), t, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(drift(process, t), torch.zeros_like(t))


def test_ve_has_unit_diffusion_and_karras_range():
    t = torch.logspace(-3, 3, 50, dtype=torch.float64)
    torch.testing.assert_close(diffusion2(VE(), t), torch.ones_like(t))
    torch.testing.assert_close(rho(VE(), list(VE().span)), torch.tensor([0.02, 100.0], dtype=torch.float64))


def test_geometric_is_songs_ve():
    process = VEGeometric()
    t = torch.linspace(*process.span, 50, dtype=torch.float64)
    g = 0.01 * 5000**t * math.sqrt(2 * math.log(5000))
    torch.testing.assert_close(diffusion2(process, t), g**2)
    assert sigma(process, 1.0).item() == pytest.approx(50, rel=1e-14)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VE(t_min=2, t_max=1), "t_min 2 must be below t_max 1"),
        (lambda: VE(t_min=0), "greater than 0"),
        (lambda: VEGeometric(sigma_min=60), "sigma_min 60 must be below sigma_max 50"),
        (lambda: VEGeometric(t_min=1), "t_min 1 must be below t_max 1"),
    ],
)
def test_bad_ranges_say_what_is_wrong(make, message):
    with pytest.raises(ValidationError, match=message):
        make()
