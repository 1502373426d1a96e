"""A problem is a process and a model, and the only door through which a sampler reaches the model."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar

import torch
from torch import Tensor

from samplerhub.capabilities import Costs, HasDtype
from samplerhub.protocols import ForwardProcess, ScoreModel, Target

T = TypeVar("T")

TILE = 16
SMALL = 1024
"""States of up to SMALL numbers go to the model in multiples of TILE rows.

Matrix kernels treat a row differently in calls of 1, 2 or 7 rows, so that the last bits of a sample would depend on the
batch. In multiples of 16 they do not. Larger states have enough rows of their own and are not padded.
"""


def broadcast(rho: float | Tensor, y: Tensor) -> Tensor:
    """Return a noise level (a number, shape (), (n,) or (n, 1, ...)) as a tensor that broadcasts against y."""
    if not isinstance(rho, Tensor):
        return y.new_full((1,) * y.ndim, rho)
    if rho.ndim != y.ndim:
        rho = rho.reshape(rho.shape + (1,) * (y.ndim - rho.ndim)) if rho.ndim else rho.reshape((1,) * y.ndim)
    return rho.to(y)


class Problem:
    """A process and a model: evaluates the model, counts evaluations, chunks, casts and keeps gradients off.

    The model may predict the data, the noise or the score; a sampler asks for whichever of `x0`, `eps` and `score` its
    formulas are written in, all functions of y = x/alpha and rho = sigma/alpha:

        eps = (y - x0)/rho,    score = -eps/rho = (x0 - y)/rho^2.
    """

    __slots__ = (
        "_cost",
        "_dtype",
        "_predicts",
        "batch",
        "gradients",
        "memo",
        "model",
        "process",
        "rows",
        "samples",
        "shape",
        "span",
        "target",
    )

    def __init__(
        self,
        process: ForwardProcess,
        model: ScoreModel,
        *,
        target: Target | None = None,
        shape: tuple[int, ...] = (),
        span: tuple[float, float] | None = None,
        batch: int | None = None,
        memo: dict[Hashable, object] | None = None,
        gradients: bool = False,
    ) -> None:
        self.process = process
        self.model = model
        self.target = target
        self.shape = shape
        self.span = process.span if span is None else span
        """Times (last, first) of the run, inside the process's own span."""
        self.batch = batch
        """At most so many samples go through the model at a time (rounded up to a multiple of 16 for small states)."""
        self.memo: dict[Hashable, object] = {} if memo is None else memo
        """What has been computed once for the run, see `once`."""
        self.gradients = gradients
        """Whether derivatives flow through the model; a sampler needs none."""
        self.rows = 0
        """Rows that the model was asked for so far, each counted as often as it costs, see `Costs`."""
        self.samples = 0
        """Samples in the largest state so far."""
        self._predicts = model.predicts
        self._dtype = model.dtype if isinstance(model, HasDtype) else None
        self._cost = model.cost if isinstance(model, Costs) else None

    @property
    def nfe(self) -> float:
        """Model evaluations per sample so far: an integer but for samplers that adapt their steps to each sample."""
        return self.rows / self.samples if self.samples else 0

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """Return what `compute` returned the first time that it was asked for by this key in the run, in any block."""
        if key not in self.memo:
            self.memo[key] = compute()
        return self.memo[key]  # type: ignore[return-value]

    def x0(self, y: Tensor, rho: float | Tensor) -> Tensor:
        """Posterior mean of the data, E[x_0 | y], shape of y."""
        prediction = self._evaluate(y, rho)
        if self._predicts == "x0":
            return prediction
        level = rho if isinstance(rho, float) else broadcast(rho, y)
        return y - (level if self._predicts == "eps" else -level * level) * prediction

    def eps(self, y: Tensor, rho: float | Tensor) -> Tensor:
        """Predicted noise, (y - E[x_0 | y])/rho, shape of y."""
        prediction = self._evaluate(y, rho)
        if self._predicts == "eps":
            return prediction
        level = rho if isinstance(rho, float) else broadcast(rho, y)
        return (y - prediction) / level if self._predicts == "x0" else -level * prediction

    def score(self, y: Tensor, rho: float | Tensor) -> Tensor:
        """Gradient of the log-density of y at noise level rho, shape of y."""
        prediction = self._evaluate(y, rho)
        if self._predicts == "score":
            return prediction
        level = rho if isinstance(rho, float) else broadcast(rho, y)
        return (prediction - y) / (level * level) if self._predicts == "x0" else -prediction / level

    def _evaluate(self, y: Tensor, rho: float | Tensor) -> Tensor:
        n = y.shape[0]
        self.rows += n if self._cost is None else self._spent(broadcast(rho, y), n)
        if n > self.samples:
            self.samples = n
        if torch.is_grad_enabled() and not self.gradients:
            with torch.no_grad():
                return self._cast(y, rho)
        return self._cast(y, rho)

    def _cast(self, y: Tensor, rho: float | Tensor) -> Tensor:
        dtype = self._dtype
        if dtype is None or dtype is y.dtype:
            return in_tiles(self.model, y, broadcast(rho, y), self.batch)
        return in_tiles(self.model, y.to(dtype), broadcast(rho, y).to(dtype), self.batch).to(y.dtype)

    def _spent(self, rho: Tensor, n: int) -> int:
        """Return what n rows cost, at noise levels of shape (n, 1, ...) or (1, 1, ...)."""
        assert self._cost is not None
        return int(self._cost(rho).sum()) * (n // len(rho))


def in_tiles(model: ScoreModel, y: Tensor, rho: Tensor, batch: int | None = None) -> Tensor:
    """Evaluate a model on chunks of `batch` rows, each padded to a whole number of tiles."""
    n = len(y)
    tile = TILE if n > 1 and y.numel() <= SMALL * n else 1
    chunk = n if batch is None else -(-batch // tile) * tile
    if chunk >= n and n % tile == 0:
        return model(y, rho)
    shared = len(rho) == 1
    outs = []
    for i in range(0, n, chunk):
        y_i, rho_i = y[i : i + chunk], rho if shared else rho[i : i + chunk]
        missing = -len(y_i) % tile
        if missing:
            y_i = _with_last_repeated(y_i, missing)
            rho_i = rho_i if shared else _with_last_repeated(rho_i, missing)
        outs.append(model(y_i, rho_i))
    return torch.cat(outs)[:n]


def _with_last_repeated(rows: Tensor, times: int) -> Tensor:
    return torch.cat([rows, rows[-1:].expand(times, *rows.shape[1:])])
