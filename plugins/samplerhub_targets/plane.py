"""The mixture on the line, laid into the plane."""

from __future__ import annotations

import torch
from torch import Tensor

from samplerhub_targets.gaussian_mixture import GaussianMixture
from samplerhub_targets.log_sobolev import Kind


class Plane(GaussianMixture):
    r"""Two Gaussians in the plane, a small wide one and a large narrow one.

        0.1 N((-1, -1), 0.2^2 I) + 0.9 N((0.1, 0.1), 0.1^2 I)

    The weights, widths and coordinates are those of the one-dimensional mixture of the paper below (see `mixture`). The
    paper has an experiment in the plane as well, whose mixture we do not know: this is not meant to be it.

    References:
        The Effect of Stochasticity in Score-Based Diffusion Sampling (Schaeffer et al., 2025), arXiv:2506.11378
    """

    lsi: Kind = "paper"
    """Log-Sobolev constant of two components: as the paper has it, or, as rigorous and smaller, half or split."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(2,)."""
        return (2,)

    def components(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return weights (2,), means (2, 2) and variances (2,), float64."""
        w, mu, v = [0.1, 0.9], [[-1.0, -1.0], [0.1, 0.1]], [0.04, 0.01]
        return tuple(torch.tensor(numbers, dtype=torch.float64) for numbers in (w, mu, v))  # type: ignore[return-value]

    @property
    def _kind(self) -> Kind:
        return self.lsi
