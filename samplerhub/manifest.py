"""The record of a run: what was combined, with which versions, what was spent and what came out."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue

from samplerhub.capabilities import HasDigest
from samplerhub.component import parts, target_of
from samplerhub.protocols import Estimate


class ComponentRecord(BaseModel):
    """One component of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str | None = None
    """Its registered name; None for an object that was made in Python and never registered."""
    target: str
    """Where it comes from, "module:Class"."""
    distribution: str | None
    version: str | None
    fields: dict[str, JsonValue]
    parts: dict[str, ComponentRecord] = {}
    """The components that it is made of, by field."""
    digest: str | None = None
    """Hash of the files that it read."""
    files: list[str] = []
    """Its fields that say where these files are."""


class PointRecord(BaseModel):
    """A figure at one time of the path."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    t: float
    rho: float
    value: float
    stderr: float | None


class MetricRecord(BaseModel):
    """One figure of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    value: float
    stderr: float | None
    quantity: str = ""
    bounds: str = ""
    details: dict[str, float | str] = {}
    better: Literal["smaller", "larger"] = "smaller"
    curve: list[PointRecord] = []

    curve_of: str = ""
    """What the curve shows, where it is not the figure itself."""

    @classmethod
    def of(cls, estimate: Estimate) -> MetricRecord:
        """Return the record of an estimate."""
        return cls(
            value=estimate.value,
            stderr=estimate.stderr,
            quantity=estimate.quantity,
            bounds=estimate.bounds,
            details=dict(estimate.details),
            better=estimate.better,
            curve=[PointRecord(**asdict(point)) for point in estimate.curve],
            curve_of=estimate.curve_of,
        )


class Settings(BaseModel):
    """The numbers of a run, besides its components. Written out, they reproduce it bit for bit on the same machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: int
    steps: int
    seed: int
    dtype: str
    device: str
    batch: int | None
    block: int
    path: int | None = None
    t_max: float | None = None
    rho_max: float | None = None
    t_min: float | None = None
    rho_min: float | None = None


class Manifest(BaseModel):
    """The record of a finished run."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    components: dict[str, ComponentRecord]
    """By role, all but metrics."""
    metrics: dict[str, ComponentRecord]
    """By name."""
    settings: Settings
    times: list[float]
    """The grid, from the start of sampling to its end."""
    nfe: float
    """Model evaluations per sample."""
    seconds: float
    estimates: dict[str, MetricRecord]
    environment: dict[str, str]
    """Versions and platform."""
    rho: float | None = None
    """Noise level of the samples, 0 where they were denoised; None in records that do not say it."""


def record(component: object) -> ComponentRecord:
    """Return what can be said of any component: where its class lives, the distribution, its fields and its parts."""
    cls = type(component)
    made_of = parts(component)
    distribution = _distribution(cls.__module__.partition(".")[0])
    digest = component.digest if isinstance(component, HasDigest) else None
    fields = type(component).model_fields if isinstance(component, BaseModel) and digest else {}
    return ComponentRecord(
        target=target_of(cls),
        distribution=distribution,
        version=metadata.version(distribution) if distribution else None,
        fields=component.model_dump(mode="json", exclude=set(made_of)) if isinstance(component, BaseModel) else {},
        parts={field: record(part) for field, part in made_of.items()},
        digest=digest,
        files=[name for name in fields if isinstance(getattr(component, name), Path)],
    )


def environment() -> dict[str, str]:
    """Return the versions and the platform that a run depends on."""
    import numpy as np
    import torch

    return {
        "samplerhub": _version("samplerhub"),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "platform": platform.platform(),
        "machine": platform.machine(),
        "threads": str(torch.get_num_threads()),
    }


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"


@cache
def _owners() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


def _distribution(package: str) -> str | None:
    if package in sys.stdlib_module_names or package == "__main__":
        return None
    return next(iter(_owners().get(package, [])), None)
