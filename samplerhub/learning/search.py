r"""The search for the nodes: a scan of bells, then Gauss and Newton's method on all nodes, robust before plain.

**Unknowns.** The steps of log rho are shares of the whole, h = softmax(theta) and a little more: whatever theta is, the
nodes decrease strictly from one end to the other.

**Residuals.** r_i(theta) is the distance, a vector, from where the sampler ends with noise i to the end of the exact
flow. Its derivatives are finite differences, one run of the sampler for each node, and the model's are not needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from samplerhub.capabilities import Budgeted
from samplerhub.errors import InvalidSetting, Mismatch
from samplerhub.experiment import Experiment
from samplerhub.learning.descent import descend
from samplerhub.learning.nodes import LearnedNodes
from samplerhub.learning.trials import Trials
from samplerhub.manifest import record
from samplerhub.protocols import Progress

NUMBERS = 16_384
"""By default so many numbers are in the starting states of training, within LEAST and MOST states."""
LEAST, MOST = 256, 1024
HELD_OUT = 2
"""Held-out states for one in training."""
CENTERS = [-3.0 + k / 2 for k in range(10)]
WIDTHS = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0)
ITERATIONS = 25
"""At most so many steps of Gauss and Newton's method with each loss."""
ROBUST = 5.0
"""Errors of more than so many times the median count less and less in the first, robust, loss."""


def learn_grid(
    experiment: Experiment, *, noises: int | None = None, observe: Callable[[Progress], None] | None = None
) -> LearnedNodes:
    r"""Return the nodes that make the sampler's error smallest, for the experiment's model, steps and start.

    The error of a grid is the RMS distance of the samples to the end of the probability-flow ODE from the same start.
    Nodes are sought in three stages, on `noises` starting states drawn from the prior:

    1. a scan of grids whose nodes have density 1/cosh((log rho - m)/w) in log rho: few at both ends, more around m
    2. Levenberg and Marquardt's method on all nodes, from the best of these and of the experiment's own grid, with the
       robust loss s^2 log(1 + |r|^2/s^2), in which the few starts that end near a boundary of modes cannot dominate
    3. the same with the plain mean square

    What each stage found competes with the grid of the experiment on twice as many other starting states: the
    smallest RMS error there is taken, among those whose typical (geometric mean) error is no larger either. Where none
    is better, the nodes are those of the grid itself.

    The mean of the squares is decided by rare starts that end between two modes: on new ones the gain can be smaller
    than promised, the more so the larger it is. More `noises` help.

    References:
        Align Your Steps: Optimizing Sampling Schedules in Diffusion Models (Sabour et al., 2024), arXiv:2404.14507
        An Algorithm for Least-Squares Estimation of Nonlinear Parameters (Marquardt, 1963), doi:10.1137/0111030

    Args:
        experiment: What the grid is for; its own grid is what is to be bettered.
        noises: Starting states in training; by default 256 to 1,024, fewer for larger states.
        observe: Called with how far the search has come.

    Raises:
        Mismatch: The sampler draws noise, or chooses its own steps.
        InvalidSetting: Fewer than 8 starting states.
    """
    if noises is not None and noises < 8:
        raise InvalidSetting(f"noises = {noises}: a grid cannot be learned from fewer than 8 starting states")
    setup = experiment.setup()
    if not isinstance(setup.sampler, Budgeted):
        raise Mismatch(f"{type(setup.sampler).__name__} chooses its own steps: there is no grid to learn")
    if noises is None:
        noises = min(MOST, max(LEAST, NUMBERS // math.prod(setup.shape)))
    training = Trials.draw(setup, noises, "learning a grid")
    held_out = Trials.draw(setup, HELD_OUT * noises, "a learned grid, held out")

    start = setup.rho
    nodes = [start]
    for progress in _search(training, start, nodes):
        if observe:
            observe(progress)
    best, error, before, gain_stderr = _best(nodes, held_out)
    roles = ("process", "model", "sampler", "grid", "prior", "target")
    players = {role: getattr(experiment, role) for role in roles}
    return LearnedNodes(
        rho=tuple(best.tolist()),
        start=tuple(start.tolist()),
        components={role: record(player) for role, player in players.items() if player is not None},
        seed=setup.seed,
        noises=noises,
        error=error,
        error_before=before,
        gain_stderr=gain_stderr,
    )


def _search(training: Trials, start: Tensor, nodes: list[Tensor]) -> Iterator[Progress]:
    """Append what each stage finds to the nodes."""
    if len(start) < 3:
        return  # one step: there is no node between the ends
    total, scale = len(CENTERS) + 2 * ITERATIONS, training.end.std().item()
    best, least = start, _score(training.errors(start))
    for k, center in enumerate(CENTERS):
        for rho in (bell(start, scale * math.exp(center), width) for width in WIDTHS):
            score = _score(training.errors(rho))
            best, least = (rho, score) if score < least else (best, least)
        yield Progress(k + 1, total, "scan")
    nodes.append(best)
    for stage, reach in enumerate((ROBUST, math.inf)):
        done = len(CENTERS) + stage * ITERATIONS
        for k, (better, rms) in enumerate(descend(training, nodes[-1], reach, ITERATIONS)):
            best = better
            yield Progress(done + k + 1, total, f"RMS error {rms:.3g}")
        nodes.append(best)


def bell(ends: Tensor, center: float, width: float) -> Tensor:
    """Return nodes whose density in l = log rho is 1/cosh((l - log center)/width), as many as and between `ends`.

    A width of 1 is the grid that is uniform in atan(rho/center), a very large one that of equal steps of log rho.
    """
    first, last = ((ends[[0, -1]] / center).log() / width).sinh().atan().tolist()
    angle = torch.linspace(first, last, len(ends), dtype=torch.float64)
    rho: Tensor = center * (width * angle.tan().asinh()).exp()
    rho[0], rho[-1] = ends[0], ends[-1]
    return rho


def _score(errors: Tensor) -> float:
    """Return a figure of merit between the RMS error and the typical one, of which neither may be large."""
    score = (errors.mean().log() + errors.clamp(min=1e-300).log().mean()).item()
    return score if math.isfinite(score) else math.inf


def _best(nodes: list[Tensor], held_out: Trials) -> tuple[Tensor, float, float, float]:
    """Return the nodes with the smallest RMS error, that error, that of the first nodes, and the gain's stderr.

    Neither the RMS error nor the typical one may exceed those of the first nodes.
    """
    errors = [held_out.errors(rho) for rho in nodes]
    rms = [e.mean().sqrt().item() for e in errors]
    typical = [e.clamp(min=1e-300).log().mean().item() for e in errors]
    allowed = [k for k in range(len(nodes)) if rms[k] <= rms[0] and typical[k] <= typical[0]] or [0]
    best = min(allowed, key=lambda k: rms[k])
    if best == 0:
        return nodes[0], rms[0], rms[0], 0.0
    log_gain = (errors[0] / rms[0] ** 2 - errors[best] / rms[best] ** 2) / 2  # to first order, but for a constant
    stderr = rms[0] / rms[best] * log_gain.std().item() / math.sqrt(len(log_gain))
    return nodes[best], rms[best], rms[0], stderr
