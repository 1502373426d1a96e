"""What holds for every forward process."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

import samplerhub.process as derived
from samplerhub.protocols import ForwardProcess


def check_process(process: ForwardProcess) -> None:
    """Assert positivity, monotone rho, the inverse, and drift and diffusion against central differences."""
    t_min, t_max = process.span
    assert t_min < t_max, f"span {process.span} is not (t_min, t_max)"
    t = torch.linspace(t_min, t_max, 2001, dtype=torch.float64)
    if t_min > 0:
        t = torch.cat([t, torch.logspace(0, 1, 500, base=t_max / t_min, dtype=torch.float64) * t_min]).clamp(
            t_min, t_max
        )
        t = torch.sort(t).values
        t = t[torch.cat([torch.ones(1, dtype=torch.bool), t.diff() > 0])]
    alpha, sigma, rho = derived.alpha(process, t), derived.sigma(process, t), derived.rho(process, t)
    assert bool((alpha > 0).all() and (sigma > 0).all()), "alpha and sigma are positive on the span"
    assert bool((rho.diff() > 0).all()), "rho increases strictly"
    error = ((derived.time_at(process, rho) - t) / t.abs().clamp(min=1e-3 * t_max)).abs().max()
    assert error < 1e-9, f"time_at(rho(t)) is off by {error:g}"

    h = 1e-5 * (t.abs() if t_min > 0 else torch.full_like(t, t_max - t_min))
    inside = (t - h > t_min) & (t + h < t_max)
    inner, h = t[inside], h[inside]

    def central(f: Callable[[Tensor], Tensor]) -> Tensor:
        return (f(inner + h) - f(inner - h)) / (2 * h)

    f = central(lambda t: derived.alpha(process, t).log())
    g2 = derived.alpha(process, inner) ** 2 * central(lambda t: derived.rho(process, t) ** 2)
    assert torch.allclose(derived.drift(process, inner), f, rtol=1e-4, atol=1e-4 * float(f.abs().max())), "drift"
    assert torch.allclose(derived.diffusion2(process, inner), g2, rtol=1e-4), "diffusion"
