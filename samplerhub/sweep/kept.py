"""A finished run: what tables need of it, and the manifest behind that, which is read when it is asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import JsonValue

from samplerhub.errors import UnusableFile
from samplerhub.manifest import ComponentRecord, Manifest
from samplerhub.sweep.identity import contents_of, digest, how_measured, problem_of, same_as, versions_of

Written = tuple[int, str]
"""Size of a file, and its SHA-256."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of a run, or of several that differ only by their seed."""

    value: float
    """Of several runs the mean."""
    stderr: float | None = None
    """Of several runs the standard error of their mean, from its spread; of one run that of its own estimate."""
    better: Literal["smaller", "larger"] = "smaller"
    runs: int = 1
    how: str = ""
    """Hash of how it was measured: figures of the same problem that share it can be compared."""

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
    """Hash of what made the samples, but for the seed and versions: runs that differ only by their seed share it."""
    problem: str
    """Hash of what was to be sampled, how often and down to which noise level."""
    folder: Path
    load: Callable[[], Manifest] = field(repr=False, compare=False)
    budget: float | None = None
    """Evaluations per sample that were allowed, ``nfe`` or what the steps need; None where nothing limited them."""
    rho: float | None = None
    """Noise level of the samples; None where the record does not say it."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of samplerhub, torch and what the components come from."""
    contents: Mapping[str, str] = field(default_factory=dict)
    """The first digits of the hash of the files that a component read, by its role."""
    files: Mapping[str, Written] = field(default_factory=dict)
    """What was written besides the result, by name."""

    @classmethod
    def of(
        cls,
        key: str,
        axes: Mapping[str, JsonValue],
        manifest: Manifest,
        folder: Path,
        budget: float | None,
        files: Mapping[str, Written],
    ) -> Kept:
        """Return the run that a manifest records."""
        return cls(
            key,
            axes,
            manifest.settings.seed,
            manifest.nfe,
            manifest.seconds,
            {
                name: Figure(e.value, e.stderr, e.better, how=digest(how_measured(manifest, name)))
                for name, e in manifest.estimates.items()
            },
            digest(same_as(manifest)),
            digest(problem_of(manifest)),
            folder,
            lambda: manifest,
            budget,
            manifest.rho,
            versions_of(manifest),
            contents_of(manifest),
            files,
        )

    @cached_property
    def manifest(self) -> Manifest:
        """The whole record of the run."""
        return self.load()

    def file(self, name: str) -> Path:
        """Return one of its files, which has been checked.

        Raises:
            UnusableFile: It is not what was written.
        """
        file = self.folder / name
        try:
            if name in self.files and hashlib.sha256(file.read_bytes()).hexdigest() != self.files[name][1]:
                raise UnusableFile(f"{file} was changed: its hash is another")
        except OSError as error:
            raise UnusableFile(f"cannot read {file}: {error.strerror or error}") from error
        return file


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
