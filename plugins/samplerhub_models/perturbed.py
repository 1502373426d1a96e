"""Any model, with an error of the score that is known exactly."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Annotated, Literal

import torch
from pydantic import AfterValidator, Field
from torch import Tensor

from samplerhub import FromTarget, Part, ScoreModel, broadcast, cost_of, posterior_mean, stream
from samplerhub.errors import Mismatch
from samplerhub_models.composite import CompositeModel, Model, inside, ordered
from samplerhub_models.exact import Exact

POWER = {"score": 2, "eps": 1, "x0": 0}
"""Power of rho that turns an error of each prediction into one of x0."""


class Perturbed(CompositeModel):
    r"""Any model, with a known error of its score: bias, scale and noise, at chosen noise levels.

    With the score s of the base model, inside the window,

        s_perturbed(y, rho) - s(y, rho) = (scale - 1) s(y, rho) + rho^-k (bias + noise g(y, rho)),

    and outside it nothing is changed. k = 0, 1 or 2 for the unit `score`, `eps` or `x0`, the prediction of which bias
    and noise are the error but for its sign. In the unit `eps` an error of given size weighs the same at every noise
    level: the score's part of the divergence between the paths of the reverse SDE (the metric `score-error`) is
    (bias^2 + E g^2 noise^2) log(rho_high/rho_low) per dimension.

    g is a smooth function fixed by the seed, so that the model remains a function: with z = y/sqrt(1 + rho^2),

        g_i(y, rho) = sqrt(2) cos(frequency (a_i z_i + c.z) + v_i log rho + b_i),

    where a_i and v_i are standard normal, c is normal with E |c|^2 = 1 and b_i is uniform on [0, 2 pi), so that over
    seeds E g_i^2 = 1 at every point.

    References:
        The Effect of Stochasticity in Score-Based Diffusion Sampling (Schaeffer et al., 2025), arXiv:2506.11378, sec. 5
    """

    base: Annotated[ScoreModel | FromTarget, Part("model")] = Exact()
    """The model whose score is perturbed."""
    bias: float | tuple[float, ...] = 0.0
    """What is added to the score, in `unit`: a number for all coordinates, or one for each."""
    scale: float = 1.0
    """Factor on the score."""
    noise: float = Field(0.0, ge=0)
    """Root mean square of the irregular part of the error, in `unit`."""
    frequency: float = Field(3.0, gt=0)
    """How fast the irregular part varies: its wave number in units of the noised data of variance 1."""
    unit: Literal["eps", "score", "x0"] = "eps"
    """The prediction in which bias and noise are measured."""
    window: Annotated[tuple[float, float] | None, AfterValidator(ordered)] = None
    """Noise levels (rho_low, rho_high) outside which there is no error; none: it is everywhere."""
    seed: int = 0
    """Which irregular function it is."""

    @property
    def models(self) -> tuple[Model, ...]:
        """The base model."""
        return (self.base,)

    def __call__(self, y: Tensor, rho: Tensor) -> Tensor:
        """Return D + (scale - 1)(D - y) + rho^(2 - k) (bias + noise g), D the base model's E[x_0 | y]."""
        D = posterior_mean(self.base, y, rho)
        error = (self.scale - 1) * (D - y) + rho ** POWER[self.unit] * self.added(y, rho)
        return torch.where(inside(self.window, rho), D + error, D)

    def added(self, y: Tensor, rho: Tensor) -> Tensor:
        """Return bias + noise g(y, rho), shape (n, *d) or one that broadcasts against it.

        Raises:
            Mismatch: There are several biases, but not one for each coordinate.
        """
        bias = torch.as_tensor(self.bias, dtype=y.dtype, device=y.device)
        D = y[0].numel()
        if bias.ndim:
            if len(bias) != D:
                raise Mismatch(f"bias has {len(bias)} numbers; give one for all, or one for each of the {D}")
            bias = bias.reshape(1, *y.shape[1:])
        if not self.noise:
            return bias
        a, b, c, v = (part.to(y) for part in _waves(self.seed, D))
        rho = broadcast(rho, y).flatten(1)
        z = y.flatten(1) / (1 + rho * rho).sqrt()
        g = math.sqrt(2) * (self.frequency * (a * z + z @ c[:, None]) + v * rho.log() + b).cos()
        return bias + self.noise * g.reshape(y.shape)

    def cost(self, rho: Tensor) -> Tensor:
        """Return what the base model costs."""
        return cost_of(self.base, rho)


@lru_cache(maxsize=8)
def _waves(seed: int, D: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return a, b, c, v of the irregular function, (D,) each, float64."""
    rng = stream(seed, "perturbed")
    a, c, v = (torch.randn(D, generator=rng, dtype=torch.float64) for _ in range(3))
    b = 2 * math.pi * torch.rand(D, generator=rng, dtype=torch.float64)
    return a, b, c / math.sqrt(D), v
