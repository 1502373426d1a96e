"""From a finished run to its figures: what a metric may read, whether it can be had, and the reading itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from samplerhub.capabilities import (
    PLAYERS,
    Chooses,
    Denoises,
    Density,
    FitsData,
    HasDigest,
    HasMoments,
    HasShape,
    Inspects,
    IsGaussian,
    LinearFeatures,
    NeedsSamples,
)
from samplerhub.component import kebab
from samplerhub.errors import Mismatch
from samplerhub.noise import normal, stream
from samplerhub.protocols import Estimate, Features, Metric, Need, Point, Progress, Target
from samplerhub.setup import Setup

MEANINGS = {
    Need.SAMPLES: "generated samples",
    Need.REFERENCE: "samples of the target",
    Need.MOMENTS: "a target with known mean and covariance",
    Need.GAUSSIAN: "a Gaussian target",
    Need.LINE: "a one-dimensional target",
    Need.DENSITY: "a target whose density is known",
    Need.DENOISER: "a target whose exact score is known",
    Need.FEATURES: "features of samples of the target",
    Need.SETUP: "the run's setup",
}
CHUNK = 1024
"""Samples whose features are computed at a time."""


def offered(target: Target | None) -> Need:
    """Return all needs that a run with this target can meet."""
    offer = Need.SAMPLES | Need.SETUP
    if target is not None:
        offer |= Need.REFERENCE | Need.FEATURES
        offer |= Need.LINE if tuple(target.shape) == (1,) else Need(0)
        offer |= Need.MOMENTS if isinstance(target, HasMoments) else Need(0)
        offer |= Need.GAUSSIAN if isinstance(target, IsGaussian) else Need(0)
        offer |= Need.DENSITY if isinstance(target, Density) else Need(0)
        offer |= Need.DENOISER if isinstance(target, Denoises) else Need(0)
    return offer


def check_player(role: str, player: object) -> None:
    """Raise `Mismatch` if an object does not play its role."""
    if isinstance(player, type):
        raise Mismatch(f"{role} = {player.__name__} is a class: give an instance, {player.__name__}(...)")
    if not isinstance(player, PLAYERS[role]):
        expected = " or ".join(protocol.__name__ for protocol in PLAYERS[role])
        raise Mismatch(f"{role} = {player!r} is no {expected}: see `samplerhub.{PLAYERS[role][0].__name__}`")


def chosen(metric: Metric | Chooses, setup: Setup) -> Metric:
    """Return the metric itself, or the one that it chooses for the run."""
    return metric.choose(setup) if isinstance(metric, Chooses) else metric


def check_needs(metrics: Mapping[str, Metric], setup: Setup) -> None:
    """Raise `Mismatch` if a metric needs what this run cannot offer: called before anything is sampled."""
    target, samples = setup.target, setup.samples
    offer = offered(target)
    for name, metric in metrics.items():
        for need in metric.needs:
            if not need & offer:
                wanted = " or ".join(MEANINGS[member] for member in need)
                given = (
                    "there is no target"
                    if target is None
                    else f"{type(target).__name__} has shape {tuple(target.shape)}"
                )
                raise Mismatch(f"metric {name!r} needs {wanted}, but {given}; choose another metric or another target")
        if isinstance(metric, NeedsSamples) and target is not None and samples < metric.least(target):
            raise Mismatch(
                f"metric {name!r} needs {metric.least(target)} samples or more, not {samples}: see --samples"
            )
        if isinstance(metric, Inspects):
            try:
                metric.inspect(setup)
            except Mismatch as error:
                raise Mismatch(f"metric {name!r}: {error}") from error


def fits(metric: Metric | Chooses, setup: Setup) -> bool:
    """Say whether a metric can be had for a run."""
    try:
        check_needs({kebab(type(metric)): chosen(metric, setup)}, setup)
    except Mismatch:
        return False
    return True


def check_features(features: Features | FitsData | None, setup: Setup) -> None:
    """Raise if features are made for other data, or the files that they read are not there."""
    if isinstance(features, HasShape) and features.shape is not None and tuple(features.shape) != setup.shape:
        raise Mismatch(
            f"features {kebab(type(features))!r} are made for samples of shape {tuple(features.shape)}, "
            f"not {setup.shape}; choose others with --features"
        )
    if isinstance(features, Inspects):
        features.inspect(setup)


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
