"""Short forms of a run, written out: a file in place of a component that reads it, ``fd-pca`` for ``fd`` of ``pca``."""

from __future__ import annotations

from samplerhub.config import Choice, RunConfig
from samplerhub.errors import InvalidSetting
from samplerhub.registry import Registry


def written_out(config: RunConfig, registry: Registry) -> RunConfig:
    """Return the config without short forms.

    Raises:
        InvalidSetting: Two metrics ask for two kinds of features.
    """
    components = {role: read_from_file(role, choice, registry) for role, choice in config.components.items()}
    metrics, features = [], components.get("features", Choice())
    for metric in config.metrics or ():
        base, _, embedding = str(metric.name).rpartition("-")
        if not _has(registry, "metric", metric.name) and _has(registry, "features", embedding):
            if features.name not in (None, embedding):
                raise InvalidSetting(
                    f"metric {metric.name!r} means the features {embedding!r}, and the run has {features.name!r}: "
                    "a run has features of one kind; measure the others in a second run"
                )
            metric, features = metric.model_copy(update={"name": base}), features.model_copy(update={"name": embedding})
        metrics.append(metric)
    if features != Choice():
        components["features"] = features
    return config.model_copy(update={"components": components, "metrics": tuple(metrics) or config.metrics})


def _has(registry: Registry, role: str, name: str | None) -> bool:
    return any(registered.entry.name == name for registered in registry.entries(role))


def read_from_file(role: str, choice: Choice, registry: Registry) -> Choice:
    """Return the component that reads the file that a choice names, or the choice as it is."""
    readers = [(ending, field, one) for one in registry.entries(role) for ending, field in one.entry.files]
    for ending, field, one in sorted(readers, key=lambda reader: -len(reader[0])):  # .grid.json before .json
        if str(choice.name).endswith(ending):
            return Choice(name=registry.spelled(one), fields={field: choice.name, **choice.fields})
    return choice
