"""Multistep samplers: coefficients, identities, orders of convergence, weak orders, evaluations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import mpmath
import pytest
import torch
from torch import Tensor

import samplerhub as sh
from samplerhub.testing import check_contract, exact, flow_errors, slope, weak_errors
from samplerhub_processes.edm import EDM
from samplerhub_processes.ve import VE
from samplerhub_processes.vp import VP
from samplerhub_samplers.ddim import DDIM
from samplerhub_samplers.deis import DEIS
from samplerhub_samplers.dpm_solver_pp import DPMSolverPP
from samplerhub_samplers.dpm_solver_pp_sde import DPMSolverPPSDE
from samplerhub_samplers.exponential_adams import ExponentialAdams
from samplerhub_samplers.ipndm import IPNDM, IPNDMV
from samplerhub_samplers.phi import phi
from samplerhub_samplers.sa_solver import SASolver
from samplerhub_samplers.unipc import UniPC

# mypy: disable-error-code="arg-type,call-arg"

PROCESSES = [EDM(), VE(), VP()]
BASHFORTH = [
    *(IPNDM(memory=k) for k in (1, 2, 3, 4)),
    *(IPNDMV(order=k) for k in (1, 2, 3, 4)),
    *(ExponentialAdams(order=k, form=form) for form in ("data", "noise") for k in (1, 2, 3, 4)),
    DPMSolverPP(memory=1),
    *(DPMSolverPP(memory=2, variant=variant) for variant in ("midpoint", "taylor")),
    *(DPMSolverPP(memory=3, third=third) for third in ("official", "corrected")),
    *(
        UniPC(memory=p, form=form, variant=variant, corrector="none", final="full")
        for p in (1, 2, 3)
        for form in ("data", "noise")
        for variant in ("bh1", "bh2")
    ),
]
CORRECTED = [
    *(ExponentialAdams(order=k, form=form, corrector="moulton") for form in ("data", "noise") for k in (2, 3, 4)),
    *(
        UniPC(memory=p, form=form, variant=variant, final="full")
        for p in (1, 2, 3)
        for form in ("data", "noise")
        for variant in ("bh1", "bh2")
    ),
]
LOWERED = [
    UniPC(memory=p, form=form, corrector=corrector)
    for p in (1, 2, 3)
    for form in ("data", "noise")
    for corrector in ("none", "unic")
]
STOCHASTIC = [
    *(SASolver(predictor=p, corrector=q) for p in (1, 2, 3, 4) for q in (0, 1, 2, 3, 4)),
    DPMSolverPPSDE(memory=1),
    *(DPMSolverPPSDE(memory=2, variant=variant) for variant in ("midpoint", "taylor")),
    *(DPMSolverPPSDE(memory=3, third=third) for third in ("official", "corrected")),
]
EVERY = [*BASHFORTH, *CORRECTED, *LOWERED, *STOCHASTIC]
COUNTED = [s for s in EVERY if not isinstance(s, UniPC) or s.variant == "bh2"]


def name(component: object) -> str:
    fields = component.model_dump(exclude_defaults=True) if isinstance(component, sh.Component) else {}
    return " ".join([type(component).__name__, *(f"{k}={v}" for k, v in fields.items())])


def times(process: sh.ForwardProcess, steps: int) -> Tensor:
    """EDM's grid over the whole span."""
    low, high = sh.rho(process, list(process.span)).tolist()
    i = torch.arange(steps + 1, dtype=torch.float64) / steps
    return sh.time_at(process, ((high ** (1 / 7) + i * (low ** (1 / 7) - high ** (1 / 7))) ** 7).clamp(low, high))


