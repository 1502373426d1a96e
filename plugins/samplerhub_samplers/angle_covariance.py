"""Adams methods in the angles of the principal directions of the data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from samplerhub import ForwardProcess, HasMoments, Leg, MultistepSampler, Problem, Run, Step, alpha
from samplerhub_samplers.angle import Angle
from samplerhub_samplers.clocks import data_scale


class AngleCovariance(MultistepSampler):
    r"""Adams methods in the angles of the principal directions of the data.

    In them the flow of any Gaussian stands still. With mean m and covariance U diag(s_1^2, ..., s_D^2) U^T of the data,
    the coordinates U^T (y - m) are each solved as by the sampler `angle`, with sigma_data = s_d. Where the target does
    not know its moments, all directions are alike, and this is `angle`.

    References:
        Simplifying, Stabilizing and Scaling Continuous-Time Consistency Models (Lu and Song, 2025), arXiv:2410.11081,
            TrigFlow's angle
    """

    order: int = Field(3, ge=1, le=6)
    """Order of convergence, the corrector included."""
    corrector: Literal["moulton", "none"] = "moulton"
    """Improve each state by the evaluation there (moulton, no evaluation more), or do not."""
    scales: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    """Standard deviations along the coordinates of the state; none: along the principal directions of the target."""

    FLOOR: ClassVar[float] = 1e-3
    """Smallest scale, relative to the largest: a direction in which the data do not vary has no angle of its own."""

    @property
    def depth(self) -> int:
        """As many evaluations as the order."""
        return self.order

    def clock(self, process: ForwardProcess, rho: Tensor) -> Tensor:
        """Return the angle of the largest scale; `weights` uses one for each."""
        return torch.atan(rho / max(self.scales or (1.0,)))

    def __call__(self, problem: Problem, x: Tensor, times: Tensor, rng: torch.Generator) -> Iterator[Step]:
        """Yield the state after each leg of the grid."""
        if self.scales is not None:
            yield from super().__call__(problem, x, times, rng)
            return
        if not isinstance(problem.target, HasMoments):
            yield from self._alike(data_scale(problem))(problem, x, times, rng)
            return
        mean, variances, axes = problem.once("principal directions", lambda: principal(problem.target))
        s = variances.clamp(min=0).sqrt()
        s = s.clamp(min=self.FLOOR * s[-1])
        view = PrincipalProblem(problem, tuple(x.shape[1:]), mean.to(x), axes.to(x))
        start = alpha(problem.process, times[0]).item()
        for step in self.replace(scales=tuple(s.tolist()))(view, view.seen(x, start), times, rng):
            scale = 1.0 if step.rho == 0 else alpha(problem.process, step.t).item()
            yield Step(step.t, view.unseen(step.x, scale), step.rho)

    def evaluate(self, problem: Problem, y: Tensor, rho: float) -> Tensor:
        """Return F(y, rho) in each direction."""
        s = torch.tensor(self.scales, dtype=y.dtype, device=y.device)
        Phi = (rho**2 + s**2).sqrt()
        return y * (rho / (Phi * s)) - problem.eps(y, rho) * (Phi / s)

    def weights(self, process: ForwardProcess, legs: Sequence[Leg]) -> list[tuple[float, ...]]:
        """Return the numbers of `angle` for the first direction, the second, and so on, one after the other."""
        return self._of_each([angle.weights(process, legs) for angle in self._angles()])

    def corrections(self, process: ForwardProcess, legs: Sequence[Leg]) -> list[tuple[float, ...]]:
        """Return the corrector's numbers, likewise."""
        return self._of_each([angle.corrections(process, legs) for angle in self._angles()])

    def step(self, run: Run, y: Tensor, leg: Leg) -> Tensor:
        """Return a y + sum_j w_j F_j with numbers of its own for each direction."""
        return self._weighted_sum(y, leg.weights, run.past)

    def corrected(self, run: Run, y: Tensor, e: Tensor) -> Tensor:
        """Return the state that was predicted as y, improved by the evaluation e there."""
        if run.arrived is None or not run.arrived[0].correction:
            return y
        before, start = run.arrived
        return self._weighted_sum(start, before.correction, (e, *run.past))

    def _alike(self, s: float) -> Angle:
        """Return the isotropic sampler with the same fields."""
        return Angle.model_validate({**self.model_dump(exclude={"scales"}), "sigma_data": s})

    def _angles(self) -> list[Angle]:
        return [self._alike(s) for s in self.scales or (1.0,)]

    @staticmethod
    def _of_each(numbers: list[list[tuple[float, ...]]]) -> list[tuple[float, ...]]:
        return [tuple(number for direction in leg for number in direction) for leg in zip(*numbers)]

    def _weighted_sum(self, y: Tensor, numbers: Sequence[float], values: Sequence[Tensor]) -> Tensor:
        a, *weights = torch.tensor(numbers, dtype=y.dtype, device=y.device).view(len(self.scales or (1.0,)), -1).T
        total: Tensor = y * a
        for w, v in zip(weights, values):
            total.addcmul_(w.expand_as(v), v)
        return total


def principal(target: object) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean of the data, and the variances along its principal directions with these as columns."""
    assert isinstance(target, HasMoments)
    mean, covariance = target.moments()
    return mean, *torch.linalg.eigh(covariance)


class PrincipalProblem(Problem):
    """A problem in the coordinates of the principal directions of the data, U^T (y - mean), shape (n, D)."""

    __slots__ = ("axes", "mean", "own_shape", "problem")

    def __init__(self, problem: Problem, own_shape: tuple[int, ...], mean: Tensor, axes: Tensor) -> None:
        super().__init__(problem.process, problem.model, shape=tuple(mean.shape), span=problem.span, memo=problem.memo)
        self.problem = problem
        self.own_shape = own_shape
        self.mean = mean
        self.axes = axes

    def eps(self, y: Tensor, rho: float | Tensor) -> Tensor:
        """Predicted noise, turned."""
        return self.problem.eps(self.unseen(y, 1.0), rho).reshape(y.shape) @ self.axes

    def x0(self, y: Tensor, rho: float | Tensor) -> Tensor:
        """Posterior mean of the data, moved and turned."""
        return self.seen(self.problem.x0(self.unseen(y, 1.0), rho), 1.0)

    def seen(self, x: Tensor, alpha: float) -> Tensor:
        """Return U^T (x - alpha mean), shape (n, D)."""
        return (x.reshape(len(x), -1) - alpha * self.mean) @ self.axes

    def unseen(self, x: Tensor, alpha: float) -> Tensor:
        """Return U x + alpha mean, in its own shape."""
        return (x @ self.axes.T + alpha * self.mean).view(-1, *self.own_shape)
