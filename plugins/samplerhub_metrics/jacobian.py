"""Derivatives of a map of samples, row by row, and whether a model has any."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from samplerhub import Setup, kebab, normal, stream
from samplerhub.errors import Mismatch

Map = Callable[[Tensor], Tensor]
"""A map of states (n, *d) to states (n, *d) in which no sample depends on another."""


def basis(y: Tensor) -> Iterator[Tensor]:
    """Yield the d unit vectors, each of shape (1, *d)."""
    d = y[0].numel()
    for i in range(d):
        e = y.new_zeros(1, d)
        e[0, i] = 1
        yield e.reshape(1, *y.shape[1:])


def pulled_back(f: Map, y: Tensor, vectors: Iterable[Tensor]) -> tuple[Tensor, Iterator[Tensor]]:
    """Return f(y), and J^T v of every sample for each v (n or 1, *d), J = df/dy: one backward pass each."""
    with torch.enable_grad():
        y = y.detach().requires_grad_()
        value = f(y)

    def products() -> Iterator[Tensor]:
        for v in vectors:
            if not value.requires_grad:  # f is constant
                yield torch.zeros_like(y)
                continue
            (product,) = torch.autograd.grad(
                value, y, v.to(value).expand_as(value), retain_graph=True, materialize_grads=True
            )
            yield product

    return value.detach(), products()


def jacobian(f: Map, y: Tensor) -> Tensor:
    """Return the Jacobians df_i/dy_j of all samples, shape (n, d, d)."""
    return torch.stack([row.flatten(1) for row in pulled_back(f, y, basis(y))[1]], 1)


def check_derivatives(setup: Setup) -> None:
    """Hold derivatives of the posterior mean against differences, which it bears in float32, at three noise levels.

    Raises:
        Mismatch: They do not agree: gradients do not flow through the model.
    """
    problem, rng = setup.problem(gradients=True), stream(setup.seed, "derivatives")
    low, high = setup.rho[-1].item(), setup.rho[0].item()
    target = setup.target
    x_0 = setup.start(8, rng) if target is None else target.sample(8, rng).to(setup.device, torch.float64)
    for share in (0.25, 0.5, 0.75):
        rho = low ** (1 - share) * high**share
        check_derivative(lambda y: problem.x0(y, rho), x_0 + rho * normal(x_0, rng), 0.01 * rho, setup)  # noqa: B023


def check_derivative(f: Map, y: Tensor, h: float, setup: Setup, what: str = "model") -> None:
    """Hold v . J w against a central difference of step h, for random v and w.

    Raises:
        Mismatch: They do not agree.
    """
    player = setup.model if what == "model" else setup.sampler
    name, rng = kebab(type(player)), stream(setup.seed, "directions")
    v, w = normal(y, rng), normal(y, rng)
    w = w / w.flatten(1).square().mean().sqrt()
    try:
        (J_v,) = pulled_back(f, y, [v])[1]
    except RuntimeError as error:
        raise Mismatch(
            f"derivatives of the {what} {name!r} are needed, and it cannot be differentiated "
            f"({str(error).splitlines()[0]}); choose another {what}, or another metric"
        ) from error
    with torch.no_grad():
        difference = (v * (f(y + h * w) - f(y - h * w))).flatten(1).sum(1) / (2 * h)
    derivative = (J_v * w).flatten(1).sum(1)
    off = (derivative - difference).abs().median() / difference.abs().median().clamp(min=1e-300)
    if not math.isfinite(off) or off > 0.1:
        raise Mismatch(
            f"derivatives of the {what} {name!r} are needed, and what comes back differs from differences by "
            f"{off:.0%}: gradients do not flow through it (a detach or no_grad inside?); choose another {what}, or "
            f"another metric"
        )
