"""What was run: the components, the settings and the versions of all runs, each with all values that it has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from samplerhub.errors import SamplerhubError
from samplerhub.manifest import ComponentRecord
from samplerhub.registry import Registry
from samplerhub.report.words import text
from samplerhub.sweep import Kept

MOST = 12
"""Values of a setting or a field that are written out."""


@dataclass(slots=True)
class Used:
    """A component that runs used."""

    role: str
    name: str
    source: str
    summary: str
    values: dict[str, dict[str, None]] = field(default_factory=dict)
    """The values of each field."""
    runs: int = 0

    @property
    def fields(self) -> str:
        """The fields that were set, each with all values that it had."""
        return "; ".join(f"{name} {_all(list(values))}" for name, values in self.values.items())


def components(runs: Iterable[Kept], registry: Registry) -> list[Used]:
    """Return the components of runs, with their summaries where they are installed."""
    found: dict[tuple[str, str, str], Used] = {}
    for run in runs:
        manifest = run.manifest
        metrics = (("metric", record) for record in manifest.metrics.values())
        for role, record in [*manifest.components.items(), *metrics]:
            for its_role, one in [(role, record), *((f"{role}'s {at}", part) for at, part in record.parts.items())]:
                source = f"{one.distribution} {one.version}" if one.distribution else one.target
                key = (its_role, one.name or one.target, source)
                used = found.setdefault(key, Used(its_role, key[1], source, _summary(registry, role, one)))
                used.runs += 1
                for name, value in one.fields.items():
                    if value is not None:
                        used.values.setdefault(name.replace("_", "-"), {})[text(value)] = None
    roles = list(dict.fromkeys(role for role, _, _ in found))
    return sorted(found.values(), key=lambda used: roles.index(used.role))


def settings(runs: Sequence[Kept]) -> list[tuple[str, str]]:
    """Return the settings of runs, each with its values."""
    rows = []
    for name in type(runs[0].manifest.settings).model_fields:
        values = {getattr(run.manifest.settings, name) for run in runs}
        if values != {None}:
            known = sorted(value for value in values if value is not None)
            rows.append((name.replace("_", "-"), _all([*map(text, known), *(["none"] if None in values else [])])))
    return rows


def environment(runs: Sequence[Kept]) -> list[tuple[str, str, bool]]:
    """Return the versions and platforms of runs, and whether they differ."""
    names = dict.fromkeys(name for run in runs for name in run.manifest.environment)
    rows = []
    for name in names:
        values = dict.fromkeys(run.manifest.environment.get(name, "not recorded") for run in runs)
        rows.append((name, _all([text(value) for value in values]), len(values) > 1))
    return rows


def _summary(registry: Registry, role: str, record: ComponentRecord) -> str:
    try:
        entry = registry.find(role, record.name or "", prefer=[record.distribution]).entry
        return entry.summary if entry.target == record.target else ""
    except SamplerhubError:
        return ""


def _all(values: Sequence[str]) -> str:
    more = f", and {len(values) - MOST} more" if len(values) > MOST else ""
    return ", ".join(values[:MOST]) + more
