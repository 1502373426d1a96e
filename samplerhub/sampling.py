r"""The one loop over times: under it a sampler is one `step`, churn works for all, and history is kept on one path.

**Coordinates.** The loop carries y = x/alpha. A grid of N + 1 times is N legs; what depends on the grid alone
(times, noise levels, the noise of churn, the weights of a method) is computed once, in float64, as Python floats.

**Churn.** The reverse dynamics of the field is one family with gamma >= 0,

    dy = (1 + gamma)/2 score(y, rho) (-d rho^2) + sqrt(gamma) dW(-rho^2),

gamma = 0 the probability-flow ODE, gamma = 1 the reverse SDE. For a deterministic method `churn` is that gamma: before
the step from rho_t to rho_s, noise of variance churn (rho_t^2 - rho_s^2) is added, and the step starts from
rho_hat^2 = rho_t^2 + churn (rho_t^2 - rho_s^2), capped at the start of the process. As the mesh shrinks this is the SDE
above, and with an exact score and flow the marginal law is exact at every mesh.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from samplerhub import process as derived
from samplerhub.component import Component
from samplerhub.noise import normal
from samplerhub.problem import Problem
from samplerhub.protocols import ForwardProcess, Step


@dataclass(frozen=True, slots=True)
class Leg:
    """One step of a grid as numbers: from t (now, after any noise has been added) to s (next)."""

    t: float
    rho_t: float
    alpha_t: float
    s: float
    rho_s: float
    alpha_s: float
    rho_before: float
    """Noise level at the node, before the noise of churn; equal to rho_t without churn."""
    noise: float = 0.0
    """Standard deviation of the noise of churn, in y."""
    weights: tuple[float, ...] = ()
    """The method's own numbers for this leg."""
    correction: tuple[float, ...] = ()
    """The numbers of a multistep method's corrector, which improves the state at s once it is evaluated there."""

    @property
    def churned(self) -> bool:
        """Whether noise is added at the node before the step."""
        return self.rho_t > self.rho_before


class Run:
    """What one pass over the grid carries: the door to the model, the noise, past evaluations (newest first)."""

    __slots__ = ("arrived", "past", "problem", "rng")

    def __init__(self, problem: Problem, rng: torch.Generator, memory: int) -> None:
        self.problem = problem
        self.rng = rng
        self.past: deque[Tensor] = deque(maxlen=memory)
        self.arrived: tuple[Leg, Tensor] | None = None
        """The leg before and the state from which it started, where a corrector is to improve its end."""

    def noise(self, y: Tensor) -> Tensor:
        """Standard normal noise of the shape of y."""
        return normal(y, self.rng)

    def disturb(self, y: Tensor, leg: Leg) -> Tensor:
        """Add the noise of churn: y at leg.rho_before becomes y at leg.rho_t."""
        return torch.add(y, self.noise(y), alpha=leg.noise)

    def shift(self, jump: Tensor) -> None:
        """Add a jump to every past evaluation."""
        self.past = deque((e + jump for e in self.past), maxlen=self.past.maxlen)


