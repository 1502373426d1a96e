"""The network of a diffusers pipeline."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from samplerhub import Component
from samplerhub.errors import Mismatch, UnusableFile
from samplerhub_diffusers.folder import network_folder, read_config, scheduler_file
from samplerhub_diffusers.prediction import checked, data, noise, scale
from samplerhub_diffusers.table import Table, scheduler_of, table_of


class DiffusersModel(Component):
    r"""The network of a diffusers pipeline, read from a local folder.

        network(x, t) with x = alpha y, alpha = 1/sqrt(1 + rho^2), and t the index at which the scheduler's table has
        the noise level rho (between indices, a number between them)

    It may predict the noise, v or the data, as the scheduler's config says. It knows the noise levels of that table:
    choose the process `diffusers` with the same folder. In any other process it is asked beyond them at times, and
    then told the index of the nearer end.

    Read are networks of the class UNet2DModel, with or without class labels, from safetensors. Nothing is downloaded.
    Of a pipeline that works on latents it samples the latents; they are not decoded.

    References:
        Denoising Diffusion Probabilistic Models (Ho, Jain and Abbeel, 2020), arXiv:2006.11239
        Progressive Distillation for Fast Sampling of Diffusion Models (Salimans and Ho, 2022), arXiv:2202.00512
    """

    folder: str = "."
    """Folder of a pipeline, or of a network with scheduler_config.json beside it; the one that you are in."""
    label: int | None = Field(None, ge=0)
    """Class that is generated, for a network that is conditional on one."""
    clip: float | None = Field(None, gt=0)
    """Clip the predicted data to [-clip, clip], as a scheduler with clip_sample does; none: the network as it is."""
    trust_pickle: bool = False
    """Also read weights that are pickled (.bin): a pickle is a program, and may do more than give weights."""

    dtype: ClassVar[torch.dtype] = torch.float32

    @property
    def predicts(self) -> Literal["x0", "eps"]:
        """x0 where the network predicts the data or is clipped, else eps."""
        return "x0" if self.clip is not None or self._prediction == "sample" else "eps"

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Shape of the samples that the network was made for; None where its config does not say."""
        size = self._config.get("sample_size")
        if size is None:
            return None
        return (self._config["in_channels"], *((size, size) if isinstance(size, int) else size))

    @cached_property
    def table(self) -> Table:
        """The noise levels that the network knows; read when first used."""
        return table_of(scheduler_of(self._scheduler))

    @cached_property
    def network(self) -> nn.Module:
        """The network; read when first used."""
        from diffusers import UNet2DModel

        weights = self._weights
        try:
            network: nn.Module = UNet2DModel.from_pretrained(
                str(weights[0].parent.resolve()),
                local_files_only=True,
                use_safetensors=weights[0].suffix == ".safetensors",
                torch_dtype=self.dtype,
                low_cpu_mem_usage=False,
            )
        except Exception as error:  # it raises anything, on weights that are cut off and on a config of another network
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UnusableFile(
                f"{weights[0]} is damaged, or is not of the network that the config.json beside it describes: {reason}"
            ) from error
        return network.eval().requires_grad_(False)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the two configs and the weights."""
        digest = hashlib.sha256()
        for file in (network_folder(self._folder) / "config.json", scheduler_file(self._folder), *self._weights):
            digest.update(hashlib.sha256(file.read_bytes()).digest())
        return digest.hexdigest()

    def __call__(self, y: Tensor, rho: Tensor) -> Tensor:
        """Return the noise, or the data (`predicts`), shape (n, *d)."""
        n, channels = y.shape[:2]
        network = self.network.to(y.device)
        index = self.table.index(rho.flatten()).to(y).expand(n)
        labels = None if self.label is None else torch.full((n,), self.label, device=y.device)
        output = network(scale(rho) * y, index, class_labels=labels).sample[:, :channels]
        if self.predicts == "eps":
            return noise(self._prediction, output, y, rho)
        x0 = data(self._prediction, output, y, rho)
        return x0 if self.clip is None else x0.clamp(-self.clip, self.clip)

    @property
    def _folder(self) -> Path:
        return Path(self.folder)

    @cached_property
    def _scheduler(self) -> dict[str, Any]:
        return read_config(scheduler_file(self._folder))

    @cached_property
    def _prediction(self) -> str:
        return checked(self._scheduler.get("prediction_type", "epsilon"))

    @cached_property
    def _config(self) -> dict[str, Any]:
        """The network's config, of a network that can be run, with a label where it needs one."""
        config = read_config(network_folder(self._folder) / "config.json")
        if (kind := config.get("_class_name")) != "UNet2DModel":
            raise Mismatch(
                f"the network in {self.folder!r} is of the class {kind!r}; only UNet2DModel is run here, which needs "
                "no more than the state, the time and a label: wrap any other in a model of your own"
            )
        if (embedding := config.get("time_embedding_type", "positional")) != "positional":
            raise Mismatch(f"the network embeds time as {embedding!r}; between indices only 'positional' is defined")
        if config.get("class_embed_type") in ("timestep", "identity"):
            raise Mismatch(f"class_embed_type = {config['class_embed_type']!r}: only classes by number are understood")
        classes = config.get("num_class_embeds")
        if (classes is None) != (self.label is None) or (classes is not None and (self.label or 0) >= classes):
            what = f"has {classes} classes: choose a label from 0 to {classes - 1}" if classes else "takes no label"
            raise Mismatch(f"label = {self.label}: the network in {self.folder!r} {what}")
        return config

    @cached_property
    def _weights(self) -> list[Path]:
        """The files of weights: safetensors, in one file or in shards, else pickles if they are trusted."""
        place = network_folder(self._folder)
        safe, pickled = (sorted(place.glob(f"diffusion_pytorch_model*.{kind}")) for kind in ("safetensors", "bin"))
        if not safe and pickled and not self.trust_pickle:
            raise UnusableFile(
                f"the weights in {place} are pickled ({pickled[0].name}), and a pickle is a program that may do "
                "anything. Save them as safetensors (save_pretrained(..., safe_serialization=True)), or, if you trust "
                "whoever made them, say --model.trust-pickle"
            )
        if not safe and not pickled:
            raise UnusableFile(f"there are no weights in {place}: neither safetensors nor pickles")
        return safe or pickled
