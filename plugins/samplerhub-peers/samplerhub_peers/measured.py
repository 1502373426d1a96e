"""One row of the report: what a sampler declares, and what is measured of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from samplerhub import Problem, Step, time_at
from samplerhub.protocols import ForwardProcess
from samplerhub.testing import check_contract, check_evaluations, exact, flow_errors, slope, weak_errors
from samplerhub.testing.law import variance
from samplerhub_peers.noise import Noise
from samplerhub_peers.peer import Peer

STEPS = (48, 96, 192)
"""Multiples of 2 and 3, so that single-step methods come out even."""
TOLERANCE = 0.25
"""How far a measured order may be below the declared one: that of the conformance kit."""
DATA = 0.5
"""Variance of the normal data for the law."""


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured of a sampler with some fields."""

    declared: int
    order: float
    towards: str
    """flow, or law where noise is drawn."""
    error: float
    """The error at the most steps: RMS to the flow, or relative error of the variance."""
    evaluations: str
    """kept, or how many more or less than declared."""
    contract: str
    """kept, or what does not hold."""
    noise: str
    """Where the peer draws from: what it is given, the global random numbers, or nothing."""
    single: bool
    """Whether it casts a float64 state to float32."""

    @property
    def short(self) -> bool:
        """Whether the measured order is below the declared one; of the law 2 is enough, the page says why."""
        declared = min(self.declared, 2) if self.towards == "law" else self.declared
        return self.order < declared - TOLERANCE


def measured(sampler: Peer, process: ForwardProcess) -> Row:
    """Measure a sampler on a process."""
    declared: int = sampler.order  # type: ignore[attr-defined]
    errors = errors_of(sampler, process)
    watched = _watched(sampler, process)
    return Row(
        declared=declared,
        order=slope(STEPS, errors),
        towards="law" if sampler.draws else "flow",
        error=abs(errors[-1]),
        evaluations=_said(lambda: check_evaluations(sampler, process, most=20)),
        contract=_said(lambda: check_contract(sampler, process)),
        noise=watched.source,
        single=watched.single,
    )


def errors_of(sampler: Peer, process: ForwardProcess, steps: Sequence[int] = STEPS) -> list[float]:
    """Return the errors of a sampler: to the exact flow, or of the variance of its law on normal data."""
    if sampler.draws:
        return weak_errors(sampler, process, steps, DATA)
    return flow_errors(sampler, process, steps, sampler.order)  # type: ignore[attr-defined]


def warm_errors(sampler: Peer, process: ForwardProcess, warmth: int, steps: Sequence[int] = STEPS) -> list[float]:
    """Return the errors of the variance of a sampler's law where its first steps are shorter.

    The length of step j is h^(warmth/(j + 2)), as that of a method of order ``warmth`` for the flow.
    """
    return [variance(sampler, process, exact.warm_times(process, n, warmth), DATA) - 1 for n in steps]


def _said(check: Callable[[], object]) -> str:
    try:
        check()
    except AssertionError as error:
        return str(error)
    return "kept"


class _Watch(TorchFunctionMode):
    """Sees whether float64 tensors are cast to float32, and which draws of noise name a generator."""

    def __init__(self) -> None:
        super().__init__()
        self.single = False

    def __torch_function__(  # type: ignore[no-untyped-def]
        self, func: Callable[..., Tensor], types: Sequence[type], args=(), kwargs=None
    ) -> Tensor:
        """Look, and pass on."""
        if func is torch.Tensor.to and args[0].dtype is torch.float64 and torch.float32 in args:
            self.single = True
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True, slots=True)
class _Watched:
    source: str
    single: bool


class _Flat:
    """A model that answers 0."""

    predicts = "x0"

    def __call__(self, y: Tensor, rho: Tensor) -> Tensor:
        return torch.zeros_like(y)


def _watched(sampler: Peer, process: ForwardProcess) -> _Watched:
    """Run a few steps and say where noise came from, and in which precision the state was carried."""
    noises: list[Noise] = []

    class Kept(type(sampler)):  # type: ignore[misc]
        """The same sampler, whose source of noise is kept."""

        def states(self, problem: Problem, y: Tensor, levels: Tensor, noise: Noise) -> Any:
            noises.append(noise)
            return super().states(problem, y, levels, noise)

    levels = torch.tensor([4.0, 2.0, 1.0, 0.5, 0.25], dtype=torch.float64)
    problem = Problem(process, _Flat(), shape=(2,))  # type: ignore[arg-type]
    rng, watch = torch.Generator().manual_seed(0), _Watch()
    steps: list[Step] = []
    with watch:
        steps += Kept(**sampler.model_dump())(problem, torch.ones(3, 2).double(), time_at(process, levels), rng)
    (noise,) = noises
    source = "global" if noise.strays else "given" if sampler.draws else "none"
    return _Watched(f"{source}, unused" if noise.strays and not sampler.draws else source, watch.single)
