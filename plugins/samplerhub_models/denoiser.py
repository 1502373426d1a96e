"""A preconditioned network as a module and as a file: weights in safetensors, what they are for in its header."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from torch import Tensor, nn

from samplerhub import read_tensors, write_tensors
from samplerhub.errors import InvalidSetting, UnusableFile
from samplerhub_models.embedding import Activation
from samplerhub_models.mlp import MLP
from samplerhub_models.unet import UNet

ARCHITECTURES: dict[str, type[nn.Module]] = {"unet": UNet, "mlp": MLP}
Size = Annotated[int, Field(ge=1)]


class Design(BaseModel):
    """What it takes to build a denoiser, and how it was trained: the header of a weights file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: Literal["unet", "mlp"]
    shape: tuple[Size, ...]
    """Shape of one sample."""
    sizes: dict[str, Size] = {}
    """Keyword arguments of the architecture."""
    activation: Activation = "silu"
    """The nonlinearity between its layers."""
    sigma_data: float = Field(gt=0, allow_inf_nan=False)
    """Standard deviation of the data."""
    recipe: dict[str, JsonValue] = {}
    """How the weights came about."""


class Denoiser(nn.Module):
    r"""A network under EDM's preconditioning, which keeps its input and its target at unit variance.

        D(y, rho) = c_skip y + c_out F(c_in y, c_noise)
        c_skip = s^2/(rho^2 + s^2),  c_out = rho s/sqrt(rho^2 + s^2),  c_in = 1/sqrt(rho^2 + s^2),  c_noise = log(rho)/4

    with s = sigma_data.

    Raises:
        InvalidSetting: There is no network of that design.

    References:
        Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022), arXiv:2206.00364, eq. 7
    """

    def __init__(self, design: Design) -> None:
        super().__init__()
        self.design = design
        self.network = _network(design)

    def forward(self, y: Tensor, rho: Tensor) -> Tensor:
        """Return D(y, rho), shape (n, *shape), for rho of shape (n, 1, ...) or (1, 1, ...)."""
        s = self.design.sigma_data
        total = rho**2 + s**2
        F: Tensor = self.network(y / total.sqrt(), rho.flatten().log() / 4)
        return s**2 / total * y + rho * s / total.sqrt() * F


def _network(design: Design) -> nn.Module:
    architecture = ARCHITECTURES[design.architecture]
    _, *known = (name for name, p in inspect.signature(architecture).parameters.items() if p.kind is not p.KEYWORD_ONLY)
    for name in design.sizes:
        if name not in known:
            raise InvalidSetting(f"sizes: {design.architecture} has no {name!r}; it has {', '.join(known)}")
    try:
        return architecture(design.shape, **design.sizes, activation=design.activation)
    except (ValueError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InvalidSetting(
            f"{design.architecture} for data of shape {design.shape} with sizes = {design.sizes}: {reason}"
        ) from error


def write_denoiser(denoiser: Denoiser, file: Path, training: Mapping[str, JsonValue] | None = None) -> None:
    """Write a denoiser to a safetensors file, and what its training left behind under samplerhub.training, as JSON."""
    weights = {name: tensor.cpu() for name, tensor in denoiser.network.state_dict().items()}
    header = {"samplerhub": denoiser.design.model_dump_json()}
    if training is not None:
        header["samplerhub.training"] = json.dumps(training)
    write_tensors(file, weights, header)


def read_denoiser(file: Path) -> Denoiser:
    """Read a denoiser from a safetensors file.

    Raises:
        UnusableFile: The file is missing, truncated, something else than safetensors, or not a denoiser.
    """
    weights, header = read_tensors(file)
    try:
        design = Design.model_validate(json.loads(header["samplerhub"]))
    except (KeyError, ValueError) as error:
        raise UnusableFile(
            f"{file} holds tensors, but its header describes no denoiser; write weights with `samplerhub train`"
        ) from error
    try:
        denoiser = Denoiser(design)
    except InvalidSetting as error:
        raise UnusableFile(f"{file}: its header describes a network that cannot be built: {error}") from error
    try:
        denoiser.network.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise UnusableFile(f"{file}: its weights do not fit the network that its header describes: {reason}") from error
    return denoiser.eval().requires_grad_(False)
