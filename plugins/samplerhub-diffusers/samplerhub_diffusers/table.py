"""The discrete process of a scheduler, made continuous in the index of its table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import diffusers
import torch
from diffusers import SchedulerMixin
from scipy.interpolate import PchipInterpolator
from torch import Tensor

from samplerhub import time_at
from samplerhub.errors import Mismatch


class Table:
    r"""A variance-preserving process whose noise levels are known at the indices 0, 1, ..., N - 1.

        log alpha_bar_i = sum_{j <= i} log(1 - beta_j),    rho_i^2 = 1/alpha_bar_i - 1
        alpha = 1/sqrt(1 + rho^2),    sigma = rho/sqrt(1 + rho^2)

    Between the indices log rho is a monotone cubic in log(1 + i), in which it is nearly straight. A table that ends in
    pure noise (beta = 1, "zero terminal SNR") ends one index before that, where rho is still finite.

    References:
        Denoising Diffusion Probabilistic Models (Ho, Jain and Abbeel, 2020), arXiv:2006.11239
        Monotone Piecewise Cubic Interpolation (Fritsch and Carlson, 1980), doi:10.1137/0717021
    """

    def __init__(self, betas: Tensor) -> None:
        log_alpha_bar = torch.log1p(-betas.double()).cumsum(0)
        log_alpha_bar = log_alpha_bar[log_alpha_bar.isfinite()]
        log_rho = (torch.expm1(-log_alpha_bar).log() / 2).cpu()
        if len(log_rho) < 2 or not bool((log_rho.isfinite()).all() and (log_rho.diff() > 0).all()):
            raise Mismatch("the scheduler's betas are no table of at least two values between 0 and 1")
        self.knots = torch.arange(len(log_rho), dtype=torch.float64).log1p()
        self.cubics = torch.from_numpy(PchipInterpolator(self.knots.numpy(), log_rho.numpy()).c)
        """Coefficients of the cubics, shape (4, N - 1), highest power first."""
        self.levels = log_rho.exp()
        """Noise levels at the indices, shape (N,)."""
        self._indices: dict[float, float] = {}
        """Indices of single levels so far: a run asks for the same few again and again."""

    @property
    def span(self) -> tuple[float, float]:
        """(0, N - 1)."""
        return 0.0, float(len(self.levels) - 1)

    def log_rho(self, t: Tensor) -> Tensor:
        """Return log rho at indices t, which need not be integers."""
        cell = t.detach().long().clamp(0, len(self.levels) - 2).cpu()
        h = t.log1p() - self.knots[cell].to(t.device)
        a, b, c, d = self.cubics[:, cell].to(t.device)
        log_rho: Tensor = ((a * h + b) * h + c) * h + d
        return log_rho

    def alpha(self, t: Tensor) -> Tensor:
        """Return 1/sqrt(1 + rho^2)."""
        return torch.sigmoid(-2 * self.log_rho(t)).sqrt()

    def sigma(self, t: Tensor) -> Tensor:
        """Return rho/sqrt(1 + rho^2)."""
        return torch.sigmoid(2 * self.log_rho(t)).sqrt()

    def index(self, rho: Tensor) -> Tensor:
        """Return the index of noise levels, float64, shape of rho; that of the nearer end outside the table."""
        if rho.numel() != 1:
            return self._solved(rho.detach().double().cpu())
        level = rho.item()
        if level not in self._indices:
            self._indices[level] = float(self._solved(torch.tensor(level, dtype=torch.float64)))
        return torch.full(rho.shape, self._indices[level], dtype=torch.float64)

    def _solved(self, rho: Tensor) -> Tensor:
        low, high = self.levels[0].item(), self.levels[-1].item()
        return time_at(self, rho.clamp(low, high))


def table_of(scheduler: SchedulerMixin) -> Table:
    """Return the process of a scheduler of diffusers.

    Raises:
        Mismatch: Its process is not given by a table of betas.
    """
    betas = getattr(scheduler, "betas", None)
    name = type(scheduler).__name__
    if not isinstance(betas, Tensor) or betas.ndim != 1:
        raise Mismatch(
            f"{name} has no table of betas, by which a discrete variance-preserving process is known; "
            "DDPMScheduler, DDIMScheduler and others that were made for such networks have one"
        )
    if scheduler.config.get("timestep_type", "discrete") != "discrete":
        raise Mismatch(f"{name} tells its network a continuous noise level; only indices of a table are understood")
    return Table(betas)


def scheduler_of(config: Mapping[str, Any]) -> SchedulerMixin:
    """Return the scheduler that a config describes.

    Raises:
        Mismatch: It is none that diffusers has.
    """
    name = str(config.get("_class_name"))
    found = getattr(diffusers, name, None) if name.endswith("Scheduler") else None
    if not (isinstance(found, type) and issubclass(found, SchedulerMixin)):
        raise Mismatch(
            f"the scheduler's config is of the class {name!r}, which diffusers {diffusers.__version__} lacks"
        )
    scheduler: SchedulerMixin = found.from_config(dict(config))  # type: ignore[attr-defined]
    return scheduler
