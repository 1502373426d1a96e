"""The exact model: the posterior mean that a target knows in closed form."""

from __future__ import annotations

from typing import Annotated

from samplerhub import Component, Denoises, FiniteData, Part, PosteriorMean, Target
from samplerhub.errors import Mismatch


class Exact(Component):
    r"""The exact posterior mean of the target, in closed form.

        D(y, rho) = E[x_0 | x_0 + rho eps = y] = y + rho^2 grad log p(y; rho)

    With it, whatever error remains is the sampler's. It is there for targets that can `denoise`.

    References:
        Tweedie's Formula and Selection Bias (Efron, 2011), doi:10.1198/jasa.2011.tm11181
        Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022), arXiv:2206.00364, eq. 3
    """

    target: Annotated[Target | None, Part("target")] = None
    """The target whose posterior mean it is; none: the run's."""

    def of(self, target: Target) -> PosteriorMean:
        """Return the exact model of a target, or of its own.

        Raises:
            Mismatch: The target does not know its posterior mean in closed form.
        """
        target = self.target or target
        if not isinstance(target, Denoises):
            raise Mismatch(
                f"the model 'exact' needs a target with a closed-form posterior mean, and the target "
                f"{type(target).__name__} has no method 'denoise'; choose {_instead(target)}, or a target that has one "
                "(--target gaussian, --target mixture)"
            )
        return PosteriorMean(target, target.shape)


def _instead(target: Target) -> str:
    """Return the models that such a target can have."""
    trained = "a trained model (--model network)"
    return f"the exact model of its data (--model empirical), {trained}" if isinstance(target, FiniteData) else trained
