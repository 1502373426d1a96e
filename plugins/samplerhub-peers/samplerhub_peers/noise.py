"""Where a peer's random numbers come from: samplerhub's generator, and nowhere else."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from samplerhub import normal
from samplerhub.errors import Mismatch


class Noise(TorchFunctionMode):
    """While active, `torch.randn` and `torch.randn_like` draw from a generator instead of the global random numbers.

    Without a generator they give zeros: k-diffusion and diffusers draw noise also where they then do not use it, or
    multiply it by 0, and a deterministic run draws nothing.
    """

    def __init__(self, rng: torch.Generator | None) -> None:
        super().__init__()
        self.rng = rng
        self.strays = 0
        """Draws so far that named no generator, and would have been from the global random numbers."""

    @property
    def generator(self) -> torch.Generator:
        """What a peer is given that asks for a generator; without one of ours, it is not drawn from."""
        return torch.Generator() if self.rng is None else self.rng

    def like(self, y: Tensor) -> Tensor:
        """Return standard normal noise of the shape and type of y."""
        return torch.zeros_like(y) if self.rng is None else normal(y, self.rng)

    def __torch_function__(  # type: ignore[no-untyped-def]
        self, func: Callable[..., Tensor], types: Sequence[type], args=(), kwargs=None
    ) -> Tensor:
        """Answer draws of normal noise, pass everything else through."""
        kwargs = kwargs or {}
        if func in (torch.randn, torch.randn_like) and kwargs.get("generator") is None:
            self.strays += 1
        if func is torch.randn_like:
            return self.like(args[0])
        if func is torch.randn:
            kind = {key: kwargs[key] for key in ("dtype", "device") if kwargs.get(key) is not None}
            return self.like(torch.empty(*args, **kind))
        return func(*args, **kwargs)


class Increments:
    """Normalised increments of one Brownian motion whose time is the noise level: (W_b - W_a)/sqrt(a - b).

    The peers' stochastic DPM-Solvers ask for the increment over the first half of a step, then for that over all of it:
    the two are not independent. An interval begins where the last one did and is no shorter, or lies beyond it.
    """

    def __init__(self, draw: Callable[[], Tensor]) -> None:
        self._draw = draw
        self._from = self._to = math.inf
        self._moved: Tensor | None = None

    def __call__(self, a: Tensor | float, b: Tensor | float) -> Tensor:
        """Return the increment from noise level a down to b, of variance 1."""
        a, b = float(a), float(b)
        if self._moved is None or a != self._from:
            if not a <= self._to * (1 + 1e-9):
                raise Mismatch(
                    f"noise was asked from level {a:g} to {b:g}, after it had been drawn down to {self._to:g}"
                )
            self._from, self._moved = a, self._draw() * math.sqrt(a - b)
        elif b < self._to * (1 - 1e-9):
            self._moved = self._moved + self._draw() * math.sqrt(self._to - b)
        elif b > self._to * (1 + 1e-9):
            raise Mismatch(f"noise was asked from level {a:g} to {b:g}, after it had been drawn down to {self._to:g}")
        self._to = b
        return self._moved / math.sqrt(a - b)
