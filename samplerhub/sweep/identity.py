"""What makes two runs the same, and two figures comparable: as plain data, from the records of runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import JsonValue

from samplerhub.manifest import ComponentRecord, Manifest

DIGITS = 6
"""Of a noise level: what differs later is rounding."""
SHOWN = 8
"""Digits of a hash that tell the contents of files apart."""


def asked(component: ComponentRecord | None) -> JsonValue:
    """Return what a component is: files count with their contents, wherever they are; versions are not asked for."""
    if component is None:
        return None
    fields = {
        name: Path(str(value)).suffix if name in component.files else value for name, value in component.fields.items()
    }
    return [component.target, component.digest, fields, {name: asked(part) for name, part in component.parts.items()}]


def same_as(manifest: Manifest) -> JsonValue:
    """Return what made the samples of a run, but for the seed."""
    made: dict[str, JsonValue] = {role: asked(component) for role, component in manifest.components.items()}
    return [made, manifest.settings.model_dump(mode="json", exclude={"seed", "batch"})]


def problem_of(manifest: Manifest) -> JsonValue:
    """Return what was to be sampled, how often and down to which noise level."""
    level = None if manifest.rho is None else rounded(manifest.rho)
    return [asked(manifest.components.get("target")), manifest.settings.samples, level]


def how_measured(manifest: Manifest, name: str) -> Mapping[str, JsonValue]:
    """Return what a figure depends on, besides the samples: the metric, and the features where it reads them."""
    how = {"metric": asked(manifest.metrics.get(name))}
    estimate, features = manifest.estimates.get(name), manifest.components.get("features")
    if estimate is not None and "features" in estimate.details:
        how["features"] = asked(features)
    return how


def rounded(rho: float) -> float:
    """Return a noise level to the digits that tell levels apart."""
    return float(f"{rho:.{DIGITS}g}")


def versions_of(manifest: Manifest) -> dict[str, str]:
    """Return the versions of samplerhub, torch and what the components come from."""
    found: dict[str, str] = {
        name: manifest.environment[name] for name in ("samplerhub", "torch") if name in manifest.environment
    }
    for component in (*manifest.components.values(), *manifest.metrics.values()):
        found |= dict(_versions(component))
    return found


def contents_of(manifest: Manifest) -> dict[str, str]:
    """Return the first digits of the hashes of files that components read, by role, of parts by role and field."""
    return {
        where: one.digest[:SHOWN]
        for role, component in manifest.components.items()
        for where, one in _within(role, component)
        if one.digest
    }


def digest(what: object) -> str:
    """Return a hash of plain data, 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]


def _versions(component: ComponentRecord) -> Iterator[tuple[str, str]]:
    for _, one in _within("", component):
        if one.distribution and one.version:
            yield one.distribution, one.version


def _within(where: str, component: ComponentRecord) -> Iterator[tuple[str, ComponentRecord]]:
    yield where, component
    for field, part in component.parts.items():
        yield from _within(f"{where}.{field.replace('_', '-')}", part)
