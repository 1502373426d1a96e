"""SA-Solver: stochastic Adams methods (Xue et al., 2023)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from pydantic import Field
from torch import Tensor

from samplerhub import ForwardProcess, Leg, Run, weighted_sum
from samplerhub_samplers.exponential_adams import data_weights
from samplerhub_samplers.sde_multistep import SDEMultistep


class SASolver(SDEMultistep):
    r"""SA-Solver: stochastic Adams predictor and corrector for the reverse SDE.

        y_s = r^k y_t + sum_j w_j D_j + rho_s sqrt(1 - r^(2 gamma)) z,    r = rho_s/rho_t, k = 1 + gamma
        w_j = -k int_{rho_t}^{rho_s} (rho_s/rho)^k l_j(log(rho)) dlog(rho)

    l_j are the Lagrange polynomials through the newest evaluations, in the corrector through the one at s as well,
    which the next step needs anyway; predictor and corrector of a step have the same z. `churn` is gamma, the paper's
    tau^2, and `churn_window` its interval. With gamma = 0 this is `exponential-adams`; with noise the weak order is 2
    at most.

    References:
        SA-Solver: Stochastic Adams Solver for Fast Sampling of Diffusion Models (Xue et al., 2023), arXiv:2309.05019
    """

    predictor: int = Field(3, ge=1, le=4)
    """Number of evaluations that the predictor's polynomial passes through."""
    corrector: int = Field(4, ge=0, le=4)
    """Number of evaluations that the corrector's polynomial passes through, the one at s included; 0: no corrector."""

    @property
    def order(self) -> int:
        """The corrector's where there is one, at most one above the predictor's; weak and at most 2 with noise."""
        order = min(self.corrector, self.predictor + 1) if self.corrector else self.predictor
        return min(order, 2) if self.churn else order

    @property
    def depth(self) -> int:
        """As many evaluations as predictor or corrector take from the past."""
        return max(self.predictor, self.corrector - 1)

    def clock(self, process: ForwardProcess, rho: Tensor) -> Tensor:
        """Return log(rho)."""
        return rho.log()

    def drift_weights(self, process: ForwardProcess, legs: Sequence[Leg]) -> list[tuple[float, ...]]:
        """Return (a, w_0, w_1, ...) of the predictor for each leg."""
        nodes = [past[: self.predictor] for past in self.nodes(process, legs)]
        return data_weights(legs, nodes, [self.gamma(leg.rho_t) for leg in legs])

    def corrections(self, process: ForwardProcess, legs: Sequence[Leg]) -> list[tuple[float, ...]]:
        """Return (1, w_new, v_0, v_1, ...) for each leg, v_j by how much corrector and predictor differ."""
        if not self.corrector:
            return super().corrections(process, legs)
        past = self.nodes(process, legs)
        nodes = [(math.log(leg.rho_s), *c[: self.corrector - 1]) for leg, c in zip(legs, past)]
        corrected = data_weights(legs, nodes, [self.gamma(leg.rho_t) for leg in legs])
        return [
            (1.0, w_new, *(w - v for v, w in itertools.zip_longest(predicted, w_past, fillvalue=0.0)))
            for (_, *predicted), (_, w_new, *w_past) in zip(self.drift_weights(process, legs), corrected)
        ]

    def corrected(self, run: Run, y: Tensor, e: Tensor) -> Tensor:
        """Return y_s + w_new D_s + sum_j v_j D_j: the noise in the predicted state y_s stays in the corrected one."""
        if run.arrived is None or not run.arrived[0].correction:
            return y
        return weighted_sum(y, run.arrived[0].correction, (e, *run.past))
