r"""The law on the line of a sampler that draws noise, leg by leg.

Between two draws the state is carried by a map S of the state alone; a draw adds c z. A density q before becomes

    q'(x) = int q(y) N(x; S(y), c^2) dy = sum_j h q(y_j) N(x; S(y_j), c^2)

by the trapezoidal rule, which is exact to rounding as soon as the nodes are closer than the narrowest structure of the
integrand: 1/sqrt(1/w^2 + (S'/c)^2), w the standard deviation of the draw before. So a law is a sum of normal bumps, all
of its terms positive: tails keep their digits. Maps that turn need no special care.

Noise that does not simply add to the end of a leg (a stage of a stochastic Runge-Kutta method, the corrector of a
predictor-corrector) is integrated over by the same rule in z.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from inspect import getgeneratorlocals
from types import GeneratorType

import torch
from torch import Tensor

from samplerhub import process as derived
from samplerhub.errors import Mismatch
from samplerhub.law.draws import Kept
from samplerhub.law.line import MOST, Grid, LineLaw, Source, Start, carried, grid, reach, unmoved
from samplerhub.noise import stream
from samplerhub.problem import Problem
from samplerhub.sampling import GridSampler, Leg, MultistepSampler, Run
from samplerhub.setup import Setup

SPACING = 0.7
"""Distance of nodes at fineness 1, in standard deviations of the narrowest structure."""
ROUNDING = 1e-9
"""How far, relative to the largest state, the legs taken one by one may be from the whole run."""
CHUNK = 2**21
"""Numbers of a table of normal densities that is made at a time."""


class Scripted(Run):
    """A run whose noise is given, 0 where it is not, and whose churn has been added before."""

    __slots__ = ("draws", "given")

    def __init__(self, problem: Problem, given: Sequence[Tensor], memory: int) -> None:
        super().__init__(problem, torch.Generator(), memory)
        self.given = given
        self.draws = 0

    def noise(self, y: Tensor) -> Tensor:
        """Return the next of the given draws."""
        self.draws += 1
        return self.given[self.draws - 1].to(y) if self.draws <= len(self.given) else torch.zeros_like(y)

    def disturb(self, y: Tensor, leg: Leg) -> Tensor:
        """Return y: it has been disturbed."""
        return y


@dataclass(frozen=True, slots=True)
class Move:
    """What a leg does after any churn: a map of the state and of its free draws, then a normal draw that adds."""

    setup: Setup
    problem: Problem
    sampler: GridSampler
    leg: Leg | None
    """None: the state is replaced by its posterior mean at noise level `rho`."""
    rho: float = 0.0
    free: tuple[int, ...] = ()
    """Draws that do not simply add."""
    noise: float = 0.0
    """Standard deviation of those that do."""
    draws: int = 0

    def __call__(self, y: Tensor, z: Sequence[Tensor] = ()) -> tuple[Tensor, int]:
        """Return the state at the end from y and the draws, shape (n,) each, and how many draws there were."""
        state = y[:, None].to(self.setup.device)
        with torch.no_grad():
            if self.leg is None:
                return self.problem.x0(state, self.rho).double().flatten().cpu(), 0
            run = Scripted(self.problem, [z_k[:, None] for z_k in z], self.sampler.depth)
            end = self.sampler.advance(run, state, self.leg)
        return end.flatten().cpu(), run.draws

    def carry(self, y: Tensor, free: Sequence[Tensor]) -> Tensor:
        """Return the state at the end, without the noise that adds, from y and the free draws."""
        z = [torch.zeros_like(y) for _ in range(self.draws)]
        for k, z_k in zip(self.free, free):
            z[k] = z_k
        return self(y, z)[0]

    def probed(self, y: Tensor) -> Move:
        """Return the move with its draws sorted, by trying them from the states y."""
        bare, draws = self(y)
        if not draws:
            return self
        rng = stream(self.setup.seed, "exact law")
        zero = torch.zeros_like(y)
        others = [torch.randn(len(y), generator=rng, dtype=torch.float64) for _ in range(draws)]
        free, variance = [], 0.0
        for k in range(draws):
            ends = []
            for value in (0.0, 1.0, 2.5):
                z = [*others[:k], zero + value, *others[k + 1 :]]
                ends.append(self(y, z)[0])
            once, more = ends[1] - ends[0], ends[2] - ends[0]
            c = float(once.mean())
            scale = ROUNDING * float(ends[2].abs().max() + bare.abs().max())
            if float((once - c).abs().max()) <= scale and float((more - 2.5 * c).abs().max()) <= scale:
                variance += c * c
            else:
                free.append(k)
        return Move(self.setup, self.problem, self.sampler, self.leg, self.rho, tuple(free), math.sqrt(variance), draws)


@dataclass(frozen=True, slots=True)
class Moves:
    """Moves one after the other, without noise that adds between them."""

    moves: tuple[Move, ...] = ()

    @property
    def free(self) -> int:
        """Number of free draws."""
        return sum(len(move.free) for move in self.moves)

    def __call__(self, y: Tensor, free: Sequence[Tensor] = ()) -> Tensor:
        """Return the state at the end, shape (n,), from y and the free draws."""
        at = 0
        for move in self.moves:
            y = move.carry(y, free[at : at + len(move.free)])
            at += len(move.free)
        return y


@dataclass(frozen=True, slots=True, eq=False)
class Bumps:
    """The density sum_j weights_j N(x; centres_j, width^2)."""

    centres: Tensor
    weights: Tensor
    width: float
    radius: float
    """Where a bump ends, in standard deviations."""
    support: tuple[float, float] = field(init=False)

    def __post_init__(self) -> None:
        low, high = torch.aminmax(self.centres)
        r = self.radius * self.width
        object.__setattr__(self, "support", (float(low) - r, float(high) + r))

    def density(self, at: Grid) -> Tensor:
        """Return the density at the nodes of a grid: each bump is added to the nodes that it reaches."""
        span = 2 * math.ceil(self.radius * self.width / at.h) + 1
        offsets = torch.arange(span) - span // 2
        # Nodes on both sides that are cut off again, so that every bump has all of its nodes.
        total = torch.zeros(at.n + 2 * span, dtype=torch.float64)
        factor = self.weights / (math.sqrt(2 * math.pi) * self.width)
        place = (self.centres - at.low) / at.h
        near = place.round()
        rows = max(1, CHUNK // span)
        for i in range(0, len(place), rows):
            part = slice(i, i + rows)
            nodes = near[part, None].long() + offsets
            distance = offsets - (place[part] - near[part])[:, None]
            bumps = distance.mul_(at.h / self.width).square_().mul_(-0.5).exp_().mul_(factor[part, None])
            nodes = (nodes + span).clamp_(0, len(total) - 1)
            total.index_add_(0, nodes.flatten(), bumps.flatten())
        total[0] = total[-1] = 0
        return total[span : span + at.n]


def smoothed(source: Source, S: Moves, std: float, fineness: float) -> Bumps:
    """Return the law of S(y, z) + std n: y of the source's density, z the free draws, n standard normal.

    Raises:
        Mismatch: Too many nodes would be needed, or the states are not finite.
    """
    r = reach(fineness)
    low, high = source.support
    z = _free_nodes(source, S, std, fineness)
    still = [torch.zeros(1, dtype=torch.float64)] * S.free
    y = torch.linspace(low, high, 512, dtype=torch.float64)
    steep = _steepness(S(y, [z_k.expand(len(y)) for z_k in still]), (high - low) / 511)
    while True:
        h = SPACING / fineness / math.hypot(1 / source.width, steep / std)
        at = grid((low, high), h)
        q = source.density(at)
        kept = q > q.max() * math.exp(-(r**2) / 2)
        y, w = at.nodes[kept], q[kept] * at.h
        if S.free:
            y, z_k, w = _product(y, w, z, r)
            centres = S(y, [z_k])
            break
        centres = S(y)
        found = _steepness(centres, at.h, kept)
        if found <= 1.2 * steep:
            break
        steep = found
    if not bool(centres.isfinite().all()):
        raise Mismatch("the states of the run are not finite; the steps are too long for the sampler")
    return Bumps(centres, w, std, r)


def _steepness(x: Tensor, h: float, kept: Tensor | None = None) -> float:
    """Return the largest slope between neighbouring nodes."""
    slope = x.diff().abs() / h
    if kept is not None:
        at = torch.nonzero(kept).flatten()
        slope = slope[at.diff() == 1]
    return float(slope.max()) if len(slope) else 0.0


def _free_nodes(source: Source, S: Moves, std: float, fineness: float) -> Tensor:
    """Return the nodes of the rule in the free draw: closer where it moves the state far in units of the noise."""
    if not S.free:
        return torch.zeros(0, dtype=torch.float64)
    low, high = source.support
    r = reach(fineness)
    y, z = torch.linspace(low, high, 64, dtype=torch.float64), torch.linspace(-r, r, 65, dtype=torch.float64)
    x = S(y.repeat_interleave(65), [z.repeat(64)]).view(64, 65)
    steep = float(x.diff(dim=1).abs().max()) / (2 * r / 64)
    h = SPACING / fineness / math.hypot(1.0, steep / std)
    return grid((-r, r), h).nodes


def _product(y: Tensor, w: Tensor, z: Tensor, r: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return all pairs of nodes that are not negligible, and their weights."""
    h = float(z[1] - z[0])
    phi = (-0.5 * z.square()).exp() * (h / math.sqrt(2 * math.pi))
    if len(y) * len(z) > 4 * MOST:
        raise Mismatch(
            f"the exact law would take {len(y)} x {len(z)} nodes for a leg with noise inside; choose fewer steps, or a "
            "metric that works on samples, such as kl-histogram"
        )
    both = w[:, None] * phi
    i, j = torch.nonzero(both > both.max() * math.exp(-(r**2) / 2), as_tuple=True)
    return y[i], z[j], both[i, j]


