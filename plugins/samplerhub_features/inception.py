"""What the Inception network of the FID sees."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from samplerhub import Component, Setup
from samplerhub.errors import UnusableFile
from samplerhub_features.images import batch_norm, check_images, digest, levels, read_weights

SIZE = 299
SOURCE = (
    "the weights of the FID's Inception network are weights-inception-2015-12-05-6726825d.pth, among the releases of "
    "https://github.com/toshas/torch-fidelity (v0.2.0): fetch it once and give it with --features.weights FILE"
)
LAYERS = {"Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3), "Mixed_7c.branch_pool.conv.weight": (192, 2048, 1, 1)}


def sampled(size: int, new: int) -> Tensor:
    """Return the matrix (new, size) of TensorFlow 1's bilinear resizing: row i reads at i size/new, from the corner."""
    at = torch.arange(new, dtype=torch.float64) * size / new
    low = at.long()
    rows = torch.zeros(new, size, dtype=torch.float64)
    rows[torch.arange(new), low] += 1 - (at - low)
    rows[torch.arange(new), (low + 1).clamp(max=size - 1)] += at - low
    return rows.float()


def inception(x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
    """Return the pooled last layer (n, 2048) of Inception v3 as ported from TensorFlow, for x (n, 3, 299, 299)."""

    def unit(x: Tensor, name: str, stride: int = 1, pad: bool = True) -> Tensor:
        weight = weights[f"{name}.conv.weight"]
        around = (weight.shape[2] // 2, weight.shape[3] // 2) if pad and stride == 1 else 0
        return F.relu(batch_norm(F.conv2d(x, weight, stride=stride, padding=around), weights, f"{name}.bn"))

    def chain(x: Tensor, *names: str, last_stride: int = 1) -> Tensor:
        for name in names[:-1]:
            x = unit(x, name)
        return unit(x, names[-1], last_stride)

    def mean3(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)

    def numbered(name: str, n: int) -> list[str]:
        return [f"{name}_{i}" for i in range(1, n + 1)]

    def block_a(x: Tensor, b: str) -> Tensor:
        five, three = chain(x, *numbered(f"{b}5x5", 2)), chain(x, *numbered(f"{b}3x3dbl", 3))
        return torch.cat([unit(x, f"{b}1x1"), five, three, unit(mean3(x), f"{b}_pool")], 1)

    def block_b(x: Tensor, b: str) -> Tensor:
        three = chain(x, *numbered(f"{b}3x3dbl", 3), last_stride=2)
        return torch.cat([unit(x, f"{b}3x3", stride=2), three, F.max_pool2d(x, 3, stride=2)], 1)

    def block_c(x: Tensor, b: str) -> Tensor:
        seven, twice = chain(x, *numbered(f"{b}7x7", 3)), chain(x, *numbered(f"{b}7x7dbl", 5))
        return torch.cat([unit(x, f"{b}1x1"), seven, twice, unit(mean3(x), f"{b}_pool")], 1)

    def block_d(x: Tensor, b: str) -> Tensor:
        three = chain(x, *numbered(f"{b}3x3", 2), last_stride=2)
        seven = chain(x, *numbered(f"{b}7x7x3", 4), last_stride=2)
        return torch.cat([three, seven, F.max_pool2d(x, 3, stride=2)], 1)

    def block_e(x: Tensor, b: str, pooled: Tensor) -> Tensor:
        three, twice = unit(x, f"{b}3x3_1"), chain(x, *numbered(f"{b}3x3dbl", 2))
        parts = [unit(x, f"{b}1x1"), unit(three, f"{b}3x3_2a"), unit(three, f"{b}3x3_2b")]
        parts += [unit(twice, f"{b}3x3dbl_3a"), unit(twice, f"{b}3x3dbl_3b"), unit(pooled, f"{b}_pool")]
        return torch.cat(parts, 1)

    x = unit(unit(x, "Conv2d_1a_3x3", stride=2), "Conv2d_2a_3x3", pad=False)
    x = F.max_pool2d(unit(x, "Conv2d_2b_3x3"), 3, stride=2)
    x = F.max_pool2d(unit(unit(x, "Conv2d_3b_1x1"), "Conv2d_4a_3x3", pad=False), 3, stride=2)
    for name in ("5b", "5c", "5d"):
        x = block_a(x, f"Mixed_{name}.branch")
    x = block_b(x, "Mixed_6a.branch")
    for name in ("6b", "6c", "6d", "6e"):
        x = block_c(x, f"Mixed_{name}.branch")
    x = block_d(x, "Mixed_7a.branch")
    x = block_e(x, "Mixed_7b.branch", mean3(x))
    x = block_e(x, "Mixed_7c.branch", F.max_pool2d(x, 3, stride=1, padding=1))
    return x.mean((2, 3))


class Inception(Component):
    r"""What the Inception network of the FID sees: its pooled last layer.

    2,048 numbers of Inception v3 in the form that the FID was defined with (TensorFlow's of December 2015: its way of
    resizing, averages that leave out the border, a maximum in the last block). Images in [-1, 1] are rounded to 8 bits,
    and grey ones get three channels. On these features the Frechet distance is the FID. The weights are a local file of
    91 MB, which is not shipped and never fetched.

    References:
        Rethinking the Inception Architecture for Computer Vision (Szegedy et al., 2016), arXiv:1512.00567
        GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium (Heusel et al., 2017),
            arXiv:1706.08500
    """

    weights: Path | None = None
    """File with the weights: weights-inception-2015-12-05-6726825d.pth of torch-fidelity, or its safetensors."""

    @property
    def _file(self) -> Path:
        if self.weights is None:
            raise UnusableFile(f"there are no weights of Inception here: {SOURCE}")
        return self.weights

    @cached_property
    def network(self) -> Mapping[str, Tensor]:
        """The weights by name; read when first used."""
        return read_weights(self._file, LAYERS, SOURCE)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the weights file."""
        return digest(self._file)

    def inspect(self, setup: Setup) -> None:
        """Return if the samples are images and the weights are here, before anything is sampled."""
        check_images(setup.shape)
        _ = self.network

    def __call__(self, x: Tensor) -> Tensor:
        """Return the features of images x (n, c, h, w) in [-1, 1], shape (n, 2048), float32."""
        down, across = (sampled(size, SIZE).to(x.device) for size in x.shape[2:])
        weights = {name: weight.to(x.device) for name, weight in self.network.items()}
        parts = torch.split((levels(x) - 128) / 128, 32)
        return torch.cat([inception(down @ some @ across.T, weights) for some in parts])
