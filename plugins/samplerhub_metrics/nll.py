"""Negative log-likelihood of data under the probability-flow ODE of the model."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from samplerhub import Estimate, Evidence, HeldOut, Need, Setup, normal, stream
from samplerhub_metrics.flow_likelihood import FlowMetric, mean_and_error


class NLL(FlowMetric):
    r"""Negative log-likelihood of data under the model's probability-flow ODE, in bits per dimension.

        NLL = -E log q(y),    log q(y) = log pi(Y) + int_rho_min^rho_max tr(d eps/dy) d rho

    q is the law of what the flow, integrated without error, makes of the prior pi: neither the run's sampler nor its
    grid play a part, only prior, model and the two ends of the grid. The data are the held-out part of the target where
    it has one, else fresh samples of it, at the noise level rho_min at which the run ends: y = x_0 + rho_min eps.

    Data that take discrete values have no density. With `dequantise`, the distance w of two values, the figure is an
    upper bound of the code length of the values under q, from y = x_0 + w u, u uniform on [-1/2, 1/2]^d,

        -E log q(x_0 + w u) - d log w >= -E log P(value).

    The standard error is that over the data; where the divergence is estimated, its probes have their share in it.

    References:
        Score-Based Generative Modeling through Stochastic Differential Equations (Song et al., 2021), arXiv:2011.13456
        A note on the evaluation of generative models (Theis et al., 2016), arXiv:1511.01844
    """

    unit: Literal["bits-per-dimension", "nats"] = "bits-per-dimension"
    """bits-per-dimension: divided by d log 2; nats: as it is, for all dimensions together."""
    dequantise: float | None = Field(None, gt=0)
    """Distance of two values of discrete data, in the units of the target (1/8 for digits); none: noised data."""

    @property
    def needs(self) -> frozenset[Need]:
        """The run, and data."""
        return frozenset({Need.SETUP, Need.REFERENCE})

    def __call__(self, evidence: Evidence) -> Estimate:
        """Return the figure and its standard error."""
        setup, rho = evidence.setup, evidence.setup.rho[-1].item()
        y, held_out = self.data(setup, self.count(setup))
        flow, d = self.flow(setup), y[0].numel()
        log_q = flow.log_prob(y, rho)
        unit = d * math.log(2) if self.unit == "bits-per-dimension" else 1.0
        value, stderr = mean_and_error(-log_q.mean(1) / unit)
        details: dict[str, float | str] = {
            "unit": self.unit,
            "data": f"{len(y)} of the target's {'held-out part' if held_out else 'samples'}",
            "divergence": flow.divergence,
            "integration error": flow.integration_error(y, rho) / unit,
            "dequantisation": f"none: density of y = x_0 + rho eps at rho = {rho:g}",
        }
        if log_q.shape[1] > 1:
            between = log_q.var(1).mean().item() / log_q.shape[1]
            details["standard error from probes"] = math.sqrt(between / len(y)) / unit
        if self.dequantise is not None:
            value -= d * math.log(self.dequantise) / unit
            details["dequantisation"] = f"uniform, width {self.dequantise:g}: an upper bound of the code length"
        return Estimate(value, stderr, quantity="nll", details=details)

    def data(self, setup: Setup, n: int) -> tuple[Tensor, bool]:
        """Return n data y, shape (n, *d), and whether they are held out."""
        target, rng = setup.target, stream(setup.seed, "data")
        assert target is not None
        held_out = isinstance(target, HeldOut)
        source = target.held_out() if isinstance(target, HeldOut) else target
        x_0 = source.sample(n, rng).to(setup.device, torch.float64)
        if self.dequantise is None:
            return x_0 + setup.rho[-1].item() * normal(x_0, rng), held_out
        u = torch.rand(x_0.shape, generator=rng, dtype=x_0.dtype).to(x_0.device) - 0.5
        return x_0 + self.dequantise * u, held_out
