"""The seam between samplerhub and a peer: what a peer is given, and what becomes of its states."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from importlib import import_module, metadata
from typing import Any, ClassVar

import torch
from torch import Tensor

from samplerhub import Component, ForwardProcess, Problem, Step, alpha, rho
from samplerhub.errors import BrokenPlugin
from samplerhub_peers.noise import Noise


class Peer(Component, ABC):
    r"""A sampler whose steps are taken by someone else's code.

    A peer sees every problem in the same form: the state y = x/alpha at noise levels rho_0 > rho_1 > ... > rho_N, and
    D(y, rho) = E[x_0 | y]. It reaches the model through `Problem` alone, so that every evaluation is counted, and draws
    from `Noise` alone, so that the global random numbers are left alone. The grid is given as it is: a peer whose own
    grids end with a jump to noise level 0 is not given that jump.
    """

    stages: ClassVar[int] = 1
    """Model evaluations for a step, as the method is documented."""

    @property
    def draws(self) -> bool:
        """Whether noise is drawn, with these fields."""
        return False

    @abstractmethod
    def states(self, problem: Problem, y: Tensor, levels: Tensor, noise: Noise) -> Iterator[Tensor]:
        """Yield y at levels[1], levels[2], ..., levels[N], from y at levels[0]; levels are float64."""

    def evaluations(self, process: ForwardProcess, times: Tensor) -> int:
        """Number of model evaluations for these times."""
        return self.stages * (len(times) - 1)

    def __call__(self, problem: Problem, x: Tensor, times: Tensor, rng: torch.Generator) -> Iterator[Step]:
        """Yield the state after each step of the grid."""
        levels, scale = rho(problem.process, times), alpha(problem.process, times).tolist()
        noise = Noise(rng if self.draws else None)
        states = self.states(problem, x / scale[0], levels, noise)
        for t, alpha_t, rho_t, y in zip(times.tolist()[1:], scale[1:], levels.tolist()[1:], states, strict=True):
            yield Step(t, y * alpha_t, rho_t)


def imported(module: str, distribution: str) -> Any:
    """Return a module of a peer.

    Raises:
        BrokenPlugin: It is installed, but cannot be imported.
    """
    try:
        return import_module(module)
    except Exception as error:
        raise unusable(distribution, error) from error


def unusable(distribution: str, error: Exception) -> BrokenPlugin:
    """Return what is said of a peer that cannot be imported."""
    try:
        version = metadata.version(distribution)
    except metadata.PackageNotFoundError:
        version = "of unknown version"
    return BrokenPlugin(
        f"{distribution} {version} is there, but cannot be imported: {type(error).__name__}: {error}. Install what it "
        "needs (the README of samplerhub-peers has the line), or choose another sampler"
    )
