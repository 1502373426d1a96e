"""What the networks share: the embedding of the noise level, and the activations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Activation = Literal["silu", "relu", "softplus"]
ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "silu": functional.silu,
    "relu": functional.relu,
    "softplus": functional.softplus,
}


class NoiseEmbedding(nn.Module):
    """Embedding of c_noise, shape (1,) or (n,): Fourier features and a perceptron of two layers.

    All samples of a batch mostly share a noise level; it is then embedded once, and the rest broadcasts.
    """

    frequencies: Tensor

    def __init__(self, width: int, activation: Activation) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.register_buffer("frequencies", torch.logspace(-0.3, 1.2, 16), persistent=False)
        self.hidden = nn.Linear(2 * 16, width)
        self.out = nn.Linear(width, width)

    def forward(self, c_noise: Tensor) -> Tensor:
        """Return the embedding, shape (1, width) or (n, width)."""
        phase = c_noise[:, None] * self.frequencies
        e = torch.cat([phase.cos(), phase.sin()], dim=1)
        return self.activation(self.out(self.activation(self.hidden(e))))
