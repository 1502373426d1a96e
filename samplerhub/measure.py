"""From a finished run to its figures: what a metric may read, whether it can be had, and the reading itself."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import torch
from torch import Tensor

from samplerhub.capabilities import PLAYERS, HasMoments, IsGaussian, NeedsSamples
from samplerhub.errors import Mismatch
from samplerhub.noise import normal, stream
from samplerhub.protocols import Estimate, Metric, Need, Target

MEANINGS = {
    Need.SAMPLES: "generated samples",
    Need.REFERENCE: "samples of the target",
    Need.MOMENTS: "a target with known mean and covariance",
    Need.GAUSSIAN: "a Gaussian target",
    Need.LINE: "a one-dimensional target",
}


def offered(target: Target | None) -> Need:
    """Return all needs that a run with this target can meet."""
    offer = Need.SAMPLES
    if target is not None:
        offer |= Need.REFERENCE
        offer |= Need.LINE if tuple(target.shape) == (1,) else Need(0)
        offer |= Need.MOMENTS if isinstance(target, HasMoments) else Need(0)
        offer |= Need.GAUSSIAN if isinstance(target, IsGaussian) else Need(0)
    return offer


def check_player(role: str, player: object) -> None:
    """Raise `Mismatch` if an object does not play its role."""
    if isinstance(player, type):
        raise Mismatch(f"{role} = {player.__name__} is a class: give an instance, {player.__name__}(...)")
    if not isinstance(player, PLAYERS[role]):
        expected = " or ".join(protocol.__name__ for protocol in PLAYERS[role])
        raise Mismatch(f"{role} = {player!r} is no {expected}: see `samplerhub.{PLAYERS[role][0].__name__}`")


def check_needs(metrics: Mapping[str, Metric], target: Target | None, samples: int) -> None:
    """Raise `Mismatch` if a metric needs what this run cannot offer: called before anything is sampled."""
    offer = offered(target)
    for name, metric in metrics.items():
        if isinstance(metric, NeedsSamples) and target is not None and samples < metric.least(target):
            raise Mismatch(
                f"metric {name!r} needs {metric.least(target)} samples or more, not {samples}: see --samples"
            )
        for need in metric.needs:
            if not need & offer:
                wanted = " or ".join(MEANINGS[member] for member in need)
                given = (
                    "there is no target"
                    if target is None
                    else f"{type(target).__name__} has shape {tuple(target.shape)}"
                )
                raise Mismatch(f"metric {name!r} needs {wanted}, but {given}; choose another metric or another target")


class Recorded:
    """What a run left behind, restricted to what one metric declared."""

    def __init__(self, samples: Tensor, rho: float, target: Target | None, seed: int, needs: frozenset[Need]) -> None:
        self._samples = samples
        self._target = target
        self._seed = seed
        self._declared = Need(0)
        for need in needs:
            self._declared |= need
        self.rho = rho

    def offers(self, need: Need) -> bool:
        """Say whether all of `need` was declared and is there."""
        return need in self._declared & offered(self._target)

    @property
    def samples(self) -> Tensor:
        """Generated samples y = x/alpha, shape (n, *d)."""
        self._require(Need.SAMPLES)
        return self._samples

    @cached_property
    def reference(self) -> Tensor:
        """As many samples of the target at the same noise level, from a stream of their own."""
        target = self._require(Need.REFERENCE)
        n, rng = self._samples.shape[0], stream(self._seed, "reference")
        x0 = target.sample(n, rng).to(self._samples)
        return x0 + self.rho * normal(x0, rng)

    @property
    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and covariance of the flattened target at the noise level of the samples."""
        target = self._require(Need.MOMENTS | Need.GAUSSIAN)
        assert isinstance(target, HasMoments)
        mean, covariance = target.moments()
        return mean, covariance + self.rho**2 * torch.eye(len(mean), dtype=covariance.dtype)

    def _require(self, need: Need) -> Target:
        if not need & self._declared:
            raise TypeError(f"a metric reads {need.name}, which it did not declare in `needs`")
        return self._target  # type: ignore[return-value]


def measure(
    metrics: Mapping[str, Metric], samples: Tensor, rho: float, target: Target | None, seed: int
) -> dict[str, Estimate]:
    """Evaluate every metric on y = x/alpha at noise level rho."""
    return {name: metric(Recorded(samples, rho, target, seed, metric.needs)) for name, metric in metrics.items()}