class GridSampler(Component, ABC):
    """A sampler that takes one step for each interval of the grid.

    A subclass gives `step`, and `weights` where it has numbers that depend on the grid alone.
    """

    churn: float = Field(0.0, ge=0)
    """Stochasticity gamma: 0 is the probability-flow ODE, 1 the reverse SDE, larger is noisier."""
    churn_window: tuple[float, float] | None = None
    """Noise levels (rho_low, rho_high) outside which churn is off; none: on everywhere."""
    churn_noise: float = Field(1.0, ge=0)
    """Factor on the noise of churn (EDM's S_noise); anything but 1 leaves a bias that no number of steps removes."""
    last: Literal["stop", "denoise"] = "stop"
    """What happens at the end of the grid: stop, or replace the state by its posterior mean (one evaluation more)."""

    stages: ClassVar[int] = 1
    """Model evaluations for a step."""
    own_noise: ClassVar[bool] = False
    """Whether it adds noise beyond that of gamma, so that in the limit of small steps it is another process."""

    @model_validator(mode="after")
    def _window_is_ordered(self) -> GridSampler:
        if self.churn_window is not None and not 0 <= self.churn_window[0] <= self.churn_window[1]:
            raise ValueError(
                f"churn_window {self.churn_window} must be (rho_low, rho_high) with 0 <= rho_low <= rho_high"
            )
        return self

    @abstractmethod
    def step(self, run: Run, y: Tensor, leg: Leg) -> Tensor:
        """Return y at leg.s from y at leg.t, shape (n, *d)."""

    def weights(self, process: ForwardProcess, legs: Sequence[Leg]) -> list[tuple[float, ...]]:
        """Return the method's numbers for each leg; they arrive in `step` as leg.weights."""
        return [()] * len(legs)

    @property
    def depth(self) -> int:
        """Number of evaluations that a step uses and that are therefore kept, the newest included."""
        return 0

    def gamma(self, rho: float) -> float:
        """Stochasticity at a noise level: `churn` inside the window, 0 outside."""
        low, high = self.churn_window or (0.0, math.inf)
        return self.churn if low <= rho <= high else 0.0

    def added_variance(self, rho_t: float, rho_s: float) -> float:
        """Variance, in y, of the noise that is added before the step from rho_t to rho_s."""
        return self.gamma(rho_t) * (rho_t**2 - rho_s**2)

    def legs(self, process: ForwardProcess, times: Tensor) -> list[Leg]:
        """Return everything about the run that is a number: the legs of the grid, with noise and weights."""
        t, rho, alpha = times.tolist(), derived.rho(process, times).tolist(), derived.alpha(process, times).tolist()
        ceiling = derived.rho(process, process.span[1]).item()
        variance = [self.added_variance(a, b) for a, b in itertools.pairwise(rho)]
        hat = [a if not v else max(a, min(math.sqrt(a**2 + v), ceiling)) for a, v in zip(rho, variance)]
        moved = [i for i, (a, a_hat) in enumerate(zip(rho, hat)) if a_hat > a]
        t_hat, alpha_hat = t[:-1], alpha[:-1]
        if moved:
            found = derived.time_at(process, [hat[i] for i in moved])
            for i, t_i, alpha_i in zip(moved, found.tolist(), derived.alpha(process, found).tolist()):
                t_hat[i], alpha_hat[i] = t_i, alpha_i
        legs = [
            Leg(
                t_hat[i], hat[i], alpha_hat[i], t[i + 1], rho[i + 1], alpha[i + 1], rho[i],
                self.churn_noise * math.sqrt(hat[i] ** 2 - rho[i] ** 2),
            )
            for i in range(len(t) - 1)
        ]  # fmt: skip
        return [replace(leg, weights=w) for leg, w in zip(legs, self.weights(process, legs))]

    def evaluations(self, process: ForwardProcess, times: Tensor) -> int:
        """Number of model evaluations for these times."""
        return self.stages * (len(times) - 1) + (self.last == "denoise")

    def advance(self, run: Run, y: Tensor, leg: Leg) -> Tensor:
        """Take one leg: the noise of churn, if any, then the step."""
        if leg.churned:
            y = run.disturb(y, leg)
        return self.step(run, y, leg)

    def __call__(self, problem: Problem, x: Tensor, times: Tensor, rng: torch.Generator) -> Iterator[Step]:
        """Yield the state after each leg of the grid."""
        key = (type(self), self.model_dump_json(), *times.tolist())
        legs = problem.once(key, lambda: self.legs(problem.process, times))
        run = Run(problem, rng, self.depth)
        alpha = derived.alpha(problem.process, times[0]).item()
        y = x if alpha == 1 else x / alpha
        for leg in legs[:-1]:
            y = self.advance(run, y, leg)
            yield Step(leg.s, y if leg.alpha_s == 1 else y * leg.alpha_s, leg.rho_s)

        leg = legs[-1]
        y = self.advance(run, y, leg)
        if self.last == "denoise":
            yield Step(leg.s, problem.x0(y, leg.rho_s), 0.0)
        else:
            yield Step(leg.s, y if leg.alpha_s == 1 else y * leg.alpha_s, leg.rho_s)


def weighted_sum(y: Tensor, weights: Sequence[float], values: Iterable[Tensor]) -> Tensor:
    """Return a y + sum_j w_j v_j for weights (a, w_0, w_1, ...), as few tensor operations as there are weights."""
    a, *rest = weights
    terms = zip(values, rest)
    v, w = next(terms)
    total = torch.add(y, v, alpha=w) if a == 1 else (y * a).add_(v, alpha=w)
    for v, w in terms:
        total.add_(v, alpha=w)
    return total


