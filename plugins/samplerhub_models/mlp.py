"""A residual perceptron for vectors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from samplerhub_models.embedding import ACTIVATIONS, Activation, NoiseEmbedding


class ResidualLayers(nn.Module):
    """Two linear layers added to their input, which the embedding scales and shifts."""

    def __init__(self, width: int, embedding: int, activation: Activation) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.linear1 = nn.Linear(width, width)
        self.linear2 = nn.Linear(width, width)
        self.modulation = nn.Linear(embedding, 2 * width)
        for layer in (self.linear2, self.modulation):  # a fresh block is the identity
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        """Return x plus the residual."""
        scale, shift = self.modulation(e).chunk(2, dim=1)
        h = self.activation(torch.addcmul(shift, x, 1 + scale))
        return torch.add(x, self.linear2(self.activation(self.linear1(h))))


class MLP(nn.Module):
    """A residual perceptron for vectors (d,)."""

    def __init__(
        self,
        shape: tuple[int],
        width: int = 128,
        depth: int = 3,
        embedding: int = 64,
        *,
        activation: Activation = "silu",
    ) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        (d,) = shape
        self.embed = NoiseEmbedding(embedding, activation)
        self.linear_in = nn.Linear(d, width)
        self.blocks = nn.ModuleList(ResidualLayers(width, embedding, activation) for _ in range(depth))
        self.linear_out = nn.Linear(width, d)
        nn.init.zeros_(self.linear_out.weight)

    def forward(self, x: Tensor, c_noise: Tensor) -> Tensor:
        """Return F(x, c_noise), shape of x, for c_noise of shape (1,) or (n,)."""
        e = self.embed(c_noise)
        h = self.linear_in(x)
        for block in self.blocks:
            h = block(h, e)
        out: Tensor = self.linear_out(self.activation(h))
        return out
