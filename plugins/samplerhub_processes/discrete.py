"""Any discrete schedule as a process: a table of betas or alpha-bars, or a diffusers scheduler's config."""

from __future__ import annotations

import hashlib
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from samplerhub import read_json, read_numbers
from samplerhub.errors import UnusableFile
from samplerhub_processes.schedulers import log_alpha_bars
from samplerhub_processes.table import TabledProcess


class Discrete(TabledProcess):
    r"""Variance preserving through a table of betas or alpha-bars, made continuous.

        abar_t = (1 - beta_1) ... (1 - beta_t),    rho_t = sqrt(1/abar_t - 1),    t = 1, ..., T

    At whole times, counted from 1 as in DDPM (diffusers counts from 0), it is the table; between them log rho is
    interpolated monotonically over log t. Without a file it is DDPM's own table, 1000 betas from 1e-4 to 0.02 in equal
    steps. That is not quite `vp` at t/1000: log alpha differs by up to 0.034, because 1 - beta is not exp(-beta).

    The file holds numbers (a JSON list, a .npy vector, a text), or is the scheduler_config.json of a pipeline of
    diffusers: trained_betas, or beta_schedule linear, scaled_linear or squaredcos_cap_v2 with num_train_timesteps,
    beta_start and beta_end, and rescale_betas_zero_snr. All is computed in float64, where diffusers takes float32.
    First rows without noise (alpha-bar 1) and last rows without data (alpha-bar 0, "zero terminal SNR") have no noise
    level that a process can have: they are left out, and the other rows keep their times.

    References:
        Denoising Diffusion Probabilistic Models (Ho, Jain and Abbeel, 2020), arXiv:2006.11239
        Common Diffusion Noise Schedules and Sample Steps are Flawed (Lin et al., 2024), arXiv:2305.08891
    """

    file: Path | None = Field(None)
    """Where the table is; none: DDPM's table."""
    holds: Literal["betas", "alpha-bars"] = "betas"
    """What the numbers of the file are; a scheduler's config says so itself."""

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file; empty without one."""
        if self.file is None:
            return ""
        try:
            return hashlib.sha256(self.file.read_bytes()).hexdigest()
        except OSError as error:
            raise UnusableFile(f"cannot read {self.file}: {error.strerror or error}") from error

    def levels(self) -> tuple[int, Tensor]:
        """Return the time of the first row with noise, and the noise levels from there to the last row with data."""
        log_abar = self._log_alpha_bars
        if len(log_abar) < 2:
            raise UnusableFile(f"{self.file}: a table has two rows or more, and this one has {len(log_abar)}")
        legal = ((log_abar < 0) & log_abar.isfinite()).nonzero().flatten()
        inner = log_abar[legal]
        if len(legal) < 2 or len(legal) != legal[-1] - legal[0] + 1 or not bool((inner.diff() < 0).all()):
            raise UnusableFile(
                f"{self.file}: alpha-bar must fall from row to row, between 1 and 0: it is "
                f"{', '.join(f'{abar:.6g}' for abar in log_abar[:3].exp())}, ..., {log_abar[-1].exp():.6g}"
            )
        return int(legal[0]) + 1, torch.expm1(-inner).sqrt()

    @property
    def _log_alpha_bars(self) -> Tensor:
        """Logarithms of alpha-bar for all rows, float64."""
        if self.file is None:
            return log_alpha_bars({}, "the default")
        data = read_json(self.file) if self.file.suffix == ".json" else None
        if isinstance(data, dict):
            return log_alpha_bars(data, str(self.file))
        numbers = torch.tensor(read_numbers(self.file), dtype=torch.float64)
        outside = (numbers < 0) | (numbers > 1) | numbers.isnan()
        if bool(outside.any()):
            raise UnusableFile(f"{self.file}: {self.holds} are between 0 and 1, and {numbers[outside][0]:g} is not")
        if self.holds == "alpha-bars":
            return numbers.log()
        if len(numbers) > 1 and all(later < earlier for earlier, later in pairwise(numbers.tolist())):
            raise UnusableFile(
                f"{self.file}: the numbers fall from {numbers[0]:g} to {numbers[-1]:g}, as alpha-bars do and betas do "
                "not: say --process.holds alpha-bars"
            )
        return torch.log1p(-numbers).cumsum(0)
