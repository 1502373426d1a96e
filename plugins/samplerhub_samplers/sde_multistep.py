"""What multistep methods for the reverse SDE share: gamma in drift and noise."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from samplerhub import ForwardProcess, Leg, MultistepSampler, Problem, Run, weighted_sum
from samplerhub_samplers.reverse_sde import ReverseSDE


class SDEMultistep(ReverseSDE, MultistepSampler, ABC):
    r"""A multistep method for the reverse SDE in its predicted data: one evaluation and one draw of noise a step.

        y_s = r^(1 + gamma) y_t + sum_j w_j D_j + rho_s sqrt(1 - r^(2 gamma)) z,    r = rho_s/rho_t

    The linear part and the noise are exact for every step; a method gives the weights of the D_j.
    """

    churn_history: Literal["keep"] = "keep"
    """Past evaluations are kept: the method is made for a path with noise."""

    def evaluate(self, problem: Problem, y: Tensor, rho: float) -> Tensor:
        """Return the predicted data."""
        return problem.x0(y, rho)

    @abstractmethod
    def drift_weights(self, process: ForwardProcess, legs: Sequence[Leg]) -> list[tuple[float, ...]]:
        """Return (a, w_0, w_1, ...) of a y_t + sum_j w_j D_j for each leg."""

    def weights(self, process: ForwardProcess, legs: Sequence[Leg]) -> list[tuple[float, ...]]:
        """Return (c, a, w_0, w_1, ...) for each leg, c the standard deviation of the noise."""
        log_r = [math.log(leg.rho_s / leg.rho_t) for leg in legs]
        noise = [leg.rho_s * math.sqrt(-math.expm1(2 * self.gamma(leg.rho_t) * v)) for leg, v in zip(legs, log_r)]
        return [(self.churn_noise * c, *w) for c, w in zip(noise, self.drift_weights(process, legs))]

    def step(self, run: Run, y: Tensor, leg: Leg) -> Tensor:
        """Return a y + sum_j w_j D_j + c z; where c is 0 nothing is drawn."""
        c, *weights = leg.weights
        y_s = weighted_sum(y, weights, run.past)
        return y_s.add_(run.noise(y), alpha=c) if c else y_s
