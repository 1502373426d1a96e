"""The exact law of a sampler's output, without Monte Carlo, where it can be had.

* `affine`: the model is affine and the steps are fixed: the law is normal, in any dimension
* `pushforward`: on the line, a sampler that draws no noise is one map of the starting point
* `chain`: on the line, a grid sampler that draws noise and has no memory is followed from leg to leg
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor

from samplerhub.capabilities import IsGaussian
from samplerhub.errors import Mismatch
from samplerhub.law.affine import Direction as Direction
from samplerhub.law.affine import GaussianLaw as GaussianLaw
from samplerhub.law.affine import affine_laws
from samplerhub.law.chain import Chain
from samplerhub.law.finite import check_finite
from samplerhub.law.flow import Flow, draws_noise
from samplerhub.law.line import LineLaw as LineLaw
from samplerhub.law.normal import normal_kl as normal_kl
from samplerhub.protocols import Target
from samplerhub.setup import Setup


class Law(Protocol):
    """The law of y = x/alpha at one time of a run."""

    @property
    def t(self) -> float:
        """The time."""
        ...

    @property
    def rho(self) -> float:
        """Noise level; 0 where the state was denoised."""
        ...

    @property
    def mean(self) -> Tensor:
        """Mean of the flattened state, shape (D,), float64."""
        ...

    @property
    def covariance(self) -> Tensor:
        """Its covariance, shape (D, D)."""
        ...

    def kl(self, target: Target, direction: Direction = "forward") -> float:
        """Return H(law | target) (forward) or H(target | law) (reverse) at the law's noise level, in nats.

        Raises:
            Mismatch: The target has no density there.
        """
        ...

    def error(self, target: Target, direction: Direction = "forward") -> float:
        """Return an estimate of the error in `kl` that comparing two finenesses does not show."""
        ...


@dataclass(frozen=True, slots=True)
class ExactLaw:
    """The exact law of a run, to be had at any of its times."""

    method: Literal["affine", "pushforward", "chain"]
    """How it is found: see `samplerhub.law`."""
    laws: Callable[[Sequence[int], float], Sequence[Law]]
    """Return the laws at indices into the times of the run, increasing, at a fineness (1, 2, 4, ...)."""

    def last(self, setup: Setup, fineness: float = 1.0) -> Law:
        """Return the law at the end of the run."""
        return self.laws([len(setup.times) - 1], fineness)[-1]


def exact_law(setup: Setup) -> ExactLaw:
    """Return the way to the exact law of a run's output, after a few runs of some rows that check that it holds.

    The law is that of the sampler in float64. What is left of numerical error shows in a comparison of two finenesses:
    every rule converges exponentially where the model is smooth.

    Raises:
        Mismatch: It cannot be had: says why, and what to choose instead.
    """
    check_finite(setup)
    line = setup.shape == (1,)
    if isinstance(setup.target, IsGaussian) or not line:
        try:
            affine_laws(setup, [len(setup.times) - 1])
            return ExactLaw("affine", lambda at, fineness: affine_laws(setup, at))
        except Mismatch:
            if not line:
                raise
    if not draws_noise(setup):
        return ExactLaw("pushforward", Flow(setup).laws)
    return ExactLaw("chain", Chain(setup).laws)
