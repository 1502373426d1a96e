"""What the processes of this package share: the times between which they run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

from pydantic import Field, model_validator
from torch import Tensor

from samplerhub import Component


class TimedProcess(Component, ABC):
    """A process between two times that are its fields."""

    t_min: float = Field(ge=0)
    """Time at which sampling ends."""
    t_max: float = Field(gt=0)
    """Time at which sampling starts."""

    @model_validator(mode="after")
    def _span_is_ordered(self) -> Self:
        if self.t_min >= self.t_max:
            raise ValueError(f"t_min {self.t_min:g} must be below t_max {self.t_max:g}")
        return self

    @property
    def span(self) -> tuple[float, float]:
        """(t_min, t_max)."""
        return self.t_min, self.t_max

    @abstractmethod
    def alpha(self, t: Tensor) -> Tensor:
        """Scale of the data."""

    @abstractmethod
    def sigma(self, t: Tensor) -> Tensor:
        """Standard deviation of the noise."""
