"""The process of a diffusers scheduler."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from samplerhub import Component
from samplerhub_diffusers.folder import read_config, scheduler_file
from samplerhub_diffusers.table import Table, scheduler_of, table_of


class DiffusersProcess(Component):
    r"""The discrete process of a diffusers scheduler, with the index of its table as time.

        x_t = alpha_t x_0 + sigma_t eps,    alpha_t^2 = prod_{j <= t} (1 - beta_j),    sigma_t^2 = 1 - alpha_t^2

    with the betas of the scheduler's config (linear, scaled_linear, cosine, trained, rescaled). Between the indices
    log rho is a monotone cubic. It is the process on which the network was trained: the continuous `vp` that has the
    same name in the literature differs from it by up to 0.034 in log alpha. A table that ends in pure noise (zero
    terminal SNR) ends one index before that.

    References:
        Denoising Diffusion Probabilistic Models (Ho, Jain and Abbeel, 2020), arXiv:2006.11239
    """

    folder: str = "."
    """Folder of a pipeline, or of a network with scheduler_config.json beside it; the one that you are in."""

    @cached_property
    def levels(self) -> Table:
        """The noise levels; read when first used."""
        return table_of(scheduler_of(read_config(self._file)))

    @property
    def table(self) -> Tensor:
        """Indices of the rows, shape (N,), float64."""
        return torch.arange(len(self.levels.levels), dtype=torch.float64)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the scheduler's config."""
        return hashlib.sha256(self._file.read_bytes()).hexdigest()

    @property
    def _file(self) -> Path:
        return scheduler_file(Path(self.folder))

    @property
    def span(self) -> tuple[float, float]:
        """First and last index of the table."""
        return self.levels.span

    def alpha(self, t: Tensor) -> Tensor:
        """Return the square root of alpha-bar."""
        return self.levels.alpha(t)

    def sigma(self, t: Tensor) -> Tensor:
        """Return the square root of 1 - alpha-bar."""
        return self.levels.sigma(t)
