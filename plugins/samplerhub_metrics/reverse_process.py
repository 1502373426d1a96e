r"""The process in continuous time that a run approximates, as bounds and exact laws see it.

In y = x/alpha and v = rho^2 the forward process is out of the picture, and sampling goes from v_0 down to v_K by

    dy = (1 + gamma)/2 s(y, v) (-dv) + sqrt(gamma) dW(-v),    s = grad log p_v + eps,

s the model's score, eps its error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from samplerhub import Denoises, Density, Estimate, GridSampler, HasGamma, Point, Setup, alpha, kebab, normal, stream
from samplerhub.errors import Mismatch

Array = NDArray[np.float64]
EXACT = 1e-8
"""A model whose predicted noise is off by no more than that is exact up to rounding."""
TRIED = 32
"""States at each noise level where that is tried."""


@dataclass(frozen=True)
class ReverseProcess:
    """The reverse process of a run on intervals of v = rho^2."""

    setup: Setup
    v: Array
    """Ends of the intervals, (K + 1,), decreasing: gamma is constant inside each, and the recorded times are ends."""
    gamma: Array
    """Stochasticity inside each interval, (K,)."""

    @classmethod
    def of(cls, setup: Setup, steps: int) -> ReverseProcess:
        """Cut the range of a run into about so many intervals, even in log v.

        Raises:
            Mismatch: The sampler is not of the family, or its churn is not the family's noise.
        """
        gamma = gamma_of(setup)
        levels = setup.rho
        window = setup.sampler.churn_window if isinstance(setup.sampler, GridSampler) else None
        start, end = levels[0].item(), levels[-1].item()
        ends = {start, end, *levels[list(setup.path)].tolist(), *(w for w in window or () if end < w < start)}
        even = np.geomspace(start, end, steps + 1)[1:-1]
        # An even end that falls beside one that is given would make an interval of no length.
        given = np.array(sorted(ends))
        gap = np.abs(np.log(even[:, None] / given)).min(1)
        rho = np.sort(np.concatenate([given, even[gap > 0.01 * np.log(start / end) / steps]]))[::-1]
        middle = np.sqrt(rho[1:] * rho[:-1])
        return cls(setup, rho**2, np.array([gamma(level) for level in middle.tolist()]))

    @property
    def rho(self) -> Array:
        """Noise levels at the ends of the intervals, (K + 1,)."""
        return np.sqrt(self.v)

    @property
    def recorded(self) -> list[int]:
        """Indices of the recorded times among the ends."""
        levels = self.setup.rho[list(self.setup.path)].tolist()
        return [int(np.abs(self.v - level**2).argmin()) for level in levels]

    def estimate(
        self,
        values: Array,
        stderr: Array | None,
        details: Mapping[str, float | str],
        *,
        quantity: str = "",
        bounds: str = "",
    ) -> Estimate:
        """Return a figure, known at the ends of the intervals (K + 1,), at the end of the run and along its path."""
        setup = self.setup
        errors = [None] * len(values) if stderr is None else stderr.tolist()
        t, rho = setup.times.tolist(), setup.rho.tolist()
        at = zip(setup.path, self.recorded)
        curve = tuple(Point(t[i], rho[i], float(values[j]), errors[j]) for i, j in at)
        return Estimate(float(values[-1]), errors[-1], curve=curve, quantity=quantity, bounds=bounds, details=details)

    @cached_property
    def error(self) -> Callable[[Tensor, float], Tensor] | None:
        """The error eps(y, rho) of the model's score, shape of y; None where the model is exact.

        It is exact if it is so at the ends of all intervals and at all noise levels of the run.
        """
        levels = sorted({*self.rho.tolist(), *self.setup.rho.tolist()}, reverse=True)
        return self.setup.once(("score error", *levels), lambda: score_error(self.setup, levels))


def gamma_of(setup: Setup) -> Callable[[float], float]:
    """Return the sampler's gamma as a function of rho.

    Raises:
        Mismatch: It is not of the family of reverse SDEs.
    """
    sampler = setup.sampler
    if not isinstance(sampler, HasGamma):
        raise Mismatch(
            f"the sampler {kebab(type(sampler))!r} does not say its stochasticity gamma(rho), which the theory is "
            f"about; choose another, such as euler-maruyama or heun"
        )
    if isinstance(sampler, GridSampler) and sampler.own_noise:
        raise Mismatch(
            f"the sampler {kebab(type(sampler))!r} adds noise beyond that of gamma, and the theory is about gamma's "
            f"alone; choose another, such as euler-maruyama or heun"
        )
    if isinstance(sampler, GridSampler) and sampler.churn_noise != 1:
        raise Mismatch(
            f"churn_noise = {sampler.churn_noise:g}: the noise is not the one that belongs to the drift, and the "
            f"theory does not hold; set it to 1"
        )
    return sampler.gamma


def exact_score(setup: Setup) -> Callable[[Tensor, float], Tensor]:
    """Return grad log p as a function of y and rho, float64, from the posterior mean or the density of the target.

    Raises:
        Mismatch: The target has neither.
    """
    target = setup.target
    if isinstance(target, Denoises):
        denoise = target.denoise
        return lambda y, rho: (denoise(y, _level(y, rho)) - y) / rho**2
    if isinstance(target, Density):
        log_prob = target.log_prob

        def score(y: Tensor, rho: float) -> Tensor:
            with torch.enable_grad():
                y = y.detach().requires_grad_()
                (gradient,) = torch.autograd.grad(log_prob(y, _level(y, rho)).sum(), y)
            return gradient

        return score
    raise Mismatch(
        f"the exact score of the target {'' if target is None else kebab(type(target))!r} is not known, so that the "
        f"error of the model's cannot be told; choose a target that can 'denoise', such as mixture or gaussian"
    )


def score_error(setup: Setup, levels: Sequence[float]) -> Callable[[Tensor, float], Tensor] | None:
    """Return the error of the model's score, or None if it is exact up to rounding at these noise levels.

    Raises:
        Mismatch: The exact score is not known.
    """
    exact, problem = exact_score(setup), setup.problem()

    def error(y: Tensor, rho: float) -> Tensor:
        return problem.score(y, rho) - exact(y, rho)

    x_0, rng = target_samples(setup, TRIED, "score-error")

    def is_exact(rho: float) -> bool:
        # So written that a model which is not a number is not exact.
        return bool((rho * error(x_0 + rho * normal(x_0, rng), rho)).abs().max() <= EXACT)

    return None if all(is_exact(rho) for rho in levels) else error


def target_samples(setup: Setup, n: int, purpose: str) -> tuple[Tensor, torch.Generator]:
    """Return n samples of the target, float64, on the device of the run, and the stream that goes on from there."""
    rng = stream(setup.seed, purpose)
    assert setup.target is not None
    return setup.target.sample(n, rng).to(setup.device, torch.float64), rng


def start_of(setup: Setup, n: int, rng: torch.Generator) -> Tensor:
    """Return n starting states y, (n, *d), float64."""
    return setup.start(n, rng) / alpha(setup.process, setup.times[0]).item()


def _level(y: Tensor, rho: float) -> Tensor:
    return y.new_full((1,) * y.ndim, rho)