def path(sampler: sh.Sampler, process: sh.ForwardProcess, t: Tensor) -> Tensor:
    """All states of a run on the mixture, from a fixed start and a fixed seed."""
    x = torch.randn(8, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * sh.sigma(process, t[0])
    rng = torch.Generator().manual_seed(1)
    return torch.stack([step.x for step in sampler(exact.problem(process), x, t, rng)])


# Coefficients


def test_phi_functions() -> None:
    with mpmath.workdps(40):
        for k in (1, 2, 3, 4):
            for z in (-30, -3, -1.0, -0.999, -0.1, -1e-6, 1e-9, 0.5, 1.0, 10.0):
                expected = mpmath.nsum(lambda j, k=k, z=z: mpmath.mpf(z) ** j / mpmath.factorial(j + k), [0, 200])
                assert abs(phi(k, z) / float(expected) - 1) < 1e-13, (k, z)


@cache
def integrals(nodes: tuple[float, ...], rho_t: float, rho_s: float, kernel: str) -> list[float]:
    """Integrals of the Lagrange polynomials through nodes in log(rho), from rho_t to rho_s, 30 digits.

    By the closed form of polynomials times exponentials, piece by piece: quadrature of mpmath on eight parts.
    """
    with mpmath.workdps(30):
        a, b, c = mpmath.log(mpmath.mpf(rho_t)), mpmath.log(mpmath.mpf(rho_s)), [mpmath.mpf(n) for n in nodes]
        k = 1 + mpmath.mpf(kernel) if kernel != "noise" else mpmath.mpf(0)

        def integrand(u: mpmath.mpf, j: int) -> mpmath.mpf:
            basis = mpmath.fprod((u - c[m]) / (c[j] - c[m]) for m in range(len(c)) if m != j)
            return basis * (mpmath.exp(u) if kernel == "noise" else -k * mpmath.exp(k * (b - u)))

        pieces = mpmath.linspace(a, b, 9)
        return [float(mpmath.quad(lambda u, j=j: integrand(u, j), pieces, maxdegree=4)) for j in range(len(c))]


def close(numbers: Sequence[float], expected: Sequence[float]) -> bool:
    size = max(map(abs, expected))
    return len(numbers) == len(expected) and all(abs(a - b) <= 1e-12 * size for a, b in zip(numbers, expected))


@pytest.mark.parametrize("steps", [5, 18])
@pytest.mark.parametrize(("form", "churn"), [("data", 0.0), ("data", 0.3), ("noise", 0.0), ("noise", 0.3)])
def test_exponential_adams_equals_30_digit_quadrature(form: str, churn: float, steps: int) -> None:
    sampler = ExponentialAdams(order=6, form=form, churn=churn, corrector="moulton")
    legs = sampler.legs(EDM(), times(EDM(), steps))
    nodes = sampler.nodes(EDM(), legs)
    for i in (0, 2, steps - 1):
        leg, kernel = legs[i], "0" if form == "data" else "noise"
        a = leg.rho_s / leg.rho_t if form == "data" else 1.0
        assert leg.weights[0] == pytest.approx(a, rel=1e-14)
        assert leg.correction[0] == pytest.approx(a, rel=1e-14)
        assert close(leg.weights[1:], integrals(nodes[i], leg.rho_t, leg.rho_s, kernel)), i
        assert close(leg.correction[1:], integrals((math.log(leg.rho_s), *nodes[i]), leg.rho_t, leg.rho_s, kernel)), i


@pytest.mark.parametrize("churn", [0.3, 1.0])
def test_sa_solver_equals_30_digit_quadrature(churn: float) -> None:
    sampler = SASolver(predictor=3, corrector=4, churn=churn)
    legs = sampler.legs(EDM(), times(EDM(), 12))
    nodes = sampler.nodes(EDM(), legs)
    for i in (0, 2, 11):
        c, a, *w = legs[i].weights
        r = legs[i].rho_s / legs[i].rho_t
        assert c == pytest.approx(legs[i].rho_s * math.sqrt(1 - r ** (2 * churn)), rel=1e-12)
        assert a == pytest.approx(r ** (1 + churn), rel=1e-13)
        assert close(w, integrals(nodes[i], legs[i].rho_t, legs[i].rho_s, str(churn)))
        one, w_new, *v = legs[i].correction
        corrected = integrals((math.log(legs[i].rho_s), *nodes[i]), legs[i].rho_t, legs[i].rho_s, str(churn))
        assert one == 1
        assert close([w_new, *(x + y for x, y in zip(w, v))], corrected)


def test_ipndm_on_equal_steps_is_ipndm_v() -> None:
    process = EDM(t_min=1, t_max=2)
    t = torch.linspace(2, 1, 11, dtype=torch.float64)
    for k in (1, 2, 3, 4):
        for a, b in zip(IPNDM(memory=k).legs(process, t), IPNDMV(order=k).legs(process, t)):
            assert a.weights == pytest.approx(b.weights, rel=1e-10)


# Identities: two names of one method agree to rounding


def same(a: sh.Sampler, b: sh.Sampler) -> None:
    for process in PROCESSES:
        t = times(process, 12)
        x, y = path(a, process, t), path(b, process, t)
        assert torch.allclose(x, y, rtol=1e-10, atol=1e-11), float((x - y).abs().max())


@pytest.mark.parametrize("churn", [0.0, 0.3])
@pytest.mark.parametrize(
    ("a", "b"),
    [
        (ExponentialAdams(order=1), DDIM()),
        (ExponentialAdams(order=1, form="noise"), DDIM()),
        (UniPC(memory=1, corrector="none"), DDIM()),
        (UniPC(memory=1, corrector="none", form="noise", variant="bh1"), DDIM()),
        (DPMSolverPP(memory=1), DDIM()),
        (IPNDM(memory=1), DDIM()),
        (IPNDMV(order=4), DEIS(order=4, variable="rho")),
        *((ExponentialAdams(order=k, form="noise"), DEIS(order=k, variable="log-rho")) for k in (2, 3, 4)),
        (ExponentialAdams(order=2), DPMSolverPP(memory=2, variant="taylor")),
        (ExponentialAdams(order=3), DPMSolverPP(memory=3, variant="taylor", third="corrected")),
        (UniPC(memory=2, variant="bh2", corrector="none", final="full"), DPMSolverPP(memory=2, variant="midpoint")),
        (
            UniPC(memory=3, variant="bh2", corrector="none", final="full"),
            DPMSolverPP(memory=3, variant="midpoint", third="corrected"),
        ),
    ],
    ids=name,
)
def test_identity(a: sh.GridSampler, b: sh.GridSampler, churn: float) -> None:
    same(a.replace(churn=churn), b.replace(churn=churn))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        *((SASolver(predictor=p, corrector=0), ExponentialAdams(order=p)) for p in (1, 2, 3, 4)),
        *((SASolver(predictor=p, corrector=p + 1), ExponentialAdams(order=p + 1, corrector="moulton")) for p in (1, 3)),
        (DPMSolverPPSDE(memory=1), DPMSolverPP(memory=1)),
        (DPMSolverPPSDE(memory=2), DPMSolverPP(memory=2)),
        (DPMSolverPPSDE(memory=2, variant="taylor"), DPMSolverPP(memory=2, variant="taylor")),
        (DPMSolverPPSDE(memory=3), DPMSolverPP(memory=3)),
        (DPMSolverPPSDE(memory=3, third="corrected"), DPMSolverPP(memory=3, third="corrected")),
    ],
    ids=name,
)
def test_without_noise_a_method_for_the_sde_is_one_for_the_ode(a: sh.GridSampler, b: sh.GridSampler) -> None:
    same(a.replace(churn=0), b)


