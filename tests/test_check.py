"""The conformance kit catches what it is there to catch, by the check that names it, and `samplerhub check` says so."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

import samplerhub as sh
import samplerhub.process as derived
from samplerhub import testing
from samplerhub.cli import main
from samplerhub.errors import Mismatch
from samplerhub.registry import Registry
from samplerhub.testing import CHECKS, EVERY, Case, Kit, NotKept, examine
from samplerhub.testing.component import Record
from samplerhub.testing.convergence import Converging
from samplerhub.testing.engine import Executed
from samplerhub.testing.features import Embedded
from samplerhub.testing.grid import Gridded
from samplerhub.testing.metric import Measured
from samplerhub.testing.model import Modelled
from samplerhub.testing.prior import Started
from samplerhub.testing.process import Processed
from samplerhub.testing.reference import BellsTarget, Plain
from samplerhub.testing.target import Sampled
from samplerhub.testing.trainer import Trained
from samplerhub_grids.edm import EDMGrid
from samplerhub_models.exact import Exact
from samplerhub_priors.gaussian import GaussianPrior
from samplerhub_processes.edm import EDM
from samplerhub_samplers.deis import DEIS
from samplerhub_samplers.dormand_prince import DormandPrince
from samplerhub_samplers.heun import Heun
from samplerhub_targets.mixture import Mixture

ROOT = Path(__file__).parents[1]
MADE: dict[str, Callable[[Any], object]] = {
    "process": Processed,
    "target": Sampled,
    "model": lambda model: Modelled(model, (2,)),
    "sampler": lambda sampler: Converging(sampler, EDM()),
    "grid": lambda grid: Gridded(grid, Plain()),
    "prior": lambda prior: Started(prior, Plain()),
    "features": lambda features: Embedded(features, BellsTarget()),
    "metric": lambda metric: Measured(metric, BellsTarget(), 500),
    "trainer": lambda trainer: Trained(trainer, BellsTarget()),
    "engine": Executed,
}


def failures(role: str, component: object) -> set[str]:
    return {f.check for f in examine(CHECKS[role], [Case("", MADE[role](component))]) if f.failed}


# --- samplers ---------------------------------------------------------------------------------------------------------


class WrongCoefficient(DEIS):
    """DEIS of order 3 with one weight off by 2 %."""

    order: int = 3

    def weights(self, process: sh.ForwardProcess, legs: Sequence[sh.Leg]) -> list[tuple[float, ...]]:
        return [(a, *w[:-1], 1.02 * w[-1]) if len(w) == 3 else (a, *w) for a, *w in super().weights(process, legs)]


class GlobalNoise(Heun):
    """Draws from the global generator."""

    def step(self, run: sh.Run, y: Tensor, leg: sh.Leg) -> Tensor:
        return super().step(run, y, leg) + 1e-11 * torch.randn(y.shape)


class InPlace(Heun):
    """Modifies the state that it was given."""

    def step(self, run: sh.Run, y: Tensor, leg: sh.Leg) -> Tensor:
        return y.copy_(super().step(run, y, leg))


class Understates(Heun):
    """Declares one evaluation less than it spends."""

    def evaluations(self, process: sh.ForwardProcess, times: Tensor) -> int:
        return super().evaluations(process, times) - 1


class Idle(Heun):
    """Does nothing in its last step."""

    def __call__(self, problem: sh.Problem, x: Tensor, times: Tensor, rng: torch.Generator) -> Iterator[sh.Step]:
        before = x
        for step in super().__call__(problem, x, times, rng):
            last = step.t == times[-1]
            yield sh.Step(step.t, before if last else step.x, step.rho)
            before = step.x


class Coupled(Heun):
    """Moves each sample by the mean of its batch."""

    def step(self, run: sh.Run, y: Tensor, leg: sh.Leg) -> Tensor:
        return super().step(run, y, leg) + 1e-8 * y.mean(0)


class TooNoisy(Heun):
    """Adds more noise than churn asks for."""

    churn: float = 1.0

    def advance(self, run: sh.Run, y: Tensor, leg: sh.Leg) -> Tensor:
        return super().advance(run, y + 0.3 * leg.noise * run.noise(y) if leg.churned else y, leg)


class TooNoisyAndNotLinear(TooNoisy):
    """The same, and its noise depends a little on the state."""

    def step(self, run: sh.Run, y: Tensor, leg: sh.Leg) -> Tensor:
        return super().step(run, y, leg) + 1e-6 * y**2


class Overstates(Heun):
    """Claims an order that it does not have."""

    order: ClassVar[int] = 3


class Early(Heun):
    """Stops one step early."""

    def __call__(self, problem: sh.Problem, x: Tensor, times: Tensor, rng: torch.Generator) -> Iterator[sh.Step]:
        yield from super().__call__(problem, x, times[:-1] if len(times) > 2 else times, rng)


class Single(Heun):
    """Falls back to float32."""

    def __call__(self, problem: sh.Problem, x: Tensor, times: Tensor, rng: torch.Generator) -> Iterator[sh.Step]:
        for step in super().__call__(problem, x, times, rng):
            yield sh.Step(step.t, step.x.float(), step.rho)


RUNS_BEFORE = iter(range(10**9))


class Remembers(Heun):
    """Is different each time."""

    def step(self, run: sh.Run, y: Tensor, leg: sh.Leg) -> Tensor:
        return super().step(run, y, leg) + 1e-15 * next(RUNS_BEFORE)


class Sloppy(DormandPrince):
    """Takes its tolerance for a hundred thousand times what it says."""

    def __call__(self, problem: sh.Problem, x: Tensor, times: Tensor, rng: torch.Generator) -> Iterator[sh.Step]:
        for step in super().__call__(problem, x, times, rng):
            yield sh.Step(step.t, step.x * 1.5, step.rho)


class Unmethodical(Heun):
    """Declares the order 0, which any formula has."""

    order: ClassVar[int] = 0


class Ancestral:
    """Draws from the posterior, all noise at once or row by row; the posterior mean may be that of variance 0.5."""

    order = 1

    def __init__(self, of_the_model: bool = True, row_by_row: bool = False) -> None:
        self.of_the_model, self.row_by_row = of_the_model, row_by_row

    def evaluations(self, process: sh.ForwardProcess, times: Tensor) -> int:
        return len(times) - 1

    def __call__(self, problem: sh.Problem, x: Tensor, times: Tensor, rng: torch.Generator) -> Iterator[sh.Step]:
        alphas, rhos = derived.alpha(problem.process, times), derived.rho(problem.process, times)
        for i, (s, t) in enumerate(zip(times.tolist()[1:], rhos.tolist())):
            y, rho = x / float(alphas[i]), float(rhos[i + 1])
            D, share = y - t * problem.eps(y, t), (rho / t) ** 2
            D = D if self.of_the_model else 0.5 / (0.5 + t**2) * y
            noise = torch.cat([sh.normal(row[None], rng) for row in x]) if self.row_by_row else sh.normal(x, rng)
            x = float(alphas[i + 1]) * (share * y + (1 - share) * D + rho * (1 - share) ** 0.5 * noise)
            yield sh.Step(s, x, rho)


class Euler:
    """Euler's method as a generator that declares nothing, with steps of a scale."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    def __call__(self, problem: sh.Problem, x: Tensor, times: Tensor, rng: torch.Generator) -> Iterator[sh.Step]:
        alphas, rhos = derived.alpha(problem.process, times), derived.rho(problem.process, times)
        for i, s in enumerate(times.tolist()[1:]):
            y, t, rho = x / float(alphas[i]), float(rhos[i]), float(rhos[i + 1])
            x = float(alphas[i + 1]) * (y + self.scale * (rho - t) * problem.eps(y, t))
            yield sh.Step(s, x, rho)


