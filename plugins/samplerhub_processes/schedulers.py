"""The tables of diffusers' schedulers, from their configs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import BaseModel, Field, ValidationError
from torch import Tensor

from samplerhub.errors import UnusableFile


class SchedulerConfig(BaseModel):
    """What of a scheduler's config decides its noise levels; the rest is ignored."""

    num_train_timesteps: int = Field(1000, ge=2, le=10**6)
    beta_schedule: Literal["linear", "scaled_linear", "squaredcos_cap_v2"] = "linear"
    beta_start: float = Field(1e-4, gt=0, lt=1)
    beta_end: float = Field(0.02, gt=0, lt=1)
    trained_betas: list[float] | None = Field(None, min_length=2)
    rescale_betas_zero_snr: bool = False

    def betas(self) -> Tensor:
        """Return beta_1, ..., beta_T, float64."""
        T = self.num_train_timesteps
        if self.trained_betas is not None:
            return torch.tensor(self.trained_betas, dtype=torch.float64)
        if self.beta_schedule == "linear":
            return torch.linspace(self.beta_start, self.beta_end, T, dtype=torch.float64)
        if self.beta_schedule == "scaled_linear":
            return torch.linspace(self.beta_start**0.5, self.beta_end**0.5, T, dtype=torch.float64) ** 2
        f = torch.cos((torch.arange(T + 1, dtype=torch.float64) / T + 0.008) / 1.008 * math.pi / 2) ** 2
        return (1 - f[1:] / f[:-1]).clamp(max=0.999)

    def log_alpha_bars(self) -> Tensor:
        """Return log alpha-bar for all rows, float64; minus infinity in the last where the terminal SNR is zero."""
        log_abar = torch.log1p(-self.betas()).cumsum(0)
        if not self.rescale_betas_zero_snr:
            return log_abar
        root = (log_abar / 2).exp()  # Lin et al., algorithm 1: shift the last to 0, scale the first back
        return 2 * ((root - root[-1]) * (root[0] / (root[0] - root[-1]))).log()


def log_alpha_bars(config: Mapping[str, object], source: str) -> Tensor:
    """Return log alpha-bar of the schedule that a config describes, shape (T,), float64.

    Raises:
        UnusableFile: It describes none, or one that is not known here.
    """
    if config and not {"num_train_timesteps", "beta_schedule", "trained_betas"} & config.keys():
        raise UnusableFile(f"{source} is no scheduler's config: it has neither beta_schedule nor trained_betas")
    if str(config.get("_class_name", "")).startswith("FlowMatch") or config.get("use_flow_sigmas"):
        raise UnusableFile(f"{source} is the config of a flow, whose process is `flow`, not of a table of betas")
    try:
        return SchedulerConfig.model_validate(dict(config)).log_alpha_bars()
    except ValidationError as error:
        first = error.errors()[0]
        raise UnusableFile(
            f"{source}: {'.'.join(map(str, first['loc']))}: {first['input']!r}: {first['msg']}"
        ) from error
