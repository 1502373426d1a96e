"""The grid of a file that `samplerhub learn-grid` wrote."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path

from torch import Tensor

from samplerhub import Component, LearnedNodes, Problem, rho, time_at
from samplerhub.errors import Mismatch, UnusableFile
from samplerhub_grids.spaced import between

MARGIN = 1e-6
"""So far, relatively, the ends of a run may be from those of the file."""


class LearnedGrid(Component):
    r"""Nodes that were optimised through a sampler, for a given model and number of steps; read from a file.

        rho_0 > rho_1 > ... > rho_N    minimise    E |y_N - y(rho_N)|^2,

    y_N where the sampler ends and y(rho_N) the end of the probability-flow ODE from the same start. `samplerhub
    learn-grid` finds them and writes the file, with what they were learned for and how much smaller the error became on
    starting states that were held out. They serve one number of steps, and runs between the same noise levels, of any
    process. With another sampler or model they are a grid like any other, and probably no good one.

    References:
        Align Your Steps: Optimizing Sampling Schedules in Diffusion Models (Sabour, Fidler and Kreis, 2024),
            arXiv:2404.14507
    """

    file: str = ""
    """The file, NAME.grid.json; it may stand in place of the grid's name."""

    @cached_property
    def learned(self) -> LearnedNodes:
        """What the file says; read when first used.

        Raises:
            UnusableFile: None is given, or it is missing, or something else.
        """
        if not self.file:
            raise UnusableFile(
                "the grid 'learned' has no file: learn one for your sampler, model and steps with "
                "samplerhub learn-grid, and name it, as in --grid mine.grid.json"
            )
        return LearnedNodes.read(Path(self.file))

    @property
    def digest(self) -> str:
        """SHA-256 of the nodes; empty without a file."""
        return hashlib.sha256(repr(self.learned.rho).encode()).hexdigest() if self.file else ""

    @property
    def steps(self) -> int:
        """The number of steps that it was learned for."""
        return self.learned.steps

    def __call__(self, problem: Problem, steps: int) -> Tensor:
        """Return steps + 1 times, strictly decreasing, shape (steps + 1,).

        Raises:
            Mismatch: It was learned for another number of steps, or between other noise levels.
        """
        nodes, (t_min, t_max) = self.learned, problem.span
        if steps != nodes.steps:
            raise Mismatch(
                f"{self.file} was learned for {nodes.steps} steps and the run has {steps}: give --steps {nodes.steps}, "
                "or learn another grid"
            )
        ends = rho(problem.process, [t_max, t_min]).tolist()
        if any(abs(a / b - 1) > MARGIN for a, b in zip(ends, (nodes.rho[0], nodes.rho[-1]))):
            raise Mismatch(
                f"{self.file} was learned for noise levels {nodes.rho[0]:g} to {nodes.rho[-1]:g} and the run goes from "
                f"{ends[0]:g} to {ends[1]:g}: choose the process, or the ends, for which it was learned, or learn "
                "another grid"
            )
        return between(problem, time_at(problem.process, list(nodes.rho[1:-1])))
