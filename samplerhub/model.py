"""What can be asked of any model: what it becomes for a target, its posterior mean, and what that costs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from samplerhub.capabilities import Costs, FromTarget, HasDtype
from samplerhub.component import with_parts
from samplerhub.errors import Mismatch
from samplerhub.problem import broadcast, in_tiles
from samplerhub.protocols import ScoreModel, Target


def made_for(model: ScoreModel | FromTarget, target: Target | None) -> ScoreModel:
    """Return the model of a target: models that are made from a target are made, among its parts too.

    Raises:
        Mismatch: One of them is, and there is no target.
    """

    def made(component: Any) -> Any:
        component = with_parts(component, made)
        if not isinstance(component, FromTarget):
            return component
        if target is None:
            raise Mismatch(f"model {type(component).__name__} is made from a target, but the experiment has none")
        return component.of(target)

    resolved: ScoreModel = made(model)
    return resolved


def posterior_mean(model: ScoreModel | FromTarget, y: Tensor, rho: Tensor) -> Tensor:
    """Return E[x_0 | y] as a model has it, whatever it predicts: how a model that is made of models asks them.

    Args:
        model: A part of a model, as the run has made it for its target.
        y: States x/alpha, shape (n, *d).
        rho: Noise levels, shape (n, 1, ...) or (1, 1, ...).

    Raises:
        Mismatch: The model has not been made for a target yet, see `made_for`.
    """
    if not isinstance(model, ScoreModel):
        raise Mismatch(
            f"model {type(model).__name__} is made from a target: call what `samplerhub.made_for` returns for a target"
        )
    if isinstance(model, HasDtype) and model.dtype is not y.dtype:
        prediction = in_tiles(model, y.to(model.dtype), rho.to(model.dtype)).to(y.dtype)
    else:
        prediction = in_tiles(model, y, rho)
    if model.predicts == "x0":
        return prediction
    rho = broadcast(rho, y)
    return y - rho * prediction if model.predicts == "eps" else y + rho * rho * prediction


def cost_of(model: object, rho: Tensor) -> Tensor:
    """Return the evaluations that a row at each noise level takes, of the shape of rho: 1 but for `Costs`."""
    return model.cost(rho) if isinstance(model, Costs) else torch.ones_like(rho, dtype=torch.int64)
