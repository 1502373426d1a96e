"""Experiments: the library's API, with registered components and with a notebook's own objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

import pytest
import torch
from torch import Tensor

import samplerhub as sh
from samplerhub.errors import InvalidSetting, Mismatch, NotFinite
from samplerhub_grids.edm import EDMGrid
from samplerhub_metrics.fd import FD
from samplerhub_metrics.kl import KL
from samplerhub_metrics.kl_histogram import KLHistogram
from samplerhub_models.exact import Exact
from samplerhub_priors.exact import ExactPrior
from samplerhub_priors.gaussian import GaussianPrior
from samplerhub_processes.edm import EDM
from samplerhub_processes.vp import VP
from samplerhub_samplers.ddim import DDIM
from samplerhub_samplers.deis import DEIS
from samplerhub_samplers.dormand_prince import DormandPrince
from samplerhub_samplers.edm_stochastic import EDMStochastic
from samplerhub_samplers.euler_maruyama import EulerMaruyama
from samplerhub_samplers.heun import Heun
from samplerhub_targets.gaussian import Gaussian
from samplerhub_targets.mixture import Mixture

MANY = Mixture(
    weights=(0.2, 0.3, 0.5),
    means=((0, 0), (2, 1), (-1, 1.5)),
    covariances=(0.1, ((0.3, 0.1), (0.1, 0.2)), 0.05),
)


def experiment(**changes: object) -> sh.Experiment:
    defaults: dict[str, object] = {
        "process": EDM(),
        "target": Mixture(),
        "model": Exact(),
        "sampler": DEIS(churn=0.3),
        "grid": EDMGrid(),
        "prior": GaussianPrior(),
        "samples": 100,
        "steps": 6,
    }
    return sh.Experiment(**{**defaults, **changes})  # type: ignore[arg-type]


def test_result() -> None:
    result = experiment(metrics=[KLHistogram(), KL()], samples=3000, steps=20, sampler=Heun()).run()
    kl, exact = result.metrics["kl-histogram"], result.metrics["kl"]
    assert result.samples.shape == (3000, 1)
    assert result.nfe == 40
    assert kl.stderr is not None
    assert abs(kl.value - exact.value) < 4 * kl.stderr
    assert exact.stderr is None
    manifest = result.manifest
    assert manifest.nfe == 40
    assert manifest.times == result.times.tolist()
    assert manifest.components["sampler"].target == "samplerhub_samplers.heun:Heun"
    assert manifest.components["target"].fields["weights"] == [0.1, 0.9]
    assert manifest.estimates["kl-histogram"].value == kl.value
    assert type(manifest).model_validate_json(manifest.model_dump_json()) == manifest


def test_perfect_sampler_has_no_divergence() -> None:
    """Exact prior, exact score, tight tolerances: what is left is the estimator's noise."""
    run = experiment(
        sampler=DormandPrince(),
        prior=ExactPrior(),
        metrics=[KLHistogram(), FD()],
        samples=20_000,
        dtype="float64",
        process=VP(),
    )
    for estimate in run.run().metrics.values():
        assert estimate.stderr is not None
        assert abs(estimate.value) < 4 * estimate.stderr