@pytest.mark.parametrize("churn", [0.3, 1.0])
def test_one_method_for_the_sde_under_two_names(churn: float) -> None:
    same(SASolver(predictor=1, corrector=0, churn=churn), DPMSolverPPSDE(memory=1, churn=churn))
    same(SASolver(predictor=2, corrector=0, churn=churn), DPMSolverPPSDE(memory=2, variant="taylor", churn=churn))
    same(
        SASolver(predictor=3, corrector=0, churn=churn),
        DPMSolverPPSDE(memory=3, variant="taylor", third="corrected", churn=churn),
    )


@pytest.mark.parametrize("form", ["data", "noise"])
@pytest.mark.parametrize("p", [2, 3])
def test_unic_past_its_start_is_exponential_adams(form: str, p: int) -> None:
    """With two differences or more their factors are solved for, and B drops out."""
    t = times(EDM(), 12)
    adams = ExponentialAdams(order=p + 1, form=form, corrector="moulton").legs(EDM(), t)
    for variant in ("bh1", "bh2"):
        for uni, leg in list(zip(UniPC(memory=p, form=form, variant=variant, final="full").legs(EDM(), t), adams))[p:]:
            assert close(uni.correction, leg.correction)
            assert p == 2 or close(uni.weights, leg.weights)


