"""A grid that is given, node by node."""

from __future__ import annotations

import hashlib
import struct
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

import torch
from pydantic import model_validator
from torch import Tensor

from samplerhub import Component, Problem, read_numbers, rho, time_at
from samplerhub.errors import InvalidSetting, UnusableFile
from samplerhub_grids.spaced import between, equal_steps

CLOSE = 1e-4
"""How far the ends may be from those of the span, relatively: published tables have few digits."""
ZERO = 1e-12
"""How far an end may be from that of the span as a share of the largest time: time 0 has no relative distance."""


class Explicit(Component):
    r"""Given nodes, from the largest noise level to the smallest.

        t_i = nodes_i,    i = 0, ..., N

    The nodes are times or noise levels; they begin and end where the run does. For another number of steps than there
    are between the nodes, log rho is interpolated linearly over i/N, as is done with published schedules of ten steps.
    Without any nodes this gives `exponential`.

    References:
        Align Your Steps: Optimizing Sampling Schedules in Diffusion Models (Sabour, Fidler and Kreis, 2024),
            arXiv:2404.14507
    """

    nodes: tuple[float, ...] | None = None
    """The nodes, decreasing; none, and no file: those of `exponential`."""
    file: Path | None = None
    """A file with the nodes, in place of `nodes`: a JSON list, the .npy file of a vector, or a text."""
    unit: Literal["t", "rho"] = "t"
    """What the numbers are: times of the process, or noise levels rho = sigma/alpha."""

    @model_validator(mode="after")
    def _given_once(self) -> Self:
        if self.nodes is not None and self.file is not None:
            raise ValueError("nodes are given, and a file of nodes: give one of them")
        if self.nodes == ():
            raise ValueError("nodes are given, and there are none: give two or more")
        return self

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the nodes as float64."""
        return hashlib.sha256(struct.pack(f"<{len(self._nodes)}d", *self._nodes)).hexdigest()

    def __call__(self, problem: Problem, steps: int) -> Tensor:
        """Return steps + 1 times, strictly decreasing, shape (steps + 1,)."""
        places = equal_steps(0, 1, steps)[1:-1]
        inner = self._inner(problem)
        if len(inner) == steps - 1:
            return between(problem, inner)
        log_rho = rho(problem.process, between(problem, inner)).log()
        places = places * (len(log_rho) - 1)
        i = places.floor().long().clamp(max=len(log_rho) - 2)
        levels = torch.lerp(log_rho[i], log_rho[i + 1], places - i).exp()
        return between(problem, time_at(problem.process, levels))

    def _inner(self, problem: Problem) -> Tensor:
        """Return the times of the nodes between the first and the last, which are those of the span."""
        if not self._nodes:
            return torch.empty(0, dtype=torch.float64)
        nodes = torch.tensor(self._nodes, dtype=torch.float64)
        if len(nodes) < 2 or not bool((nodes.diff() < 0).all()):
            raise InvalidSetting(f"the nodes {_short(self._nodes)} must be two or more, and decreasing")
        if self.unit == "rho" and not bool((nodes > 0).all()):
            raise InvalidSetting(f"the nodes {_short(self._nodes)} are noise levels, which must be positive")
        t_min, t_max = problem.span
        ends = torch.tensor([t_max, t_min], dtype=torch.float64)
        ends = rho(problem.process, ends) if self.unit == "rho" else ends
        if not torch.allclose(nodes[[0, -1]], ends, rtol=CLOSE, atol=ZERO * t_max if self.unit == "t" else 0):
            raise InvalidSetting(
                f"the nodes {_short(self._nodes)} go from {self.unit} = {nodes[0]:g} to {nodes[-1]:g}, and the run "
                f"from {ends[0]:g} to {ends[1]:g}: begin and end at the nodes, with --{self.unit}-max {nodes[0]:g} "
                f"--{self.unit}-min {nodes[-1]:g}"
            )
        inner = nodes[1:-1]
        return time_at(problem.process, inner) if self.unit == "rho" else inner

    @cached_property
    def _nodes(self) -> tuple[float, ...]:
        """The nodes that were given; empty where none were."""
        if self.file is None:
            return self.nodes or ()
        nodes = tuple(read_numbers(self.file))
        if not nodes:
            raise UnusableFile(f"{self.file} holds no nodes; write two or more into it, decreasing")
        return nodes


def _short(nodes: tuple[float, ...]) -> str:
    shown = [f"{node:g}" for node in nodes]
    return ", ".join(shown if len(shown) <= 4 else [*shown[:2], "...", *shown[-1:]])
