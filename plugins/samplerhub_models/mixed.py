"""One model above a noise level, another below."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from samplerhub import FromTarget, Part, ScoreModel, cost_of, posterior_mean
from samplerhub_models.composite import CompositeModel, Model, by_row
from samplerhub_models.exact import Exact
from samplerhub_models.gaussian import GaussianScore


class Mixed(CompositeModel):
    r"""One model above a noise level, another below.

        D(y, rho) = D_above(y, rho) for rho >= level,  D_below(y, rho) for rho < level

    At high noise the score of a Gaussian with the data's moments is nearly exact, so that a network is needed only
    below; a network in place of the exact model on one side alone tells at which noise levels its error matters.

    References:
        The Hidden Linear Structure in Score-Based Models and its Application (Wang and Vastola, 2023), arXiv:2311.10892
        eDiff-I: Text-to-Image Diffusion Models with an Ensemble of Expert Denoisers (Balaji et al., 2022),
            arXiv:2211.01324
    """

    above: Annotated[ScoreModel | FromTarget, Part("model")] = GaussianScore()
    """The model at the level and above."""
    below: Annotated[ScoreModel | FromTarget, Part("model")] = Exact()
    """The model below it."""
    level: float = Field(1.0, gt=0)
    """The noise level at which the models change, sigma/alpha."""

    @property
    def models(self) -> tuple[Model, ...]:
        """The two, the one that ends the run first."""
        return (self.below, self.above)

    def __call__(self, y: Tensor, rho: Tensor) -> Tensor:
        """Return E[x_0 | y], shape (n, *d); each row goes to one model only."""
        above, below = partial(posterior_mean, self.above), partial(posterior_mean, self.below)
        return by_row(rho >= self.level, y, rho, above, below)

    def cost(self, rho: Tensor) -> Tensor:
        """Return what the model of each noise level costs."""
        return torch.where(rho >= self.level, cost_of(self.above, rho), cost_of(self.below, rho))
