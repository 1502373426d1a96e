"""An adaptive solver for the reverse SDE (Jolicoeur-Martineau et al., 2021)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field
from torch import Tensor

from samplerhub import Component, Problem, Step, alpha, broadcast, normal, rho, time_at
from samplerhub.errors import InvalidSetting


class GottaGoFast(Component):
    r"""Adaptive solver for the reverse SDE by a pair of orders 1 and 2, each sample with steps of its own.

    In y = x/alpha and u = rho^2 (the paper: x and t), where the noise is additive and h = u_t - u_s,

        K_1 = h (1 + gamma)/2 score(y, u_t) + sqrt(gamma) dW,    y' = y + K_1
        K_2 = h (1 + gamma)/2 score(y', u_s) + sqrt(gamma) dW,   y_s = y + (K_1 + K_2)/2

    A step is accepted if the two solutions are close enough,

        err = rms_i( (y_s - y')_i / max(atol, rtol max(|y'_i|, |y'_prev,i|)) ) <= 1,

    y'_prev being y' of the last accepted step. The length of the next in log rho is that of this one times
    0.9 err^-r, kept between 0.2 and 5. Two evaluations an attempt.

    **Noise after a rejection.** Whether a step is rejected depends on its noise; to draw it anew, as the paper does,
    picks mild noise and biases the law. Here the path W is fixed once any of it has been seen: a shorter step gets its
    share by a Brownian bridge, and the rest is kept for the steps that follow, none of which steps over the end of a
    known piece. Noise is drawn for all samples at each attempt, needed or not: a sample does not depend on the others.

    References:
        Gotta Go Fast When Generating Data with Score-Based Models (Jolicoeur-Martineau et al., 2021), arXiv:2105.14080
        Adaptive methods for stochastic differential equations via natural embeddings and rejection sampling with memory
            (Rackauckas and Nie, 2017), doi:10.3934/dcdsb.2017133
    """

    churn: float = Field(1.0, ge=0)
    """Stochasticity gamma in drift and noise: 0 is the probability-flow ODE, 1 the reverse SDE, larger is noisier."""
    rtol: float = Field(0.05, gt=0)
    """Tolerance relative to the size of each coordinate."""
    atol: float = Field(0.01, gt=0)
    """Absolute tolerance of each coordinate, in units of the data."""
    exponent: float = Field(0.9, ge=0.5, le=1)
    """The exponent r with which the error decides on the next step."""
    first_step: float = Field(0.01, gt=0, le=1)
    """Length of the first attempt, as a share of the way in log rho."""
    max_step: float = Field(1.0, gt=0)
    """Longest step in log rho: a bound on stepping over structure unseen."""
    max_steps: int = Field(10_000, ge=1)
    """Attempts after which a run is given up."""
    budget: int | None = Field(None, ge=2)
    """Evaluations per sample to stay within (set by --nfe), rejecting no step; none: what the tolerances need."""
    last: Literal["stop", "denoise"] = "stop"
    """What happens at the end: stop, or replace the state by its posterior mean, as in the paper (one evaluation)."""

    order: ClassVar[int] = 2

    def gamma(self, rho: float) -> float:
        """Stochasticity at a noise level: `churn`."""
        return self.churn

    def within(self, nfe: int) -> Self:
        """Return the sampler with that budget."""
        least = 2 + (self.last == "denoise")
        if nfe < least:
            raise InvalidSetting(f"nfe = {nfe}: sampler {type(self).__name__} needs at least {least}")
        return self.replace(budget=nfe)

    def __call__(self, problem: Problem, x: Tensor, times: Tensor, rng: torch.Generator) -> Iterator[Step]:
        """Yield the states whenever at least one sample has moved; t and rho have shape (n,)."""
        process = problem.process
        start, end = rho(process, times[[0, -1]]).tolist()
        y = x / alpha(process, times[0]).item()
        u = torch.full((len(x),), start**2, dtype=torch.float64, device=x.device)
        t, t_end = times[0].to(u).expand_as(u), times[-1].to(u)

        # The samples that are still on their way: which they are, and where each of them is.
        on = torch.arange(len(x), device=x.device)
        y_t, y_prev, u_t, W = y, y, u, BrownianPath(y)
        length = torch.full_like(u, 2 * self.first_step * math.log(start / end))  # in log u
        attempts = self.max_steps if self.budget is None else (self.budget - (self.last == "denoise")) // 2
        for i in range(attempts):
            length = length.clamp(max=2 * self.max_step)
            if self.budget:
                length = torch.maximum(length, (u_t / end**2).log() / (attempts - i))
            u_s = u_t * (-length).exp()
            u_s = torch.where((u_s / end**2).log() <= 0.01 * length, end**2, u_s)
            dW = None
            if self.churn:
                u_s, dW = W.piece(u_t, u_s, normal(y, rng)[on])
            y_mid, y_s, err = self._attempt(problem, y_t, y_prev, u_t, u_s, dW)

            accepted = (err <= 1) | (err.isfinite() if self.budget else False)
            factor = (0.9 * err**-self.exponent).clamp(0.2, 5.0).nan_to_num(0.2)
            length = factor * (u_t / u_s).log()
            moved = accepted.view(-1, *(1,) * (y.ndim - 1))
            y_t, y_prev = torch.where(moved, y_s, y_t), torch.where(moved, y_mid, y_prev)
            u_t = torch.where(accepted, u_s, u_t)
            W.advance(accepted)
            left = u_t > end**2
            arrived = not bool(left.any())
            if bool(accepted.any()):
                y, u = y.index_copy(0, on, y_t), u.index_copy(0, on, u_t)
                if arrived and self.last == "denoise":
                    yield Step(t_end.expand_as(u), problem.x0(y, end), 0.0)
                else:
                    level = u.sqrt()
                    t = torch.where(u > end**2, torch.minimum(t, time_at(process, level)), t_end)
                    yield Step(t, y * broadcast(alpha(process, t), y), level)
            if arrived:
                return
            if not bool(left.all()):
                on, y_t, y_prev, u_t, length = on[left], y_t[left], y_prev[left], u_t[left], length[left]
                W.keep(left)
        raise InvalidSetting(
            f"max_steps = {self.max_steps} attempts were not enough for {len(on)} of {len(x)} samples, the furthest "
            f"behind at noise level {u_t.max().sqrt().item():g}; loosen rtol = {self.rtol:g} and atol = {self.atol:g}, "
            "or use dtype float64"
        )

    def _attempt(
        self, problem: Problem, y: Tensor, y_prev: Tensor, u_t: Tensor, u_s: Tensor, dW: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the two solutions and the error, shape (n,), of one step for every sample."""
        drift = broadcast((1 + self.churn) / 2 * (u_t - u_s), y)
        start = y if dW is None else torch.add(y, dW, alpha=math.sqrt(self.churn))
        score = problem.score(y, u_t.sqrt())
        y_mid = start + drift * score
        y_s = start + drift / 2 * (score + problem.score(y_mid, u_s.sqrt()))
        scale = (self.rtol * torch.maximum(y_mid.abs(), y_prev.abs())).clamp(min=self.atol)
        err = ((y_s - y_mid) / scale).reshape(len(y), -1)
        return y_mid, y_s, err.double().square().mean(1).sqrt()


class BrownianPath:
    """A Brownian path in falling u for each sample, revealed piece by piece; what has been seen stays.

    For each sample a stack of known pieces, the next one on top: where it ends, and how much the path rises over it.
    """

    def __init__(self, like: Tensor) -> None:
        self.depth = torch.zeros(len(like), dtype=torch.long, device=like.device)
        self.ends = torch.zeros(0, len(like), dtype=torch.float64, device=like.device)
        self.rises = like.new_zeros(0, *like.shape)

    def piece(self, u_t: Tensor, u_s: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return the end and the rise of a piece from u_t to u_s, or to where the known piece ends if that is nearer.

        Args:
            u_t: Where each sample is, shape (n,).
            u_s: Where it would go.
            z: Standard normal noise, shape (n, *d), for what is not known yet.
        """
        if int(self.depth.max()) == len(self.ends):
            self.ends = torch.cat([self.ends, torch.zeros_like(self.ends[:1]) if len(self.ends) else u_t[None]])
            self.rises = torch.cat([self.rises, torch.zeros_like(z)[None]])
        rows = torch.arange(len(u_t), device=u_t.device)
        top = (self.depth - 1).clamp(min=0)
        end, rise = self.ends[top, rows], self.rises[top, rows]
        fresh = self.depth == 0
        share = (u_t - u_s) / (u_t - end).clamp(min=torch.finfo(torch.float64).tiny)
        split = ~fresh & (share < 0.99)

        # Nothing is known: an increment of variance h. A piece is known: a Brownian bridge over a share of it.
        variance = (u_t - u_s) * torch.where(fresh, 1, (1 - share).clamp(min=0))
        part = broadcast(torch.where(fresh, 0, share), z) * rise + broadcast(variance.sqrt(), z) * z
        self.rises[top, rows] = torch.where(broadcast(split, z).bool(), rise - part, rise)
        new = fresh | split
        self.depth = self.depth + new
        self.ends[self.depth[new] - 1, rows[new]] = u_s[new]
        self.rises[self.depth[new] - 1, rows[new]] = part[new]
        return self.ends[self.depth - 1, rows], self.rises[self.depth - 1, rows]

    def advance(self, accepted: Tensor) -> None:
        """Leave the pieces over which samples have stepped."""
        self.depth = self.depth - accepted.long()

    def keep(self, left: Tensor) -> None:
        """Forget the samples that have arrived."""
        self.depth, self.ends, self.rises = self.depth[left], self.ends[:, left], self.rises[:, left]
