"""Denoising score matching: how the networks are trained."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, Field, JsonValue
from torch import Tensor

from samplerhub import Component, HasDigest, Progress, Target, normal, stream
from samplerhub.errors import InvalidSetting
from samplerhub_models.denoiser import Denoiser, Design, Size, write_denoiser
from samplerhub_models.embedding import Activation
from samplerhub_models.history import LossCurve, loss_by_level, unseen
from samplerhub_models.state import TrainingState
from samplerhub_models.weighting import Weighting, WeightingName, weighting_of


class DenoisingScoreMatching(Component):
    r"""Denoising score matching with EDM's noise levels, weighting and preconditioning.

        log rho ~ N(p_mean, p_std^2),    y = x_0 + rho eps
        loss = E [ w(rho) |D(y, rho) - x_0|^2 ],    w(rho) = (rho^2 + s^2)/(rho s)^2,  s = sigma_data

    by AdamW with a short warm-up and a cosine decay; the weights that are written are a moving average over the last
    steps. `weighting` chooses another w.

    Training that was interrupted goes on when the same command is given again, and ends with the same weights: from
    where it was if the generator was closed, else from where it was saved last. With other settings, another target or
    other data in its files, it is refused. On a GPU, whose sums have no fixed order, the weights are the same up to
    rounding.

    The header of the file says how the training went, as JSON under samplerhub.training: `steps` and `loss`, the mean
    loss of each of up to 200 stretches and the steps at which they end, and `levels`, EDM's loss in the end with its
    standard error at noise levels within three p_std of p_mean; `levels.data` says on what: held-out data where the
    target has such, fresh samples where it makes any number of them, else the data of the training.

    References:
        A Connection between Score Matching and Denoising Autoencoders (Vincent, 2011), doi:10.1162/NECO_a_00142
        Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022), arXiv:2206.00364
    """

    steps: int = Field(12_000, ge=1)
    """Number of steps of the optimiser."""
    batch_size: int = Field(128, ge=1)
    """Samples of the target in a step."""
    rate: float = Field(3e-3, gt=0)
    """Largest learning rate, reached after the warm-up."""
    warmup: int = Field(200, ge=0)
    """Steps over which the learning rate rises."""
    weight_decay: float = Field(0.01, ge=0)
    """Weight decay of AdamW."""
    p_mean: float = -0.4
    """Mean of log rho."""
    p_std: float = Field(1.0, gt=0)
    """Standard deviation of log rho."""
    average: float = Field(0.05, gt=0, le=1)
    """Reach of the moving average of the weights, as a share of the steps so far."""
    weighting: WeightingName = "edm"
    """Weight of |D - x_0|^2: edm, 1/rho^2 (inverse-variance), 1 (uniform), or equal shares (equalising)."""
    architecture: Literal["auto", "unet", "mlp"] = "auto"
    """unet for images (c, h, w), mlp for vectors; auto: by the shape of the target."""
    sizes: dict[str, Size] = {}
    """Sizes of the architecture that differ from its defaults, as JSON: {"channels": 64}."""
    activation: Activation = "silu"
    """The nonlinearity between the layers of the network."""
    train_device: str = "cpu"
    """Where to train."""
    mixed_precision: Literal["auto", "off"] = "auto"
    """auto: the network in bfloat16 where train_device is a GPU that has it, weights in float32; never on a CPU."""
    save_every: int = Field(500, ge=1)
    """Steps after which the state of the training is saved, so that it can be taken up again."""

    def __call__(self, target: Target, file: Path, seed: int) -> Iterator[Progress]:
        """Train, yielding progress; the weights are in `file` when the generator ends."""
        unseen(target)  # what cannot be measured in the end is said now
        design = self._design(target, seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            denoiser = Denoiser(design).to(self._device())
        mean = copy.deepcopy(denoiser).requires_grad_(False)
        theta: list[Tensor] = list(denoiser.parameters())
        theta_mean: list[Tensor] = list(mean.parameters())
        optimizer = torch.optim.AdamW(theta, self.rate, betas=(0.9, 0.99), weight_decay=self.weight_decay)

        weighting = weighting_of(self.weighting, design.sigma_data, self.p_mean, self.p_std).to(self.train_device)

        curve = LossCurve(self.steps)
        state = TrainingState(
            file.with_name(f"{file.stem}.partial{file.suffix}"),
            design,
            {"weights": denoiser, "mean": mean, "weighting": weighting, "curve": curve},
            optimizer,
        )
        loss_mean, start = 0.0, state.load()
        for k in range(start, self.steps):
            for group in optimizer.param_groups:
                group["lr"] = (
                    self.rate * min(1, (k + 1) / (self.warmup + 1)) * (1 + math.cos(math.pi * k / self.steps)) / 2
                )
            loss = self._loss(denoiser, weighting, target, stream(seed, "train", k))
            if not bool(loss.isfinite()):
                raise InvalidSetting(f"the loss is {loss.item()} at step {k}; lower rate = {self.rate:g}")
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(theta, 1.0)
            optimizer.step()
            with torch.no_grad():
                torch._foreach_lerp_(theta_mean, theta, 1 - math.exp(-1 / (self.average * max(k, 10))))

            curve.add(k, loss.item())
            loss_mean += (loss.item() - loss_mean) / min(k + 1 - start, 500)
            if (k + 1) % self.save_every == 0:
                state.save(k + 1)
            try:
                yield Progress(k + 1, self.steps, f"loss {loss_mean:.4f}")
            except GeneratorExit:
                state.save(k + 1)
                raise
        levels = [math.exp(self.p_mean + self.p_std * z / 2) for z in range(-6, 7)]
        samples = max(512, 2**14 // math.prod(design.shape))
        by_level = loss_by_level(mean, target, levels, samples, seed)
        write_denoiser(mean, file, {**curve.as_json(), "levels": by_level})
        state.remove()

    def _loss(self, denoiser: Denoiser, weighting: Weighting, target: Target, rng: torch.Generator) -> Tensor:
        """Return the weighted loss per number of the data, on a batch drawn from rng."""
        x0 = target.sample(self.batch_size, rng).to(self.train_device, torch.float32)
        level = torch.randn(self.batch_size, *(1,) * (x0.ndim - 1), generator=rng).to(x0)
        rho = torch.exp(self.p_mean + self.p_std * level)
        y = x0 + rho * normal(x0, rng)
        with self._precision():
            D: Tensor = denoiser(y, rho)
        loss: Tensor = weighting(rho, (D - x0) ** 2)
        return loss

    def _precision(self) -> AbstractContextManager[None]:
        """Return the context of the network's forward pass."""
        device = torch.device(self.train_device).type
        if self.mixed_precision == "auto" and device == "cuda" and torch.cuda.is_bf16_supported(False):
            return torch.autocast(device, torch.bfloat16)
        return nullcontext()

    def _design(self, target: Target, seed: int) -> Design:
        shape = tuple(target.shape)
        architecture = ("mlp" if len(shape) == 1 else "unet") if self.architecture == "auto" else self.architecture
        if len(shape) != (1 if architecture == "mlp" else 3):
            raise InvalidSetting(f"architecture = {architecture!r} is not for data of shape {shape}")
        n = min(16_384, max(256, 2**26 // math.prod(shape)))  # no more than half a GB of large images
        sigma_data = float(target.sample(n, stream(seed, "sigma-data")).double().std())
        if not 0 < sigma_data < math.inf:
            raise InvalidSetting(
                f"samples of the target have standard deviation {sigma_data:g}; there is nothing to learn"
            )
        recipe = {"target": _described(target), "seed": seed, **self.model_dump(mode="json")}
        return Design(
            architecture=architecture,
            shape=shape,
            sizes=self.sizes,
            activation=self.activation,
            sigma_data=sigma_data,
            recipe=recipe,
        )

    def _device(self) -> torch.device:
        try:
            torch.zeros(1, device=self.train_device).item()
            return torch.device(self.train_device)
        except (RuntimeError, AssertionError, ImportError) as error:
            raise InvalidSetting(
                f"train_device = {self.train_device!r} cannot be used: {str(error).splitlines()[0]}"
            ) from error


def _described(target: Target) -> dict[str, JsonValue]:
    """Return what a network was trained on: the target's class, its fields, and the hash of the files that it reads."""
    described: dict[str, JsonValue] = {"class": f"{type(target).__module__}:{type(target).__qualname__}"}
    described |= {"fields": target.model_dump(mode="json")} if isinstance(target, BaseModel) else {}
    return described | ({"digest": target.digest} if isinstance(target, HasDigest) else {})