# --- the other roles --------------------------------------------------------------------------------------------------


class Rho:
    """A process with the noise level that a function gives."""

    span = (0.1, 2.0)

    def __init__(self, sigma: Callable[[Tensor], Tensor], span: tuple[float, float] = span) -> None:
        self.sigma, self.span = sigma, span

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)


class Detached(Rho):
    """A process whose alpha is not differentiated."""

    def alpha(self, t: Tensor) -> Tensor:
        return (0.5 * t).exp().detach()


def counted(t: Tensor) -> Tensor:
    return t * (1 + 1e-13 * next(RUNS_BEFORE))


class Target(BellsTarget):
    """The bells, with something wrong."""

    def __init__(self, **wrong: Any) -> None:
        self.__dict__.update(wrong)


class Nodes:
    """A grid: what a function of the ends and the number of steps gives."""

    def __init__(self, f: Callable[[float, float, int], Tensor]) -> None:
        self.f = f

    def __call__(self, problem: sh.Problem, steps: int) -> Tensor:
        return self.f(*problem.span, steps)


def uniform(low: float, high: float, steps: int) -> Tensor:
    times = torch.linspace(high, low, steps + 1, dtype=torch.float64)
    times[-1] = low
    return times


class Start:
    """A prior: normal states of a scale, and what it says of them."""

    def __init__(
        self, scale: float = 1.0, said: float = 1.0, density: float = 1.0, draw: Any = None, shift: float = 0.0
    ) -> None:
        self.scale, self.said, self.density, self.draw, self.shift = scale, said, density, draw, shift

    def sample(self, problem: sh.Problem, n: int, rng: torch.Generator) -> Tensor:
        return self.scale * 80 * ((self.draw or self.normals)(n, rng) + self.shift)

    def normals(self, n: int, rng: torch.Generator) -> Tensor:
        return torch.randn(n, 2, generator=rng, dtype=torch.float64)

    def normal(self, problem: sh.Problem) -> tuple[Tensor, Tensor]:
        mean = torch.full((2,), 80 * self.shift, dtype=torch.float64)
        return mean, (80 * self.said) ** 2 * torch.eye(2, dtype=torch.float64)

    def log_prob(self, problem: sh.Problem, x: Tensor) -> Tensor:
        law = torch.distributions.Normal(80.0 * self.shift, 80.0 * self.scale)
        return law.log_prob(x).sum(1) * self.density  # type: ignore[no-untyped-call]


