"""The one door to the model: conversions, counting, chunks, casting, gradients."""

from __future__ import annotations

from typing import ClassVar, Literal

import pytest
import torch
from torch import Tensor

import samplerhub as sh
from samplerhub.testing import exact

LEVELS = torch.tensor([0.03, 0.5, 2.0, 40.0, 40.0], dtype=torch.float64)


class Predicts:
    """The bells, predicting one of the three."""

    def __init__(self, predicts: Literal["x0", "eps", "score"]) -> None:
        self.predicts: Literal["x0", "eps", "score"] = predicts
        self.calls: list[tuple[tuple[int, ...], tuple[int, ...], torch.dtype, bool]] = []

    def __call__(self, y: Tensor, rho: Tensor) -> Tensor:
        self.calls.append((tuple(y.shape), tuple(rho.shape), y.dtype, torch.is_grad_enabled()))
        x0 = exact.Bells()(y, rho)
        return {"x0": x0, "eps": (y - x0) / rho, "score": (x0 - y) / rho**2}[self.predicts]


class Line:
    span = (0.01, 100.0)

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        return t


@pytest.mark.parametrize("level", ["number", "per sample", "zero-dimensional"])
@pytest.mark.parametrize("predicts", ["x0", "eps", "score"])
def test_conversions(predicts: Literal["x0", "eps", "score"], level: str) -> None:
    y = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rho = {"number": 0.5, "per sample": LEVELS, "zero-dimensional": torch.tensor(0.5)}[level]
    column = LEVELS[:, None] if level == "per sample" else torch.tensor(0.5, dtype=torch.float64)
    x0 = exact.Bells()(y, column.expand(5, 1))
    problem = sh.Problem(Line(), Predicts(predicts))
    assert torch.allclose(problem.x0(y, rho), x0, atol=1e-12)  # type: ignore[arg-type]
    assert torch.allclose(problem.eps(y, rho), (y - x0) / column, atol=1e-12)  # type: ignore[arg-type]
    assert torch.allclose(problem.score(y, rho), (x0 - y) / column**2, atol=1e-10)  # type: ignore[arg-type]
    assert problem.nfe == 3


def test_evaluations_are_counted_per_sample() -> None:
    problem = sh.Problem(Line(), Predicts("x0"), batch=16)
    y = torch.zeros(40, 2)
    problem.eps(y, 1.0)
    problem.eps(y[:10], 1.0)
    assert problem.rows == 50
    assert problem.nfe == 50 / 40


@pytest.mark.parametrize(
    ("n", "batch", "rows"),
    [
        (1, None, [1]),
        (1, 7, [1]),
        (5, None, [16]),
        (5, 1, [16]),
        (40, None, [48]),
        (40, 7, [16, 16, 16]),
        (40, 20, [32, 16]),
        (17, 7, [16, 16]),
        (17, None, [32]),
        (64, 32, [32, 32]),
    ],
)
def test_small_states_go_to_the_model_in_multiples_of_16_rows(n: int, batch: int | None, rows: list[int]) -> None:
    model = Predicts("eps")
    y = torch.randn(n, 2, generator=torch.Generator().manual_seed(0))
    rho = torch.linspace(0.1, 1, n)
    out = sh.Problem(Line(), model, batch=batch).eps(y, rho)
    assert [shape[0] for shape, _, _, _ in model.calls] == rows
    assert [shape for _, shape, _, _ in model.calls] == [(k, 1) for k in rows]
    assert torch.allclose(out, Predicts("eps")(y, rho[:, None]))


class Wide:
    """A model of large states that notes its calls."""

    predicts: ClassVar[Literal["eps"]] = "eps"

    def __init__(self) -> None:
        self.rows: list[int] = []

    def __call__(self, y: Tensor, rho: Tensor) -> Tensor:
        self.rows.append(len(y))
        return y


def test_large_states_are_not_padded() -> None:
    model = Wide()
    sh.Problem(Line(), model, batch=2).eps(torch.zeros(5, 3, 32, 32), 1.0)
    assert model.rows == [2, 2, 1]


class Half(Predicts):
    dtype = torch.float32


def test_a_model_with_a_type_of_its_own_is_served_and_hidden() -> None:
    model = Half("x0")
    y = torch.zeros(16, 2, dtype=torch.float64, requires_grad=True)
    out = sh.Problem(Line(), model).x0(y, 0.3)
    assert out.dtype == torch.float64
    assert not out.requires_grad
    assert model.calls == [((16, 2), (1, 1), torch.float32, False)]
