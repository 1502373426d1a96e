"""A small U-Net for images."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from samplerhub_models.embedding import ACTIVATIONS, Activation, NoiseEmbedding


class ResidualBlock(nn.Module):
    """Two convolutions added to their input; the embedding scales and shifts the channels between them."""

    def __init__(self, channels: int, embedding: int, groups: int, activation: Activation) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.norm1 = nn.GroupNorm(groups, channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, channels, affine=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * channels)
        for layer in (self.conv2, self.modulation):  # a fresh block is the identity
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        """Return x plus the residual."""
        scale, shift = self.modulation(e)[:, :, None, None].chunk(2, dim=1)
        h = self.conv1(self.activation(self.norm1(x)))
        h = self.activation(torch.addcmul(shift, self.norm2(h), 1 + scale))
        return torch.add(x, self.conv2(h))


class UNet(nn.Module):
    """A U-Net of two levels for images (c, h, w) with even sides.

    A learned map is added at the entrance of each level, so that the convolutions know where in the image they are.
    Nothing couples the images of a batch.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        channels: int = 32,
        inner_channels: int = 64,
        blocks: int = 1,
        inner_blocks: int = 2,
        embedding: int = 128,
        groups: int = 8,
        *,
        activation: Activation = "silu",
    ) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        colors, height, width = shape
        if height % 2 or width % 2:
            raise ValueError(f"the sides of an image must be even, and these are {height} and {width}")
        rest = embedding, groups, activation
        self.embed = NoiseEmbedding(embedding, activation)
        self.conv_in = nn.Conv2d(colors, channels, 3, padding=1)
        self.position = nn.Parameter(torch.zeros(channels, height, width))
        self.encoder = nn.ModuleList(ResidualBlock(channels, *rest) for _ in range(blocks))
        self.down = nn.Conv2d(channels, inner_channels, 3, stride=2, padding=1)
        self.inner_position = nn.Parameter(torch.zeros(inner_channels, height // 2, width // 2))
        self.inner = nn.ModuleList(ResidualBlock(inner_channels, *rest) for _ in range(inner_blocks))
        self.up = nn.Conv2d(inner_channels, 4 * channels, 3, padding=1)
        self.decoder = nn.ModuleList(ResidualBlock(channels, *rest) for _ in range(blocks))
        self.norm_out = nn.GroupNorm(groups, channels)
        self.conv_out = nn.Conv2d(channels, colors, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)

    def forward(self, x: Tensor, c_noise: Tensor) -> Tensor:
        """Return F(x, c_noise), shape of x, for c_noise of shape (1,) or (n,)."""
        e = self.embed(c_noise)
        h = self.conv_in(x) + self.position
        for block in self.encoder:
            h = block(h, e)
        u = self.down(h) + self.inner_position
        for block in self.inner:
            u = block(u, e)
        h = h + functional.pixel_shuffle(self.up(u), 2)
        for block in self.decoder:
            h = block(h, e)
        out: Tensor = self.conv_out(self.activation(self.norm_out(h)))
        return out
