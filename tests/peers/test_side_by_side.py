"""End states beside those of azula, diffusers and k-diffusion, on the same grid and the same exact model.

    pip install --no-deps diffusers azula k-diffusion ...        (the whole line: docs/benchmarks.md)
    python -m pytest -m peers tests/peers

Where a peer computes something else than its name says, the test holds the figure that shows it, theirs and ours.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

import samplerhub as sh
from samplerhub.testing import exact, slope
from samplerhub_grids.edm import EDMGrid
from samplerhub_grids.exponential import Exponential
from samplerhub_processes.edm import EDM
from samplerhub_samplers.angle import Angle
from samplerhub_samplers.ddim import DDIM
from samplerhub_samplers.deis import DEIS
from samplerhub_samplers.dpm_solver_pp import DPMSolverPP
from samplerhub_samplers.exponential_adams import ExponentialAdams
from samplerhub_samplers.heun import Heun
from samplerhub_samplers.runge_kutta import RK
from samplerhub_samplers.unipc import UniPC
from samplerhub_targets.mixture import Mixture

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]

TARGET = Mixture(weights=(0.5, 0.3, 0.2), means=((1.0, 0.5), (-1.0, 0.0), (0.2, -1.2)), covariances=(0.3, 0.2, 0.25))
PROCESS = EDM(t_min=0.02, t_max=40)
STEPS = 12
GRIDS = {"edm": EDMGrid(), "exponential": Exponential()}


@pytest.fixture(scope="module")
def peers():
    for name in ("azula", "diffusers", "torchsde", "torchdiffeq", "scipy"):
        pytest.importorskip(name)
    if importlib.util.find_spec("k_diffusion") is None:
        pytest.skip("k-diffusion is not installed")
    folder = str(Path(__file__).parents[1] / "benchmarks")
    sys.path.insert(0, folder)
    try:
        return importlib.import_module("peers")
    finally:
        sys.path.remove(folder)


class Model:
    predicts = "x0"

    def __call__(self, y, rho):
        return TARGET.denoise(y, rho)


def start(dtype=torch.float64, n=64):
    return (PROCESS.t_max * torch.randn(n, 2, generator=torch.Generator().manual_seed(7), dtype=torch.float64)).to(
        dtype
    )


def times_of(grid, steps=STEPS):
    return grid(sh.Problem(PROCESS, Model()), steps)


def ours(sampler, times, dtype=torch.float64):
    *_, last = sampler(sh.Problem(PROCESS, Model()), start(dtype), times, torch.Generator())
    return last.x


def theirs(solve, times, dtype=torch.float64):
    def model(y, rho):
        return TARGET.denoise(y, rho.reshape(1, 1).to(y))

    with torch.no_grad():
        return solve(model, start(dtype), times.to(dtype))


def distance(a, b):
    return ((a - b).abs().max() / b.abs().max()).item()


EQUAL = {
    "ddim, azula": (DDIM(), lambda p: p.azula("DDIMSampler")),
    "ddim, azula euler": (DDIM(), lambda p: p.azula("EulerSampler")),
    "ddim, diffusers": (DDIM(), lambda p: p.diffusers_ddim),
    "ddim, k-diffusion euler": (DDIM(), lambda p: p.k_diffusion("sample_euler")),
    "heun, azula": (Heun(), lambda p: p.azula("HeunSampler")),
    "heun, k-diffusion": (Heun(), lambda p: p.k_diffusion("sample_heun")),
    "heun, diffusers": (Heun(), lambda p: p.diffusers("HeunDiscreteScheduler")),
    "deis 2 log-rho, diffusers": (
        DEIS(order=2, variable="log-rho"),
        lambda p: p.diffusers("DEISMultistepScheduler", solver_order=2, lower_order_final=False),
    ),
    "deis 3 log-rho, diffusers": (
        DEIS(order=3, variable="log-rho"),
        lambda p: p.diffusers("DEISMultistepScheduler", solver_order=3, lower_order_final=False),
    ),
    "deis 4 log-rho, azula": (DEIS(order=4, variable="log-rho"), lambda p: p.azula("zEABSampler", order=4)),
    "lms = deis 3 rho, k-diffusion": (DEIS(order=3, variable="rho"), lambda p: p.k_diffusion("sample_lms", order=3)),
    "lms = deis 4 rho, k-diffusion": (DEIS(order=4, variable="rho"), lambda p: p.k_diffusion("sample_lms", order=4)),
    "lms = deis 3 rho, azula": (DEIS(order=3, variable="rho"), lambda p: p.azula("zABSampler", order=3)),
    "dpm-solver-pp 2M, k-diffusion": (DPMSolverPP(), lambda p: p.k_diffusion("sample_dpmpp_2m")),
    "dpm-solver-pp 2M, diffusers": (
        DPMSolverPP(),
        lambda p: p.diffusers("DPMSolverMultistepScheduler", solver_order=2, lower_order_final=False),
    ),
    "dpm-solver-pp 2M taylor, k-diffusion": (
        DPMSolverPP(variant="taylor"),
        lambda p: p.k_diffusion("sample_dpmpp_2m_sde", solver_type="heun"),
    ),
    "exponential-adams 3, azula": (ExponentialAdams(order=3), lambda p: p.azula("xEABSampler", order=3)),
    "dpm-solver-pp 3M official, diffusers": (
        DPMSolverPP(memory=3, variant="midpoint"),
        lambda p: p.diffusers("DPMSolverMultistepScheduler", solver_order=3, lower_order_final=False),
    ),
    "dpm-solver-pp 3M official, k-diffusion": (
        DPMSolverPP(memory=3, variant="taylor"),
        lambda p: p.k_diffusion("sample_dpmpp_3m_sde"),
    ),
} | {
    f"unipc {p} {variant} {form}, diffusers": (
        UniPC(memory=p, variant=variant, form=form),
        lambda peers, p=p, variant=variant, form=form: peers.diffusers(
            "UniPCMultistepScheduler", solver_order=p, solver_type=variant, predict_x0=form == "data"
        ),
    )
    for p in (1, 2, 3)
    for variant in ("bh1", "bh2")
    for form in ("data", "noise")
}
SINGLE = {"dpm-solver-pp 2M, diffusers", "dpm-solver-pp 3M official, diffusers"}
"""These carry the state in float32 whatever they are given."""


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("name", EQUAL)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_end_states_are_equal(peers, name, grid, dtype):
    sampler, make = EQUAL[name]
    times = times_of(GRIDS[grid])
    d = distance(theirs(make(peers), times, dtype), ours(sampler, times, dtype))
    assert d <= (1e-5 if dtype == torch.float32 else 1e-6 if name in SINGLE else 1e-10)


# --- where a peer computes something else -----------------------------------------------------------------------------


def order_of(run, warm=1):
    """The slope of the distance to the exact flow from 10 to 0.05 against 40, 80 and 160 steps, started warm."""
    process, steps = EDM(t_min=0.05, t_max=10), (40, 80, 160)
    problem = sh.Problem(process, Model())
    y = 10 * torch.randn(64, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    *_, end = RK(tableau="dop853", variable="log-rho")(problem, y, Exponential()(problem, 400), torch.Generator())
    errors = [
        (run(problem, y, exact.warm_times(process, n, warm)) - end.x).square().mean().sqrt().item() for n in steps
    ]
    return slope(steps, errors)


def last(sampler):
    def run(problem, y, times):
        *_, end = sampler(problem, y, times, torch.Generator())
        return end.x

    return run


def peer(solve):
    def run(_, y, times):
        with torch.no_grad():
            return solve(lambda y, rho: TARGET.denoise(y, rho.reshape(1, 1)), y, times)

    return run


def test_azula_reab_of_order_2_is_of_order_1(peers):
    """`REABSampler` scales its step by sigma_t where its own formula has sigma_s; `angle` is the same flow, right."""
    assert order_of(peer(peers.azula("REABSampler", order=2))) == pytest.approx(0.86, abs=0.2)
    assert order_of(last(Angle(order=2, corrector="none", sigma_data=1))) == pytest.approx(2, abs=0.2)


def test_the_third_order_multistep_of_everyone_is_of_order_2(peers):
    """D'' is taken half as large as it must be; the field `third` has both forms."""
    assert order_of(peer(peers.k_diffusion("sample_dpmpp_3m_sde")), 3) < 2.3
    assert order_of(last(DPMSolverPP(memory=3, variant="taylor", third="official")), 3) < 2.3
    assert order_of(last(DPMSolverPP(memory=3, variant="taylor", third="corrected")), 3) > 2.6


def test_diffusers_deis_repeats_the_last_of_the_karras_sigmas():
    """One evaluation is spent on a step of no length; a grid here decreases strictly, or is refused."""
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DEISMultistepScheduler(use_karras_sigmas=True)
    scheduler.set_timesteps(10)
    assert len(scheduler.sigmas) == 11
    assert scheduler.sigmas[-1] == scheduler.sigmas[-2]
    assert bool((times_of(EDMGrid(), 10).diff() < 0).all())


def test_azula_eta_is_the_square_of_ddims(peers):
    """Half of azula's eta gives the noise of eta = sqrt(1/2) in the paper of DDIM, and here.

    On data at one point the spread of the end is that of the last step alone: eta b sqrt(1 - (b/a)^2).
    """
    a, b, eta = 2.0, 1.0, 0.5
    y = torch.zeros(100_000, 1, dtype=torch.float64)
    torch.manual_seed(0)
    solve = peers.azula("DDIMSampler", eta=eta)
    levels = torch.tensor([a, b], dtype=torch.float64)
    with torch.no_grad():
        spread = solve(lambda y, rho: torch.zeros_like(y), y, levels).std().item()
    paper = b * (1 - (b / a) ** 2) ** 0.5
    assert spread == pytest.approx(eta**0.5 * paper, rel=0.02)
    assert abs(spread / (eta * paper) - 1) > 0.3

    class Point:
        predicts = "x0"

        def __call__(self, y, rho):
            return torch.zeros_like(y)

    problem = sh.Problem(EDM(t_min=b, t_max=a), Point())
    *_, end = DDIM(eta=eta)(problem, y, levels, torch.Generator().manual_seed(0))
    assert end.x.std().item() == pytest.approx(eta * paper, rel=0.02)