# Orders of convergence


@pytest.mark.parametrize("process", PROCESSES, ids=name)
@pytest.mark.parametrize("sampler", [*BASHFORTH, *CORRECTED], ids=name)
def test_order_of_convergence(sampler: sh.GridSampler, process: sh.ForwardProcess) -> None:
    steps = (80, 160, 320) if sampler.order >= 3 else (40, 80, 160)
    errors = flow_errors(sampler, process, steps, sampler.order)
    assert slope(steps, errors) == pytest.approx(sampler.order, abs=0.25), errors


def test_official_3m_has_order_2_and_the_corrected_one_3() -> None:
    for third, expected, bound in (("official", 1.98, 3e-5), ("corrected", 2.98, 3e-7)):
        errors = flow_errors(DPMSolverPP(memory=3, third=third), EDM(), (80, 160, 320), 3)
        assert slope((80, 160, 320), errors) == pytest.approx(expected, abs=0.05), errors
        assert errors[-1] < bound


def test_official_3m_has_the_smaller_error_at_ten_steps() -> None:
    """Over the whole range; the reason why it is the default."""
    t = times(EDM(), 10)
    truth = path(ExponentialAdams(order=4, corrector="moulton"), EDM(), times(EDM(), 2000))[-1]
    official, corrected = (
        float((path(DPMSolverPP(memory=3, third=third), EDM(), t)[-1] - truth).square().mean().sqrt())
        for third in ("official", "corrected")
    )
    assert official < corrected


def ramped_errors(sampler: sh.GridSampler, process: sh.ForwardProcess, steps: Sequence[int]) -> list[float]:
    """RMS distance to the exact flow on equal steps in log(rho), before which short steps double up to them.

    Neighbouring steps differ by a factor of 2 at most, so that weights stay small: for orders above 4, whose rounding
    errors would be seen on the grid of `warm_times`.
    """
    low, high = exact.levels(process)
    start, end = exact.flow(high, low)
    errors = []
    for n in steps:
        doublings = math.ceil((sampler.order - 1) / 2 * math.log2(n)) if sampler.order > 2 else 0
        lengths = torch.cat([2.0 ** torch.arange(-doublings, 0, dtype=torch.float64), torch.ones(n).double()])
        share = torch.cat([torch.zeros(1).double(), lengths.cumsum(0)]) / lengths.sum()
        t = sh.time_at(process, torch.exp(math.log(high) + share * math.log(low / high)).clamp(low, high))
        scale = sh.alpha(process, t[[0, -1]]).tolist()
        *_, last = sampler(exact.problem(process), start * scale[0], t, torch.Generator())
        errors.append(float((last.x / scale[1] - end).square().mean().sqrt()))
    return errors


@pytest.mark.parametrize("process", PROCESSES, ids=name)
@pytest.mark.parametrize(
    "sampler",
    [
        *(ExponentialAdams(order=k, form="data", corrector=c) for k in (5, 6) for c in ("none", "moulton")),
        *(ExponentialAdams(order=5, form="noise", corrector=c) for c in ("none", "moulton")),
    ],
    ids=name,
)
def test_high_order_of_convergence(sampler: sh.GridSampler, process: sh.ForwardProcess) -> None:
    steps = (160, 240, 360)
    errors = ramped_errors(sampler, process, steps)
    assert slope(steps, errors) == pytest.approx(sampler.order, abs=0.3), errors


