"""A picture of samples: images as a grid, numbers as a histogram, anything else as its first two coordinates."""

from __future__ import annotations

import math

import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from samplerhub.capabilities import Density
from samplerhub.experiment import Experiment, Result
from samplerhub.noise import normal, stream
from samplerhub.process import alpha
from samplerhub.protocols import Target

IMAGES = 100
POINTS = 5000
SAMPLE, TRUTH = "#3b6fb6", "#d1495b"


def draw(experiment: Experiment, result: Result) -> Figure:
    """Return a picture of the samples y = x/alpha, beside the target at the same noise level where it is known."""
    scale = 1.0 if result.rho == 0 else alpha(experiment.process, result.times[-1]).item()
    y = (result.samples / scale).to(torch.float64)
    truth = _reference(experiment, result, min(len(y), POINTS))
    if _is_image(tuple(y.shape[1:])):
        return _images(y, truth)

    y, truth = y.flatten(1), None if truth is None else truth.flatten(1)
    figure, axes = _canvas(6.4, 4.0 if y.shape[1] == 1 else 5.2)
    if y.shape[1] == 1:
        _histogram(axes, y[:, 0], truth, experiment.target, result.rho)
    else:
        _scatter(axes, y, truth)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _reference(experiment: Experiment, result: Result, n: int) -> Tensor | None:
    if experiment.target is None:
        return None
    rng = stream(experiment.seed, "picture")
    x0 = experiment.target.sample(n, rng).to(torch.float64)
    return x0 + result.rho * normal(x0, rng)


def _is_image(shape: tuple[int, ...]) -> bool:
    """Say whether a sample is (h, w), or (c, h, w) with one or three channels, and more than a few pixels."""
    is_grid = len(shape) == 2 or (len(shape) == 3 and shape[0] in (1, 3))
    return is_grid and min(shape[-2:]) > 3


def _images(y: Tensor, truth: Tensor | None) -> Figure:
    """Up to 100 images in rows, black to white over the range of the data."""
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
    figure = Figure(figsize=(6.4, 6.4 * sheet.shape[1] / sheet.shape[2]))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.imshow(sheet.expand(3, -1, -1).permute(1, 2, 0).numpy(), interpolation="nearest", aspect="auto")
    return figure


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
