"""What holds for every model and for every target that is one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from samplerhub.capabilities import Denoises, Density, FromTarget, HasDtype, HasMoments, HasShape
from samplerhub.errors import Mismatch, UnusableFile
from samplerhub.model import made_for
from samplerhub.protocols import ScoreModel, Target

LEVELS = (0.01, 0.3, 2.0, 50.0)


def made_for_each(
    model: ScoreModel | FromTarget, targets: Mapping[str, Target]
) -> Iterator[tuple[str, ScoreModel, tuple[int, ...]]]:
    """Yield what a model becomes for each target that fits, with the shape of a sample; once if it needs no target."""
    for about, target in targets.items():
        try:
            made, shape = made_for(model, target), tuple(target.shape)
        except (Mismatch, UnusableFile):
            continue
        own = made.shape if isinstance(made, HasShape) else None
        if made is model and own is not None:
            yield "", made, tuple(own)
            return
        if own is None or tuple(own) == shape:
            yield about, made, shape


def check_model(model: ScoreModel, shape: tuple[int, ...]) -> None:
    """Assert that a model keeps shape and type, is finite, and treats each sample by itself."""
    dtypes = (model.dtype,) if isinstance(model, HasDtype) else (torch.float32, torch.float64)
    ones = (1,) * len(shape)
    for dtype in dtypes:
        tolerance = 1e-4 if dtype == torch.float32 else 1e-9
        for level in LEVELS:
            y = level * torch.randn(32, *shape, generator=torch.Generator().manual_seed(0), dtype=dtype)
            rho, before = torch.full((1, *ones), level, dtype=dtype), y.clone()
            out = model(y, rho)
            assert out.shape == y.shape, f"shape {tuple(y.shape)} became {tuple(out.shape)}"
            assert out.dtype == dtype, f"{dtype} became {out.dtype}"
            assert bool(out.isfinite().all()), f"not finite at rho = {level}"
            assert torch.equal(y, before), "a model does not modify its input"
            flipped, each = model(y.flip(0), rho).flip(0), model(y, rho.expand(32, *ones))
            atol = tolerance * float(out.abs().max())
            assert torch.allclose(flipped, out, rtol=tolerance, atol=atol), "the order of the batch matters"
            assert torch.allclose(each, out, rtol=tolerance, atol=atol), "rho of shape (n, 1, ...) differs"


def check_target(target: Target) -> None:
    """Assert the shape of samples, their randomness, moments, and that density and posterior mean agree."""
    rng = torch.Generator()
    state = torch.get_rng_state()
    x = target.sample(4000, rng.manual_seed(0))
    assert x.shape == (4000, *target.shape), f"sample(4000) has shape {tuple(x.shape)}, target.shape is {target.shape}"
    assert torch.equal(x, target.sample(4000, rng.manual_seed(0))), "the same generator gives other samples"
    assert not torch.equal(x, target.sample(4000, rng.manual_seed(1))), "samples do not depend on the generator"
    assert torch.equal(torch.get_rng_state(), state), "the global random numbers are left alone"
    if isinstance(target, HasMoments):
        mean, covariance = target.moments()
        flat = x.flatten(1).double()
        stderr = covariance.diagonal().clamp(min=0).sqrt() / 4000**0.5
        assert bool(((flat.mean(0) - mean).abs() <= 5 * stderr + 1e-12).all()), "the mean of samples is not `moments`"
        spread = (flat.var(0) - covariance.diagonal()).abs()
        stderr = ((flat - mean) ** 2).std(0) / 4000**0.5
        # A coordinate that hardly ever varies, such as a corner pixel, shows that in few samples, or in none.
        reach, v = float(flat.max() - flat.min()), covariance.diagonal().clamp(min=0)
        stderr = torch.where(v < 10 * reach**2 / 4000, reach * (v / 4000).sqrt() + reach**2 / 4000, stderr)
        assert bool((spread <= 5 * stderr + 1e-12).all()), "the variance of samples is not `moments`"
    if isinstance(target, Denoises) and isinstance(target, Density):
        for level in (0.1, 1.0, 10.0):
            _check_tweedie(target, x[:64].double(), level)


def _check_tweedie(target: Denoises, x: Tensor, level: float) -> None:
    """Tweedie: E[x_0 | y] = y + rho^2 grad log p(y)."""
    assert isinstance(target, Density)
    z = torch.randn(x.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    y = (x + level * z).requires_grad_()
    rho = torch.full((1,) * x.ndim, level, dtype=torch.float64)
    (score,) = torch.autograd.grad(target.log_prob(y, rho).sum(), y)
    y = y.detach()
    error = (target.denoise(y, rho) - (y + level**2 * score)).abs().max()
    assert error <= 1e-8 * (1 + float(y.abs().max())), f"denoise and the gradient of log_prob disagree by {error:g}"
