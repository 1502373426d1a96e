"""How long the runs of a sweep will take: what an evaluation takes, and how many each run will spend."""

from __future__ import annotations

from collections.abc import Iterable

from samplerhub.assembly import assemble
from samplerhub.errors import SamplerhubError
from samplerhub.registry import Registry
from samplerhub.sweep.cell import Cell

MOST, STEPS = 8192, 2
"""Samples and steps of the run that is timed."""


def seconds_of(cells: Iterable[Cell], registry: Registry) -> list[float | None]:
    """Return the seconds of sampling of each run on one worker; None where its evaluations are not known beforehand.

    Measured: a sample's evaluation in a short run, the second of two, for each process, target, model, number of
    samples, device and dtype. What the metrics take is not in it.
    """
    pace: dict[str, float | None] = {}
    found: list[float | None] = []
    for cell in cells:
        config = cell.config
        same = [config.components[role].model_dump_json() for role in ("process", "target", "model")]
        key = " ".join([*same, str((config.samples, config.device, config.dtype))])
        if pace.get(key) is None and cell.nfe is not None:
            pace[key] = _pace(cell, registry)
        each = pace.get(key)
        known = cell.nfe is not None and each is not None and config.samples is not None
        found.append(each * cell.nfe * config.samples if known else None)  # type: ignore[operator]
    return found


def _pace(cell: Cell, registry: Registry) -> float | None:
    """Return the seconds of a sample's evaluation; None where the run fails, which is told when it is run."""
    trial: dict[str, object] = {"metrics": (), "samples": min(MOST, cell.config.samples or MOST), "path": None}
    if cell.steps > STEPS and cell.config.components["grid"].fields.get("steps") is None:
        trial |= {"steps": STEPS, "nfe": None}
    try:
        experiment = assemble(cell.config.model_copy(update=trial), registry)
        experiment.run()
        result = experiment.run()
    except SamplerhubError:
        return None
    return result.seconds / (result.nfe * experiment.samples)
