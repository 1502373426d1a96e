"""Processes that are given by a table of noise levels, made continuous."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property

import torch
from pydantic import Field
from scipy.interpolate import PchipInterpolator
from torch import Tensor

from samplerhub import Component
from samplerhub.errors import InvalidSetting


class TabledProcess(Component, ABC):
    r"""Variance preserving through a table of noise levels rho_t, t = first, first + 1, ...

        alpha = 1/sqrt(1 + rho^2),    sigma = rho alpha

    Between its rows log rho is a cubic function of log t that is monotone where the table is and has a continuous slope
    (Fritsch and Carlson, 1980); at its rows it is the table, to the last digits.
    """

    t_min: float | None = Field(None, gt=0)
    """Time at which sampling ends; by default the first row."""
    t_max: float | None = Field(None, gt=0)
    """Time at which sampling starts; by default the last row."""

    @abstractmethod
    def levels(self) -> tuple[int, Tensor]:
        """Return the time of the first row, and the noise levels of the rows, strictly increasing, float64."""

    @property
    def table(self) -> Tensor:
        """Times of the rows, increasing, float64."""
        first, levels = self._levels
        return torch.arange(first, first + len(levels), dtype=torch.float64)

    @property
    def span(self) -> tuple[float, float]:
        """(t_min, t_max)."""
        first, levels = self._levels
        last = first + len(levels) - 1
        t_min, t_max = (first if self.t_min is None else self.t_min), (last if self.t_max is None else self.t_max)
        if not first <= t_min < t_max <= last:
            raise InvalidSetting(
                f"t_min {t_min:g} and t_max {t_max:g}: they must be in this order, and from {first} to {last}, "
                "the rows of the table"
            )
        return float(t_min), float(t_max)

    def alpha(self, t: Tensor) -> Tensor:
        """Return 1/sqrt(1 + rho^2)."""
        return torch.rsqrt(1 + self._rho(t) ** 2)

    def sigma(self, t: Tensor) -> Tensor:
        """Return rho/sqrt(1 + rho^2)."""
        rho = self._rho(t)
        return rho * torch.rsqrt(1 + rho**2)

    def _rho(self, t: Tensor) -> Tensor:
        knots, cubics = self._pieces
        u = t.log()
        i = torch.searchsorted(knots, u.detach().contiguous(), right=True).clamp(1, len(knots) - 1) - 1
        a, b, c, d = cubics[:, i]
        h = u - knots[i]
        log_rho: Tensor = ((a * h + b) * h + c) * h + d
        return log_rho.exp()

    @cached_property
    def _levels(self) -> tuple[int, Tensor]:
        return self.levels()

    @cached_property
    def _pieces(self) -> tuple[Tensor, Tensor]:
        """Logarithms of the rows' times (M,), and the coefficients of the cubics between them (4, M - 1)."""
        _, levels = self._levels
        knots = self.table.log()
        pieces = PchipInterpolator(knots.numpy(), levels.log().numpy())
        return knots, torch.from_numpy(pieces.c)
