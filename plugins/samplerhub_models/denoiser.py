"""A preconditioned network as a module and as a file: weights in safetensors, what they are for in its header."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError
from torch import Tensor, nn

from samplerhub import read_tensors, write_tensors
from samplerhub.errors import UnusableFile
from samplerhub_models.mlp import MLP
from samplerhub_models.unet import UNet

ARCHITECTURES: dict[str, type[nn.Module]] = {"unet": UNet, "mlp": MLP}


class Design(BaseModel):
    """What it takes to build a denoiser, and how it was trained: the header of a weights file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: Literal["unet", "mlp"]
    shape: tuple[int, ...]
    """Shape of one sample."""
    sizes: dict[str, int] = {}
    """Keyword arguments of the architecture."""
    sigma_data: float
    """Standard deviation of the data."""
    recipe: dict[str, JsonValue] = {}
    """How the weights came about."""


class Denoiser(nn.Module):
    r"""A network under EDM's preconditioning, which keeps its input and its target at unit variance.

        D(y, rho) = c_skip y + c_out F(c_in y, c_noise)
        c_skip = s^2/(rho^2 + s^2),  c_out = rho s/sqrt(rho^2 + s^2),  c_in = 1/sqrt(rho^2 + s^2),  c_noise = log(rho)/4

    with s = sigma_data.

    References:
        Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022), arXiv:2206.00364, eq. 7
    """

    def __init__(self, design: Design) -> None:
        super().__init__()
        self.design = design
        self.network: nn.Module = ARCHITECTURES[design.architecture](design.shape, **design.sizes)

    def forward(self, y: Tensor, rho: Tensor) -> Tensor:
        """Return D(y, rho), shape (n, *shape), for rho of shape (n, 1, ...) or (1, 1, ...)."""
        s = self.design.sigma_data
        total = rho**2 + s**2
        F: Tensor = self.network(y / total.sqrt(), rho.flatten().log() / 4)
        return s**2 / total * y + rho * s / total.sqrt() * F


def write_denoiser(denoiser: Denoiser, file: Path) -> None:
    """Write a denoiser to a safetensors file."""
    weights = {name: tensor.cpu() for name, tensor in denoiser.network.state_dict().items()}
    write_tensors(file, weights, {"samplerhub": denoiser.design.model_dump_json()})


def read_denoiser(file: Path) -> Denoiser:
    """Read a denoiser from a safetensors file.

    Raises:
        UnusableFile: The file is missing, truncated, something else than safetensors, or not a denoiser.
    """
    weights, header = read_tensors(file)
    try:
        denoiser = Denoiser(Design.model_validate(json.loads(header["samplerhub"])))
        denoiser.network.load_state_dict(weights)
    except (KeyError, ValueError, ValidationError) as error:
        raise UnusableFile(
            f"{file} holds tensors, but its header describes no denoiser; write weights with `samplerhub train`"
        ) from error
    except (RuntimeError, TypeError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise UnusableFile(f"{file}: its weights do not fit the network that its header describes: {reason}") from error
    return denoiser.eval().requires_grad_(False)
