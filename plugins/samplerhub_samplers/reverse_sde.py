"""What samplers of the reverse SDE share: gamma in drift and noise."""

from __future__ import annotations

from abc import ABC

from pydantic import Field

from samplerhub import GridSampler


class ReverseSDE(GridSampler, ABC):
    """A sampler that integrates the reverse SDE: `churn` is gamma in its drift and noise."""

    churn: float = Field(1.0, ge=0)
    """Stochasticity gamma in drift and noise: 0 is the probability-flow ODE, 1 the reverse SDE, larger is noisier."""

    def added_variance(self, rho_t: float, rho_s: float) -> float:
        """No noise is added before a step: it is part of the step."""
        return 0.0
