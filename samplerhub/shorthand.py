"""Short forms of a run, written out.

A file stands for a component that reads it, ``fd-pca`` for ``fd`` of ``pca``, and another name that several metrics of
one plugin share for all of them: ``precision-recall`` for ``precision`` and ``recall``.
"""

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
        base, embedding = _on_features(str(metric.name), registry)
        if embedding:
            if features.name not in (None, embedding):
                raise InvalidSetting(
                    f"metric {metric.name!r} means the features {embedding!r}, and the run has {features.name!r}: "
                    "a run has features of one kind; measure the others in a second run"
                )
            metric, features = metric.model_copy(update={"name": base}), features.model_copy(update={"name": embedding})
        name = metric.name and registry.renewed("metric", metric.name)
        metrics += [metric.model_copy(update={"name": one}) for one in together(registry, name)]
    if features != Choice():
        components["features"] = features
    return config.model_copy(update={"components": components, "metrics": tuple(metrics) or config.metrics})


def together(registry: Registry, metric: str | None) -> list[str | None]:
    """Return the metrics that a name means: those of one plugin that share it as another name, else the name itself."""
    source, _, plain = str(metric).rpartition(":")
    of_source = [r for r in registry.entries("metric") if source in ("", r.plugin, r.distribution)]
    meant = [r for r in of_source if plain in (r.entry.name, *r.entry.aliases)]
    shared = all(plain in r.entry.aliases for r in meant) and len({(r.distribution, r.plugin) for r in meant}) == 1
    return [registry.spelled(r) for r in meant] if shared and len(meant) > 1 else [metric]


def _on_features(name: str, registry: Registry) -> tuple[str, str]:
    """Return the metric and the features that ``fd-random-signs`` means; no features where it means none."""
    if not _has(registry, "metric", name):
        words = name.split("-")
        for i in range(1, len(words)):
            base, embedding = "-".join(words[:i]), "-".join(words[i:])
            if _has(registry, "metric", base.rpartition(":")[2]) and _has(registry, "features", embedding):
                return base, embedding
    return name, ""


def _has(registry: Registry, role: str, name: str | None) -> bool:
    return any(name in (registered.entry.name, *registered.entry.aliases) for registered in registry.entries(role))


def read_from_file(role: str, choice: Choice, registry: Registry) -> Choice:
    """Return the component that reads the file that a choice names, else the one that the name means now."""
    readers = [(ending, field, one) for one in registry.entries(role) for ending, field in one.entry.files]
    for ending, field, one in sorted(readers, key=lambda reader: -len(reader[0])):  # .grid.json before .json
        if str(choice.name).endswith(ending):
            return Choice(name=registry.spelled(one), fields={field: choice.name, **choice.fields})
    return choice.model_copy(update={"name": choice.name and registry.renewed(role, choice.name)})
