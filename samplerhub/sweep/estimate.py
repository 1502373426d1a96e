"""How long the runs of a sweep will take: what an evaluation takes, and how many each run will spend."""

from __future__ import annotations

from collections.abc import Iterable

from samplerhub.assembly import assemble
from samplerhub.registry import Registry
from samplerhub.sweep.cell import Cell

MOST, STEPS = 8192, 2
"""Samples and steps of the run that is timed."""


def seconds_of(cells: Iterable[Cell], registry: Registry) -> list[float | None]:
    """Return the seconds of sampling of each run on one worker; None where its evaluations are not known beforehand.

    Measured: a sample's evaluation in a short run, the second of two, for each process, target, model, number of
    samples, device and dtype. What the metrics take is not in it.
    """
    pace: dict[str, float] = {}
    found: list[float | None] = []
    for cell in cells:
        config = cell.config
        if cell.nfe is None or config.samples is None:
            found.append(None)
            continue
        same = [config.components[role].model_dump_json() for role in ("process", "target", "model")]
        key = " ".join([*same, str((config.samples, config.device, config.dtype))])
        if key not in pace:
            trial: dict[str, object] = {"metrics": (), "samples": min(MOST, config.samples), "path": None}
            if cell.steps > STEPS and config.components["grid"].fields.get("steps") is None:
                trial |= {"steps": STEPS, "nfe": None}
            experiment = assemble(config.model_copy(update=trial), registry)
            experiment.run()
            result = experiment.run()
            pace[key] = result.seconds / (result.nfe * experiment.samples)
        found.append(pace[key] * cell.nfe * config.samples)
    return found
