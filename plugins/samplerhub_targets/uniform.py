"""Mixtures of uniform laws: edges."""

from __future__ import annotations

import torch
from pydantic import Field, model_validator
from torch import Tensor

from samplerhub_targets.box_mixture import BoxMixture
from samplerhub_targets.mixture import Points, Weights


class Uniform(BoxMixture):
    r"""A mixture of uniform laws on boxes of any dimension, score and density in closed form.

    With p_0 = sum_i w_i U([a_i, b_i]) the noised y = x_0 + rho eps has

        p(y) = sum_i w_i prod_k [Phi((b_ik - y_k)/rho) - Phi((a_ik - y_k)/rho)]/(b_ik - a_ik),

    and E[x_0 | y] is a mean of means of truncated normal laws. Without arguments it is 0.8 U[-0.5, 0.1] + 0.2 U[0.7,
    0.9]: bounded data, with edges, whose log-Sobolev constant follows from the ball that holds them.

    References:
        The Effect of Stochasticity in Score-Based Diffusion Sampling (Schaeffer et al., 2025), arXiv:2506.11378
        Dimension-free log-Sobolev inequalities for mixture distributions (Chen, Chewi and Niles-Weed, 2021),
            arXiv:2102.11476
    """

    weights: Weights = Field((0.8, 0.2), min_length=1)
    """Weights of the boxes, positive; they are divided by their sum."""
    low: Points = ((-0.5,), (0.7,))
    """Lower corners a of the boxes, a point each; in one dimension numbers will do."""
    high: Points = ((0.1,), (0.9,))
    """Upper corners b of the boxes, above the lower ones in every coordinate."""

    @model_validator(mode="after")
    def _boxes_fit(self) -> Uniform:
        K, d = len(self.weights), len(self.low[0]) if self.low else 0
        if len(self.low) != K or len(self.high) != K:
            raise ValueError(
                f"there are {K} weights, {len(self.low)} lower and {len(self.high)} upper corners; "
                f"each box needs one of each"
            )
        if d == 0 or any(len(corner) != d for corner in (*self.low, *self.high)):
            lengths = [len(corner) for corner in (*self.low, *self.high)]
            raise ValueError(f"corners have lengths {lengths}; all need the same length, 1 or more")
        for i, (a, b) in enumerate(zip(self.low, self.high)):
            if any(a_k >= b_k for a_k, b_k in zip(a, b)):
                raise ValueError(f"box {i} reaches from {a} to {b}; its upper corner must be above its lower one")
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        """(d,)."""
        return (len(self.low[0]),)

    def boxes(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return weights (K,), lower and upper corners (K, d), float64."""
        w, a, b = (torch.tensor(field, dtype=torch.float64) for field in (self.weights, self.low, self.high))
        return w, a, b
