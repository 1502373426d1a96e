"""Pictures of samples side by side: the k-th sample of every run with the same seed began at the same noise."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from samplerhub import process as derived
from samplerhub.assembly import build
from samplerhub.capabilities import Density
from samplerhub.config import RunConfig
from samplerhub.errors import SamplerhubError
from samplerhub.files import read_tensors
from samplerhub.noise import normal, stream
from samplerhub.picture import is_image
from samplerhub.registry import Registry
from samplerhub.report.boards import Board, Colours
from samplerhub.report.chart import pixel, spread
from samplerhub.report.words import count, in_words
from samplerhub.sweep import Group, Kept

MOST = 24
"""Pictures of a board."""
SIDE = 200
"""Width and height of a picture in its own units."""
POINTS, PIXELS, BINS, SHEET = 5000, 100, 72, 4
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
class Gallery:
    """Pictures of a board."""

    seed: int
    pictures: tuple[Picture, ...]
    truth: Picture | None
    """The target: behind each picture, or beside them where they are images."""
    beside: bool
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Frame:
    """What all pictures of a board have in common."""

    low: Tensor
    high: Tensor
    top: float = 1.0
    """Height of a histogram that fills a picture."""


def gallery(board: Board, colours: Colours, registry: Registry, room: int) -> Gallery | None:
    """Return pictures of runs with the same seed, as many as there is room for; None where nothing can be shown.

    Args:
        board: The runs.
        colours: Their colours.
        registry: What is installed; the target is drawn where it is.
        room: Bytes that they may take.
    """
    seed = min(run.manifest.settings.seed for group in board.groups for run in group.runs)
    with_seed = [(g, r) for g in board.groups for r in g.runs[:] if r.manifest.settings.seed == seed]
    runs = list({id(group): (group, run) for group, run in with_seed}.values())
    chosen = _chosen(runs, colours)
    notes = []
    read: list[tuple[Group, Tensor]] = []
    for group, run in chosen:
        try:
            read.append((group, _samples(run, registry)))
        except SamplerhubError as error:
            notes.append(f"No picture of {in_words(run.axes)}: {error}")
    if not read:
        return None
    shape = tuple(read[0][1].shape[1:])
    read = [(group, y) for group, y in read if tuple(y.shape[1:]) == shape]
    try:
        truth = _truth(chosen[0][1], registry)
    except SamplerhubError as error:
        truth = None
        notes.append(f"The target is not shown: {error}")
    images = is_image(shape)
    clouds = [y for _, y in read]
    frame = _frame(clouds if truth is None else [truth], clouds, images)
    names = [name for name in board.axes if name != colours.axis]
    behind = None if truth is None else _picture("target", None, truth, frame, images)
    if behind is not None and not images and len(shape) == 1 and shape[0] == 1:
        behind = _density(chosen[0][1], registry, frame) or behind
    room -= behind.size if behind else 0
    pictures: list[Picture] = []
    for group, y in read:
        label = ", ".join(filter(None, (colours.label(group), in_words(group.axes, names))))
        drawn = _picture(label, colours.of(group), y, frame, images)
        room -= drawn.size
        if room < 0:
            break
        pictures.append(drawn)
    left_out = len(runs) - len(pictures)
    if left_out:
        notes.append(f"{count(left_out, 'run')} with this seed not shown, to keep this page small.")
    return Gallery(seed, tuple(pictures), behind, images, tuple(notes)) if pictures else None


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
    tensors, _ = read_tensors(run.folder / "samples.safetensors")
    samples = tensors.get("samples")
    if samples is None or not len(samples):
        raise SamplerhubError("its file has no samples")
    y = samples[:POINTS].to(torch.float64)
    settings = run.manifest.settings
    if settings.t_min is None and settings.rho_min is None:  # at the end of a process alpha is 1
        return y
    config = RunConfig.from_manifest(run.manifest, registry)
    process = build("process", config.components["process"], registry)
    return y / derived.alpha(process, torch.tensor(run.manifest.times[-1], dtype=torch.float64)).item()  # type: ignore[arg-type]


def _target(run: Kept, registry: Registry) -> tuple[object, float]:
    """Return the target of a run, and the noise level at the end."""
    config = RunConfig.from_manifest(run.manifest, registry)
    process = build("process", config.components["process"], registry)
    end = torch.tensor(run.manifest.times[-1], dtype=torch.float64)
    return build("target", config.components["target"], registry), derived.rho(process, end).item()  # type: ignore[arg-type]


def _truth(run: Kept, registry: Registry) -> Tensor:
    target, rho = _target(run, registry)
    rng = stream(run.manifest.settings.seed, "picture")
    x0: Tensor = target.sample(POINTS, rng).to(torch.float64)  # type: ignore[attr-defined]
    return x0 + rho * normal(x0, rng)


def _frame(clouds: Sequence[Tensor], others: Sequence[Tensor], images: bool) -> _Frame:
    """Return the range of what is shown: of all numbers of images, of the first two coordinates of anything else.

    Args:
        clouds: What the range is of.
        others: What else will be shown in it.
        images: Whether they are images.
    """
    points = torch.cat([y.flatten(1)[:POINTS] for y in clouds])
    if images:
        low, high = torch.aminmax(points)
        return _Frame(low, high)
    points = points[:, :2]
    ends = torch.quantile(points, torch.tensor([0.001, 0.999], dtype=points.dtype), dim=0)
    margin = 0.1 * (ends[1] - ends[0]).clamp(min=1e-9)
    low, high = ends[0] - margin, ends[1] + margin
    if points.shape[1] == 2:  # the same scale in both
        middle, half = (low + high) / 2, (high - low).max() / 2
        low, high = middle - half, middle + half
        return _Frame(low, high)
    tops = [_heights(y.flatten(), low.item(), high.item()).max().item() for y in (*clouds, *others)]
    return _Frame(low, high, 1.1 * min(2 * tops[0], max(tops)))


def _picture(caption: str, colour: int | None, y: Tensor, frame: _Frame, images: bool) -> Picture:
    tint = GREY if colour is None else COLOURS[colour % len(COLOURS)]
    if images:
        return Picture(caption, colour, image=_sheet(y, frame), pixelated=True)
    y = y.flatten(1)
    if y.shape[1] == 1:
        return Picture(caption, colour, outline=_outline(y[:, 0], frame))
    return Picture(caption, colour, image=_cloud(y[:, :2], frame, tint))


def _sheet(y: Tensor, frame: _Frame) -> str:
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


def _cloud(y: Tensor, frame: _Frame, tint: str) -> str:
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


def _outline(y: Tensor, frame: _Frame) -> str:
    """Return a histogram as a path."""
    path, width = f"M0 {SIDE}", SIDE / BINS
    for i, height in enumerate(_heights(y, frame.low.item(), frame.high.item()).tolist()):
        path += f"V{pixel(_up(height, frame))}H{pixel((i + 1) * width)}"
    return f"{path}V{SIDE}Z"


def _up(height: float, frame: _Frame) -> float:
    return max(2.0, SIDE - SIDE * height / frame.top)


def _density(run: Kept, registry: Registry, frame: _Frame) -> Picture | None:
    """Return the target's density, where it is known."""
    target, rho = _target(run, registry)
    if not isinstance(target, Density):
        return None
    low, high = frame.low.item(), frame.high.item()
    at = torch.linspace(low, high, 2 * SIDE, dtype=torch.float64)[:, None]
    density = target.log_prob(at, torch.full((1, 1), rho, dtype=torch.float64)).exp() * (high - low)
    step = SIDE / (len(density) - 1)
    line = "L".join(f"{pixel(i * step)} {pixel(_up(height, frame))}" for i, height in enumerate(density.tolist()))
    return Picture("target", None, outline=f"M0 {SIDE}L{line}L{SIDE} {SIDE}Z")
