"""From a finished run to its figures: what a metric may read, whether it can be had, and the reading itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from samplerhub.capabilities import (
    Density,
    FitsData,
    HasDigest,
    HasMoments,
    LinearFeatures,
)
from samplerhub.checks import offered
from samplerhub.component import kebab
from samplerhub.noise import normal, stream
from samplerhub.protocols import Estimate, Features, Metric, Need, Point, Progress
from samplerhub.setup import Setup

CHUNK = 1024
"""Samples whose features are computed at a time."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a run at one time."""

    t: float
    rho: float
    """Noise level, 0 where the state was denoised."""
    samples: Tensor
    """y = x/alpha, shape (n, *d)."""


class Recorded:
    """What a run left behind, restricted to what one metric declared."""

    def __init__(
        self,
        snapshot: Snapshot,
        setup: Setup,
        needs: frozenset[Need],
        features: Features | FitsData | None = None,
    ) -> None:
        self._snapshot = snapshot
        self._setup = setup
        self._features = features
        self._declared = Need(0)
        for need in needs:
            self._declared |= need

    def offers(self, need: Need) -> bool:
        """Say whether all of `need` was declared and is there."""
        return need in self._declared & offered(self._setup.target)

    @property
    def t(self) -> float:
        """Time of the samples."""
        return self._snapshot.t

    @property
    def rho(self) -> float:
        """Noise level of the samples."""
        return self._snapshot.rho

    @property
    def samples(self) -> Tensor:
        """Generated samples y = x/alpha, shape (n, *d)."""
        self._require(Need.SAMPLES)
        return self._snapshot.samples

    @property
    def reference(self) -> Tensor:
        """As many samples of the target at the same noise level, from a stream of their own."""
        self._require(Need.REFERENCE)
        return self._reference

    @property
    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and covariance of the flattened target at the noise level of the samples."""
        self._require(Need.MOMENTS | Need.GAUSSIAN)
        return self._moments

    def log_prob(self, y: Tensor) -> Tensor:
        """Log-density of the target, noised to the level of the samples."""
        self._require(Need.DENSITY)
        assert isinstance(self._setup.target, Density)
        return self._setup.target.log_prob(y, torch.tensor(self.rho, dtype=y.dtype))

    @property
    def features(self) -> Tensor:
        """Features of the samples."""
        return torch.cat(list(self.feature_batches()))

    @property
    def reference_features(self) -> Tensor:
        """Features of the reference."""
        return torch.cat(list(self.reference_feature_batches()))

    def feature_batches(self) -> Iterator[Tensor]:
        """Features of the samples, a batch at a time."""
        self._require(Need.FEATURES)
        return embedded(self._fitted, self._snapshot.samples)

    def reference_feature_batches(self) -> Iterator[Tensor]:
        """Features of the reference, a batch at a time."""
        self._require(Need.FEATURES)
        return embedded(self._fitted, self._reference)

    @property
    def feature_moments(self) -> tuple[Tensor, Tensor] | None:
        """Mean and covariance of the target's features at the noise level of the samples."""
        self._require(Need.FEATURES)
        phi = self._fitted
        if not isinstance(self._setup.target, HasMoments) or not (phi is None or isinstance(phi, LinearFeatures)):
            return None
        return self._moments if phi is None else phi.push(*self._moments)

    @property
    def embedding(self) -> str:
        """Name of the features, and a hash of the files that they read."""
        phi = self._features
        name = "identity" if phi is None else kebab(type(phi))
        return f"{name} {phi.digest[:12]}" if isinstance(phi, HasDigest) else name

    @property
    def setup(self) -> Setup:
        """The run itself."""
        self._require(Need.SETUP)
        return self._setup

    @property
    def _moments(self) -> tuple[Tensor, Tensor]:
        assert isinstance(self._setup.target, HasMoments)
        mean, covariance = self._setup.target.moments()
        return mean, covariance + self.rho**2 * torch.eye(len(mean), dtype=covariance.dtype)

    @cached_property
    def _fitted(self) -> Features | None:
        phi = self._features
        return phi.fit(self._reference) if isinstance(phi, FitsData) else phi

    @cached_property
    def _reference(self) -> Tensor:
        target = self._setup.target
        assert target is not None
        n, rng = self._snapshot.samples.shape[0], stream(self._setup.seed, "reference")
        x0 = target.sample(n, rng).to(self._snapshot.samples)
        return x0 + self.rho * normal(x0, rng)

    def _require(self, need: Need) -> None:
        if not need & self._declared:
            raise TypeError(f"a metric reads {need.name}, which it did not declare in `needs`")


def embedded(features: Features | None, x: Tensor) -> Iterator[Tensor]:
    """Yield the features of samples x (n, *d), a chunk at a time; without features the flattened samples."""
    for chunk in torch.split(x, CHUNK):
        with torch.no_grad():
            vectors = chunk.flatten(1) if features is None else features(chunk)
        yield vectors


def measure(
    metrics: Mapping[str, Metric],
    path: Sequence[Snapshot],
    setup: Setup,
    features: Features | FitsData | None = None,
    observe: Callable[[Progress], None] | None = None,
) -> dict[str, Estimate]:
    """Evaluate every metric at the end of a run, and along its path.

    A metric that reads the run's setup gives a curve of its own; any other is evaluated at each time of the path.
    """
    estimates = {}
    for i, (name, metric) in enumerate(metrics.items()):
        times = path[-1:] if Need.SETUP in metric.needs else path
        values = []
        for j, snapshot in enumerate(times):
            if observe:
                observe(Progress(i * len(times) + j, len(metrics) * len(times), name))
            values.append(metric(Recorded(snapshot, setup, metric.needs, features)))
        estimate = values[-1]
        if len(times) > 1:
            curve = tuple(Point(s.t, s.rho, e.value, e.stderr) for s, e in zip(times, values))
            estimate = replace(estimate, curve=curve)
        estimates[name] = estimate
    return estimates