class MultistepSampler(GridSampler, ABC):
    r"""A grid sampler that interpolates past evaluations: y_s = a y + sum_j w_j e_j, one evaluation a step.

    With churn, evaluations made before the noise lie on another path, and using them as they are leaves weak order 1.
    `splice` keeps weak order 2, with the small errors of the higher orders before it: on a churned step the model is
    evaluated before the noise (e_pre) and after it (e_post), and every stored node is shifted by the jump,

        clock_j <- clock_j + (clock_hat - clock),    e_j <- e_j + (e_post - e_pre),

    so that all differences are taken along segments of the flow.

    A corrector, where a method has one, costs nothing: the evaluation at the predicted state, which the next step needs
    anyway, improves that state first, y_s = a y + w_new e_s + sum_j w_j e_j, and is kept as it is.
    """

    churn_history: Literal["splice", "keep", "reset"] = "splice"
    """Past evaluations at a churned step: shifted onto the new path (costs one evaluation), kept, or dropped."""

    @abstractmethod
    def clock(self, process: ForwardProcess, rho: Tensor) -> Tensor:
        """Return the variable in which past evaluations are interpolated, at noise levels rho; float64."""

    def corrections(self, process: ForwardProcess, legs: Sequence[Leg]) -> list[tuple[float, ...]]:
        """Return the corrector's numbers (a, w_new, w_0, w_1, ...) for each leg; without them there is no corrector."""
        return [()] * len(legs)

    def evaluate(self, problem: Problem, y: Tensor, rho: float) -> Tensor:
        """Return what is stored and interpolated: the predicted noise."""
        return problem.eps(y, rho)

    def step(self, run: Run, y: Tensor, leg: Leg) -> Tensor:
        """Return a y + sum_j w_j e_j."""
        return weighted_sum(y, leg.weights, run.past)

    def nodes(self, process: ForwardProcess, legs: Sequence[Leg]) -> list[tuple[float, ...]]:
        """Return, for each leg, the clock of the evaluations that enter it, newest first, after splicing."""
        levels = torch.tensor([[leg.rho_t, leg.rho_before] for leg in legs], dtype=torch.float64)
        clocks = self.clock(process, levels).tolist()
        past: tuple[float, ...] = ()
        nodes = []
        for leg, (c_hat, c) in zip(legs, clocks):
            if leg.churned and self.churn_history == "reset":
                past = ()
            if leg.churned and self.churn_history == "splice":
                past = tuple(c_j + (c_hat - c) for c_j in past)
            past = (c_hat, *past)[: self.depth]
            nodes.append(past)
        return nodes

    def legs(self, process: ForwardProcess, times: Tensor) -> list[Leg]:
        """Return the legs of the grid, with the numbers of predictor and corrector."""
        legs = super().legs(process, times)
        return [replace(leg, correction=c) for leg, c in zip(legs, self.corrections(process, legs))]

    def evaluations(self, process: ForwardProcess, times: Tensor) -> int:
        """One evaluation a step, two on a churned step whose history is spliced."""
        legs = self.legs(process, times)
        return super().evaluations(process, times) + sum(self.splices(a, b) for a, b in itertools.pairwise(legs))

    def splices(self, before: Leg, leg: Leg) -> bool:
        """Say whether a leg evaluates before its noise as well: to shift history, or to correct what was predicted."""
        return leg.churned and self.churn_history == "splice" and (self.depth > 1 or bool(before.correction))

    def advance(self, run: Run, y: Tensor, leg: Leg) -> Tensor:
        """Take one leg: evaluate, correct, add the noise of churn with what it does to history, and step."""
        if run.arrived and self.splices(run.arrived[0], leg):
            e_pre = self.evaluate(run.problem, y, leg.rho_before)
            y = run.disturb(self.corrected(run, y, e_pre), leg)
            e = self.evaluate(run.problem, y, leg.rho_t)
            run.shift(e - e_pre)
        elif leg.churned:
            y = run.disturb(y, leg)
            e = self.evaluate(run.problem, y, leg.rho_t)
            if self.churn_history == "reset":
                run.past.clear()
        else:
            e = self.evaluate(run.problem, y, leg.rho_t)
            y = self.corrected(run, y, e)
        run.past.appendleft(e)
        run.arrived = (leg, y)
        return self.step(run, y, leg)

    def corrected(self, run: Run, y: Tensor, e: Tensor) -> Tensor:
        """Return the state that was predicted as y, improved by the evaluation e there."""
        if run.arrived is None or not run.arrived[0].correction:
            return y
        before, start = run.arrived
        return weighted_sum(start, before.correction, (e, *run.past))
