"""The roles as protocols, and the records that pass between them.

Everything here is structural: a class that has the members plays the role, whether or not it derives from anything.
What a component can do beyond its role is a capability, see `samplerhub.capabilities`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Flag, auto
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from samplerhub.problem import Problem
    from samplerhub.setup import Setup


# --- records ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Step:
    """The state after an accepted step."""

    t: float | Tensor
    """Time: a number, or shape (n,) from a sampler whose samples have steps of their own."""
    x: Tensor
    """State at that time, shape (n, *d)."""
    rho: float | Tensor
    """Noise level of x / alpha: sigma/alpha at t, or 0 once the state has been denoised (then x estimates x_0)."""


class Need(Flag):
    """What a metric reads of a run. A union such as ``Need.LINE | Need.GAUSSIAN`` is met by any one of its members."""

    SAMPLES = auto()
    """the generated samples"""
    REFERENCE = auto()
    """as many samples of the target, noised to the level at which the run ends"""
    MOMENTS = auto()
    """mean and covariance of the target in closed form"""
    GAUSSIAN = auto()
    """a target whose law is Gaussian"""
    LINE = auto()
    """a one-dimensional target"""
    DENSITY = auto()
    """a target whose density is known at every noise level"""
    DENOISER = auto()
    """a target whose posterior mean is known in closed form"""
    FEATURES = auto()
    """features of the generated samples and of the reference"""
    SETUP = auto()
    """the run itself: its process, model, sampler, prior, target and times"""


@dataclass(frozen=True, slots=True)
class Point:
    """A figure at one time of the path."""

    t: float
    rho: float
    """Noise level at that time."""
    value: float
    stderr: float | None = None
    """Standard error; None for a figure that is exact."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measured figure with its uncertainty."""

    value: float
    stderr: float | None = None
    """Standard error; None for a figure that is exact."""
    curve: tuple[Point, ...] = ()
    """The figure along the path, from the start of sampling to its end; empty where no path was recorded."""
    quantity: str = ""
    """What is measured, where several metrics measure the same: "kl", "kl-reverse", "l1"."""
    bounds: str = ""
    """The quantity that the figure is an upper bound of; empty for a figure that is no bound."""
    details: Mapping[str, float | str] = field(default_factory=dict)
    """What else is worth knowing: the method, the bias that was removed, the sizes."""
    curve_of: str = ""
    """What the curve shows, with its units, where it is not the figure itself."""
    better: Literal["smaller", "larger"] = "smaller"
    """Which of two figures is the better one, where samplers are compared."""


class Evidence(Protocol):
    """What a run left behind, as a metric sees it: only what the metric declared in `needs` can be read."""

    @property
    def samples(self) -> Tensor:
        """Generated samples y = x/alpha, shape (n, *d), at noise level `rho`."""
        ...

    @property
    def reference(self) -> Tensor:
        """Samples of the target at noise level `rho`, shape (m, *d), from a stream of their own."""
        ...

    @property
    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean (D,) and covariance (D, D) of the flattened target at noise level `rho`, float64."""
        ...

    def log_prob(self, y: Tensor) -> Tensor:
        """Log-density of the target, noised to the level `rho`, at points y (n, *d), shape (n,)."""
        ...

    @property
    def features(self) -> Tensor:
        """Features of the samples, (n, D); the flattened samples if none were chosen."""
        ...

    @property
    def reference_features(self) -> Tensor:
        """Features of the reference, (m, D)."""
        ...

    def feature_batches(self) -> Iterator[Tensor]:
        """Yield features of the samples, (k, D) at a time: for sums over more of them than should be held at once."""
        ...

    def reference_feature_batches(self) -> Iterator[Tensor]:
        """Yield features of the reference, (k, D) at a time."""
        ...

    @property
    def feature_moments(self) -> tuple[Tensor, Tensor] | None:
        """Mean (D,) and covariance (D, D) of the target's features at noise level `rho`; None where not known."""
        ...

    @property
    def embedding(self) -> str:
        """What the features are: their name, and a hash of the files that they read."""
        ...

    @property
    def setup(self) -> Setup:
        """The run itself."""
        ...

    @property
    def t(self) -> float:
        """Time of the samples."""
        ...

    @property
    def rho(self) -> float:
        """Noise level of the samples."""
        ...

    def offers(self, need: Need) -> bool:
        """Say whether a member of a declared union is there."""
        ...


# --- the four protocols of the core -----------------------------------------------------------------------------------


@runtime_checkable
class ForwardProcess(Protocol):
    """x_t = alpha(t) x_0 + sigma(t) eps, eps standard normal."""

    @property
    def span(self) -> tuple[float, float]:
        """Times (t_min, t_max) on which rho = sigma/alpha is positive and increases strictly."""
        ...

    def alpha(self, t: Tensor) -> Tensor:
        """Scale of the data at time t: positive, elementwise, float64."""
        ...

    def sigma(self, t: Tensor) -> Tensor:
        """Standard deviation of the noise at time t: positive, elementwise, float64."""
        ...


@runtime_checkable
class ScoreModel(Protocol):
    """A prediction from the scale-free pair y = x_t/alpha_t = x_0 + rho eps, rho = sigma_t/alpha_t."""

    @property
    def predicts(self) -> Literal["x0", "eps", "score"]:
        """x0: E[x_0 | y]; eps: (y - x0)/rho; score: (x0 - y)/rho^2, the gradient of the log-density of y."""
        ...

    def __call__(self, y: Tensor, rho: Tensor) -> Tensor:
        """Return the prediction, shape (n, *d), for y of shape (n, *d) and rho of shape (n, 1, ...) or (1, 1, ...)."""
        ...


@runtime_checkable
class Sampler(Protocol):
    """A generator of steps from times[0] down to times[-1]."""

    def __call__(self, problem: Problem, x: Tensor, times: Tensor, rng: torch.Generator) -> Iterator[Step]:
        """Yield a `Step` after each accepted step; the last has t = times[-1]."""
        ...


@runtime_checkable
class Metric(Protocol):
    """A figure computed from what a run recorded."""

    @property
    def needs(self) -> frozenset[Need]:
        """What it reads; all of it must be met, a union by any of its members."""
        ...

    def __call__(self, evidence: Evidence) -> Estimate:
        """Return the figure and its standard error."""
        ...


# --- the smaller roles ------------------------------------------------------------------------------------------------


@runtime_checkable
class Target(Protocol):
    """The distribution of the data."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample, without the batch."""
        ...

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """Return n samples, shape (n, *shape)."""
        ...


@runtime_checkable
class Grid(Protocol):
    """A discretisation of time."""

    def __call__(self, problem: Problem, steps: int) -> Tensor:
        """Return steps + 1 times, strictly decreasing from problem.span[1] to problem.span[0], float64."""
        ...


@runtime_checkable
class Prior(Protocol):
    """The law of the starting state."""

    def sample(self, problem: Problem, n: int, rng: torch.Generator) -> Tensor:
        """Return n states x at time problem.span[1], shape (n, *problem.shape)."""
        ...


@runtime_checkable
class Features(Protocol):
    """A map from samples to vectors, in which distributions are compared."""

    def __call__(self, x: Tensor) -> Tensor:
        """Return the features of samples x (n, *d), shape (n, D); row by row, without randomness."""
        ...


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a long piece of work has come."""

    done: int
    total: int
    note: str = ""


@runtime_checkable
class Trainer(Protocol):
    """Fits a model to a target."""

    def __call__(self, target: Target, file: Path, seed: int) -> Iterator[Progress]:
        """Train, yielding progress; the weights are in `file` when the generator ends."""
        ...
