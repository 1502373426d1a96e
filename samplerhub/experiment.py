"""An experiment is a choice of components and numbers; running it gives samples, the NFE and the metrics."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from pydantic import BaseModel
from torch import Tensor

from samplerhub import process as derived
from samplerhub.block import Block, BlockStore, make_block
from samplerhub.blocks import all_blocks
from samplerhub.capabilities import Budgeted, Chooses, FitsBudget, FitsData, FromTarget
from samplerhub.checks import (
    DTYPES,
    check_cost,
    check_features,
    check_needs,
    check_numbers,
    check_place,
    check_player,
    check_shapes,
    chosen,
    common_shape,
)
from samplerhub.component import all_parts, kebab, numbered
from samplerhub.engine import Engine
from samplerhub.errors import Mismatch
from samplerhub.manifest import Manifest, MetricRecord, Settings, environment, record
from samplerhub.measure import Snapshot, measure
from samplerhub.model import made_for
from samplerhub.problem import Problem
from samplerhub.protocols import (
    Estimate,
    Features,
    ForwardProcess,
    Grid,
    Metric,
    Need,
    Prior,
    Progress,
    Sampler,
    ScoreModel,
    Target,
)
from samplerhub.setup import Setup
from samplerhub.timetable import check_dtype, horizon, timetable

ENDS = ("t_max", "rho_max", "t_min", "rho_min")
"""Where sampling starts and ends, if not at the ends of the process's span."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a run produced."""

    samples: Tensor
    """Generated samples x, shape (n, *d), on the CPU."""
    rho: float
    """Noise level of the samples, sigma/alpha at the end of the grid, or 0 where the state was denoised."""
    nfe: float
    """Model evaluations per sample."""
    seconds: float
    metrics: dict[str, Estimate]
    manifest: Manifest
    times: Tensor
    """The grid, shape (steps + 1,)."""
    path: tuple[Snapshot, ...] = ()
    """The recorded states, from the start to the end; empty where no path was recorded."""


