"""A trained denoising network, read from a safetensors file."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor

from samplerhub import Component
from samplerhub.errors import UnusableFile
from samplerhub_models.denoiser import Denoiser, read_denoiser

SHIPPED = ("digits",)


class Network(Component):
    """A trained denoising network, read from a safetensors file.

    The file's header says which architecture it is, for data of which shape, and how it was trained; nothing in it is
    executed. `samplerhub train` writes such files. One of them is shipped: `digits`, a small U-Net that was trained on
    the training split of the target of that name.

    References:
        Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022), arXiv:2206.00364
    """

    weights: str = "digits"
    """Name of a shipped network (digits), or the path of a safetensors file."""

    predicts: ClassVar[Literal["x0"]] = "x0"
    dtype: ClassVar[torch.dtype] = torch.float32

    @cached_property
    def denoiser(self) -> Denoiser:
        """The network with its preconditioning; read when first used."""
        return read_denoiser(self._file)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the weights file."""
        return hashlib.sha256(self._file.read_bytes()).hexdigest()

    @property
    def _file(self) -> Path:
        if self.weights in SHIPPED:
            return Path(__file__).with_name(f"{self.weights}.safetensors")
        file = Path(self.weights)
        if not file.exists():
            raise UnusableFile(f"there is no weights file {self.weights!r}; shipped: {', '.join(SHIPPED)}")
        return file

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the samples that the network was trained for."""
        return self.denoiser.design.shape

    @property
    def sigma_data(self) -> float:
        """Standard deviation of the data that it was trained on."""
        return self.denoiser.design.sigma_data

    def __call__(self, y: Tensor, rho: Tensor) -> Tensor:
        """Return E[x_0 | y], shape of y."""
        prediction: Tensor = self.denoiser.to(y.device)(y, rho)
        return prediction