class Push:
    """Linear features with a wrong covariance."""

    def __call__(self, x: Tensor) -> Tensor:
        return 2 * x.flatten(1)

    def push(self, mean: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
        return 2 * mean, 2 * covariance


class Model:
    """The exact model, with something done to it."""

    def __init__(self, f: Callable[[Tensor, Tensor], Tensor], predicts: str = "x0") -> None:
        self.f, self.predicts = f, predicts

    def __call__(self, y: Tensor, rho: Tensor) -> Tensor:
        return self.f(y, rho)


def bells(y: Tensor, rho: Tensor) -> Tensor:
    return BellsTarget()(y, rho)


class WithDensity(Model):
    """A model with a density that is not its own."""

    def log_prob(self, y: Tensor, rho: Tensor) -> Tensor:
        return BellsTarget().log_prob(1.1 * y, rho)


class Costly(Model):
    """A model that costs nothing."""

    def cost(self, rho: Tensor) -> Tensor:
        return torch.zeros_like(rho, dtype=torch.int64)


class Figure:
    """A metric: the squared error of the mean, its bias removed, with something done to it."""

    def __init__(self, change: Any = None, needs: sh.Need = sh.Need.SAMPLES | sh.Need.MOMENTS) -> None:
        self.change = change
        self.needs = frozenset({sh.Need.SAMPLES, sh.Need.MOMENTS} & {n for n in needs})

    def __call__(self, evidence: sh.Evidence) -> sh.Estimate:
        x = evidence.samples
        n, error, S = len(x), x.mean(0) - evidence.moments[0], torch.cov(x.T)
        variance = float(4 * error @ S @ error / n + 2 * (S @ S).trace() / n**2)
        value = float(error @ error - S.trace() / n)
        return self.change(value, variance**0.5, x) if self.change else sh.Estimate(value, variance**0.5)


class Curve:
    """A metric that reads the run, and draws its curve the wrong way round."""

    needs = frozenset({sh.Need.SETUP})

    def __call__(self, evidence: sh.Evidence) -> sh.Estimate:
        times = sorted(float(evidence.setup.times[i]) for i in evidence.setup.path)
        return sh.Estimate(1.0, 0.1, tuple(sh.Point(t, t, 1.0) for t in times))


class Fit:
    """A trainer: writes random weights."""

    def __init__(self, wrong: str = "") -> None:
        self.wrong = wrong

    def __call__(self, target: sh.Target, file: Path, seed: int) -> Iterator[sh.Progress]:
        if self.wrong == "global":
            torch.manual_seed(seed)
        yield sh.Progress(2 if self.wrong == "progress" else 1, 2)
        rng = torch.Generator().manual_seed(0 if self.wrong == "seed" else seed)
        if self.wrong != "file":
            sh.write_tensors(file, {"w": torch.randn(3, generator=rng)}, {"seed": str(seed)})
        yield sh.Progress(2, 2)


class Do:
    """An engine, with something wrong."""

    def __init__(self, wrong: str = "") -> None:
        self.wrong = wrong

    def map(self, task: Any, jobs: Iterable[Any]) -> Iterator[Any]:
        for i, job in enumerate(list(jobs) if self.wrong == "greedy" else jobs):
            try:
                value = task(job)
            except Exception as error:
                yield sh.Outcome(job, error=RuntimeError("failed") if self.wrong == "error" else error)
                continue
            if not (self.wrong == "lost" and i == 2):
                yield sh.Outcome(job, value + 1 if self.wrong == "value" else value)


class Kept:
    """Draws once, and gives that ever after."""

    def __init__(self) -> None:
        self.x: Tensor | None = None

    def __call__(self, n: int, rng: torch.Generator) -> Tensor:
        self.x = torch.randn(n, 2, generator=rng, dtype=torch.float64) if self.x is None else self.x
        return self.x


def from_numpy(n: int, rng: torch.Generator) -> Tensor:
    x = torch.randn(n, 2, generator=rng, dtype=torch.float64)
    return x + 1e-9 * float(np.random.rand())  # noqa: NPY002


def from_python(f: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda *given: f(*given) * (1 + 1e-12 * random.random())


def changed(**fields: Any) -> Callable[[float, float, Tensor], sh.Estimate]:
    return lambda v, s, x: sh.Estimate(*fields["to"](v, s, x))


def level_dependent(y: Tensor, rho: Tensor) -> Tensor:
    """Return a density whose integral is 1 at high noise alone."""
    return BellsTarget().log_prob(y, rho) + 1 / (1 + rho.flatten() ** 2)


class Correlated:
    """Correlated samples, beside the density and the posterior mean of independent ones; nothing is said of moments."""

    shape = (2,)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        return torch.randn(n, 2, generator=rng).double() @ torch.tensor([[1.0, 0.9], [0.0, 0.19**0.5]]).double()

    def log_prob(self, y: Tensor, rho: Tensor) -> Tensor:
        law = torch.distributions.Normal(0.0, (1 + rho**2).sqrt())
        return law.log_prob(y).sum(1)  # type: ignore[no-untyped-call, no-any-return]

    def denoise(self, y: Tensor, rho: Tensor) -> Tensor:
        return y / (1 + rho**2)


WRONG_SAMPLES = {"target-mean", "target-variance", "target-covariance", "target-denoiser", "target-density"}
DIAGONAL = BellsTarget().moments()[1].diagonal().diag()
HALF = torch.zeros(2).double(), 0.5 * BellsTarget().moments()[1]

FAULTS: list[tuple[str, object, set[str]]] = [
    ("sampler", WrongCoefficient(), {"sampler-order"}),
    ("sampler", Overstates(), {"sampler-order"}),
    ("sampler", GlobalNoise(), {"sampler-global-rng"}),
    ("sampler", InPlace(), {"sampler-in-place"}),
    ("sampler", Understates(), {"sampler-evaluations"}),
    ("sampler", Idle(), {"sampler-last-step", "sampler-order"}),  # a step that is missing costs an order as well
    ("sampler", Coupled(), {"sampler-rows"}),
    ("sampler", TooNoisy(), {"sampler-weak-order"}),
    ("sampler", TooNoisyAndNotLinear(), {"sampler-law"}),
    ("sampler", Early(), {"sampler-times"}),
    ("sampler", Single(), {"sampler-runs"}),
    ("sampler", Remembers(), {"sampler-seed"}),
    ("sampler", Sloppy(), {"sampler-accuracy"}),
    ("sampler", Unmethodical(), {"sampler-order"}),
    ("sampler", Ancestral(of_the_model=False), {"sampler-moments"}),
    ("sampler", Euler(scale=0.5), {"sampler-accuracy"}),
    ("process", Rho(torch.clone, (2.0, 0.1)), {"process-span"}),
    ("process", Rho(lambda t: t.float()), {"process-shape"}),
    ("process", Rho(lambda t: t - 1.0), {"process-positive"}),
    ("process", Rho(lambda t: 3.0 - t), {"process-rho"}),
    ("process", Rho(lambda t: t * (1 + 1e-8 * t.numel())), {"process-inverse"}),  # depends on how many are asked for
    ("process", Detached(lambda t: 2 * t * (0.5 * t).exp().detach()), {"process-drift"}),
    ("process", Rho(lambda t: t + 0.3 * t.detach()), {"process-diffusion"}),
    ("process", Rho(counted), {"process-pure"}),
    ("target", Target(shape=(3,)), {"target-runs"}),
    (
        "target",
        Target(sample=lambda n, rng: BellsTarget().sample(n, torch.Generator().manual_seed(5))),
        {"target-seed"},
    ),
    ("target", Target(sample=from_python(BellsTarget().sample)), {"target-global-rng"}),
    ("target", Target(moments=lambda: (torch.ones(2).double(), BellsTarget().moments()[1])), {"target-mean"}),
    ("target", Target(moments=lambda: (BellsTarget().moments()[0], HALF[1])), {"target-variance", "target-covariance"}),
    ("target", Target(moments=lambda: (BellsTarget().moments()[0], DIAGONAL)), {"target-covariance"}),
    ("target", Target(log_prob=lambda y, rho: BellsTarget().log_prob(y, rho) + 5.0), {"target-density"}),
    ("target", Target(log_prob=level_dependent), {"target-density"}),
    ("target", Target(sample=lambda n, rng: 3 * BellsTarget().sample(n, rng)), WRONG_SAMPLES),
    ("target", Correlated(), {"target-denoiser"}),
    ("target", Target(denoise=lambda y, rho: 1.001 * bells(y, rho)), {"target-denoiser"}),
    ("target", Target(log_sobolev=lambda rho: 0.5 + rho**2), {"target-log-sobolev"}),
    ("target", Target(data=lambda: torch.zeros(3, 2)), {"target-data"}),
    ("model", Model(lambda y, rho: bells(y, rho).float()), {"model-runs"}),
    ("model", Model(bells, "epsilon"), {"model-predicts"}),
    ("model", Model(lambda y, rho: bells(y, rho) / (rho < 40)), {"model-finite"}),
    ("model", Model(lambda y, rho: bells(y.mul_(1.0).add_(1.0), rho)), {"model-in-place"}),
    ("model", Model(lambda y, rho: bells(y, rho) - y.mean(0)), {"model-rows"}),
    ("model", Model(lambda y, rho: bells(y, rho) * (1 if len(rho) == 1 else 2)), {"model-rho"}),
    ("model", Model(from_python(bells)), {"model-repeatable"}),
    ("model", WithDensity(bells), {"model-score"}),
    ("model", Costly(bells), {"model-cost"}),
    ("grid", Nodes(lambda a, b, n: uniform(a, b, n).float()), {"grid-runs"}),
    ("grid", Nodes(lambda a, b, n: uniform(a, b, n + 1)), {"grid-count"}),
    ("grid", Nodes(lambda a, b, n: uniform(a, b, n).flip(0)), {"grid-falls"}),
    ("grid", Nodes(lambda a, b, n: uniform(a * (1 + 1e-15), b, n)), {"grid-ends"}),
    ("grid", Nodes(lambda a, b, n: uniform(a, b, n) + 0 * torch.rand(1)), {"grid-pure"}),
    ("prior", Start(draw=lambda n, rng: torch.randn(n, generator=rng)), {"prior-runs"}),
    ("prior", Start(draw=Kept()), {"prior-seed"}),
    ("prior", Start(draw=from_numpy), {"prior-global-rng"}),
    ("prior", Start(scale=1.3, said=1.3), {"prior-law"}),
    ("prior", Start(shift=2.0), {"prior-law"}),
    ("prior", Start(said=1.1), {"prior-normal"}),
    ("prior", Start(density=1.1), {"prior-density"}),
    ("features", lambda x: x[:, :, None], {"features-shape"}),
    ("features", lambda x: x.log(), {"features-finite", "features-repeatable", "features-rows"}),  # NaN equals nothing
    ("features", lambda x: x + 1e-12 * next(RUNS_BEFORE), {"features-repeatable"}),
    ("features", lambda x: x - x.mean(0), {"features-rows"}),
    ("features", Push(), {"features-moments"}),
    ("features", lambda x: x + 0 * torch.rand(1), {"features-global-rng"}),
    ("metric", Figure(needs=sh.Need.SAMPLES), {"metric-needs"}),
    ("metric", Figure(changed(to=lambda v, s, x: (float("nan"), s))), {"metric-number"}),
    ("metric", Figure(changed(to=lambda v, s, x: (v + 1e-14 * next(RUNS_BEFORE), s))), {"metric-repeatable"}),
    ("metric", Figure(changed(to=lambda v, s, x: (v + 1e-6 * float(x[0, 0]), s))), {"metric-order"}),
    ("metric", Figure(changed(to=lambda v, s, x: (v + 2 * s, s))), {"metric-equal-laws"}),
    ("metric", Figure(changed(to=lambda v, s, x: (v, s / 20))), {"metric-stderr"}),
    ("metric", Curve(), {"metric-curve"}),
    ("trainer", Fit("file"), {"trainer-runs"}),
    ("trainer", Fit("progress"), {"trainer-progress"}),
    ("trainer", Fit("seed"), {"trainer-seed"}),
    ("trainer", Fit("global"), {"trainer-global-rng"}),
    ("engine", Do("lost"), {"engine-runs"}),
    ("engine", Do("value"), {"engine-values"}),
    ("engine", Do("error"), {"engine-errors"}),
    ("engine", Do("greedy"), {"engine-lazy"}),
]


@pytest.mark.parametrize(
    ("role", "wrong", "caught"), FAULTS, ids=lambda v: "+".join(sorted(v)) if isinstance(v, set) else ""
)
def test_a_planted_fault_is_caught_by_the_check_that_names_it(role: str, wrong: object, caught: set[str]) -> None:
    assert failures(role, wrong) == caught


def test_every_check_has_a_fault_that_it_catches() -> None:
    assert {one.id for checks in CHECKS.values() for one in checks} == {id for *_, ids in FAULTS for id in ids}


class Points:
    """A target: as often one point as another."""

    shape = (1,)

    def __init__(self, *points: float) -> None:
        self.points = torch.tensor(points, dtype=torch.float64)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        return self.points[torch.randint(len(self.points), (n, 1), generator=rng)]

    def moments(self) -> tuple[Tensor, Tensor]:
        return self.points.mean()[None], self.points.var(correction=0)[None, None]

    def denoise(self, y: Tensor, rho: Tensor) -> Tensor:
        return (-((y - self.points) ** 2) / (2 * rho**2)).softmax(1) @ self.points[:, None]


def share_beyond(radius: float, x: Tensor) -> sh.Estimate:
    beyond = (x.norm(dim=1) > radius).double()
    return sh.Estimate(float(beyond.mean()), float(beyond.std()) / len(x) ** 0.5)


KINK = float(Processed(Rho(torch.clone)).t[1000])
"""A time that is tried."""
HEALTHY: list[tuple[str, object]] = [
    ("sampler", Heun()),
    ("sampler", DEIS()),
    ("sampler", Ancestral()),
    ("sampler", Ancestral(row_by_row=True)),
    ("sampler", Euler()),
    ("process", Rho(torch.clone)),
    ("process", Rho(torch.exp, (-7.0, 5.0))),
    ("process", Rho(lambda t: 80 * t.exp(), (-10.0, 0.0))),
    ("process", Rho(lambda t: t + 5 * (t - KINK).clamp(min=0))),
    ("target", Target()),
    ("target", Points(-1.0, 1.0)),
    ("target", Points(1.0)),
    ("model", Model(bells)),
    ("grid", Nodes(uniform)),
    ("prior", Start()),
    ("features", lambda x: x.flatten(1)),
    ("metric", Figure()),
    ("metric", Figure(lambda v, s, x: share_beyond(20.0, x))),
    ("trainer", Fit()),
    ("engine", Do()),
]


@pytest.mark.parametrize(("role", "healthy"), HEALTHY, ids=lambda v: v if isinstance(v, str) else "")
def test_what_the_faults_were_planted_in_passes(role: str, healthy: object) -> None:
    assert failures(role, healthy) == set()
    assert {role for role, _ in HEALTHY} == set(CHECKS) == set(sh.ROLES)


class Undocumented(sh.Component):
    """A record with a field that nothing is said of."""

    size: int = 3


class Loose(sh.Component):
    """A record that takes any field."""

    model_config = {"extra": "allow"}


class Assignable(sh.Component):
    """A record that can be changed."""

    model_config = {"frozen": False}


class Forgetful(sh.Component):
    """A record that is not equal to itself."""

    def __eq__(self, other: object) -> bool:
        return False

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("record", "caught"),
    [
        (Record(Heun, "Another summary."), "component-summary"),
        (Record(Undocumented, "A record with a field that nothing is said of."), "component-fields"),
        (Record(Loose, "A record that takes any field."), "component-strict"),
        (Record(Assignable, "A record that can be changed."), "component-frozen"),
        (Record(Forgetful, "A record that is not equal to itself."), "component-json"),
        (Record(Heun, sh.summary(Heun), "process"), "component-role"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_record_with_a_fault(record: Record, caught: str) -> None:
    found = {f.check for f in examine(EVERY, [Case("", record)]) if f.failed}
    assert found == {caught}


# --- how it is said ---------------------------------------------------------------------------------------------------


def test_a_failure_says_what_was_expected_measured_and_what_usually_causes_it() -> None:
    with pytest.raises(NotKept) as error:
        testing.check_grid(Nodes(lambda a, b, n: uniform(a, b, n + 1)), Plain())
    assert str(error.value).splitlines() == [
        "grid-count failed",
        "  expected: (2,)",
        "  measured: shape (3,) for 1 steps",
        "  usually:  steps times instead of steps + 1",
    ]


def test_a_component_that_crashes_is_a_finding() -> None:
    def crash(low: float, high: float, steps: int) -> Tensor:
        raise ZeroDivisionError("by steps - 1")

    first, *rest = examine(CHECKS["grid"], [Case("", MADE["grid"](Nodes(crash)))])
    line = crash.__code__.co_firstlineno + 1
    assert first.measured == f"ZeroDivisionError: by steps - 1 ({__file__}:{line})"
    assert (first.check, first.state, first.cause) == ("grid-runs", "failed", "")
    assert "usually" not in str(first)
    assert {(f.state, f.measured) for f in rest} == {("skipped", "grid-runs failed")}


def test_functions_return_findings_for_every_role() -> None:
    assert testing.check_process(Plain())
    assert testing.check_target(BellsTarget())
    assert testing.check_model(Model(bells))  # type: ignore[arg-type]
    assert testing.check_grid(Nodes(uniform))
    assert testing.check_prior(GaussianPrior())
    assert testing.check_metric(Figure(), samples=500)
    assert testing.check_trainer(Fit())
    assert testing.check_engine(Do())
    made = testing.check_sampler(Heun(), {"edm": EDM()})
    assert {finding.state for finding in made} == {"passed"}
    assert {"sampler-order", "sampler-weak-order", "sampler-evaluations"} <= {finding.check for finding in made}


def test_a_check_has_an_id_of_its_role_and_says_what_and_why() -> None:
    every = [one for checks in CHECKS.values() for one in checks]
    for role, checks in [("component", EVERY), *CHECKS.items()]:
        for one in checks:
            assert re.fullmatch(rf"{role}(-[a-z]+)+", one.id)
            assert one.what.endswith(".")
            assert one.why.endswith(".")
            assert one.cause
    assert len({one.id for one in every}) == len(every)


def test_the_page_has_every_check_as_the_code_has_it() -> None:
    page = (ROOT / "docs" / "conformance.md").read_text()
    _, _, made = page.partition("### Every component")
    assert f"### Every component{made}" == testing.reference(), "python -m samplerhub.testing prints it anew"


def test_an_error_is_shown_where_the_component_called_what_raised() -> None:
    def crash(low: float, high: float, steps: int) -> Tensor:
        return torch.linspace(high, low, -steps)

    first, *_ = examine(CHECKS["grid"], [Case("", MADE["grid"](Nodes(crash)))])
    assert first.measured.endswith(f"({__file__}:{crash.__code__.co_firstlineno + 1})")


def test_what_is_made_for_one_shape_is_told_how_to_say_so() -> None:
    weight = torch.eye(192).double()
    (model, *_), (features, *_) = (
        examine(CHECKS[role], [Case("", MADE[role](thing))])
        for role, thing in (("model", Model(lambda y, rho: y @ weight)), ("features", lambda x: x @ weight))
    )
    assert "samples of one shape only, which says so by a property `shape`" in model.cause
    assert "by a property `shape`, or by `inspect`, which raises samplerhub.errors.Mismatch" in features.cause


def test_a_sampler_that_declares_nothing_is_told_what_to_add() -> None:
    found = {f.check: f for f in examine(CHECKS["sampler"], [Case("", MADE["sampler"](Euler()))])}
    assert "declares no evaluations: add `evaluations`" in found["sampler-evaluations"].measured
    assert "declares no order: add `order`" in found["sampler-order"].measured
    assert "400 steps" in found["sampler-accuracy"].expected


def test_the_exact_law_is_refused_to_a_sampler_that_draws_row_by_row() -> None:
    assert testing.weak_errors(Ancestral(), Plain(), (5,)) == pytest.approx([0.0], abs=0.9)
    with pytest.raises(Mismatch, match=r"draws 10 times for 2 rows and 55 times for 11: once for all is expected"):
        testing.weak_errors(Ancestral(row_by_row=True), Plain(), (5,))


def test_priors_and_trainers_are_tried_on_the_targets_that_are_named() -> None:
    kit = Kit(Registry.discover(), ["edm", "digits"])
    report = kit.check("prior", "gaussian")
    assert report.state == "passed", str(report)
    assert {f.about for f in report.findings} == {"", "edm, digits"}
    (case,) = kit.cases("trainer", Fit())
    assert (case.about, case.of.target.shape) == ("digits", (1, 8, 8))


def test_a_run_may_have_negative_times() -> None:
    run = sh.Experiment(
        process=Rho(torch.exp, (-7.0, 5.0)),
        target=BellsTarget(),
        model=Exact(),
        sampler=Heun(),
        grid=EDMGrid(),
        prior=GaussianPrior(),
        samples=16,
        steps=20,
    )
    assert bool(run.run().samples.isfinite().all())


# --- on the command line ----------------------------------------------------------------------------------------------


def test_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["check", "grid", "edm"]) == 0
    processes = len(Registry.discover().entries("process"))
    shown = capsys.readouterr().out
    assert f"grid-falls              holds in {processes} cases" in shown
    assert f"grid edm: {len(EVERY) + len(CHECKS['grid']) * processes} of" in shown
    assert main(["check", "process", "vp", "--json", "--out", str(tmp_path / "new" / "report.json")]) == 0
    text = capsys.readouterr().out
    assert (tmp_path / "new" / "report.json").read_text() == text
    report = json.loads(text)
    assert (report["kit"], report["failed"]) == (testing.VERSION, 0)
    (component,) = report["components"]
    assert component["component"] == {
        "role": "process",
        "name": "vp",
        "distribution": "samplerhub",
        "version": report["samplerhub"],
    }
    assert {check["state"] for check in component["checks"]} == {"passed"}
    assert set(component["checks"][0]) == {
        "id", "what", "about", "expected", "measured", "state", "seconds", "cause",
    }  # fmt: skip


def test_command_for_a_role(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "model", "--on", "mixture"]) == 0
    shown = capsys.readouterr().out
    assert "skipped  model callable: 3 of 3 checks hold" in shown
    assert "it cannot be made without function" in shown
    assert re.search(r"\d+ components: \d+ ok, 0 failed, [1-9] not checked", shown)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sampler", "huen"], "did you mean 'heun'?"),
        ([], "or --all for every component"),
        (["bogus"], "no role named 'bogus'"),
        (["heun"], "did you mean `samplerhub check sampler heun`?"),
        (["sampler", "--all"], "leave out 'sampler', or --all"),
        (["sampler", "heun", "--on", "digits"], "--on digits: role sampler is tried on a process, and that is none"),
        (["engine", "--on", "edm"], "--on edm: role engine is tried by itself"),
        (["grid", "uniform", "--out", "."], "is a folder: name a file in it"),
        (["grid", "uniform", "--out", "/dev/null/x.json"], "cannot write /dev/null/x.json"),
        (["sampler", "heun", "--on", "mixtur"], "no process and no target is named 'mixtur'; did you mean 'mixture'?"),
    ],
)
def test_mistakes(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert main(["check", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_everything_is_every_component_of_every_role(monkeypatch: pytest.MonkeyPatch) -> None:
    from samplerhub.cli import checking

    registry, seen = Registry.discover(), []
    monkeypatch.setattr(Kit, "check", lambda self, role, name, observe=None: seen.append((role, name)) or EMPTY)
    checking.check_components(registry, None, None, True)
    assert sorted(seen) == sorted((role, registry.spelled(r)) for role in sh.ROLES for r in registry.entries(role))


EMPTY = testing.Report("grid", "none", "nobody", "0", ())


@pytest.mark.parametrize("nfe", [10, 31])
@pytest.mark.parametrize("name", [r.entry.name for r in sh.Registry.discover().entries("sampler")])
def test_every_sampler_keeps_to_a_budget(name: str, nfe: int) -> None:
    sampler = sh.Registry.discover().load("sampler", name)()
    run = sh.Experiment(
        process=EDM(),
        target=Mixture(),
        model=Exact(),
        sampler=sampler,  # type: ignore[arg-type]
        grid=EDMGrid(),
        prior=GaussianPrior(),
        samples=64,
        nfe=nfe,
        dtype="float64",
    )
    result = run.run()
    assert nfe / 2 < result.nfe <= nfe
    assert bool(result.samples.isfinite().all())
