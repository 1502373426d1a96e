"""The embedding of the noise level that the networks share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class NoiseEmbedding(nn.Module):
    """Embedding of c_noise, shape (1,) or (n,): Fourier features and a perceptron of two layers.

    All samples of a batch mostly share a noise level; it is then embedded once, and the rest broadcasts.
    """

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.logspace(-0.3, 1.2, 16), persistent=False)
        self.hidden = nn.Linear(2 * 16, width)
        self.out = nn.Linear(width, width)

    def forward(self, c_noise: Tensor) -> Tensor:
        """Return the embedding, shape (1, width) or (n, width)."""
        phase = c_noise[:, None] * self.frequencies
        e = torch.cat([phase.cos(), phase.sin()], dim=1)
        return functional.silu(self.out(functional.silu(self.hidden(e))))
