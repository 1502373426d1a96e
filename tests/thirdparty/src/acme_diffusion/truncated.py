"""The truncation trick."""

import torch
from pydantic import Field
from torch import Tensor

from samplerhub import Component, Problem, sigma


class Truncated(Component):
    r"""Noise whose tails are cut off.

        x = sigma(t_max) z,    z standard normal given |z| <= c, in each coordinate

    Fidelity for variety, as in GANs: what starts near the middle of the noise tends to end near the middle of the data.
    z is drawn by the inverse of its distribution function.

    References:
        Large Scale GAN Training for High Fidelity Natural Image Synthesis (Brock, Donahue and Simonyan, 2018),
            arXiv:1809.11096
    """

    cut: float = Field(2.5, gt=0)
    """Largest |z| that is kept."""

    def sample(self, problem: Problem, n: int, rng: torch.Generator) -> Tensor:
        """Return n states x at time problem.span[1], shape (n, *problem.shape), float64."""
        u = torch.rand(n, *problem.shape, generator=rng, device=rng.device, dtype=torch.float64)
        low, high = torch.special.ndtr(torch.tensor([-self.cut, self.cut], dtype=torch.float64)).tolist()
        z: Tensor = torch.special.ndtri(low + (high - low) * u)
        return sigma(problem.process, problem.span[1]).item() * z
