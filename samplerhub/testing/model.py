"""What holds for every model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor

from samplerhub.capabilities import Costs, Density, FromTarget, HasDtype, HasShape
from samplerhub.errors import Mismatch, UnusableFile
from samplerhub.model import made_for, posterior_mean
from samplerhub.protocols import ScoreModel, Target
from samplerhub.testing.check import Case, Finding, NotApplicable, alone, check, examine, kept, require

LEVELS = (0.01, 0.3, 2.0, 50.0)
ROWS = 32
ONE_SHAPE = "a model for samples of one shape only, which says so by a property `shape`"


@dataclass(frozen=True)
class Modelled:
    """A model, made for its target, and the shape of a sample."""

    model: ScoreModel
    shape: tuple[int, ...]

    def calls(self) -> Iterator[tuple[float, Tensor, Tensor, float]]:
        """Yield noise level, states, rho and the tolerance of their type."""
        dtypes = (self.model.dtype,) if isinstance(self.model, HasDtype) else (torch.float32, torch.float64)
        for dtype in dtypes:
            for level in LEVELS:
                y = level * torch.randn(ROWS, *self.shape, generator=torch.Generator().manual_seed(0), dtype=dtype)
                rho = torch.full((1,) * (1 + len(self.shape)), level, dtype=dtype)
                yield level, y, rho, 1e-4 if dtype == torch.float32 else 1e-9

    @cached_property
    def outputs(self) -> list[tuple[float, Tensor, Tensor, float, Tensor]]:
        """The calls with what the model returns."""
        return [(*call, self.of(call[1], call[2])) for call in self.calls()]

    def of(self, y: Tensor, rho: Tensor) -> Tensor:
        """Return what the model makes of copies of y and rho."""
        return alone(lambda: self.model(y.clone(), rho.clone()))[0]


@check("model-runs", "tensors of its own that stay in float32, or rho of a shape that it does not broadcast", gate=True)
def runs(case: Modelled) -> None:
    """It takes y and rho = (1, 1, ...), in float32 and float64 or in its own dtype, and keeps shape and type.

    Samplers subtract what it returns from y; one that returns another type slows the whole run down, or stops it.
    """
    for _, y, _, _, out in _noted(case):
        require(out.shape == y.shape, f"shape {tuple(out.shape)}", f"{tuple(y.shape)}")
        require(out.dtype == y.dtype, f"{out.dtype}", f"{y.dtype}")


@check("model-predicts", "a name from another library: 'epsilon', 'sample', 'v_prediction'", gate=True)
def predicts(case: Modelled) -> None:
    """`predicts` is x0, eps or score.

    What it returns is turned into the posterior mean by that word.
    """
    require(case.model.predicts in ("x0", "eps", "score"), f"{case.model.predicts!r}", "'x0', 'eps' or 'score'")


@check("model-finite", "an exponential of 1/rho^2 that overflows, or 0/0 far away from the data")
def finite(case: Modelled) -> None:
    """It is finite at noise levels from 0.01 to 50.

    A state that is not finite stays so to the end of the run.
    """
    for level, *_, out in case.outputs:
        require(bool(out.isfinite().all()), f"not finite at rho = {level:g}")


@check("model-in-place", "y -= ..., or y.mul_(...), inside the network")
def in_place(case: Modelled) -> None:
    """It modifies neither y nor rho.

    Both belong to the sampler, which goes on using them.
    """
    for level, y, rho, _ in case.calls():
        given, level_given = y.clone(), rho.clone()
        alone(partial(case.model, given, level_given))
        require(torch.equal(given, y) and torch.equal(level_given, rho), f"modified at rho = {level:g}")


@check("model-rows", "batch normalisation in training mode, or noise that is drawn for the batch")
def rows(case: Modelled) -> None:
    """Each sample is treated by itself: in another order the same samples come out, in that order.

    The same seed has to give the same samples whatever the size of the batch.
    """
    for level, y, rho, tolerance, out in case.outputs:
        flipped = case.of(y.flip(0), rho).flip(0)
        _same(flipped, out, tolerance, f"in reverse order, at rho = {level:g}")
        some = case.of(y[:5], rho)
        _same(some, out[:5], tolerance, f"in a batch of 5, at rho = {level:g}")


@check("model-rho", "rho is taken for a number, or flattened")
def rho_of_each(case: Modelled) -> None:
    """A noise level for each sample, shape (n, 1, ...), gives what one for all gives.

    Samplers with steps of their own per sample call it that way.
    """
    for level, y, rho, tolerance, out in case.outputs:
        each = rho.expand(ROWS, *rho.shape[1:]).clone()
        out_each = case.of(y, each)
        _same(out_each, out, tolerance, f"with rho for each sample, at rho = {level:g}")


@check("model-repeatable", "dropout that is left on, or noise that is drawn inside")
def repeatable(case: Modelled) -> None:
    """The same y and rho give the same prediction, and the global random numbers are left alone.

    Two evaluations at one state, as adaptive samplers make them, are taken for equal.
    """
    for level, y, rho, tolerance, out in case.outputs:
        _, untouched = alone(partial(case.model, y.clone(), rho.clone()))
        again = case.model(y.clone(), rho.clone())
        _same(again, out, tolerance, f"a second time, at rho = {level:g}")
        require(untouched, "global random numbers are drawn or seeded")


@check("model-score", "the sign, or a power of rho, in what `predicts` names")
def score(case: Modelled) -> None:
    """A model with a density of its own has its gradient as score: E[x_0 | y] = y + rho^2 grad log p(y).

    The figures that are computed from the one are compared with those from the other.
    """
    model = case.model
    if not isinstance(model, Density):
        raise NotApplicable("it has no log_prob")
    for level, y, rho, tolerance in case.calls():
        with torch.enable_grad():
            x = y.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(model.log_prob(x, rho).sum(), x)
        expected = y + rho * rho * gradient
        _same(posterior_mean(model, y, rho), expected, 10 * tolerance, f"beside its density, at rho = {level:g}")


@check("model-cost", "a share of evaluations instead of a number")
def cost(case: Modelled) -> None:
    """A model that says what an evaluation costs says integers, 1 or more, one for each noise level.

    They are added up to the NFE of a run.
    """
    if not isinstance(case.model, Costs):
        raise NotApplicable("it says nothing about its cost: an evaluation is one")
    rho = torch.tensor(LEVELS)
    value = case.model.cost(rho)
    fine = value.dtype == torch.int64 and value.shape == rho.shape and bool((value >= 1).all())
    require(fine, f"{value.tolist()}, {value.dtype}", "int64, 1 or more, as many as noise levels")


CHECKS = (runs, predicts, finite, in_place, rows, rho_of_each, repeatable, score, cost)


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


def cases(model: ScoreModel | FromTarget, targets: Mapping[str, Target]) -> Iterator[Case]:
    """Yield a model for each target that fits."""
    for about, made, shape in made_for_each(model, targets):
        yield Case(about, Modelled(made, shape))


def check_model(model: ScoreModel, shape: tuple[int, ...] = (2,)) -> list[Finding]:
    """Check that a model keeps shape and type, is finite, and treats each sample by itself.

    Args:
        model: The model, as `samplerhub.made_for` has made it where it is made from a target.
        shape: Shape of one sample.

    Raises:
        NotKept: Something does not hold.
    """
    return kept(examine(CHECKS, [Case("", Modelled(model, shape))]))


def _noted(case: Modelled) -> list[tuple[float, Tensor, Tensor, float, Tensor]]:
    """Return the outputs; an error is told what it often is."""
    try:
        return case.outputs
    except Exception as error:
        if not isinstance(case.model, HasShape):
            error.add_note(ONE_SHAPE)
        raise


def _same(value: Tensor, expected: Tensor, tolerance: float, how: str) -> None:
    atol = tolerance * float(expected.abs().max())
    off = float((value - expected).abs().max())
    require(torch.allclose(value, expected, rtol=tolerance, atol=atol), f"{how}, it is off by {off:.2g}")
