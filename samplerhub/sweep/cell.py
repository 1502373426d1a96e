"""One run of a sweep: what is asked for, and the name that follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pydantic import JsonValue

from samplerhub.assembly import assemble, complete
from samplerhub.capabilities import Budgeted
from samplerhub.component import Part, held
from samplerhub.config import RUN_ROLES, SETTINGS, Choice, RunConfig
from samplerhub.manifest import ComponentRecord, record
from samplerhub.registry import Registry
from samplerhub.sweep.identity import asked, digest


@dataclass(frozen=True, slots=True)
class Cell:
    """One run that is to be done."""

    config: RunConfig
    """The run, every field of every component written out."""
    axes: Mapping[str, JsonValue]
    """What is asked for, by option: ``{"sampler": "deis", "nfe": 10}``."""
    steps: int
    nfe: float | None
    """Evaluations per sample; None where the sampler cannot say beforehand."""
    what: str = ""
    """Hash of everything that is asked for, but for the seed."""

    @property
    def key(self) -> str:
        """Hash of everything that is asked for, 12 hexadecimal digits: the name of the run's folder."""
        return digest([self.what, self.config.seed])[:12]

    @property
    def budget(self) -> float | None:
        """Evaluations per sample that are allowed; None where nothing limits them."""
        return self.nfe if self.config.nfe is None else self.config.nfe

    @classmethod
    def of(cls, config: RunConfig, axes: Mapping[str, JsonValue], registry: Registry) -> Cell:
        """Return the cell of a run.

        Defaults are written out first, so that a default that is given has the same key as one that is not. Files that
        are read count with their contents, wherever they are, and the order of metrics counts for nothing.

        Raises:
            SamplerhubError: The run is not possible; nothing has been sampled.
        """
        config = complete(config, registry)
        experiment = assemble(config, registry)
        records = {role: record(getattr(experiment, role)) for role in RUN_ROLES}
        figures = {name: record(metric) for name, metric in dict(experiment.metrics).items()}  # type: ignore[arg-type]
        written = {role: _written_out(role, config.components[role], records[role], registry) for role in RUN_ROLES}
        metrics = tuple(
            _written_out("metric", choice, figure, registry)
            for choice, figure in zip(config.metrics or (), figures.values())
        )
        effective = {name: getattr(experiment, name) for name in ("dtype", "device", "block")}
        config = config.model_copy(update={"components": written, "metrics": metrics, **effective})
        settings = config.model_dump(mode="json", include=set(SETTINGS) - {"seed", "batch"})  # which changes no sample
        measured = {name: asked(figure) for name, figure in figures.items()}
        sampler, times = experiment.sampler, experiment.times
        return cls(
            config,
            dict(axes),
            len(times) - 1,
            sampler.evaluations(experiment.process, times) if isinstance(sampler, Budgeted) else None,
            digest([{role: asked(component) for role, component in records.items()}, measured, settings]),
        )

    def at(self, seed: int) -> Cell:
        """Return the same run with another seed, on which nothing else depends."""
        return replace(self, config=self.config.model_copy(update={"seed": seed}), axes={**self.axes, "seed": seed})


@dataclass(frozen=True, slots=True)
class Skipped:
    """A combination that cannot be run, and why."""

    axes: Mapping[str, JsonValue]
    reason: str


def _written_out(role: str, choice: Choice, component: ComponentRecord, registry: Registry) -> Choice:
    """Return the choice with its one name and every field, but for functions, which stay with what imports them."""
    registered = registry.find(role, str(choice.name))
    marks = held(registry.load(role, str(choice.name)), Part)
    parts = {
        field: _written_out(marks[field].role, choice.parts[field], part, registry)
        for field, part in component.parts.items()
    }
    fields = {name: value for name, value in component.fields.items() if name not in choice.imports}
    return choice.model_copy(update={"name": registry.spelled(registered), "fields": fields, "parts": parts})
