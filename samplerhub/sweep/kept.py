"""A finished run: what tables need of it, and the manifest behind that, which is read when it is asked for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import JsonValue

from samplerhub.manifest import ComponentRecord, Manifest

MEASURING = ("target", "features")
"""Roles on which the meaning of a figure depends, besides the metrics."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of a run, or of several that differ only by their seed."""

    value: float
    """Of several runs the mean."""
    stderr: float | None = None
    """Of several runs the standard error of their mean, from its spread; of one run that of its own estimate."""
    better: Literal["smaller", "larger"] = "smaller"
    runs: int = 1

    def key(self) -> tuple[bool, float]:
        """Return what is smaller where the figure is better; what is no number comes last."""
        worth = -self.value if self.better == "larger" else self.value
        return (True, 0.0) if worth != worth else (False, worth)


@dataclass(frozen=True)
class Kept:
    """A finished run."""

    key: str
    axes: Mapping[str, JsonValue]
    """What was asked for, by option."""
    seed: int
    nfe: float
    """Evaluations per sample that were spent."""
    seconds: float
    figures: Mapping[str, Figure]
    same: str
    """Hash of what was run, but for the seed and versions: runs that differ only by their seed share it."""
    problem: str
    """Hash of what was to be sampled and how it was measured: figures of runs that share it can be compared."""
    folder: Path
    load: Callable[[], Manifest] = field(repr=False, compare=False)

    @classmethod
    def of(cls, key: str, axes: Mapping[str, JsonValue], manifest: Manifest, folder: Path) -> Kept:
        """Return the run that a manifest records."""
        made = {role: _asked(component) for role, component in manifest.components.items()}
        metrics = {name: _asked(component) for name, component in manifest.metrics.items()}
        settings = manifest.settings.model_dump(mode="json", exclude={"seed", "batch"})
        return cls(
            key,
            axes,
            manifest.settings.seed,
            manifest.nfe,
            manifest.seconds,
            {name: Figure(e.value, e.stderr, e.better) for name, e in manifest.estimates.items()},
            _digest([made, metrics, settings]),
            _digest([{role: made.get(role) for role in MEASURING}, metrics, manifest.settings.samples]),
            folder,
            lambda: manifest,
        )

    @cached_property
    def manifest(self) -> Manifest:
        """The whole record of the run."""
        return self.load()


def chosen(manifest: Manifest, name: str) -> JsonValue:
    """Return what a run had for an option, asked for or by default; None where it has no such thing.

    Args:
        manifest: The run.
        name: As the option is written: ``sampler``, ``steps``, ``sampler.churn``, ``deis.churn``, ``churn``.
    """
    first, *path = name.replace("-", "_").split(".")
    if not path and first in manifest.components:
        return _called(manifest.components[first])
    if not path and first in type(manifest.settings).model_fields:
        value: JsonValue = getattr(manifest.settings, first)
        return value
    values = (
        _inside(component, path or [first])
        for role, component in (*manifest.components.items(), *manifest.metrics.items())
        if not path or first in (role.replace("-", "_"), _called(component).replace("-", "_"))
    )
    return next((value for value in values if value is not None), None)


def _inside(component: ComponentRecord, path: list[str]) -> JsonValue:
    first, *rest = path
    if first in component.parts:
        return _inside(component.parts[first], rest) if rest else _called(component.parts[first])
    return None if rest else component.fields.get(first)


def _called(component: ComponentRecord) -> str:
    return component.name or component.target


def _asked(component: ComponentRecord) -> JsonValue:
    """Return a component without its version, which is not asked for."""
    parts = {name: _asked(part) for name, part in component.parts.items()}
    return [component.target, component.digest, component.fields, parts]


def _digest(what: object) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]
