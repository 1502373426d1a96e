"""Whether an order that falls short is the peer's: the same code with one thing changed, measured again.

A changed line is changed in a copy of the peer's function, made from its source and put in its place for as long as the
measurement takes. If the order is then the declared one, neither the adapter nor the test problem is at fault.
"""

from __future__ import annotations

import inspect
import math
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from samplerhub import Problem, alpha, time_at
from samplerhub.protocols import ForwardProcess
from samplerhub.testing import exact
from samplerhub_peers.diffusers.preserving import DPMSingle
from samplerhub_peers.kdiffusion.source import sampling
from samplerhub_peers.noise import Noise
from samplerhub_peers.peer import Peer, imported

THIRD = "multistep_dpm_solver_third_order_update"


@dataclass(frozen=True, slots=True)
class Change:
    """A line of a peer's function, and what stands there instead."""

    owner: Callable[[], Any]
    """Returns the module or class that holds the function."""
    function: str
    old: str
    new: str

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Have the changed function in the place of the peer's."""
        owner = self.owner()
        original = getattr(owner, self.function)
        source = textwrap.dedent(inspect.getsource(original))
        if self.old not in source:
            raise LookupError(f"{self.function} of this version has no {self.old!r}: the change no longer applies")
        names = dict(inspect.unwrap(original).__globals__)
        exec(source.replace(self.old, self.new), names)
        setattr(owner, self.function, names[self.function])
        try:
            yield
        finally:
            setattr(owner, self.function, original)


@dataclass(frozen=True, slots=True)
class Trial:
    """A sampler whose order falls short, and what is changed."""

    sampler: str
    fields: Mapping[str, object]
    change: Change


def _diffusers(name: str) -> Callable[[], Any]:
    return lambda: getattr(imported("diffusers", "diffusers"), name)


def _doubled(scheduler: str) -> Change:
    return Change(_diffusers(scheduler), THIRD, "D2 = (1.0 / (r0 + r1))", "D2 = (2.0 / (r0 + r1))")


REAB = Change(
    lambda: imported("azula.sample", "azula").REABSampler,
    "__call__",
    "torch.sqrt(alpha_s**2 + sigma_t**2)",
    "torch.sqrt(alpha_s**2 + sigma_s**2)",
)
THREE = Change(sampling, "sample_dpmpp_3m_sde", "- phi_3 * d2", "- 2 * phi_3 * d2")
SIGN = Change(
    _diffusers("DPMSolverMultistepScheduler"),
    THIRD,
    "- 2.0 * h) / (2.0 * h) ** 2 - 0.5",
    "- 2.0 * h) / (2.0 * h) ** 2 + 0.5",
)
TRIALS = (
    Trial("azula-reab", {"order": 2}, REAB),
    Trial("azula-reab", {"order": 3}, REAB),
    Trial("azula-reab", {"order": 4}, REAB),
    Trial("kdiffusion-dpmpp-3m-sde", {"eta": 0.0}, THREE),
    Trial("diffusers-dpm", {"solver_order": 3}, _doubled("DPMSolverMultistepScheduler")),
    Trial(
        "diffusers-dpm",
        {"solver_order": 3, "algorithm_type": "dpmsolver"},
        _doubled("DPMSolverMultistepScheduler"),
    ),
    Trial("diffusers-edm-dpm", {"solver_order": 3}, _doubled("EDMDPMSolverMultistepScheduler")),
    Trial("diffusers-dpm", {"solver_order": 3, "algorithm_type": "sde-dpmsolver++"}, SIGN),
)

SA3 = {"predictor_order": 3, "corrector_order": 3, "tau": 1.0, "lower_order_final": False}
WARM: tuple[tuple[str, Mapping[str, object], Change | None], ...] = (
    ("kdiffusion-dpmpp-3m-sde", {"eta": 1.0}, None),
    ("kdiffusion-dpmpp-3m-sde", {"eta": 1.0}, THREE),
    ("diffusers-sa", SA3, None),
)
"""Methods of order 3 whose law has order 2: whether it is the start that costs it."""
WARMTHS = (3, 5)


class OnePath(DPMSingle):
    """The stochastic single-step method of order 2, with the noise of a step's two stages from one path.

    Over log-SNR lengths h_0 and h_1 the noise is e^(-h_1) sqrt(1 - e^(-2 h_0)) n_0 + sqrt(1 - e^(-2 h_1)) n_1, divided
    by its standard deviation, instead of a draw that has nothing to do with the n_0 of the first stage.
    """

    def states(self, problem: Problem, y: Tensor, levels: Tensor, noise: Noise) -> Iterator[Tensor]:
        """Run it with that noise."""
        return super().states(problem, y, levels, _Continued(noise.rng, levels))


class _Continued(Noise):
    """Every second draw continues the one before."""

    def __init__(self, rng: torch.Generator | None, levels: Tensor) -> None:
        super().__init__(rng)
        self.lengths = (-levels.log().diff()).tolist()
        self.past: list[Tensor] = []

    def like(self, y: Tensor) -> Tensor:
        """Return the draw."""
        n, i = super().like(y), len(self.past)
        self.past.append(n)
        if i % 2 == 0:
            return n
        h_0, h_1 = self.lengths[i - 1 : i + 1]
        total = math.exp(-h_1) * _deviation(h_0) * self.past[i - 1] + _deviation(h_1) * n
        return total / _deviation(h_0 + h_1)


def _deviation(h: float) -> float:
    return math.sqrt(-math.expm1(-2 * h))


def distance(one: Peer, other: Peer, process: ForwardProcess, levels: Tensor) -> float:
    """Return the largest difference between the ends of two samplers on the same noise levels, relative to the end."""
    times = time_at(process, levels)
    start = exact.flow(*reversed(exact.levels(process)))[0] * alpha(process, times[0])
    ends = []
    for sampler in (one, other):
        problem: Problem = exact.problem(process)
        *_, last = sampler(problem, start, times, torch.Generator().manual_seed(0))
        ends.append(last.x)
    return float((ends[0] - ends[1]).abs().max() / ends[1].abs().max())
