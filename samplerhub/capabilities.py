"""Capabilities: what a component can do beyond its role, checked with isinstance when a run is assembled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from samplerhub.engine import Engine
from samplerhub.protocols import (
    Features,
    ForwardProcess,
    Grid,
    Metric,
    Prior,
    Sampler,
    ScoreModel,
    Target,
    Trainer,
)

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from samplerhub.problem import Problem
    from samplerhub.setup import Setup


@runtime_checkable
class Denoises(Protocol):
    """A target whose posterior mean is known in closed form."""

    def denoise(self, y: Tensor, rho: Tensor) -> Tensor:
        """Return E[x_0 | x_0 + rho eps = y], shape (n, *d)."""
        ...


@runtime_checkable
class Density(Protocol):
    """A target whose noised density is known in closed form."""

    def log_prob(self, y: Tensor, rho: Tensor) -> Tensor:
        """Return the log-density of x_0 + rho eps at y, shape (n,)."""
        ...


@runtime_checkable
class HasMoments(Protocol):
    """A target whose first two moments are known."""

    def moments(self) -> tuple[Tensor, Tensor]:
        """Return mean (D,) and covariance (D, D) of the flattened data, float64."""
        ...


@runtime_checkable
class IsGaussian(HasMoments, Protocol):
    """A target whose law is Gaussian, so that its moments are its law."""

    @property
    def gaussian(self) -> Literal[True]:
        """The mark of a Gaussian law."""
        ...


@runtime_checkable
class LogSobolev(Protocol):
    """A target that knows a constant of the log-Sobolev inequality at every noise level."""

    def log_sobolev(self, rho: float) -> float:
        """Return C with H(nu|p) <= C/2 E_nu |grad log(nu/p)|^2 for all nu, p the law of x_0 + rho eps.

        N(m, v I) has C = v. Infinity where none is known.
        """
        ...


@runtime_checkable
class HeldOut(Protocol):
    """A target of finitely many data, some of which no model was trained on."""

    def held_out(self) -> Target:
        """Return the target of the data that are held out."""
        ...


@runtime_checkable
class FiniteData(Protocol):
    """A target whose law is that of finitely many data."""

    def data(self) -> Tensor:
        """Return all of them, shape (N, *shape)."""
        ...


@runtime_checkable
class PriorDensity(Protocol):
    """A prior whose density is known."""

    def log_prob(self, problem: Problem, x: Tensor) -> Tensor:
        """Return the log-density of the starting state at x (n, *d), shape (n,).

        Raises:
            Mismatch: It is not known for this problem.
        """
        ...


@runtime_checkable
class NormalPrior(Protocol):
    """A prior that is a normal law, at least for some problems."""

    def normal(self, problem: Problem) -> tuple[Tensor, Tensor] | None:
        """Return mean (D,) and covariance (D, D) of the flattened starting state; None where it is not normal."""
        ...


@runtime_checkable
class HasGamma(Protocol):
    """A sampler of the one-parameter family of reverse SDEs."""

    def gamma(self, rho: float) -> float:
        """Return the stochasticity at a noise level: 0 is the probability-flow ODE, 1 the reverse SDE."""
        ...


@runtime_checkable
class HasShape(Protocol):
    """A model, or features, made for data of one shape."""

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Shape of one sample, or None where any will do."""
        ...


@runtime_checkable
class HasDtype(Protocol):
    """A model that computes in a floating-point type of its own."""

    @property
    def dtype(self) -> torch.dtype:
        """Type of the tensors that it takes and returns."""
        ...


@runtime_checkable
class HasSigmaData(Protocol):
    """A model that may know the scale of the data it was made for."""

    @property
    def sigma_data(self) -> float | None:
        """Standard deviation of the data per dimension; None where it is not known."""
        ...


@runtime_checkable
class Costs(Protocol):
    """A model that takes more than one evaluation of a network at some noise levels: they all count."""

    def cost(self, rho: Tensor) -> Tensor:
        """Return the evaluations that a row at each noise level takes, 1 or more, elementwise, int64."""
        ...


@runtime_checkable
class HasSteps(Protocol):
    """A grid of a fixed number of steps, which a budget of evaluations cannot change."""

    @property
    def steps(self) -> int:
        """Number of steps."""
        ...


@runtime_checkable
class HasDigest(Protocol):
    """A component that reads files, whose content matters as much as its fields."""

    @property
    def digest(self) -> str:
        """Hash of what was read."""
        ...


@runtime_checkable
class HasTable(Protocol):
    """A process that is known at the rows of a table, as discrete ones are, and interpolated between them."""

    @property
    def table(self) -> Tensor:
        """Times of the rows, shape (M,), strictly increasing, float64; the span may be shorter."""
        ...


@runtime_checkable
class FromTarget(Protocol):
    """A model that is made from the target (the exact score, say)."""

    def of(self, target: Target) -> ScoreModel:
        """Return the model of that target."""
        ...


@runtime_checkable
class NeedsSamples(Protocol):
    """A metric that cannot do with a few samples."""

    def least(self, target: Target) -> int:
        """Return the smallest number of samples for which it is defined."""
        ...


@runtime_checkable
class AtEqualLaws(Protocol):
    """A metric that is no divergence: its value for samples with the law of the target is not 0."""

    def at_equal_laws(self, samples: int) -> float | None:
        """Return its mean for as many samples of the target as of the run; None where that depends on the law."""
        ...


@runtime_checkable
class Inspects(Protocol):
    """A metric, or features, that can tell from a run's setup whether it is defined for it."""

    def inspect(self, setup: Setup) -> None:
        """Return if it is, before anything is sampled.

        Raises:
            Mismatch: It is not; says why and what to choose instead.
        """
        ...


@runtime_checkable
class Chooses(Protocol):
    """A metric that stands for whichever of several fits a run best."""

    def choose(self, setup: Setup) -> Metric:
        """Return the metric that is evaluated in its place."""
        ...


@runtime_checkable
class FitsData(Protocol):
    """Features that are made from data."""

    def fit(self, x: Tensor) -> Features:
        """Return the features made from samples of the target, x (m, *d)."""
        ...


@runtime_checkable
class LinearFeatures(Protocol):
    """Features that are a linear map, so that they carry moments over."""

    def push(self, mean: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and covariance of the features, from those of the flattened samples, float64."""
        ...


@runtime_checkable
class Suggests(Protocol):
    """A target that names what goes well with it."""

    @property
    def suggests(self) -> Mapping[str, str | int]:
        """Names by role, and ``samples``: used where the user does not choose."""
        ...


@runtime_checkable
class FitsBudget(Protocol):
    """A sampler that chooses its own steps, and can be told to stay within a budget."""

    def within(self, nfe: int) -> Sampler:
        """Return a sampler that spends at most so many evaluations per sample."""
        ...


@runtime_checkable
class Budgeted(Protocol):
    """A sampler that can say beforehand what it spends."""

    def evaluations(self, process: ForwardProcess, times: Tensor) -> int:
        """Number of model evaluations for these times."""
        ...


PLAYERS: Mapping[str, tuple[type, ...]] = {
    "process": (ForwardProcess,),
    "target": (Target,),
    "model": (ScoreModel, FromTarget),
    "sampler": (Sampler,),
    "grid": (Grid,),
    "prior": (Prior,),
    "features": (Features, FitsData),
    "metric": (Metric, Chooses),
    "trainer": (Trainer,),
    "engine": (Engine,),
}
"""What an object must be to play a role."""
