"""Error control for each sample: the one controller that all embedded methods share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from pydantic import Field
from torch import Tensor

from samplerhub import Component, Problem, Step, alpha, broadcast, rho, time_at
from samplerhub.errors import InvalidSetting, NotFinite
from samplerhub_samplers.clocks import Clock, ClockName, clock_of, data_scale
from samplerhub_samplers.tableaux import Tableau


@dataclass(frozen=True, slots=True)
class Attempt:
    """A step that was tried, for each sample."""

    y: Tensor
    """State at the end, shape (n, *d)."""
    error: Tensor
    """Estimate of its error, shape (n, *d)."""
    slopes: tuple[Tensor, Tensor] | None = None
    """Slopes at start and end, where the method has its first stage last: one of them begins the next step."""


class AdaptiveSampler(Component, ABC):
    r"""A sampler that chooses the steps of each sample by an estimate of their error.

    A step of a sample is accepted if its error is small enough,

        err = rms_i( e_i / (atol + rtol max(|y_i|, |y_s,i|)) ) <= 1,

    and the next step is that one times 0.9 err^(-1/q), kept between 0.2 and 5, q one more than the order of the lower
    method. No sample waits for another: one that has arrived costs nothing more, and what becomes of a sample does not
    depend on the batch. The grid gives the first and the last time. With a budget, a step is never shorter than what is
    left of the way divided by the attempts that are left, and a step of that length is accepted whatever its error.
    """

    rtol: float = Field(1e-5, gt=0)
    """Tolerance relative to the size of each coordinate."""
    atol: float = Field(1e-5, gt=0)
    """Absolute tolerance of each coordinate, in units of the data."""
    first_step: float = Field(0.1, gt=0, le=1)
    """Length of the first attempt, as a share of the way."""
    max_step: float = Field(0.15, gt=0, le=1)
    """Longest step, as a share of the way in the variable of integration: no structure is stepped over unseen."""
    max_steps: int = Field(10_000, ge=1)
    """Attempts after which a run is given up."""
    budget: int | None = Field(None, ge=1)
    """Evaluations per sample to stay within, whatever the error (set by --nfe); none: what the tolerances need."""

    def gamma(self, rho: float) -> float:
        """Stochasticity at a noise level: 0, the probability-flow ODE."""
        return 0.0

    @property
    @abstractmethod
    def exponent(self) -> float:
        """1/q of the step size control."""

    @property
    @abstractmethod
    def stages(self) -> tuple[int, int]:
        """Evaluations of an attempt, and how many more the first one takes."""

    def within(self, nfe: int) -> Self:
        """Return the sampler with that budget."""
        each, first = self.stages
        if nfe < each + first:
            raise InvalidSetting(f"nfe = {nfe}: sampler {type(self).__name__} needs at least {each + first}")
        return self.replace(budget=nfe)

    @abstractmethod
    def attempt(self, problem: Problem, y: Tensor, start: Tensor, end: Tensor, slope: Tensor | None) -> Attempt:
        """Try a step from noise levels `start` to `end`, shape (n,), for every sample."""

    @abstractmethod
    def clock(self, problem: Problem) -> Clock:
        """Return the variable in which steps are measured."""

    def __call__(self, problem: Problem, x: Tensor, times: Tensor, rng: torch.Generator) -> Iterator[Step]:
        """Yield the states whenever at least one sample has moved; t and rho have shape (n,)."""
        process, clock = problem.process, self.clock(problem)
        ends = rho(process, times[[0, -1]]).to(x.device)
        (first, last), (_, rho_last) = clock.at(ends).tolist(), ends.tolist()
        longest, way = self.max_step * (first - last), first - last
        y = x / alpha(process, times[0]).item()
        level, t = ends[:1].expand(len(x)), times[:1].to(ends).expand(len(x))

        # The samples that are still on their way: which they are, and where each of them is.
        on = torch.arange(len(x), device=x.device)
        y_t, rho_t, slope = y, level, None
        c, h = clock.at(rho_t), torch.full_like(level, self.first_step * way)
        each, first_time = self.stages
        attempts = self.max_steps if self.budget is None else (self.budget - first_time) // each
        for i in range(attempts):
            least = (c - last) / (attempts - i) if self.budget else torch.zeros_like(c)
            h = torch.maximum(h.clamp(max=longest), least)
            arrives = c - 1.01 * h <= last
            c_s = torch.where(arrives, last, c - h)
            rho_s = torch.where(arrives, rho_last, clock.level(c_s))
            tried = self.attempt(problem, y_t, rho_t, rho_s, slope)
            scale = self.atol + self.rtol * torch.maximum(y_t.abs(), tried.y.abs())
            err = (tried.error / scale).reshape(len(on), -1).double().square().mean(1).sqrt()

            accepted = (err <= 1) | ((h <= least) & err.isfinite())
            h = (0.9 * err ** (-self.exponent)).clamp(0.2, 5.0).nan_to_num(0.2) * (c - c_s)
            moved = accepted.view(-1, *(1,) * (y.ndim - 1))
            y_t = torch.where(moved, tried.y, y_t)
            if tried.slopes is not None:
                slope = torch.where(moved, tried.slopes[1], tried.slopes[0])
            rho_t, c = torch.where(accepted, rho_s, rho_t), torch.where(accepted, c_s, c)
            if bool(accepted.any()):
                y, level = y.index_copy(0, on, y_t), level.index_copy(0, on, rho_t)
                t = torch.minimum(t, time_at(process, level))
                yield Step(t, y * broadcast(alpha(process, t), y), level)

            left = rho_t > rho_last
            if not bool(left.any()):
                return
            if not bool(left.all()):
                on, y_t, rho_t, c, h = on[left], y_t[left], rho_t[left], c[left], h[left]
                slope = None if slope is None else slope[left]
        if not bool(err.isfinite().all()):
            raise NotFinite(
                f"the model returned NaN or infinity for {int((~err.isfinite()).sum())} of {len(x)} samples on steps "
                f"from noise level {rho_t.max().item():g} down, and shorter steps did not help"
            )
        raise InvalidSetting(
            f"max_steps = {self.max_steps} attempts were not enough for {len(on)} of {len(x)} samples, the furthest "
            f"behind at noise level {rho_t.max().item():g}; loosen rtol = {self.rtol:g} and atol = {self.atol:g}, "
            "or use dtype float64"
        )


class EmbeddedPair(AdaptiveSampler, ABC):
    """An embedded Runge-Kutta pair in any clock."""

    variable: ClockName = "angle"
    """The variable of integration: noise level, its logarithm, time, or the angle atan(rho/sigma_data)."""
    sigma_data: float | None = Field(None, gt=0)
    """Scale of the data, for the angle; none: as the model or the target says, else 1."""

    pair: ClassVar[Tableau]

    @property
    def exponent(self) -> float:
        """One over the order of the pair's higher method."""
        return 1 / self.pair.order

    @property
    def stages(self) -> tuple[int, int]:
        """One for each stage; the first stage is known from the step before, but for the first step."""
        return len(self.pair.b), 1

    def clock(self, problem: Problem) -> Clock:
        """Return the clock of that name."""
        known = self.variable != "angle" or self.sigma_data is not None
        return clock_of(self.variable, problem.process, self.sigma_data if known else data_scale(problem))

    def attempt(self, problem: Problem, y: Tensor, start: Tensor, end: Tensor, slope: Tensor | None) -> Attempt:
        """Take a step of the pair; its last stage is the first of the next step."""
        clock, pair = self.clock(problem), self.pair
        c_t, c_s = clock.at(start), clock.at(end)
        h = broadcast(c_s - c_t, y)
        Phi_t, A_t, B_t = (broadcast(number, y) for number in clock.frame(c_t))
        z_t = y / Phi_t
        k = [A_t * z_t + B_t * problem.eps(y, start) if slope is None else slope]
        y_s = y
        for a, node in zip((*pair.a[1:], pair.b), (*pair.c[1:], 1.0)):
            c = c_s if node == 1 else torch.lerp(c_t, c_s, node)
            Phi, A, B = (broadcast(number, y) for number in clock.frame(c))
            z = z_t + h * _sum(a, k)
            y_s = Phi * z
            k.append(A * z + B * problem.eps(y_s, end if node == 1 else clock.level(c)))
        return Attempt(y_s, Phi * h * _sum(pair.error, k), (k[0], k[-1]))


def _sum(weights: tuple[float, ...], values: list[Tensor]) -> Tensor:
    """Return sum_j w_j v_j without the terms that are 0."""
    terms = [w * v for w, v in zip(weights, values) if w]
    return torch.stack(terms).sum(0) if len(terms) > 3 else sum(terms[1:], terms[0])
