"""What a run is made of, as a metric sees it: enough to run it again, in other words or with other numbers."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

from samplerhub import process as derived
from samplerhub.problem import Problem
from samplerhub.protocols import ForwardProcess, Prior, Sampler, ScoreModel, Target

T = TypeVar("T")


@dataclass(frozen=True)
class Setup:
    """The components of a run, assembled, and its numbers."""

    process: ForwardProcess
    model: ScoreModel
    sampler: Sampler
    prior: Prior
    target: Target | None
    times: Tensor
    """The grid, float64, decreasing."""
    shape: tuple[int, ...]
    """Shape of one sample."""
    samples: int
    seed: int
    device: str = "cpu"
    batch: int | None = None
    path: tuple[int, ...] = ()
    """Indices into `times` at which the path is recorded, the first and the last among them; empty if it is not."""
    memo: dict[Hashable, object] = field(default_factory=dict, repr=False, compare=False)
    """What has been computed once for the run, see `once`."""

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """Return what `compute` returned the first time that it was asked for by this key, for whichever metric."""
        if key not in self.memo:
            self.memo[key] = compute()
        return self.memo[key]  # type: ignore[return-value]

    @property
    def rho(self) -> Tensor:
        """Noise levels of the grid, float64."""
        return derived.rho(self.process, self.times)

    @property
    def span(self) -> tuple[float, float]:
        """Times (last, first) of the run."""
        return self.times[-1].item(), self.times[0].item()

    def problem(self, *, gradients: bool = False) -> Problem:
        """Return a fresh door to the model; evaluations through it do not count as the run's.

        Args:
            gradients: Whether derivatives flow through the model.
        """
        return Problem(
            self.process,
            self.model,
            target=self.target,
            shape=self.shape,
            span=self.span,
            batch=self.batch,
            memo=self.memo,
            gradients=gradients,
        )

    def start(self, n: int, rng: torch.Generator) -> Tensor:
        """Return n starting states x from the prior, shape (n, *shape), float64, on the device of the run."""
        return self.prior.sample(self.problem(), n, rng).to(self.device, torch.float64)