@pytest.mark.parametrize("corrector", ["none", "moulton"])
def test_order_6_in_predicted_noise(corrector: str) -> None:
    """The slope nears 6 late (5.3, 5.7), where errors are a few 1e-12: bound the error instead."""
    errors = ramped_errors(ExponentialAdams(order=6, form="noise", corrector=corrector), EDM(), (80, 160, 320))
    assert slope((80, 160, 320), errors) > 5.2, errors
    assert errors[-1] < 2e-11


@pytest.mark.parametrize("process", [VP()], ids=name)
@pytest.mark.parametrize("sampler", LOWERED, ids=name)
def test_last_steps_of_lower_order_leave_order_2(sampler: UniPC, process: sh.ForwardProcess) -> None:
    """One step of order 1 at the end, whose error is small there and shows on fine grids only."""
    steps = (320, 640, 1280)
    errors = ramped_errors(sampler, process, steps)
    assert slope(steps, errors) == pytest.approx(sampler.order, abs=0.25), errors


@pytest.mark.parametrize("process", [VP()], ids=name)
@pytest.mark.parametrize("sampler", [s for s in STOCHASTIC if isinstance(s, SASolver) and s.corrector], ids=name)
def test_order_of_sa_solver_without_noise(sampler: SASolver, process: sh.ForwardProcess) -> None:
    """Equal orders of predictor and corrector have leading errors of opposite sign: fine grids show the order."""
    sampler = sampler.replace(churn=0)
    steps = (80, 160, 320) if sampler.order == 4 else (320, 640, 1280)
    errors = ramped_errors(sampler, process, steps)
    assert slope(steps, errors) == pytest.approx(sampler.order, abs=0.25), errors


# Stochasticity: the law of the output, exact moments


@pytest.mark.parametrize("churn", [0.3, 1.0])
@pytest.mark.parametrize("sampler", STOCHASTIC, ids=name)
def test_weak_order(sampler: sh.GridSampler, churn: float) -> None:
    steps = (60, 90, 150, 240)
    sampler = sampler.replace(churn=churn)
    errors = weak_errors(sampler, EDM(), steps)
    if isinstance(sampler, SASolver) and (sampler.predictor, sampler.corrector) == (2, 2) and churn == 0.3:
        assert all(abs(error) < 2 / n**2 for n, error in zip(steps, errors)), errors  # of either sign: slope 1.15 to 2
        return
    assert slope(steps[1:], errors[1:]) > sampler.order - 0.25, errors
    assert abs(errors[-1]) < {1: 0.03, 2: 1e-3}[sampler.order], errors


@pytest.mark.parametrize("process", [VE(), VP()], ids=name)
@pytest.mark.parametrize("sampler", [SASolver(), DPMSolverPPSDE()], ids=name)
def test_weak_order_of_defaults_on_every_process(sampler: sh.GridSampler, process: sh.ForwardProcess) -> None:
    errors = weak_errors(sampler, process, (80, 160, 320))
    assert slope((80, 160, 320), errors) == pytest.approx(2, abs=0.25), errors


@pytest.mark.parametrize("churn", [0.3, 1.0])
@pytest.mark.parametrize("sampler", [s for s in COUNTED if s not in LOWERED and s not in STOCHASTIC], ids=name)
def test_weak_order_under_churn(sampler: sh.GridSampler, churn: float) -> None:
    """Spliced history has weak order 2 and no more: a slope carried over a jump is off by as much as the jump."""
    order = min(sampler.order, 2)
    steps = (60, 90, 180)
    errors = weak_errors(sampler.replace(churn=churn), EDM(), steps)
    assert all(abs(error) < {1: 6, 2: 40}[order] / n**order for n, error in zip(steps, errors)), errors
    if sampler.order < 3:  # beyond, and for the official 3M, terms of either sign: bound the error, do not fit it
        assert slope(steps, errors) > order - (0.25 if sampler.depth < 3 else 0.5), errors