@pytest.mark.parametrize("target", [Mixture(), MANY, Gaussian()], ids=["line", "plane", "gaussian"])
@pytest.mark.parametrize("sampler", [DEIS(churn=0.3), EulerMaruyama(), DormandPrince()], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_same_bits_for_every_batch_size(target: sh.Target, sampler: sh.Sampler, dtype: str) -> None:
    for samples in (1, 17, 21, 33):
        results = [
            experiment(target=target, sampler=sampler, batch=batch, dtype=dtype, samples=samples, block=16)
            .run()
            .samples
            for batch in (1, 7, None)
        ]
        assert torch.equal(results[0], results[1])
        assert torch.equal(results[0], results[2])


def test_same_bits_for_every_batch_size_in_many_dimensions() -> None:
    """Large matrix products, an adaptive sampler, a last chunk of one row."""
    rng = torch.Generator().manual_seed(0)
    means = tuple(map(tuple, torch.randn(9, 6, generator=rng).tolist()))
    target = Mixture(weights=(1.0,) * 9, means=means, covariances=(0.05,) * 9)
    for dtype in ("float32", "float64"):
        runs = [
            experiment(target=target, sampler=DormandPrince(), batch=batch, dtype=dtype, samples=33).run().samples
            for batch in (1, 7, 16, None)
        ]
        assert all(torch.equal(runs[0], run) for run in runs[1:])


def test_metrics_do_not_change_the_samples() -> None:
    assert torch.equal(experiment().run().samples, experiment(metrics=[KL(), FD()]).run().samples)


def test_blocks_have_streams_of_their_own() -> None:
    """A longer run begins with the blocks of the shorter one."""
    short, long = experiment(samples=32, block=16).run().samples, experiment(samples=48, block=16).run().samples
    assert torch.equal(short, long[:32])
    assert not torch.equal(long[:16], long[16:32])
    assert torch.equal(experiment(samples=48, block=16).run_block(1).samples, long[16:32])
    still = experiment(samples=32, block=16, sampler=DDIM()).run().samples
    assert not torch.equal(still[:16], still[16:])


class Keeps:
    """Keeps the reference that it is given."""

    needs = frozenset({sh.Need.REFERENCE})

    def __call__(self, evidence: sh.Evidence) -> sh.Estimate:
        self.reference = evidence.reference
        return sh.Estimate(0.0)


def test_each_purpose_has_a_stream_of_its_own() -> None:
    """Prior, sampler and reference are independent: no correlation between standard normal draws of equal place."""
    n, keeps = 4000, Keeps()
    run = experiment(target=Gaussian(), metrics=[keeps], samples=n, block=n, process=EDM(t_max=1000), sampler=DDIM())
    run.run()
    start = run.prior.sample(run.problem(), n, sh.stream(0, "prior", 0)).flatten() / 1000
    noise = torch.randn(n, generator=sh.stream(0, "sampler", 0), dtype=torch.float64)
    draws = torch.stack([start.double(), noise, keeps.reference.flatten().double()])
    correlation = torch.corrcoef(draws) - torch.eye(3)
    assert float(correlation.abs().max()) < 5 / n**0.5


def test_metrics_see_the_state_without_its_scale() -> None:
    """VP that stops at alpha = 0.63: the law is right only after the division by it."""
    run = experiment(
        process=VP(t_min=0.3),
        sampler=DormandPrince(),
        prior=ExactPrior(),
        metrics=[KLHistogram(), FD()],
        samples=20_000,
    )
    assert 0.6 < sh.alpha(VP(), 0.3).item() < 0.65
    for estimate in run.run().metrics.values():
        assert estimate.stderr is not None
        assert abs(estimate.value) < 4 * estimate.stderr


def test_every_step_is_scaled() -> None:
    """In y = x/alpha the steps on VP are those on EDM at the same noise levels."""
    rho = torch.logspace(1, -1, 9, dtype=torch.float64)
    y = 10 * torch.randn(4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    times = sh.time_at(VP(), rho)
    for sampler in (DDIM(), Heun(), DEIS(variable="rho", churn=0.3), DormandPrince(), EDMStochastic()):
        scale = sh.alpha(VP(), times[0])
        pairs = zip(
            sampler(sh.Problem(VP(), Exact().of(MANY), target=MANY), y * scale, times, sh.stream(0, "s")),
            sampler(sh.Problem(EDM(), Exact().of(MANY), target=MANY), y, rho, sh.stream(0, "s")),
        )
        for a, b in pairs:
            alpha = 1.0 if isinstance(a.rho, float) and a.rho == 0 else sh.broadcast(sh.alpha(VP(), a.t), a.x)
            assert torch.allclose(a.x / alpha, b.x, rtol=1e-8, atol=1e-9)


class Counting(DEIS):
    """DEIS that notes how often its weights are computed."""

    count: ClassVar[list[int]] = []

    def weights(self, process: sh.ForwardProcess, legs: Sequence[sh.Leg]) -> list[tuple[float, ...]]:
        self.count.append(len(legs))
        return super().weights(process, legs)


def test_numbers_are_computed_once_for_all_blocks() -> None:
    Counting.count.clear()
    blocks = experiment(sampler=Counting(), samples=80, block=16).run()
    assert Counting.count == [6]
    assert torch.equal(blocks.samples, experiment(sampler=DEIS(), samples=80, block=16).run().samples)


def test_no_churn_is_churn_0() -> None:
    for sampler in (DEIS, DDIM, Heun):
        assert torch.equal(
            experiment(sampler=sampler()).run().samples, experiment(sampler=sampler(churn=0)).run().samples
        )


@pytest.mark.parametrize(
    ("sampler", "nfe", "steps"),
    [(DDIM(), 10, 10), (Heun(), 11, 5), (DEIS(), 10, 10), (DEIS(churn=0.3), 10, 5), (DDIM(last="denoise"), 10, 9)],
    ids=["ddim", "heun", "deis", "deis churned", "ddim denoised"],
)
def test_budget(sampler: sh.Sampler, nfe: int, steps: int) -> None:
    run = experiment(sampler=sampler, nfe=nfe, steps=None)
    assert len(run.times) - 1 == steps
    assert run.run().nfe <= nfe


def test_denoise_ends_at_noise_level_0() -> None:
    result = experiment(sampler=DDIM(last="denoise"), process=VP(), metrics=[KL()]).run()
    assert result.rho == 0
    assert result.nfe == 7
    assert experiment(sampler=DDIM(), process=VP()).run().rho == pytest.approx(0.0105, rel=0.01)


def test_by_hand() -> None:
    process = EDM()
    problem = sh.Problem(process, Exact().of(Mixture()), shape=(1,))
    times = EDMGrid()(problem, 8)
    x = 80 * torch.randn(5, 1, generator=sh.stream(0, "prior"))
    visited = [step.t for step in DEIS()(problem, x, times, sh.stream(0, "samples"))]
    assert visited == times[1:].tolist()
    assert problem.nfe == 8


class Notebook:
    """A process, a model, a sampler, a grid, a prior, a target and a metric that nothing was told of."""

    class Process:
        span = (0.01, 10.0)

        def alpha(self, t: Tensor) -> Tensor:
            return 1 / (1 + t)

        def sigma(self, t: Tensor) -> Tensor:
            return t / (1 + t)

    class Model:
        predicts: ClassVar[Literal["eps"]] = "eps"

        def __call__(self, y: Tensor, rho: Tensor) -> Tensor:
            return rho * y / (1 + rho**2)

    class Target:
        shape = (3,)

        def sample(self, n: int, rng: torch.Generator) -> Tensor:
            return torch.randn(n, 3, generator=rng)

    class Walk:
        def __call__(self, problem: sh.Problem, x: Tensor, times: Tensor, rng: torch.Generator) -> Iterator[sh.Step]:
            rho, alpha = sh.rho(problem.process, times).tolist(), sh.alpha(problem.process, times).tolist()
            y = x / alpha[0]
            for i, t in enumerate(times[1:].tolist()):
                y = y + (rho[i + 1] - rho[i]) * problem.eps(y, rho[i])
                yield sh.Step(t, alpha[i + 1] * y, rho[i + 1])

    class Line:
        def __call__(self, problem: sh.Problem, steps: int) -> Tensor:
            return torch.linspace(problem.span[1], problem.span[0], steps + 1, dtype=torch.float64)

    class Start:
        def sample(self, problem: sh.Problem, n: int, rng: torch.Generator) -> Tensor:
            return 101**0.5 / 11 * torch.randn(n, *problem.shape, generator=rng)

    class MeanSquare:
        needs = frozenset({sh.Need.SAMPLES})

        def __call__(self, evidence: sh.Evidence) -> sh.Estimate:
            square = evidence.samples.double().square().flatten()
            return sh.Estimate(float(square.mean()), float(square.std() / len(square) ** 0.5))


def test_unregistered_objects() -> None:
    result = sh.Experiment(
        process=Notebook.Process(),
        model=Notebook.Model(),
        target=Notebook.Target(),
        sampler=Notebook.Walk(),
        grid=Notebook.Line(),
        prior=Notebook.Start(),
        metrics=[Notebook.MeanSquare()],
        samples=4000,
        steps=400,
    ).run()
    assert result.metrics["mean-square"].value == pytest.approx(1, abs=0.05)
    assert result.nfe == 400
    assert result.manifest.components["sampler"].name is None
    assert result.manifest.components["sampler"].target.endswith(":Notebook.Walk")


class Reads:
    needs = frozenset({sh.Need.SAMPLES})

    def __call__(self, evidence: sh.Evidence) -> sh.Estimate:
        return sh.Estimate(float(evidence.reference.mean()))


def test_a_metric_reads_only_what_it_declared() -> None:
    with pytest.raises(TypeError, match="REFERENCE, which it did not declare"):
        experiment(metrics=[Reads()]).run()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps = 0"),
        ({"samples": 0}, "samples = 0"),
        ({"batch": -1}, "batch = -1"),
        ({"samples": 1.5}, "samples = 1.5: it must be an integer"),
        ({"samples": True}, "samples = True: it must be an integer"),
        ({"samples": 10**22}, "at most 1,000,000,000,000"),
        ({"process": EDM(t_max=1e300)}, "positive, increasing and finite"),
        ({"process": VP(t_max=50)}, "positive, increasing and finite"),
        ({"dtype": "float8"}, "float32, float64"),
        ({"device": "warp"}, "device = 'warp'"),
        ({"nfe": 3}, "exactly one"),
        ({"steps": None}, "exactly one"),
        ({"steps": None, "nfe": 1, "sampler": Heun()}, "needs at least 2"),
        (
            {"grid": lambda problem, steps: torch.tensor([80.0, 3, 3, 2, 1, 0.5, 0.002])},
            "does not decrease: time 2 is 3",
        ),
        ({"grid": lambda problem, steps: torch.linspace(80, 0, steps + 1)}, "outside the process's span"),
        ({"grid": lambda problem, steps: torch.linspace(80, 1, steps)}, "expected 7 finite times"),
    ],
    ids=lambda value: str(value).partition(" at 0x")[0][:40],
)
def test_bad_numbers(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidSetting, match=message):
        experiment(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": MANY, "metrics": [KLHistogram()]}, "needs a one-dimensional target, but Mixture has shape"),
        ({"target": None, "model": Notebook.Model(), "shape": (1,), "metrics": [FD()]}, "there is no target"),
        ({"target": None}, "made from a target"),
        ({"sampler": DEIS}, r"is a class: give an instance, DEIS\(...\)"),
        ({"sampler": 3}, "sampler = 3 is no Sampler"),
        ({"metrics": KL()}, "give a list of metrics"),
        ({"metrics": ["kl"]}, "metric = 'kl' is no Metric"),
        ({"metrics": [FD()], "samples": 2}, "needs 4 samples or more, not 2"),
        ({"target": None, "model": Notebook.Model(), "shape": (1,), "prior": ExactPrior()}, "target"),
        ({"target": None, "model": Notebook.Model()}, "give `shape`"),
        ({"shape": (2,)}, r"has shape \(1,\)|has shape \(2,\)"),
        ({"steps": None, "nfe": 20, "sampler": Notebook.Walk()}, "neither says beforehand what it spends"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_components_that_do_not_fit(changes: dict[str, object], message: str) -> None:
    with pytest.raises(Mismatch, match=message):
        experiment(**changes)


class Cliff:
    """NaN below a noise level, in one row of a later block."""

    predicts: ClassVar[Literal["x0"]] = "x0"

    def __call__(self, y: Tensor, rho: Tensor) -> Tensor:
        return torch.where(rho < 1, torch.nan, y / (1 + rho**2))


def test_nan_says_where() -> None:
    with pytest.raises(NotFinite, match=r"after step 5 \(t = .*\): 16 of 16 samples; .*Cliff"):
        experiment(model=Cliff(), sampler=DDIM(), block=16).run()


class Breaks(sh.Component):
    """The posterior mean of white data, for so many calls; then NaN."""

    predicts: ClassVar[Literal["x0"]] = "x0"
    left: ClassVar[int] = 0

    def __call__(self, y: Tensor, rho: Tensor) -> Tensor:
        type(self).left -= 1
        return y / (1 + rho**2) if self.left >= 0 else torch.full_like(y, torch.nan)


@pytest.mark.parametrize("stored", [True, False])
def test_what_was_finished_before_a_nan_stays(stored: bool) -> None:
    Breaks.left, shelf = 15, Shelf()
    with pytest.raises(NotFinite, match=r"after step 4 \(t = ") as caught:
        experiment(model=Breaks(), sampler=DDIM(), samples=64, block=16).run(store=shelf if stored else None)
    assert ("the 32 samples finished before are kept" in str(caught.value)) == stored
    assert len(shelf.blocks) == (2 if stored else 0)


class Shelf:
    """A store in memory."""

    def __init__(self) -> None:
        self.blocks: dict[tuple[str, int], sh.Block] = {}
        self.found = 0

    def load(self, fingerprint: str, index: int) -> sh.Block | None:
        self.found += (fingerprint, index) in self.blocks
        return self.blocks.get((fingerprint, index))

    def save(self, fingerprint: str, index: int, block: sh.Block) -> None:
        self.blocks[fingerprint, index] = block


def test_a_run_is_taken_up_again() -> None:
    whole = experiment(block=16).run()
    shelf, seen = Shelf(), 0

    def stop(progress: sh.Progress) -> None:
        nonlocal seen
        seen += 1
        if seen == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        experiment(block=16).run(observe=stop, store=shelf)
    assert len(shelf.blocks) == 3
    again = experiment(block=16).run(store=shelf)
    assert shelf.found == 3
    assert torch.equal(again.samples, whole.samples)
    assert again.nfe == whole.nfe
    experiment(block=16, seed=1).run(store=shelf)
    assert shelf.found == 3
    with pytest.raises(Mismatch, match="a store needs components that are records, which Model is not"):
        experiment(block=16, model=Notebook.Model()).run(store=shelf)


def test_progress_ends_at_its_total() -> None:
    for sampler in (DEIS(), DormandPrince()):
        seen: list[sh.Progress] = []
        experiment(sampler=sampler, block=32).run(observe=seen.append)
        done = [progress.done for progress in seen]
        assert done == sorted(done)
        assert seen[-1].done == seen[-1].total


def test_16_bit_states() -> None:
    result = experiment(dtype="bfloat16", sampler=DDIM()).run()
    assert result.samples.dtype == torch.bfloat16
