"""Samples as a picture: images as a sheet, points of the plane as pixels, numbers as the outline of a histogram."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from samplerhub.report.chart import pixel

SIDE = 200
"""Width and height of a picture in its own units."""
POINTS = 5000
"""Samples of which a picture is made."""
PIXELS, BINS, SHEET = 100, 72, 4
"""Pixels of a cloud, bins of a histogram, images in a row of a sheet."""
COLOURS = ("#006ba8", "#bf4f00", "#007a5c", "#a93c82", "#856000", "#2478ad", "#6352c9", "#666666")
"""The colours of the samples, which are those of the lines."""
GREY = "#808080"


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of a run: pixels, or an outline."""

    caption: str
    colour: int | None
    """Its colour; None: the target itself."""
    image: str = ""
    """A data address."""
    outline: str = ""
    """A path."""
    pixelated: bool = False

    @property
    def size(self) -> int:
        """Bytes that it takes in the page."""
        return len(self.image) + len(self.outline) + 400


@dataclass(frozen=True, slots=True)
class Frame:
    """What all pictures of a board have in common."""

    low: Tensor
    high: Tensor
    top: float = 1.0
    """Height of a histogram that fills a picture."""


def framed(clouds: Sequence[Tensor], others: Sequence[Tensor], images: bool) -> Frame:
    """Return the range of what is shown: of all numbers of images, of the first two coordinates of anything else.

    Args:
        clouds: What the range is of.
        others: What else will be shown in it.
        images: Whether they are images.
    """
    points = torch.cat([y.flatten(1)[:POINTS] for y in clouds])
    if images:
        low, high = torch.aminmax(points)
        return Frame(low, high)
    points = points[:, :2]
    ends = torch.quantile(points, torch.tensor([0.001, 0.999], dtype=points.dtype), dim=0)
    margin = 0.1 * (ends[1] - ends[0]).clamp(min=1e-9)
    low, high = ends[0] - margin, ends[1] + margin
    if points.shape[1] == 2:  # the same scale in both
        middle, half = (low + high) / 2, (high - low).max() / 2
        low, high = middle - half, middle + half
        return Frame(low, high)
    tops = [_heights(y.flatten(), low.item(), high.item()).max().item() for y in (*clouds, *others)]
    return Frame(low, high, 1.1 * min(2 * tops[0], max(tops)))


def drawn(caption: str, colour: int | None, y: Tensor, frame: Frame, images: bool) -> Picture:
    """Return a picture of samples."""
    tint = GREY if colour is None else COLOURS[colour % len(COLOURS)]
    if images:
        return Picture(caption, colour, image=_sheet(y, frame), pixelated=True)
    y = y.flatten(1)
    if y.shape[1] == 1:
        return Picture(caption, colour, outline=_outline(y[:, 0], frame))
    return Picture(caption, colour, image=_cloud(y[:, :2], frame, tint))


def _sheet(y: Tensor, frame: Frame) -> str:
    """Return the first images, in rows."""
    y = y[:, None] if y.ndim == 3 else y
    side = SHEET if max(y.shape[-2:]) <= 32 else 2
    y = ((y[: side**2] - frame.low) / (frame.high - frame.low).clamp(min=1e-12)).clamp(0, 1)
    gap = max(1, y.shape[-1] // 8)
    sheet = torch.zeros(y.shape[1] + 1, *(side * (size + gap) - gap for size in y.shape[-2:]), dtype=y.dtype)
    for i, one in enumerate(y):
        top, left = i // side * (y.shape[-2] + gap), i % side * (y.shape[-1] + gap)
        sheet[:-1, top : top + y.shape[-2], left : left + y.shape[-1]] = one
        sheet[-1, top : top + y.shape[-2], left : left + y.shape[-1]] = 1  # what is between the images is transparent
    pixels = (sheet * 255).round().to(torch.uint8)
    return _address(Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy()))


def _cloud(y: Tensor, frame: Frame, tint: str) -> str:
    """Return points as pixels, the denser the less transparent."""
    at = ((y - frame.low) / (frame.high - frame.low) * PIXELS).nan_to_num(-1.0).floor().long()
    inside = at[((at >= 0) & (at < PIXELS)).all(1)]
    counts = torch.bincount((PIXELS - 1 - inside[:, 1]) * PIXELS + inside[:, 0], minlength=PIXELS**2)
    full = torch.quantile(counts[counts > 0].double(), 0.9).item() if len(inside) else 1.0
    alpha = (counts.double() / full).clamp(max=1).sqrt().mul(15).round().div(15).mul(255)
    pixels = torch.tensor([*bytes.fromhex(tint[1:]), 0], dtype=torch.uint8).repeat(PIXELS, PIXELS, 1)
    pixels[..., 3] = alpha.reshape(PIXELS, PIXELS).to(torch.uint8)
    return _address(Image.fromarray(pixels.numpy(), "RGBA"))


def _address(image: Image.Image) -> str:
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _heights(y: Tensor, low: float, high: float) -> Tensor:
    """Return a histogram whose mean height is the share of the samples inside."""
    return torch.histc(y[torch.isfinite(y)], BINS, low, high) / max(1, len(y)) * BINS


def _outline(y: Tensor, frame: Frame) -> str:
    """Return a histogram as a path."""
    path, width = f"M0 {SIDE}", SIDE / BINS
    for i, height in enumerate(_heights(y, frame.low.item(), frame.high.item()).tolist()):
        path += f"V{pixel(_up(height, frame))}H{pixel((i + 1) * width)}"
    return f"{path}V{SIDE}Z"


def _up(height: float, frame: Frame) -> float:
    return max(2.0, SIDE - SIDE * height / frame.top)


def curve(caption: str, heights: Sequence[float], frame: Frame) -> Picture:
    """Return a density at equal distances over the frame, in units of its mean."""
    step = SIDE / (len(heights) - 1)
    line = "L".join(f"{pixel(i * step)} {pixel(_up(height, frame))}" for i, height in enumerate(heights))
    return Picture(caption, None, outline=f"M0 {SIDE}L{line}L{SIDE} {SIDE}Z")
