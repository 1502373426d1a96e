"""One run of a sweep: what is asked for, and the name that follows from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from samplerhub.assembly import assemble, complete
from samplerhub.config import RUN_ROLES, Choice, RunConfig
from samplerhub.manifest import ComponentRecord, record
from samplerhub.registry import Registry


@dataclass(frozen=True, slots=True)
class Cell:
    """One run that is to be done."""

    key: str
    """Hash of everything that is asked for, 12 hexadecimal digits: the name of its folder."""
    config: RunConfig
    """The run, every field of every component written out."""
    axes: Mapping[str, JsonValue]
    """What distinguishes it from the other runs of the sweep, by option: ``{"sampler": "deis", "nfe": 10}``."""

    @classmethod
    def of(cls, config: RunConfig, axes: Mapping[str, JsonValue], registry: Registry) -> Cell:
        """Return the cell of a run.

        Defaults are written out first, so that a default that is given has the same key as one that is not, and files
        that are read count with their contents.

        Raises:
            SamplerhubError: The run is not possible; nothing has been sampled.
        """
        config = complete(config, registry)
        experiment = assemble(config, registry)
        records = {role: record(getattr(experiment, role)) for role in RUN_ROLES}
        figures = [record(metric) for metric in dict(experiment.metrics).values()]  # type: ignore[arg-type]
        config = config.model_copy(
            update={
                "components": {role: _written_out(config.components[role], records[role]) for role in RUN_ROLES},
                "metrics": tuple(_written_out(c, r) for c, r in zip(config.metrics or (), figures)),
            }
        )
        asked = config.model_dump(mode="json", exclude={"batch"})  # changes no sample
        digests = [_digests(one) for one in (*records.values(), *figures)]
        text = json.dumps([asked, digests], sort_keys=True)
        return cls(hashlib.sha256(text.encode()).hexdigest()[:12], config, dict(axes))


@dataclass(frozen=True, slots=True)
class Skipped:
    """A combination that cannot be run, and why."""

    axes: Mapping[str, JsonValue]
    reason: str


def _written_out(choice: Choice, component: ComponentRecord) -> Choice:
    """Return the choice with every field of the component, but for functions, which stay with what imports them."""
    parts = {f: _written_out(choice.parts.get(f, Choice(name=p.name)), p) for f, p in component.parts.items()}
    fields = {name: value for name, value in component.fields.items() if name not in choice.imports}
    return choice.model_copy(update={"fields": fields, "parts": parts})


def _digests(component: ComponentRecord) -> list[JsonValue]:
    return [component.target, component.digest, *map(_digests, component.parts.values())]
