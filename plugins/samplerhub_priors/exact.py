"""The prior without error: noised data."""

from __future__ import annotations

from samplerhub import Component, NoisedTarget


class ExactPrior(NoisedTarget, Component):
    r"""The target itself, noised to the level at which sampling starts.

        x = alpha(t_max) x_0 + sigma(t_max) z,    x_0 from the target, z standard normal

    With it, whatever error remains is the model's and the sampler's.

    References:
        The Effect of Stochasticity in Score-Based Diffusion Sampling (Schaeffer et al., 2025), arXiv:2506.11378
    """