def _reads_features(metric: Metric | Chooses) -> bool:
    return isinstance(metric, Metric) and any(need & Need.FEATURES for need in metric.needs)


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A process, a model, a sampler, a grid and a prior, and how many samples to make with them.

    Components are any objects that play the roles of `samplerhub.protocols`; nothing has to be registered. Give either
    `steps` or `nfe`, a budget of evaluations per sample from which the number of steps follows.

    The samples are made in blocks of `block`, each from its own stream of random numbers, so that they do not depend on
    `batch` (how many go through the model at a time), on the metrics, or on what executes the blocks.

    Raises:
        InvalidSetting: A number is out of range, or the grid does not decrease.
        Mismatch: The components do not fit together. Both are raised here, before anything is sampled.
    """

    process: ForwardProcess
    model: ScoreModel | FromTarget
    sampler: Sampler
    grid: Grid
    prior: Prior
    target: Target | None = None
    metrics: Sequence[Metric | Chooses] | Mapping[str, Metric | Chooses] = ()
    features: Features | FitsData | None = None
    """What metrics such as the Frechet distance compare; None: the samples as they are."""
    samples: int = 256
    steps: int | None = None
    nfe: int | None = None
    seed: int = 0
    dtype: str = "float32"
    device: str = "cpu"
    batch: int | None = None
    block: int | None = None
    """Samples in a block; by default as many as hold 65,536 numbers, but 256 to 8,192."""
    t_max: float | None = None
    """Start at this time, before the process's end; or give `rho_max`. The process goes on above for churn."""
    rho_max: float | None = None
    """Start at this noise level."""
    t_min: float | None = None
    """End at this time; or give `rho_min`."""
    rho_min: float | None = None
    """End at this noise level."""
    path: int | None = None
    """Record the state at so many times, or at all of them where the grid has fewer: metrics have a curve."""
    shape: tuple[int, ...] | None = None
    """Shape of one sample; needed only where neither target nor model knows it."""

    times: Tensor = field(init=False, repr=False, compare=False)
    """The grid of the run, float64, decreasing."""
    span: tuple[float, float] = field(init=False, repr=False, compare=False)
    """Times (last, first) between which sampling goes: the process's span, or less."""
    _evaluated: dict[str, Metric] = field(init=False, repr=False, compare=False, default_factory=dict)
    _memo: dict[Hashable, object] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        numbers = {name: getattr(self, name) for name in ("samples", "steps", "nfe", "batch", "block", "path")}
        check_numbers(numbers, self.seed)
        check_place(self.dtype, self.device)
        self._check_players()
        ends = {name: getattr(self, name) for name in ENDS}
        object.__setattr__(self, "span", horizon(self.process, **ends))
        check_dtype(self.process, self.span[1], DTYPES[self.dtype])
        problem = self.problem()
        if self.block is None:
            object.__setattr__(self, "block", min(8192, max(256, 65_536 // max(1, math.prod(problem.shape)))))
        steps, nfe = self.steps, self.nfe
        if nfe is not None and isinstance(self.sampler, FitsBudget):
            if not isinstance(self.sampler, Budgeted):
                check_cost(problem, self.sampler, nfe)
            object.__setattr__(self, "sampler", self.sampler.within(nfe))
            if not isinstance(self.sampler, Budgeted):
                steps, nfe = 1 if steps is None else steps, None
        times = timetable(problem, self.grid, self.sampler, steps=steps, nfe=nfe)
        object.__setattr__(self, "times", times)
        check_shapes(problem, self.prior, self.target if self._metrics else None, self.seed)
        setup = self.setup()
        object.__setattr__(self, "_evaluated", {name: chosen(metric, setup) for name, metric in self._metrics.items()})
        check_needs(self._evaluated, setup)
        check_features(self.features, setup)

    def _check_players(self) -> None:
        if isinstance(self.metrics, str) or not isinstance(self.metrics, Mapping | Sequence):
            raise Mismatch(f"metrics = {self.metrics!r}: give a list of metrics, or a mapping of names to metrics")
        if not isinstance(self.metrics, Mapping):
            names = numbered([kebab(type(metric)) for metric in self.metrics])
            object.__setattr__(self, "metrics", dict(zip(names, self.metrics)))
        for role in ("process", "model", "sampler", "grid", "prior", "target"):
            player = getattr(self, role)
            if player is not None or role != "target":
                check_player(role, player)
        for metric in self._metrics.values():
            check_player("metric", metric)
        if self.features is not None:
            check_player("features", self.features)
            suffix = "" if (name := kebab(type(self.features))) == "identity" else f"-{name}"
            renamed = {f"{key}{suffix}" if _reads_features(m) else key: m for key, m in self._metrics.items()}
            object.__setattr__(self, "metrics", renamed)
        adaptive = isinstance(self.sampler, FitsBudget) and not isinstance(self.sampler, Budgeted)
        if self.path is not None and adaptive:
            raise Mismatch(
                f"path = {self.path}: {type(self.sampler).__name__} chooses its own steps for each sample, so that "
                f"there are no common times to record; choose a sampler of fixed steps, or leave --path out"
            )

    @property
    def _block(self) -> int:
        assert self.block is not None
        return self.block

    @property
    def _metrics(self) -> Mapping[str, Metric | Chooses]:
        assert isinstance(self.metrics, Mapping)
        return self.metrics

    @property
    def evaluated(self) -> Mapping[str, Metric]:
        """The metrics that are evaluated: those chosen in place of metrics that choose."""
        return self._evaluated

    @property
    def reads_features(self) -> bool:
        """Whether a metric compares features."""
        return any(map(_reads_features, self._evaluated.values()))

    def problem(self) -> Problem:
        """Return a fresh problem, whose count of evaluations is 0."""
        model = self._made_model()
        shape = common_shape(self.shape, self.target, model)
        return Problem(
            self.process,
            model,
            target=self.target,
            shape=shape,
            span=self.span,
            batch=self.batch,
            memo=self._memo,
        )

    def setup(self) -> Setup:
        """Return what the run is made of, as a metric sees it."""
        model = self._made_model()
        return Setup(
            process=self.process,
            model=model,
            sampler=self.sampler,
            prior=self.prior,
            target=self.target,
            times=self.times,
            shape=common_shape(self.shape, self.target, model),
            samples=self.samples,
            seed=self.seed,
            device=self.device,
            batch=self.batch,
            path=self._recorded,
            memo=self._memo,
        )

    @property
    def _recorded(self) -> tuple[int, ...]:
        """Indices of the recorded times: as many as were asked for, spread evenly over the steps."""
        if self.path is None:
            return ()
        steps = len(self.times) - 1
        K = min(self.path, steps + 1)
        return tuple(round(k * steps / (K - 1)) for k in range(K))

    def _made_model(self) -> ScoreModel:
        return made_for(self.model, self.target)

    def fingerprint(self) -> str:
        """Return a hash of everything that decides the samples, as far as the components are records."""
        parts = [record(c).model_dump_json() for c in (self.process, self.model, self.sampler, self.prior, self.target)]
        parts += [str(self.times.tolist()), str((self.samples, self.seed, self.dtype, self.block, self.path))]
        parts += [torch.__version__]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def run(
        self,
        observe: Callable[[Progress], None] | None = None,
        store: BlockStore | None = None,
        engine: Engine | None = None,
    ) -> Result:
        """Make the samples and evaluate the metrics.

        Args:
            observe: Called after each step, and before each metric, with how far the run has come.
            store: Where finished blocks are kept and looked for.
            engine: What makes the blocks; None: this process, one after the other. It changes no sample.

        Raises:
            NotFinite: The state became NaN or infinite: says after which step and at which time.
            Mismatch: A store is given, but a component is no record: its blocks could not be told from another's.
            WorkerLost: What made a block was lost, twice.
        """
        players = (self.process, self.model, self.sampler, self.prior, self.target)
        unrecorded = [type(p).__name__ for p in all_parts(players) if not isinstance(p, BaseModel)]
        if store is not None and unrecorded:
            raise Mismatch(f"a store needs components that are records, which {', '.join(unrecorded)} is not")
        started = time.perf_counter()
        count = -(-self.samples // self._block)
        blocks = all_blocks(self.run_block, count, self.fingerprint(), observe, store, engine)
        samples = torch.cat([block.samples for block in blocks])
        rho = blocks[0].rho
        seconds = time.perf_counter() - started
        nfe = sum(block.rows for block in blocks) / self.samples

        alpha = 1.0 if rho == 0 else derived.alpha(self.process, self.times[-1]).item()
        path = [*self._path(blocks), Snapshot(self.times[-1].item(), rho, samples / alpha)]
        estimates = measure(self._evaluated, path, self.setup(), self.features, observe)
        manifest = self._manifest(nfe, seconds, estimates, rho)
        recorded = tuple(path) if self.path is not None else ()
        return Result(samples, rho, nfe, seconds, estimates, manifest, self.times, recorded)

    def evaluate(self) -> dict[str, Estimate]:
        """Return the figures alone; samples are made only if a metric reads them."""
        reading = Need.SAMPLES | Need.FEATURES
        if any(need & reading for metric in self._evaluated.values() for need in metric.needs):
            return self.run().metrics
        end = self.times[-1]
        nothing = Snapshot(end.item(), derived.rho(self.process, end).item(), torch.empty(0, *self.setup().shape))
        return measure(self._evaluated, [nothing], self.setup(), self.features)

    def _path(self, blocks: Sequence[Block]) -> list[Snapshot]:
        """Return the recorded states of all blocks, but for the last."""
        paths = [block.path for block in blocks if block.path is not None]
        if not paths:
            return []
        at = self.times[list(self._recorded)]
        states = torch.cat(paths, 1)
        return [Snapshot(t, rho, y) for t, rho, y in zip(at.tolist(), derived.rho(self.process, at).tolist(), states)]

    def run_block(self, index: int, report: Callable[[float], None] | None = None) -> Block:
        """Make the samples of one block; it depends on nothing but the experiment and the index."""
        n = min(self._block, self.samples - index * self._block)
        return make_block(self.setup(), self.problem(), n, index, DTYPES[self.dtype], report)

    def _manifest(self, nfe: float, seconds: float, estimates: Mapping[str, Estimate], rho: float) -> Manifest:
        roles = {
            "process": self.process,
            "target": self.target,
            "model": self.model,
            "sampler": self.sampler,
            "grid": self.grid,
            "prior": self.prior,
            "features": self.features,
        }
        return Manifest(
            components={role: record(component) for role, component in roles.items() if component is not None},
            metrics={name: record(metric) for name, metric in self._metrics.items()},
            settings=Settings(
                samples=self.samples,
                steps=len(self.times) - 1,
                seed=self.seed,
                dtype=self.dtype,
                device=self.device,
                batch=self.batch,
                block=self._block,
                path=self.path,
                **{name: getattr(self, name) for name in ENDS},
            ),
            times=self.times.tolist(),
            nfe=nfe,
            seconds=seconds,
            estimates={name: MetricRecord.of(estimate) for name, estimate in estimates.items()},
            environment=environment(),
            rho=rho,
        )
