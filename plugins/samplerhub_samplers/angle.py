"""Adams methods in the angle, where the flow of Gaussian data stands still."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from samplerhub import ForwardProcess, Leg, MultistepSampler, Problem, Step
from samplerhub_samplers.clocks import data_scale
from samplerhub_samplers.quadrature import Array, lagrange_weights


class Angle(MultistepSampler):
    r"""Adams methods in the angle phi = atan(rho/sigma_data), in which the flow of Gaussian data stands still.

    With s = sigma_data, Phi = sqrt(rho^2 + s^2) and z = y/Phi the probability-flow ODE is

        dz/dphi = -F(y, rho),    F = (rho z - Phi eps)/s,

    F being what a network under EDM's preconditioning puts out. For Gaussian data of scale s, F = 0: only what is not
    Gaussian has to be interpolated. The newest `order` values of F are interpolated by a polynomial in phi, which is
    integrated exactly. The corrector puts the evaluation at the predicted state, which the next step needs anyway, in
    the place of the oldest one.

    References:
        Simplifying, Stabilizing and Scaling Continuous-Time Consistency Models (Lu and Song, 2025), arXiv:2410.11081,
            TrigFlow's angle
    """

    order: int = Field(3, ge=1, le=6)
    """Order of convergence, the corrector included."""
    corrector: Literal["moulton", "none"] = "moulton"
    """Improve each state by the evaluation there (moulton, no evaluation more), or do not."""
    sigma_data: float | None = Field(None, gt=0)
    """Scale of the data; none: as the model or the target says, else 1."""

    @property
    def depth(self) -> int:
        """As many evaluations as the order."""
        return self.order

    @property
    def scale(self) -> float:
        """sigma_data, or 1 while it is not known."""
        return 1.0 if self.sigma_data is None else self.sigma_data

    def __call__(self, problem: Problem, x: Tensor, times: Tensor, rng: torch.Generator) -> Iterator[Step]:
        """Yield the state after each leg of the grid."""
        if self.sigma_data is None:
            return self.replace(sigma_data=data_scale(problem))(problem, x, times, rng)
        return super().__call__(problem, x, times, rng)

    def clock(self, process: ForwardProcess, rho: Tensor) -> Tensor:
        """Return phi."""
        return torch.atan(rho / self.scale)

    def evaluate(self, problem: Problem, y: Tensor, rho: float) -> Tensor:
        """Return F(y, rho)."""
        Phi, s = math.hypot(rho, self.scale), self.scale
        return torch.mul(problem.eps(y, rho), -Phi / s).add_(y, alpha=rho / (Phi * s))

    def weights(self, process: ForwardProcess, legs: Sequence[Leg]) -> list[tuple[float, ...]]:
        """Return the predictor's numbers: y_s = Phi_s/Phi_t y - Phi_s sum_j w_j F_j."""
        return self._adams(legs, self.nodes(process, legs))

    def corrections(self, process: ForwardProcess, legs: Sequence[Leg]) -> list[tuple[float, ...]]:
        """Return the corrector's numbers: the same through the new node and one past node less."""
        if self.corrector == "none":
            return super().corrections(process, legs)
        arrival = self.clock(process, torch.tensor([leg.rho_s for leg in legs], dtype=torch.float64)).tolist()
        nodes = [(c, *past[: self.order - 1]) for c, past in zip(arrival, self.nodes(process, legs))]
        return self._adams(legs, nodes)

    def _adams(self, legs: Sequence[Leg], nodes: Sequence[tuple[float, ...]]) -> list[tuple[float, ...]]:
        s = self.scale

        def kernel(rho: Array, _: Array) -> Array:
            return s * rho / (rho**2 + s**2)  # dphi/dlog(rho)

        turns = [math.atan(leg.rho_s / s) - math.atan(leg.rho_t / s) for leg in legs]
        weights = lagrange_weights(legs, nodes, lambda rho: np.arctan(rho / s), kernel, turns)
        Phi = [(math.hypot(leg.rho_t, s), math.hypot(leg.rho_s, s)) for leg in legs]
        return [(Phi_s / Phi_t, *(-Phi_s * w_j for w_j in w)) for (Phi_t, Phi_s), w in zip(Phi, weights)]
