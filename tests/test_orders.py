"""Every sampler converges at the order that it declares, on every process; with churn its law does."""

from __future__ import annotations

import pytest
import torch

import samplerhub as sh
from samplerhub.testing import exact, flow_errors, slope, weak_errors
from samplerhub_processes.edm import EDM
from samplerhub_processes.geometric import VEGeometric
from samplerhub_processes.ve import VE
from samplerhub_processes.vp import VP
from samplerhub_samplers.ddim import DDIM
from samplerhub_samplers.deis import DEIS
from samplerhub_samplers.dormand_prince import DormandPrince
from samplerhub_samplers.edm_stochastic import EDMStochastic
from samplerhub_samplers.euler import Euler
from samplerhub_samplers.euler_maruyama import EulerMaruyama
from samplerhub_samplers.heun import Heun

PROCESSES = [EDM(), VE(), VEGeometric(), VP()]
DETERMINISTIC = [DDIM(), Euler(), Heun(), EulerMaruyama(churn=0)] + [
    DEIS(order=order, variable=variable)  # type: ignore[arg-type]
    for order in (1, 2, 3, 4)
    for variable in ("rho", "log-rho", "t")
]


def name(component: object) -> str:
    fields = component.model_dump(exclude_defaults=True) if isinstance(component, sh.Component) else {}
    return " ".join([type(component).__name__, *(f"{k}={v}" for k, v in fields.items())])


@pytest.mark.parametrize("process", PROCESSES, ids=name)
@pytest.mark.parametrize("sampler", DETERMINISTIC, ids=name)
def test_order_of_convergence(sampler: sh.GridSampler, process: sh.ForwardProcess) -> None:
    steps = (80, 160, 320) if sampler.order >= 3 else (40, 80, 160)
    errors = flow_errors(sampler, process, steps, sampler.order)
    assert slope(steps, errors) == pytest.approx(sampler.order, abs=0.25), errors


@pytest.mark.parametrize("process", PROCESSES, ids=name)
def test_dormand_prince_has_order_5(process: sh.ForwardProcess) -> None:
    """With tolerances that accept everything its steps are max_step long: a uniform grid in the angle."""
    low, high = exact.levels(process)
    start, end = exact.flow(high, low)
    times = sh.time_at(process, torch.tensor([high, low], dtype=torch.float64))
    scale = sh.alpha(process, times)
    evaluations, errors = [], []
    for max_step in (0.025, 0.0125, 0.01):
        problem = exact.problem(process)
        sampler = DormandPrince(rtol=1e6, atol=1e6, max_step=max_step, first_step=max_step, sigma_data=0.5)
        *_, last = sampler(problem, start * scale[0], times, torch.Generator())
        evaluations.append(problem.nfe)
        errors.append(float((last.x / scale[1] - end).square().mean().sqrt()))
    assert slope(evaluations, errors) == pytest.approx(5, abs=0.25), errors


@pytest.mark.parametrize("tolerance", [1e-3, 1e-5, 1e-7, 1e-9])
def test_dormand_prince_keeps_its_tolerance(tolerance: float) -> None:
    process = EDM()
    low, high = exact.levels(process)
    start, end = exact.flow(high, low)
    times = torch.tensor([high, low], dtype=torch.float64)
    *_, last = DormandPrince(rtol=tolerance, atol=tolerance)(exact.problem(process), start, times, torch.Generator())
    # The local error is controlled, the global one adds up over some ten steps at the start: within a factor of 30.
    assert float((last.x - end).square().mean().sqrt()) < 30 * tolerance


@pytest.mark.parametrize("churn", [0.3, 1.0])
@pytest.mark.parametrize("process", PROCESSES, ids=name)
@pytest.mark.parametrize(
    "sampler",
    [
        DDIM(),
        Euler(),
        Heun(),
        EulerMaruyama(),
        DEIS(order=1),
        DEIS(order=2, variable="rho"),
        DEIS(order=2),
        DEIS(order=3),
    ],
    ids=name,
)
def test_weak_order_under_churn(sampler: sh.GridSampler, process: sh.ForwardProcess, churn: float) -> None:
    """The variance under exact score and prior, by superposition: no Monte Carlo.

    DEIS of order 3 starts cold, so that order 2 is what remains in the limit.
    """
    sampler = sampler.replace(churn=churn)
    steps = (80, 160, 320)
    errors = weak_errors(sampler, process, steps)
    if max(map(abs, errors)) < 1e-12:  # Euler in time is exact where the process leaves the data's law as it is
        return
    if sampler.order > 2:  # the error changes sign on its way to second order: bound it instead of fitting it
        assert all(abs(error) < 20 / n**2 for n, error in zip(steps, errors)), errors
        return
    assert slope(steps, errors) > sampler.order - 0.25, errors
    assert abs(errors[-1]) < {1: 0.05, 2: 1e-3}[sampler.order], errors


@pytest.mark.parametrize("process", PROCESSES, ids=name)
def test_edm_stochastic_reaches_the_right_law(process: sh.ForwardProcess) -> None:
    """Its last step is a denoising one, and the law of the posterior mean is what it should reach."""
    steps = (40, 80, 160)
    errors = weak_errors(EDMStochastic(s_churn=5), process, steps)
    assert slope(steps, errors) > 1.75, errors


# Relative error of the variance, N = 20, 40, 80, 160; exact score, standard normal data, rho from 10 to 0.05, log grid.
SPLICE = {
    (0.3, 2, "keep"): (-0.102, -0.054, -0.028, -0.014),
    (0.3, 2, "splice"): (-0.041, -0.0116, -0.0031, -0.0008),
    (0.3, 3, "keep"): (-0.083, -0.047, -0.026, -0.014),
    (0.3, 3, "splice"): (-0.017, -0.0025, -0.0003, -0.00003),
    (1.0, 2, "keep"): (-0.190, -0.110, -0.060, -0.031),
    (1.0, 2, "splice"): (-0.050, -0.0148, -0.0040, -0.0010),
    (1.0, 3, "keep"): (-0.174, -0.103, -0.057, -0.030),
    (1.0, 3, "splice"): (-0.018, -0.0022, -0.0001, 0.00004),
}


@pytest.mark.parametrize("key", SPLICE, ids=str)
def test_splicing_keeps_the_order_that_keeping_loses(key: tuple[float, int, str]) -> None:
    churn, order, history = key
    sampler = DEIS(order=order, variable="rho", churn=churn, churn_history=history)  # type: ignore[arg-type]
    errors = weak_errors(sampler, EDM(), (20, 40, 80, 160))
    for error, expected in zip(errors, SPLICE[key]):
        digits = len(repr(expected).partition(".")[2]) if expected != 0.00004 and expected != -0.00003 else 5
        assert error == pytest.approx(expected, abs=0.6 * 10**-digits), errors
