"""How a scheduler of diffusers is run: its noise levels are put where it keeps them, and it is asked step by step.

A scheduler computes its levels from a table of betas, in float32 and at whole indices. Here they are replaced, after
`set_timesteps`, by those of the grid in float64; everything else is the scheduler's own.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor

from samplerhub import Problem
from samplerhub_peers.noise import Noise
from samplerhub_peers.peer import Peer, imported


class Scheduler(Peer, ABC):
    """A scheduler of diffusers, by the name of its class."""

    scheduler: ClassVar[str]

    def settings(self) -> dict[str, Any]:
        """Return the arguments of its constructor."""
        return {}

    def arguments(self) -> dict[str, Any]:
        """Return what its `step` is told beside output, time, state and generator."""
        return {}

    def place(self, scheduler: Any, levels: Tensor, noise: Noise, like: Tensor) -> Tensor:
        """Put the grid where the scheduler keeps it, and return the noise levels at which the model is asked."""
        scheduler.sigmas = levels.clone()
        return levels[:-1]

    @abstractmethod
    def scale(self, rho: float) -> float:
        """Return x/y at a noise level, x being the state of the scheduler."""

    @abstractmethod
    def output(self, problem: Problem, y: Tensor, rho: float) -> Tensor:
        """Return what the network of the scheduler would say."""

    def states(self, problem: Problem, y: Tensor, levels: Tensor, noise: Noise) -> Iterator[Tensor]:
        """Yield the state whenever the scheduler has come to a node of the grid."""
        scheduler = self.made(len(levels) - 1)
        x = with_coordinates(y)
        asked = self.place(scheduler, levels, noise, x).tolist()
        names = torch.arange(float(len(asked)), 0, -1)
        scheduler.timesteps = names
        scheduler.set_begin_index(0)
        scheduler.is_scale_input_called = True
        takes = inspect.signature(scheduler.step).parameters
        arguments = {**self.arguments(), **({"generator": noise.generator} if "generator" in takes else {})}
        nodes, stages = levels.tolist(), len(asked) // (len(levels) - 1)
        x = x * self.scale(nodes[0])
        for i, (name, rho) in enumerate(zip(names, asked)):
            output = self.output(problem, x.view(y.shape) / self.scale(rho), rho).view(x.shape)
            with noise, torch.no_grad():
                x = scheduler.step(output, name, x, **arguments).prev_sample
            if (i + 1) % stages == 0:
                yield x.view(y.shape) / self.scale(nodes[(i + 1) // stages])

    def made(self, steps: int) -> Any:
        """Return the scheduler for so many steps; where it can be told to, it adds no last step to noise level 0.

        Its table of betas, which is not used, has no more rows than it needs.
        """
        original = getattr(imported("diffusers", "diffusers"), self.scheduler)
        ends = "final_sigmas_type" in inspect.signature(original.__init__).parameters
        fixed = {"num_train_timesteps": steps + 1, **({"final_sigmas_type": "sigma_min"} if ends else {})}
        scheduler = original(**fixed, **self.settings())
        scheduler.set_timesteps(steps)
        return scheduler


class Exploding(Scheduler, ABC):
    """A scheduler whose state is x = x_0 + rho eps, and whose network predicts eps."""

    def scale(self, rho: float) -> float:
        """Return 1."""
        return 1.0

    def output(self, problem: Problem, y: Tensor, rho: float) -> Tensor:
        """Return eps."""
        return problem.eps(y, rho)


class Preserving(Scheduler, ABC):
    """A scheduler whose state is x = (x_0 + rho eps)/sqrt(1 + rho^2), and whose network predicts eps."""

    def scale(self, rho: float) -> float:
        """Return alpha."""
        return float((1 + rho**2) ** -0.5)

    def output(self, problem: Problem, y: Tensor, rho: float) -> Tensor:
        """Return eps."""
        return problem.eps(y, rho)


class Preconditioned(Exploding, ABC):
    """A scheduler whose network is EDM's F: D = c_skip y + c_out F."""

    sigma_data: ClassVar[float] = 0.5

    def output(self, problem: Problem, y: Tensor, rho: float) -> Tensor:
        """Return F."""
        total = rho**2 + self.sigma_data**2
        c_skip, c_out = self.sigma_data**2 / total, rho * self.sigma_data / total**0.5
        F: Tensor = (problem.x0(y, rho) - c_skip * y) / c_out
        return F


class Straight(Scheduler, ABC):
    """A scheduler of flow matching: x = (1 - sigma) x_0 + sigma eps, and the network predicts eps - x_0."""

    def scale(self, rho: float) -> float:
        """Return 1 - sigma."""
        return 1 / (1 + rho)

    def output(self, problem: Problem, y: Tensor, rho: float) -> Tensor:
        """Return eps - x_0."""
        eps = problem.eps(y, rho)
        v: Tensor = (1 + rho) * eps - y
        return v


def with_coordinates(y: Tensor) -> Tensor:
    """Return states of shape (n,) as (n, 1): some schedulers ask for a second dimension."""
    return y[:, None] if y.ndim == 1 else y


def twice(levels: Tensor) -> Tensor:
    """Return rho_0, rho_1, rho_1, ..., rho_(N-1), rho_(N-1), rho_N: two entries for each step."""
    return levels.repeat_interleave(2)[1:-1]


def between(nodes: Tensor, inner: Tensor) -> Tensor:
    """Return the starts of the steps and the levels inside them, in turns."""
    return torch.stack([nodes[:-1], inner], 1).flatten()
