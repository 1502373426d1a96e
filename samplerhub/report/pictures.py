"""Pictures of samples side by side: the k-th sample of every run with the same seed began at the same noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from samplerhub import process as derived
from samplerhub.assembly import build
from samplerhub.capabilities import Density
from samplerhub.config import RunConfig
from samplerhub.errors import SamplerhubError, UnusableFile
from samplerhub.files import read_tensors
from samplerhub.foreign import confined
from samplerhub.noise import normal, stream
from samplerhub.picture import is_image
from samplerhub.protocols import ForwardProcess, Target
from samplerhub.registry import Registry
from samplerhub.report.boards import Board, Colours
from samplerhub.report.chart import spread
from samplerhub.report.drawing import POINTS, SIDE, Frame, Picture, curve, drawn, framed
from samplerhub.report.words import count, in_words
from samplerhub.sweep import Group, Kept
from samplerhub.sweep.task import SAMPLES

MOST = 24
"""Pictures of a board."""


@dataclass(frozen=True, slots=True)
class Gallery:
    """Pictures of a board."""

    seed: int
    pictures: tuple[Picture, ...]
    truth: Picture | None
    """The target: behind each picture, or beside them where they are images."""
    beside: bool
    notes: tuple[str, ...]


def gallery(board: Board, colours: Colours, registry: Registry, room: int) -> Gallery:
    """Return pictures of runs with the same seed, as many as there is room for, and what is to be said of the others.

    Args:
        board: The runs.
        colours: Their colours.
        registry: What is installed; the target is drawn where it is.
        room: Bytes that they may take.
    """
    seed = min(run.seed for group in board.groups for run in group.runs)
    runs = [(group, run) for group in board.groups for run in group.runs if run.seed == seed]
    read, notes = _read(_chosen(runs, colours), registry)
    left_out = len(runs) - len(notes)
    pictures: list[Picture] = []
    truth, images = None, False
    if read:
        images = is_image(tuple(read[0][1].shape[1:]))
        frame, truth, lost = _behind(runs[0][1], [y for _, y in read], images, registry)
        notes += lost
        names = [name for name in board.axes if name != colours.axis]
        room -= truth.size if truth else 0
        for group, y in read:
            label = ", ".join(filter(None, (colours.label(group), in_words(group.axes, names))))
            one = drawn(label, colours.of(group), y, frame, images)
            room -= one.size
            if room < 0:
                break
            pictures.append(one)
    left_out -= len(pictures)
    if left_out:
        notes.append(f"{count(left_out, 'run')} with this seed not shown, to keep this page small.")
    return Gallery(seed, tuple(pictures), truth if pictures else None, images, tuple(notes))


def _read(chosen: Sequence[tuple[Group, Kept]], registry: Registry) -> tuple[list[tuple[Group, Tensor]], list[str]]:
    """Return the samples of runs, all of the shape of the first, and what could not be read."""
    read: list[tuple[Group, Tensor]] = []
    notes = []
    for group, run in chosen:
        try:
            y = _samples(run, registry)
            if read and y.shape[1:] != read[0][1].shape[1:]:
                raise UnusableFile(f"its samples have another shape, {tuple(y.shape[1:])}")
            read.append((group, y))
        except SamplerhubError as error:
            notes.append(f"No picture of {in_words(run.axes)}: {error}")
    return read, notes


def _behind(
    run: Kept, clouds: Sequence[Tensor], images: bool, registry: Registry
) -> tuple[Frame, Picture | None, list[str]]:
    """Return the range of all pictures, and the target in it; where it cannot be drawn, why."""
    try:
        target, rho = _target(run, registry)
        with confined("it cannot be drawn"):
            truth = _draws(target, rho, run.seed)
            frame = framed([truth], clouds, images)
            if truth[0].numel() == 1 and isinstance(target, Density):
                return frame, _density(target, rho, frame), []
            return frame, drawn("target", None, truth, frame, images), []
    except SamplerhubError as error:
        return framed(clouds, clouds, images), None, [f"The target is not shown: {error}"]


def _chosen(runs: Sequence[tuple[Group, Kept]], colours: Colours) -> list[tuple[Group, Kept]]:
    """Return runs that show each colour at each budget; then the others while there is place."""
    ordered = sorted(runs, key=lambda one: (one[0].budget, colours.of(one[0])))
    first = list({(group.budget, colours.of(group)): (group, run) for group, run in reversed(ordered)}.values())[::-1]
    if len(first) >= MOST:
        return spread(first, MOST)
    kept = {id(group) for group, _ in first}
    others = [one for one in ordered if id(one[0]) not in kept][: MOST - len(first)]
    kept |= {id(group) for group, _ in others}
    return [one for one in ordered if id(one[0]) in kept]


def _samples(run: Kept, registry: Registry) -> Tensor:
    """Return the first samples of a run, y = x/alpha."""
    file = run.file(SAMPLES)
    samples = read_tensors(file)[0].get("samples")
    if samples is None or not len(samples):
        raise UnusableFile(f"{file} has no samples")
    y = samples[:POINTS].to(torch.float64)
    settings = run.manifest.settings
    if settings.t_min is None and settings.rho_min is None:  # at the end of a process alpha is 1
        return y
    process, end = _end(run, registry)
    return y / derived.alpha(process, end).item()


def _end(run: Kept, registry: Registry) -> tuple[ForwardProcess, Tensor]:
    """Return the process of a run, and the time at its end."""
    config = RunConfig.from_manifest(run.manifest, registry)
    process = cast(ForwardProcess, build("process", config.components["process"], registry))
    return process, torch.tensor(run.manifest.times[-1], dtype=torch.float64)


def _target(run: Kept, registry: Registry) -> tuple[Target, float]:
    """Return the target of a run, and the noise level at the end."""
    config = RunConfig.from_manifest(run.manifest, registry)
    target = cast(Target, build("target", config.components["target"], registry))
    return target, derived.rho(*_end(run, registry)).item()


def _draws(target: Target, rho: float, seed: int) -> Tensor:
    """Return samples of the target at a noise level."""
    rng = stream(seed, "picture")
    x0 = target.sample(POINTS, rng).to(torch.float64)
    return x0 + rho * normal(x0, rng)


def _density(target: Density, rho: float, frame: Frame) -> Picture:
    """Return the density of a target of numbers."""
    low, high = frame.low.item(), frame.high.item()
    at = torch.linspace(low, high, 2 * SIDE, dtype=torch.float64)[:, None]
    density = target.log_prob(at, torch.full((1, 1), rho, dtype=torch.float64)).exp() * (high - low)
    return curve("target", density.tolist(), frame)
