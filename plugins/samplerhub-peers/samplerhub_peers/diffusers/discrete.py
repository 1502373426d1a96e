"""Schedulers of diffusers that know alpha^2 in a table by whole times: the table is the grid."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from samplerhub import Problem
from samplerhub_peers.diffusers.scheduler import Preserving, with_coordinates
from samplerhub_peers.noise import Noise
from samplerhub_peers.peer import imported


class Discrete(Preserving, ABC):
    """A scheduler of a table with a row for each node of the grid; the steps go from row to row."""

    def made(self, steps: int) -> Any:
        """Return the scheduler of as many rows as there are nodes."""
        original = getattr(imported("diffusers", "diffusers"), self.scheduler)
        return original(num_train_timesteps=steps + 1, clip_sample=False, **self.settings())

    def states(self, problem: Problem, y: Tensor, levels: Tensor, noise: Noise) -> Iterator[Tensor]:
        """Yield the state at each row, from the last but one to the first."""
        scheduler = self.made(len(levels) - 1)
        scheduler.alphas_cumprod = 1 / (1 + levels.flip(0) ** 2)
        arguments, nodes = self.arguments(), levels.tolist()
        x = with_coordinates(y) * self.scale(nodes[0])
        for row, (rho_t, rho_s) in enumerate(pairwise(nodes)):
            output = self.output(problem, x.view(y.shape) / self.scale(rho_t), rho_t).view(x.shape)
            with noise, torch.no_grad():
                x = scheduler.step(output, len(nodes) - 1 - row, x, generator=noise.generator, **arguments).prev_sample
            yield x.view(y.shape) / self.scale(rho_s)


class DDIM(Discrete):
    r"""DDIM, by diffusers' DDIMScheduler.

    References:
        Denoising Diffusion Implicit Models (Song, Meng and Ermon, 2021), arXiv:2010.02502
    """

    scheduler: ClassVar[str] = "DDIMScheduler"
    order: ClassVar[int] = 1

    eta: float = Field(0.0, ge=0, le=1)
    """Stochasticity: 0 is deterministic, 1 ancestral."""

    @property
    def draws(self) -> bool:
        """Whether noise is drawn."""
        return self.eta > 0

    def arguments(self) -> dict[str, Any]:
        """Return the field."""
        return {"eta": self.eta}

    def made(self, steps: int) -> Any:
        """Return the scheduler, whose steps go from a row to the one before."""
        scheduler = super().made(steps)
        scheduler.num_inference_steps = steps + 1
        return scheduler


class DDPM(Discrete):
    r"""Ancestral sampling, by diffusers' DDPMScheduler.

    References:
        Denoising Diffusion Probabilistic Models (Ho, Jain and Abbeel, 2020), arXiv:2006.11239
    """

    scheduler: ClassVar[str] = "DDPMScheduler"
    order: ClassVar[int] = 1
    draws: ClassVar[bool] = True

    variance_type: Literal["fixed_small", "fixed_large"] = "fixed_small"
    """Variance of a step: that of the data being a point, or being normal."""

    def settings(self) -> dict[str, Any]:
        """Return the field."""
        return self.model_dump()
