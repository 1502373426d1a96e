"""The law on the line of a sampler that draws no noise: one map of the starting point, whatever the sampler."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from samplerhub import process as derived
from samplerhub.law.line import LineLaw, Start, carried, unmoved
from samplerhub.noise import stream
from samplerhub.setup import Setup


def draws_noise(setup: Setup) -> bool:
    """Say whether a run takes anything from its stream of random numbers."""
    rng = stream(setup.seed, "exact law", 1)
    before = rng.get_state()
    with torch.no_grad():
        for _ in setup.sampler(setup.problem(), setup.start(4, stream(setup.seed, "exact law")), setup.times, rng):
            pass
    return not torch.equal(before, rng.get_state())


class Flow:
    """The map from the start y to the states of a run."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup

    def laws(self, at: Sequence[int], fineness: float) -> list[LineLaw]:
        """Return the law at the given indices into the times, increasing.

        Raises:
            Mismatch: The prior's density is not known, or the map turns too often.
        """
        source, setup = Start.of(self.setup, fineness), self.setup
        N, t, rho = len(setup.times) - 1, setup.times.tolist(), setup.rho.tolist()
        if self._denoises():
            rho[N] = 0.0
        kept: list[tuple[Tensor, dict[int, Tensor]]] = []

        def state(y: Tensor, i: int) -> Tensor:
            """Return the state at index i; the first two runs, with all states, are kept: all laws have their nodes."""
            for start, states in kept:
                if torch.equal(y, start):
                    return states[i]
            if len(kept) == 2:
                return self._states(y, [i])[i]
            kept.append((y, self._states(y, at)))
            return kept[-1][1][i]

        end = partial(state, i=at[-1])
        laws = [carried(source, partial(state, i=i), fineness, t[i], rho[i], end) for i in reversed(at) if i]
        return [*([unmoved(source, fineness, t[0], rho[0])] if 0 in at else []), *reversed(laws)]

    def _denoises(self) -> bool:
        start = self.setup.start(4, stream(self.setup.seed, "exact law"))
        rng = stream(self.setup.seed, "exact law", 1)
        with torch.no_grad():
            *_, step = self.setup.sampler(self.setup.problem(), start, self.setup.times, rng)
        return isinstance(step.rho, float) and step.rho == 0

    def _states(self, y: Tensor, at: Sequence[int]) -> dict[int, Tensor]:
        """Return the states y, shape (n,), at the given indices, of a run from y; it goes no further than it must."""
        setup, N = self.setup, len(self.setup.times) - 1
        alpha = derived.alpha(setup.process, setup.times).tolist()
        x = (y * alpha[0])[:, None].to(setup.device)
        states = {0: y}
        with torch.no_grad():
            for i, step in enumerate(
                setup.sampler(setup.problem(), x, setup.times, stream(setup.seed, "exact law")), 1
            ):
                if i in at and i < N:
                    states[i] = (step.x / alpha[i]).flatten().cpu()
                if i >= max(at) < N:
                    break
        if N in at:
            clean = isinstance(step.rho, float) and step.rho == 0
            states[N] = (step.x / (1.0 if clean else alpha[N])).flatten().cpu()
        return states
