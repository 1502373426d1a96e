"""The samplers in the angle: exact for Gaussian data, of the declared order, equal to what they generalise."""

from __future__ import annotations

import pytest
import torch

import samplerhub as sh
from samplerhub.testing import exact, flow_errors, slope, weak_errors
from samplerhub_grids.angle import AngleGrid
from samplerhub_models.exact import Exact
from samplerhub_processes.edm import EDM
from samplerhub_processes.vp import VP
from samplerhub_samplers.angle import Angle
from samplerhub_samplers.angle_covariance import AngleCovariance
from samplerhub_samplers.clocks import data_scale
from samplerhub_samplers.dormand_prince import DormandPrince
from samplerhub_samplers.runge_kutta import RK
from samplerhub_targets.digits import Digits
from samplerhub_targets.gaussian import Gaussian
from samplerhub_targets.mixture import Mixture

PROCESSES = pytest.mark.parametrize("process", [EDM(), VP()], ids=["edm", "vp"])
TILTED = Gaussian(mean=(1.0, 2.0), covariance=((2.0, 0.5), (0.5, 0.3)))


def problem_of(process: sh.ForwardProcess, target: sh.Target) -> sh.Problem:
    return sh.Problem(process, Exact().of(target), target=target, shape=tuple(target.shape))


@PROCESSES
@pytest.mark.parametrize("corrector", ["none", "moulton"])
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_order(order: int, corrector: str, process: sh.ForwardProcess) -> None:
    steps = (80, 160, 320)
    sampler = Angle(order=order, corrector=corrector, sigma_data=0.8)  # type: ignore[arg-type]
    errors = flow_errors(sampler, process, steps, order)
    assert slope(steps, errors) == pytest.approx(order, abs=0.25), errors


@PROCESSES
def test_the_flow_of_a_gaussian_is_exact_in_one_step(process: sh.ForwardProcess) -> None:
    """y - m scales with sqrt(s^2 + rho^2) along each principal direction."""
    problem = problem_of(process, TILTED)
    times = torch.tensor(process.span[::-1], dtype=torch.float64)
    (start, end), (alpha, alpha_s) = sh.rho(process, times).tolist(), sh.alpha(process, times).tolist()
    y = start * torch.randn(8, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mean, covariance = TILTED.moments()
    variances, axes = torch.linalg.eigh(covariance)
    factor = ((variances + end**2) / (variances + start**2)).sqrt()
    expected = mean + ((y - mean) @ axes * factor) @ axes.T
    (step,) = AngleCovariance()(problem, alpha * y, times, torch.Generator())
    assert torch.allclose(step.x / alpha_s, expected, rtol=1e-9, atol=1e-10)
    assert problem.nfe == 1


@PROCESSES
def test_alike_directions_are_the_isotropic_sampler(process: sh.ForwardProcess) -> None:
    target = Gaussian(mean=(0.0, 0.0), covariance=((0.49, 0), (0, 0.49)))
    times = AngleGrid()(problem_of(process, target), 7)
    model = exact.Bells()
    x = sh.sigma(process, times[0]) * torch.randn(8, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    pairs = zip(
        AngleCovariance()(sh.Problem(process, model, target=target), x, times, torch.Generator()),
        Angle()(sh.Problem(process, model, target=target), x, times, torch.Generator()),
    )
    for a, b in pairs:
        assert torch.allclose(a.x, b.x, rtol=1e-9, atol=1e-10)


@PROCESSES
def test_principal_directions_help_where_directions_differ(process: sh.ForwardProcess) -> None:
    target = Mixture(
        weights=(0.3, 0.7), means=((3, 1), (-1, 2)), covariances=(((2.0, 0.5), (0.5, 0.3)), ((0.4, 0), (0, 0.05)))
    )
    problem = problem_of(process, target)
    times = AngleGrid(center=0.6)(problem, 10)
    x = sh.sigma(process, times[0]) * torch.randn(
        64, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    *_, truth = DormandPrince(rtol=1e-11, atol=1e-11)(problem, x, times[[0, -1]], torch.Generator())
    errors = []
    for sampler in (Angle(), AngleCovariance()):
        *_, last = sampler(problem_of(process, target), x, times, torch.Generator())
        errors.append(float((last.x - truth.x).square().mean().sqrt()))
    assert errors[1] < 0.7 * errors[0], errors


def test_covariance_on_images() -> None:
    result = sh.Experiment(
        process=VP(),
        target=Digits(),
        model=Blur(),
        sampler=AngleCovariance(churn=0.3, last="denoise"),
        grid=AngleGrid(),
        prior=Start(),
        samples=5,
        steps=6,
    ).run()
    assert result.samples.shape == (5, 1, 8, 8)
    assert result.nfe == 6 + 5 + 1


class Blur:
    """The posterior mean of white data."""

    predicts = "x0"

    def __call__(self, y: torch.Tensor, rho: torch.Tensor) -> torch.Tensor:
        return y / (1 + rho**2)


class Start:
    def sample(self, problem: sh.Problem, n: int, rng: torch.Generator) -> torch.Tensor:
        return torch.randn(n, *problem.shape, generator=rng)


def test_order_1_without_corrector_is_euler_in_the_angle() -> None:
    times = AngleGrid()(exact.problem(VP()), 9)
    x = torch.randn(8, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    pairs = zip(
        Angle(order=1, corrector="none", sigma_data=0.7)(exact.problem(VP()), x, times, torch.Generator()),
        RK(tableau="euler", variable="angle", sigma_data=0.7)(exact.problem(VP()), x, times, torch.Generator()),
    )
    for a, b in pairs:
        assert torch.allclose(a.x, b.x, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("churn", [0.3, 1.0])
def test_weak_order_2_under_churn(churn: float) -> None:
    steps = (80, 160, 320)
    for sampler in (
        Angle(order=3, churn=churn, sigma_data=0.8),
        Angle(order=2, corrector="none", churn=churn, sigma_data=2),
    ):
        errors = weak_errors(sampler.replace(churn=churn), EDM(), steps)
        assert all(abs(error) < 20 / n**2 for n, error in zip(steps, errors)), errors


def test_scale_of_the_data_by_model_target_or_1() -> None:
    from samplerhub_models.network import Network

    assert data_scale(sh.Problem(EDM(), Network())) == Network().sigma_data
    assert data_scale(problem_of(EDM(), Gaussian(mean=(5.0,), covariance=((4.0,),)))) == 2
    assert data_scale(exact.problem(EDM())) == 1
