"""What holds for all features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from samplerhub.capabilities import FitsData, HasDigest, HasMoments, HasShape, Inspects, LinearFeatures
from samplerhub.errors import Mismatch
from samplerhub.noise import stream
from samplerhub.protocols import Features, Target
from samplerhub.testing.check import Case, Finding, NotApplicable, alone, check, examine, kept, require
from samplerhub.testing.metric import setup_of
from samplerhub.testing.reference import BellsTarget

ONE_SHAPE = (
    "features of samples of one shape only, which say so by a property `shape`, or by `inspect`, which raises "
    "samplerhub.errors.Mismatch"
)


@dataclass(frozen=True)
class Embedded:
    """Features, and data to embed."""

    features: Features | FitsData
    target: Target

    @cached_property
    def x(self) -> Tensor:
        """200 samples."""
        return self.target.sample(200, stream(0, "check")).double()

    @cached_property
    def phi(self) -> Features:
        """The features, made from the data where that is what they are."""
        features = self.features
        return alone(lambda: features.fit(self.x))[0] if isinstance(features, FitsData) else features

    @torch.no_grad()
    def of(self, x: Tensor) -> Tensor:
        """Return the features of samples."""
        return alone(lambda: self.phi(x))[0]

    @cached_property
    def f(self) -> Tensor:
        """The features of all samples."""
        return self.of(self.x)


@check("features-shape", "a map that keeps the image's axes, or that averages over the batch", gate=True)
def shape(case: Embedded) -> None:
    """They are vectors, one a row: shape (n, D).

    Distances and moments are taken between the rows.
    """
    if isinstance(case.features, HasDigest):
        _ = case.features.digest  # says which file is not here
    if isinstance(case.features, Inspects):
        case.features.inspect(setup_of(case.target, 200))
    made = case.features.shape if isinstance(case.features, HasShape) else None
    if made is not None and tuple(made) != tuple(case.target.shape):
        raise Mismatch(f"made for data of shape {tuple(made)}, not {tuple(case.target.shape)}")
    try:
        _ = case.f
    except Exception as error:
        if made is None:
            error.add_note(ONE_SHAPE)
        raise
    require(case.f.ndim == 2 and len(case.f) == 200, f"shape {tuple(case.f.shape)} for 200 samples", "(200, D)")


@check("features-finite", "a logarithm or a division of data that may be 0")
def finite(case: Embedded) -> None:
    """They are finite.

    One that is not makes every figure that is computed from them none.
    """
    require(bool(case.f.isfinite().all()), f"{int((~case.f.isfinite()).sum())} of {case.f.numel()} are not")


@check("features-repeatable", "dropout or random augmentation that is left on")
def repeatable(case: Embedded) -> None:
    """The same samples have the same features.

    Else a figure differs from run to run by more than its standard error says.
    """
    with torch.no_grad():
        require(torch.equal(case.f, case.phi(case.x)), "a second call gives others")


@check("features-rows", "batch normalisation in training mode, or a mean taken over the batch")
def rows(case: Embedded) -> None:
    """The features of a sample do not depend on the others of its batch.

    Samples are embedded in chunks, whose size would change the figure.
    """
    some = case.of(case.x[50:70])
    off = float((case.f[50:70] - some).abs().max())
    same = torch.allclose(case.f[50:70], some, rtol=1e-4, atol=1e-5)
    require(same, f"in a batch of 20 instead of 200 they are off by {off:.2g}")


@check("features-moments", "`push` forgets the offset, or takes the matrix for its transpose")
def moments(case: Embedded) -> None:
    """Linear features carry mean and covariance over as they carry the samples.

    A metric takes the target's moments from it, instead of samples.
    """
    if not (isinstance(case.phi, LinearFeatures) and isinstance(case.target, HasMoments)):
        raise NotApplicable("they are not linear, or the target's moments are not known")
    flat, f = case.x.flatten(1), case.f.double()
    m, C = case.phi.push(flat.mean(0), torch.cov(flat.T).reshape(flat.shape[1], -1))
    require(torch.allclose(m, f.mean(0), atol=1e-6), f"the mean is off by {float((m - f.mean(0)).abs().max()):.2g}")
    off = (C - torch.cov(f.T).reshape(C.shape)).abs()
    require(float(off.max()) <= 1e-6 + 1e-5 * float(C.abs().max()), f"the covariance is off by {float(off.max()):.2g}")


@check("features-global-rng", "weights that are initialised at the first call, without torch.random.fork_rng")
def global_rng(case: Embedded) -> None:
    """The global random numbers are neither drawn from nor seeded.

    What else the program does would change the figure, and the figure what else it does.
    """
    features = case.features

    @torch.no_grad()
    def used() -> Tensor:
        return (features.fit(case.x) if isinstance(features, FitsData) else features)(case.x[:50])

    require(alone(used)[1], "global random numbers are drawn or seeded")


CHECKS = (shape, finite, repeatable, rows, moments, global_rng)


def cases(features: Features | FitsData, targets: Mapping[str, Target]) -> Iterator[Case]:
    """Yield features for each target."""
    for name, target in targets.items():
        yield Case(name, Embedded(features, target))


def check_features(features: Features | FitsData, target: Target | None = None) -> list[Finding]:
    """Check that features are vectors, one a row, that depend on that row alone and not on chance.

    Args:
        features: The features.
        target: What they embed; by default three bells in the plane.

    Raises:
        NotKept: Something does not hold.
    """
    return kept(examine(CHECKS, cases(features, {"": BellsTarget() if target is None else target})))