class Chain:
    """A run whose law follows from leg to leg."""

    def __init__(self, setup: Setup) -> None:
        sampler = _in_the_loop(setup)
        if isinstance(sampler, MultistepSampler) and sampler.depth > 1:
            raise Mismatch(_remembers(sampler))
        self.setup = setup
        self.sampler = sampler
        self.problem = setup.problem()
        self.legs = sampler.legs(setup.process, setup.times)
        self._check()

    @property
    def moves(self) -> list[Move]:
        """What each leg does, without churn, its draws not yet sorted; the last denoises, where the sampler does."""
        moves = [Move(self.setup, self.problem, self.sampler, leg) for leg in self.legs]
        if self.sampler.last == "denoise":
            moves.append(Move(self.setup, self.problem, self.sampler, None, self.legs[-1].rho_s))
        return moves

    def laws(self, at: Sequence[int], fineness: float) -> list[LineLaw]:
        """Return the law at the given indices into the times.

        Raises:
            Mismatch: It cannot be followed: says at which leg, and why.
        """
        setup = self.setup
        t, rho = setup.times.tolist(), setup.rho.tolist()
        source: Source = Start.of(setup, fineness)
        laws = [unmoved(source, fineness, t[0], rho[0])] if 0 in at else []
        path = Moves()
        for i, move in enumerate(self.moves):
            if move.leg is not None and move.leg.churned and move.leg.noise:
                source, path = smoothed(source, path, move.leg.noise, fineness), Moves()
            move = move.probed(self._states(source, path))
            path = Moves((*path.moves, move))
            if path.free > 1:
                raise Mismatch(
                    f"step {i + 1} of {type(self.sampler).__name__} has {path.free} draws of noise inside that do not "
                    "simply add to its end; choose a lower order or fewer of them, or a metric that works on samples, "
                    "such as kl-histogram"
                )
            if move.noise:
                source, path = smoothed(source, path, move.noise, fineness), Moves()
            if path.free and i + 1 in {*at, len(self.legs)}:
                raise Mismatch(
                    f"step {i + 1} of {type(self.sampler).__name__} ends with a step after its last draw of noise, "
                    "whose law on the line is not followed; choose a metric that works on samples, such as kl-histogram"
                )
            if i + 1 in at and not (i + 1 == len(self.legs) and self.sampler.last == "denoise"):
                where = t[i + 1], rho[i + 1]
                laws.append(
                    carried(source, path, fineness, *where) if path.moves else unmoved(source, fineness, *where)
                )
        if self.sampler.last == "denoise":
            laws.append(carried(source, path, fineness, t[-1], 0.0))
        return laws

    @staticmethod
    def _states(source: Source, path: Moves) -> Tensor:
        y = torch.linspace(*source.support, 18, dtype=torch.float64)[1:-1]
        return path(y, [torch.zeros_like(y)] * path.free)

    def _check(self) -> None:
        """Raise `Mismatch` unless the legs, each begun without a memory, make up the run."""
        setup = self.setup
        x = setup.start(16, stream(setup.seed, "exact law"))
        kept = Kept()
        with torch.no_grad(), kept:
            *_, step = self.sampler(setup.problem(), x, setup.times, stream(setup.seed, "exact law", 1))
        drawn = [draw.double().flatten().cpu() for draw in kept.kept]
        y = (x / derived.alpha(setup.process, setup.times[0]).item()).flatten().cpu()
        for move in self.moves:
            if move.leg is not None and move.leg.churned:
                y = y + move.leg.noise * (drawn.pop(0) if drawn else 0.0)
            y, draws = move(y, drawn)
            del drawn[:draws]
        alpha = 1.0 if step.rho == 0 else derived.alpha(setup.process, setup.times[-1]).item()
        end = (step.x / alpha).flatten().cpu()
        if drawn or not float((end - y).abs().max()) <= ROUNDING * float(end.abs().max()):
            raise Mismatch(_remembers(self.sampler))


def _in_the_loop(setup: Setup) -> GridSampler:
    """Return the sampler that takes the steps: some complete themselves by what the problem says.

    Raises:
        Mismatch: It is no grid sampler, or has a loop of its own.
    """
    start = setup.start(1, stream(setup.seed, "exact law"))
    steps = setup.sampler(setup.problem(), start, setup.times, torch.Generator())
    if isinstance(steps, GeneratorType) and steps.gi_code is GridSampler.__call__.__code__:
        sampler = getgeneratorlocals(steps)["self"]
        assert isinstance(sampler, GridSampler)
        return sampler
    raise Mismatch(
        f"the exact law of a sampler that draws noise is followed from leg to leg of the grid, and "
        f"{type(setup.sampler).__name__} has a loop of its own; choose churn 0 (or another deterministic sampler), "
        "euler-maruyama, or a metric that works on samples, such as kl-histogram"
    )


def _remembers(sampler: GridSampler) -> str:
    return (
        f"a run of {type(sampler).__name__} with noise keeps a memory of its past, so that its law cannot be followed "
        "from leg to leg on the line; choose order 1, churn 0 (any order), or a metric that works on samples, such as "
        "kl-histogram"
    )
