"""The sigmoid schedule."""

from pydantic import Field
from torch import Tensor

from samplerhub import Component


class Sigmoid(Component):
    r"""Variance preserving with the sigmoid schedule.

    With s(t) = sigmoid((start + t (end - start))/tau), 0 < t < 1,

        alpha(t)^2 = (s(1) - s(t))/(s(1) - s(0)),    sigma(t)^2 = (s(t) - s(0))/(s(1) - s(0)).

    References:
        Scalable Adaptive Computation for Iterative Generation (Jabri, Fleet and Chen, 2022), arXiv:2212.11972
    """

    start: float = -3.0
    """Argument of the sigmoid at time 0."""
    end: float = 3.0
    """Argument of the sigmoid at time 1; larger than `start`."""
    tau: float = Field(1.0, gt=0)
    """Temperature: small ones make the change from data to noise abrupt."""
    cut: float = Field(1e-3, gt=0, lt=0.5)
    """Share of time that is left out at either end, where there is no noise, and no data."""

    @property
    def span(self) -> tuple[float, float]:
        """Times at which sampling ends and starts."""
        return (self.cut, 1 - self.cut)

    def alpha(self, t: Tensor) -> Tensor:
        """Return the scale of the data, shape of t."""
        s_0, s, s_1 = self.s(0 * t), self.s(t), self.s(0 * t + 1)
        return ((s_1 - s) / (s_1 - s_0)).sqrt()

    def sigma(self, t: Tensor) -> Tensor:
        """Return the standard deviation of the noise, shape of t."""
        s_0, s, s_1 = self.s(0 * t), self.s(t), self.s(0 * t + 1)
        return ((s - s_0) / (s_1 - s_0)).sqrt()

    def s(self, t: Tensor) -> Tensor:
        """Return s(t)."""
        return ((self.start + t * (self.end - self.start)) / self.tau).sigmoid()
