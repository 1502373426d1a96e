"""Classifier-free guidance, inside an interval of noise levels."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import torch
from pydantic import AfterValidator
from torch import Tensor

from samplerhub import FromTarget, Part, ScoreModel, cost_of, posterior_mean
from samplerhub_models.composite import CompositeModel, Model, by_row, inside, ordered
from samplerhub_models.exact import Exact
from samplerhub_models.gaussian import GaussianScore


class Guided(CompositeModel):
    r"""Classifier-free guidance: a model is led away from another one, inside an interval of noise levels.

        D(y, rho) = D_u(y, rho) + weight (D_c(y, rho) - D_u(y, rho))  inside the window,  D_c(y, rho) outside it

    with the conditional model D_c and the unconditional one D_u. A weight of 1 is the conditional model, 0 the other.
    In place of the unconditional model a worse version of the conditional one guides as well (autoguidance). Inside
    the window an evaluation costs both models, and both count: in the NFE of a run and in the plan of --nfe.

    With exact models of a target and of another one (--model.unconditional exact --model.unconditional.target mixture)
    it is guidance in closed form. What it samples is not the law with density p_c^weight p_u^(1 - weight).

    References:
        Classifier-Free Diffusion Guidance (Ho and Salimans, 2022), arXiv:2207.12598
        Applying Guidance in a Limited Interval Improves Sample and Distribution Quality in Diffusion Models
            (Kynkäänniemi et al., 2024), arXiv:2404.07724
        Guiding a Diffusion Model with a Bad Version of Itself (Karras et al., 2024), arXiv:2406.02507
    """

    conditional: Annotated[ScoreModel | FromTarget, Part("model")] = Exact()
    """The model that is guided, D_c."""
    unconditional: Annotated[ScoreModel | FromTarget, Part("model")] = GaussianScore()
    """The model that it is led away from, D_u."""
    weight: float = 2.0
    """Guidance weight: 1 is the conditional model alone, more leads further away from the other."""
    window: Annotated[tuple[float, float] | None, AfterValidator(ordered)] = None
    """Noise levels (rho_low, rho_high) outside which there is no guidance; none: it is everywhere."""

    @property
    def models(self) -> tuple[Model, ...]:
        """The conditional model, then the other."""
        return (self.conditional, self.unconditional)

    def __call__(self, y: Tensor, rho: Tensor) -> Tensor:
        """Return the guided E[x_0 | y], shape (n, *d)."""
        return by_row(inside(self.window, rho), y, rho, self.guided, partial(posterior_mean, self.conditional))

    def guided(self, y: Tensor, rho: Tensor) -> Tensor:
        """Return D_u + weight (D_c - D_u)."""
        D_c, D_u = posterior_mean(self.conditional, y, rho), posterior_mean(self.unconditional, y, rho)
        return torch.lerp(D_u, D_c, self.weight)

    def cost(self, rho: Tensor) -> Tensor:
        """Return the cost of both models inside the window, of the conditional one outside."""
        both = cost_of(self.conditional, rho) + cost_of(self.unconditional, rho)
        return torch.where(inside(self.window, rho), both, cost_of(self.conditional, rho))
