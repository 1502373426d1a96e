"""How a sampler of azula is run: its denoiser is the problem, and its time is the noise level."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor

from samplerhub import Problem
from samplerhub_peers.noise import Noise
from samplerhub_peers.peer import Peer, imported


class Azula(Peer, ABC):
    """A sampler of azula, by the name of its class; its fields are that class's arguments."""

    sampler: ClassVar[str]

    def made(self, denoiser: Denoiser, levels: Tensor) -> Any:
        """Return azula's object, whose times are the noise levels of the grid."""
        original = getattr(imported("azula.sample", "azula"), self.sampler)
        given = type(self.sampler, (original,), {"timesteps": levels})
        return given(denoiser, silent=True, **self.model_dump())


class OneStep(Azula, ABC):
    """A sampler with a `step` of its own."""

    def states(self, problem: Problem, y: Tensor, levels: Tensor, noise: Noise) -> Iterator[Tensor]:
        """Yield what each step returns."""
        sampler = self.made(Denoiser(problem), levels)
        for t, s in pairwise(levels):
            with noise, torch.no_grad():
                y = sampler.step(y, t, s)
            yield y


class Multistep(Azula, ABC):
    """A sampler that remembers its evaluations, and has one loop over all of its times.

    The states on the way are those for which it asks its denoiser; they are yielded when the last of them is there.
    """

    order: int
    """Number of evaluations that the polynomial passes through."""

    def states(self, problem: Problem, y: Tensor, levels: Tensor, noise: Noise) -> Iterator[Tensor]:
        """Yield the states that were evaluated but for the first, then what the sampler returns."""
        denoiser = Denoiser(problem)
        with noise:
            end = self.made(denoiser, levels)(y)
        yield from denoiser.asked[1:]
        yield end


class Schedule:
    """x_t = x_0 + t eps: the time is the noise level."""

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return alpha and sigma."""
        return torch.ones_like(t), t


class Denoiser:
    """The problem as azula calls it: a posterior of the state and the time, of which it reads the mean."""

    def __init__(self, problem: Problem) -> None:
        self.schedule = Schedule()
        self.asked: list[Tensor] = []
        """States at which the mean was asked for."""
        self._problem = problem
        self._posterior = imported("azula.denoise", "azula").DiracPosterior

    def __call__(self, x_t: Tensor, t: Tensor) -> Any:
        """Return the posterior."""
        self.asked.append(x_t)
        return self._posterior(mean=self._problem.x0(x_t, t.item()))
