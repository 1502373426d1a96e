"""A block: samples that are drawn from one stream, made in one pass of the sampler."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from samplerhub import process as derived
from samplerhub.errors import Mismatch, NotFinite
from samplerhub.noise import stream
from samplerhub.problem import Problem
from samplerhub.protocols import Step
from samplerhub.setup import Setup


@dataclass(frozen=True, slots=True)
class Block:
    """A finished block."""

    samples: Tensor
    """States x, shape (rows, *d)."""
    rho: float
    rows: int
    """Rows that the model was asked for."""
    path: Tensor | None = None
    """States y = x/alpha at the recorded times but the last, shape (K - 1, rows, *d); None without a path."""


class BlockStore(Protocol):
    """Where finished blocks are kept, so that a run that was killed can be taken up again."""

    def load(self, fingerprint: str, index: int) -> Block | None:
        """Return a block that an earlier run with this fingerprint finished, or None."""
        ...

    def save(self, fingerprint: str, index: int, block: Block) -> None:
        """Keep a finished block."""
        ...


def make_block(
    setup: Setup, problem: Problem, n: int, index: int, dtype: torch.dtype, report: Callable[[float], None] | None
) -> Block:
    """Make the n samples of block `index`; they depend on nothing but the setup, n and the index.

    Raises:
        NotFinite: The state became NaN or infinite.
        Mismatch: The sampler does not stop at the times that are to be recorded.
    """
    problem.span = setup.span
    x = setup.prior.sample(problem, n, stream(setup.seed, "prior", index)).to(setup.device, dtype)
    if not bool(x.isfinite().all()):
        raise NotFinite(
            f"prior {type(setup.prior).__name__} draws starting states that {_plain(dtype)} cannot hold, {_bad(x)} of "
            f"{n}: give its fields less extreme values, choose another prior, or try dtype float64"
        )
    recorder = Recorder(setup)
    recorder.see(setup.span[1], x)
    step = None
    with torch.no_grad():
        for i, step in enumerate(setup.sampler(problem, x, setup.times, stream(setup.seed, "sampler", index))):
            if not bool(step.x.isfinite().all()):
                raise NotFinite(_what_was_not_finite(setup, step, i, x))
            recorder.see(step.t, step.x)
            if report:
                report(_share(setup, step, i))
    if step is None:
        raise Mismatch(f"sampler {type(setup.sampler).__name__} yielded no step")
    rho = step.rho if isinstance(step.rho, float) else float(torch.as_tensor(step.rho).max())
    return Block(step.x.cpu(), rho, problem.rows, recorder.path())


class Recorder:
    """Keeps the states at the times of the path, but for the last."""

    def __init__(self, setup: Setup) -> None:
        at = setup.times[list(setup.path[:-1])]
        self._alpha = dict(zip(at.tolist(), derived.alpha(setup.process, at).tolist())) if setup.path else {}
        self._seen: list[Tensor] = []
        self._sampler = type(setup.sampler).__name__

    def see(self, t: float | Tensor, x: Tensor) -> None:
        """Keep the state if its time is one of the path's."""
        if not self._alpha:
            return
        if isinstance(t, Tensor):
            raise Mismatch(
                f"{self._sampler} has steps of its own for each sample, so that there are no common times to record; "
                f"choose a sampler of fixed steps, or leave --path out"
            )
        if t in self._alpha:
            self._seen.append((x / self._alpha[t]).cpu())

    def path(self) -> Tensor | None:
        """Return what was kept, shape (K - 1, rows, *d); None without a path."""
        if len(self._seen) != len(self._alpha):
            raise Mismatch(f"{self._sampler} passed over times of the grid that were to be recorded; leave --path out")
        return torch.stack(self._seen) if self._seen else None


def _share(setup: Setup, step: Step, i: int) -> float:
    """Share of the block that is done: steps of the grid, or the way in log rho where steps are adaptive."""
    if isinstance(step.t, float):
        return (i + 1) / (len(setup.times) - 1)
    start, end = derived.log_snr(setup.process, setup.times[[0, -1]]).tolist()
    return float((derived.log_snr(setup.process, step.t.cpu()).mean() - start) / (end - start))


def _plain(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _bad(x: Tensor) -> int:
    """Number of samples that are not finite."""
    return int((~x.reshape(len(x), -1).isfinite().all(1)).sum())


def _what_was_not_finite(setup: Setup, step: Step, i: int, start: Tensor) -> str:
    bad = ~step.x.reshape(len(step.x), -1).isfinite().all(1)
    t = step.t if isinstance(step.t, float) else step.t[bad].max().item()
    what = f"the state is not finite after step {i + 1} (t = {t:g}): {_bad(step.x)} of {len(bad)} samples; "
    largest = start.abs().max().item() / derived.alpha(setup.process, setup.span[1]).item()
    if largest > math.sqrt(torch.finfo(start.dtype).max):
        return (
            f"{what}prior {type(setup.prior).__name__} starts at x/alpha = {largest:.1e}, whose square "
            f"{_plain(start.dtype)} cannot hold: start at a lower noise level, choose another prior, or try dtype "
            "float64"
        )
    return (
        f"{what}either model {type(setup.model).__name__} returned NaN or infinity, or the steps are too long for "
        f"{type(setup.sampler).__name__}: try more steps or dtype float64"
    )
