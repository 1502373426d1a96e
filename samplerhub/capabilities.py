"""Capabilities: what a component can do beyond its role, checked with isinstance when a run is assembled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from samplerhub.protocols import (
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
class HasShape(Protocol):
    """A model made for data of one shape."""

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
    """A model that knows the scale of the data it was made for."""

    @property
    def sigma_data(self) -> float:
        """Standard deviation of the data per dimension."""
        ...


@runtime_checkable
class HasDigest(Protocol):
    """A component that reads files, whose content matters as much as its fields."""

    @property
    def digest(self) -> str:
        """Hash of what was read."""
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
    "metric": (Metric,),
    "trainer": (Trainer,),
}
"""What an object must be to play a role."""
