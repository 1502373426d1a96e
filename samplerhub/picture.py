"""A picture of samples: images as a grid, numbers as a histogram, anything else as its first two coordinates."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from samplerhub.capabilities import Density
from samplerhub.errors import Mismatch
from samplerhub.experiment import Experiment, Result
from samplerhub.noise import normal, stream
from samplerhub.process import alpha, rho
from samplerhub.protocols import Target

IMAGES = 100
POINTS = 5000
BESIDE = 4
"""Pictures in a row."""
SAMPLE, TRUTH = "#3b6fb6", "#d1495b"


def draw(experiment: Experiment, result: Result) -> Figure:
    """Return a picture of the samples y = x/alpha, beside the target at the same noise level where it is known."""
    scale = 1.0 if result.rho == 0 else alpha(experiment.process, result.times[-1]).item()
    y = (result.samples / scale).to(torch.float64)
    truth = _reference(experiment, result.rho, min(len(y), POINTS))
    if is_image(tuple(y.shape[1:])):
        return _images(y, truth)

    y, truth = y.flatten(1), None if truth is None else truth.flatten(1)
    figure, axes = _canvas(6.4, 4.0 if y.shape[1] == 1 else 5.2)
    if y.shape[1] == 1:
        _histogram(axes, y[:, 0], truth, experiment.target, result.rho)
    else:
        _scatter(axes, y, truth)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def draw_beside(runs: Mapping[str, tuple[Experiment, Tensor]]) -> Figure:
    """Return a picture of the samples of several runs, one beside the other on the same scales.

    Args:
        runs: By what they are called, each as what was run and its samples.

    Raises:
        Mismatch: The samples are of several shapes.
    """
    shapes = {title: tuple(samples.shape[1:]) for title, (_, samples) in runs.items()}
    if len(set(shapes.values())) > 1:
        told = ", ".join(f"{title} {shape}" for title, shape in shapes.items())
        raise Mismatch(f"samples of several shapes have no picture beside each other: {told}")
    (shape,) = set(shapes.values())
    columns = min(len(runs), BESIDE)
    rows = math.ceil(len(runs) / columns)
    figure = Figure(figsize=(4.2 * columns, 3.9 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    line = shape in ((), (1,))
    panels = figure.subplots(rows, columns, squeeze=False, sharex=line, sharey=line).flat
    for axes, (title, (experiment, samples)) in zip(panels, runs.items()):
        axes.set_title(title)
        end = experiment.times[-1]
        y = (samples / alpha(experiment.process, end).item()).to(torch.float64)
        level = rho(experiment.process, end).item()
        truth = _reference(experiment, level, min(len(y), POINTS))
        if is_image(shape):
            axes.set_axis_off()
            axes.imshow(_sheet(y, truth), interpolation="nearest")
            continue
        y, truth = y.flatten(1), None if truth is None else truth.flatten(1)
        if line:
            _histogram(axes, y[:, 0], truth, experiment.target, level)
        else:
            _scatter(axes, y, truth)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels:
        axes.set_axis_off()
    return figure


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _reference(experiment: Experiment, rho: float, n: int) -> Tensor | None:
    if experiment.target is None:
        return None
    rng = stream(experiment.seed, "picture")
    x0 = experiment.target.sample(n, rng).to(torch.float64)
    return x0 + rho * normal(x0, rng)


def is_image(shape: tuple[int, ...]) -> bool:
    """Say whether a sample is (h, w), or (c, h, w) with one or three channels, and more than a few pixels."""
    is_grid = len(shape) == 2 or (len(shape) == 3 and shape[0] in (1, 3))
    return is_grid and min(shape[-2:]) > 3


def _images(y: Tensor, truth: Tensor | None) -> Figure:
    """Up to 100 images in rows."""
    sheet = _sheet(y, truth)
    figure = Figure(figsize=(6.4, 6.4 * sheet.shape[0] / sheet.shape[1]))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.imshow(sheet, interpolation="nearest", aspect="auto")
    return figure


def _sheet(y: Tensor, truth: Tensor | None) -> NDArray[np.float64]:
    """Up to 100 images in rows as (height, width, 3), black to white over the range of the data."""
    y = y[:IMAGES]
    y = y[:, None] if y.ndim == 3 else y
    low, high = torch.aminmax(y if truth is None else truth)
    y = ((y - low) / (high - low).clamp(min=1e-12)).clamp(0, 1)

    n, channels, height, width = y.shape
    columns = math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    gap = max(1, height // 8)
    sheet = torch.ones(channels, rows * (height + gap) + gap, columns * (width + gap) + gap, dtype=y.dtype)
    for i, image in enumerate(y):
        top, left = gap + i // columns * (height + gap), gap + i % columns * (width + gap)
        sheet[:, top : top + height, left : left + width] = image
    picture: NDArray[np.float64] = sheet.expand(3, -1, -1).permute(1, 2, 0).numpy()
    return picture


def _histogram(axes: Axes, y: Tensor, truth: Tensor | None, target: Target | None, rho: float) -> None:
    """Samples on the line over the true density, or over a histogram of true samples."""
    known = y if truth is None else torch.cat([y, truth[:, 0]])
    low, high = torch.quantile(known[:1_000_000], torch.tensor([0.0005, 0.9995], dtype=y.dtype)).tolist()
    margin = 0.08 * (high - low) or 1.0
    low, high = low - margin, high + margin
    bins = min(200, max(20, round(2 * len(y) ** (1 / 3))))

    inside = y[(y >= low) & (y <= high)]
    counts = torch.histc(inside, bins, low, high) / len(y) * bins / (high - low)
    edges = torch.linspace(low, high, bins + 1, dtype=y.dtype)
    axes.stairs(counts.numpy(), edges.numpy(), fill=True, color=SAMPLE, alpha=0.45, label=f"{len(y):,} samples")
    if isinstance(target, Density):
        at = torch.linspace(low, high, 1000, dtype=torch.float64)
        density = target.log_prob(at[:, None], torch.full((1, 1), rho, dtype=torch.float64)).exp()
        axes.plot(at.numpy(), density.numpy(), color=TRUTH, linewidth=1.6, label="true density")
    elif truth is not None:
        counts = torch.histc(truth[:, 0], bins, low, high) / len(truth) * bins / (high - low)
        axes.stairs(counts.numpy(), edges.numpy(), color=TRUTH, linewidth=1.2, label="target")
    axes.set_xlim(low, high)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("x")
    axes.set_ylabel("density")
    axes.legend(frameon=False)


def _scatter(axes: Axes, y: Tensor, truth: Tensor | None) -> None:
    """The first two coordinates of samples, over those of true samples."""
    size = max(1.0, min(12.0, 8000 / len(y[:POINTS])))
    for points, color, label in ((truth, TRUTH, "target"), (y, SAMPLE, "samples")):
        if points is not None:
            u, v = points[:POINTS, :2].T.numpy()
            axes.scatter(u, v, s=size, color=color, alpha=0.5, linewidths=0, label=label)
    axes.set_xlabel("$x_1$")
    axes.set_ylabel("$x_2$")
    axes.set_aspect("equal", adjustable="datalim")
    for handle in axes.legend(frameon=False, markerscale=3).legend_handles:
        if handle is not None:
            handle.set_alpha(1)
