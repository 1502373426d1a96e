"""How a function of k-diffusion is run: sample(model, y, levels), with a model of (y, sigma).

The noise levels are of the type of the state, as in k-diffusion's own scripts; in another they would change its type.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from torch import Tensor

from samplerhub import Problem
from samplerhub_peers.kdiffusion.source import sampling
from samplerhub_peers.noise import Noise
from samplerhub_peers.peer import Peer


class Function(Peer, ABC):
    """A sampler of k-diffusion, by the name of its function."""

    function: ClassVar[str]

    def options(self, steps: int, draw: Callable[[], Tensor]) -> dict[str, Any]:
        """Return the function's own arguments, of a run of so many steps."""
        return {}


class OneStep(Function, ABC):
    """A function without memory: it is called for each interval of the grid."""

    def states(self, problem: Problem, y: Tensor, levels: Tensor, noise: Noise) -> Iterator[Tensor]:
        """Yield what the function returns for the two noise levels of each step."""
        function, model, start = getattr(sampling(), self.function), denoiser(problem), y
        for leg in levels.to(y.dtype).unfold(0, 2, 1):
            options = self.options(len(levels) - 1, lambda: noise.like(start))
            with noise:
                y = function(model, y, leg, disable=True, **options)
            yield y


class Multistep(Function, ABC):
    """A function that remembers its evaluations: it is called once, and its callback gives the states on the way.

    The states are therefore yielded when the last of them is there.
    """

    def states(self, problem: Problem, y: Tensor, levels: Tensor, noise: Noise) -> Iterator[Tensor]:
        """Yield what the function told its callback, then what it returns."""
        function, model, start = getattr(sampling(), self.function), denoiser(problem), y
        seen: list[Tensor] = []
        options = self.options(len(levels) - 1, lambda: noise.like(start))
        with noise:
            end = function(
                model, y, levels.to(y.dtype), callback=lambda at: seen.append(at["x"]), disable=True, **options
            )
        yield from seen[1:]
        yield end


def denoiser(problem: Problem) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the model as k-diffusion calls it: D of the state and of one noise level for each row, which are equal."""
    return lambda y, sigma: problem.x0(y, sigma[0].item())