def test_keeping_history_loses_the_order_that_splicing_keeps() -> None:
    steps = (80, 160, 320)
    spliced = DPMSolverPP(churn=1)
    kept = weak_errors(spliced.replace(churn_history="keep"), EDM(), steps)
    assert slope(steps, kept) == pytest.approx(1, abs=0.25), kept
    assert abs(weak_errors(spliced, EDM(), steps)[-1]) < abs(kept[-1]) / 100


class Point:
    """A model of data that are one point: every method with an exact linear part is exact on it."""

    predicts = "x0"

    def __call__(self, y: Tensor, rho: Tensor) -> Tensor:
        return torch.full_like(y, 0.7)


@pytest.mark.parametrize("window", [None, (0.05, 5.0)])
def test_predictor_and_corrector_have_the_same_noise(window: tuple[float, float] | None) -> None:
    """Where the predicted data never change a corrector has nothing to correct: any other noise would show."""
    t, x = times(EDM(), 15), 80 * torch.randn(4, 2, generator=torch.Generator().manual_seed(0)).double()
    ends = []
    for corrector in (0, 1, 2, 4):
        sampler = SASolver(corrector=corrector, churn=1, churn_window=window)
        problem = sh.Problem(EDM(), Point(), shape=(2,))
        ends.append(torch.stack([s.x for s in sampler(problem, x, t, torch.Generator().manual_seed(3))]))
    for end in ends[1:]:
        assert torch.allclose(end, ends[0], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("sampler", [SASolver(), DPMSolverPPSDE(memory=3)], ids=name)
def test_churn_window(sampler: sh.GridSampler) -> None:
    """Outside the window nothing is drawn and the method is the one for the ODE; inside, noise is added."""
    t = times(EDM(), 20)
    legs = sampler.replace(churn_window=(0.05, 5)).legs(EDM(), t)
    still = sampler.replace(churn=0).legs(EDM(), t)
    for leg, quiet in zip(legs, still):
        assert (leg.weights[0] > 0) == (0.05 <= leg.rho_t <= 5)
        assert leg.weights[0] > 0 or leg.weights == quiet.weights
    rng = torch.Generator().manual_seed(5)
    state = rng.get_state()
    x = torch.zeros(2, 2, dtype=torch.float64)
    list(sampler.replace(churn_window=(200, 300))(exact.problem(EDM()), x, t, rng))
    assert torch.equal(rng.get_state(), state)


# Contract


@pytest.mark.parametrize("sampler", COUNTED, ids=name)
def test_evaluations_declared_are_counted(sampler: sh.GridSampler) -> None:
    x = torch.zeros(2, 2, dtype=torch.float64)
    for churn in (0.0, 0.7):
        churned = sampler.replace(churn=churn)
        for steps in range(1, 31):
            problem, t = exact.problem(EDM()), times(EDM(), steps)
            list(churned(problem, x, t, torch.Generator().manual_seed(0)))
            assert problem.nfe == churned.evaluations(EDM(), t), (churn, steps)
            if churn == 0 or sampler in STOCHASTIC:
                assert problem.nfe == steps


@pytest.mark.parametrize("churn", [0.0, 0.7])
@pytest.mark.parametrize("process", [EDM(), VP()], ids=name)
@pytest.mark.parametrize("sampler", EVERY, ids=name)
def test_contract(sampler: sh.GridSampler, process: sh.ForwardProcess, churn: float) -> None:
    check_contract(sampler.replace(churn=churn), process)


def test_the_corrector_needs_a_second_order() -> None:
    with pytest.raises(ValueError, match="order 2 at least"):
        ExponentialAdams(order=1, corrector="moulton")


def test_lms_is_another_name_of_ipndm_v() -> None:
    registry = sh.Registry.discover()
    assert registry.find("sampler", "lms") == registry.find("sampler", "ipndm-v")
    assert registry.load("sampler", "lms") is IPNDMV
