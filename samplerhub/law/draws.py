"""The normal noise that a sampler draws: seen, kept or replaced while it runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

NORMAL: tuple[Callable[..., Tensor], ...] = (torch.randn, torch.randn_like)


class Draws(TorchFunctionMode, ABC):
    """While active, every draw of standard normal noise passes through `seen`."""

    def __init__(self) -> None:
        super().__init__()
        self.draws = 0
        """Draws so far."""

    @abstractmethod
    def seen(self, drawn: Tensor) -> Tensor:
        """Return what is used in the place of the draw number `draws`, counted from 0."""

    def __torch_function__(  # type: ignore[no-untyped-def]
        self, func: Callable[..., Tensor], types: Sequence[type], args=(), kwargs=None
    ) -> Tensor:
        """Let a draw be seen, pass everything else through."""
        drawn = func(*args, **(kwargs or {}))
        standard = func is torch.Tensor.normal_ and len(args) == 1 and not {"mean", "std"} & set(kwargs or {})
        if func not in NORMAL and not standard:
            return drawn
        used = self.seen(drawn)
        self.draws += 1
        return drawn.copy_(used)


class Kept(Draws):
    """Draws are as they are, and are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Tensor] = []

    def seen(self, drawn: Tensor) -> Tensor:
        """Keep the draw."""
        self.kept.append(drawn.clone())
        return drawn


class Impulses(Draws):
    """Each number of each draw is 1 in a row of its own, and 0 in all others.

    In a batch of rows of d numbers, coordinate j of draw k is 1 in row first + k d + j, where there is such a row.
    """

    def __init__(self, first: int = 1) -> None:
        super().__init__()
        self.first = first

    def seen(self, drawn: Tensor) -> Tensor:
        """Return the impulse."""
        impulse = torch.zeros_like(drawn)
        flat = impulse.view(len(impulse), -1)
        d = flat.shape[1]
        row = self.first + self.draws * d
        j = torch.arange(min(d, max(0, len(flat) - row)))
        flat[row + j, j] = 1
        return impulse
