"""From names to objects: the only place where a name becomes a component.

What a `RunConfig` leaves open is filled in by `complete`: from what the target suggests, then from the defaults.
`assemble` makes the experiment, `named` writes the names into its manifest, `differences` watches over a rerun.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from samplerhub.component import numbered
from samplerhub.config import RUN_ROLES, SETTINGS, Choice, RunConfig
from samplerhub.errors import BrokenPlugin, InvalidSetting
from samplerhub.explain import explain
from samplerhub.manifest import Manifest, environment, record
from samplerhub.protocols import (
    ForwardProcess,
    FromTarget,
    Grid,
    Metric,
    Prior,
    Sampler,
    ScoreModel,
    Suggests,
    Target,
    Trainer,
)
from samplerhub.registry import Registry

if TYPE_CHECKING:
    from samplerhub.experiment import Experiment

SAMPLES, STEPS, SEED = 256, 10, 0
PLAYERS: Mapping[str, tuple[type, ...]] = {
    "process": (ForwardProcess,),
    "target": (Target,),
    "model": (ScoreModel, FromTarget),
    "sampler": (Sampler,),
    "grid": (Grid,),
    "prior": (Prior,),
    "metric": (Metric,),
    "trainer": (Trainer,),
}
"""What an object must be to play a role."""


def complete(config: RunConfig, registry: Registry) -> RunConfig:
    """Return the config with every role named and every number set: as the target suggests, or the defaults."""
    target = _named("target", config.components, registry)
    suggestions = {**suggested(target, registry), "target": str(target.name)}
    components = {role: _named(role, config.components, registry, suggestions.get(role)) for role in RUN_ROLES}
    metrics = config.metrics
    if metrics is None:
        metrics = (Choice(name=str(suggestions["metric"])),) if "metric" in suggestions else ()
    for metric in metrics:
        if metric.name is None:
            raise InvalidSetting("a metric has fields but no name: name it with --metric")
    return config.model_copy(
        update={
            "components": components,
            "metrics": metrics,
            "samples": int(suggestions.get("samples", SAMPLES)) if config.samples is None else config.samples,
            "steps": STEPS if (config.steps, config.nfe) == (None, None) else config.steps,
            "seed": SEED if config.seed is None else config.seed,
        }
    )


def suggested(target: Choice, registry: Registry) -> Mapping[str, str | int]:
    """Return the names by role, and the number of samples, that a target suggests."""
    component = build("target", target, registry)
    return component.suggests if isinstance(component, Suggests) else {}


def assemble(config: RunConfig, registry: Registry) -> Experiment:
    """Make the experiment: the only place where a name becomes an object.

    Raises:
        UnknownComponent, BrokenPlugin: A name cannot be resolved, or what it names cannot be loaded.
        InvalidSetting: A field or a number is not allowed.
        Mismatch: The components do not fit together.
    """
    from samplerhub.experiment import Experiment

    config = complete(config, registry)
    components: dict[str, Any] = {role: build(role, choice, registry) for role, choice in config.components.items()}
    metrics: dict[str, Any] = {
        key: build("metric", metric, registry) for key, metric in zip(metric_keys(config), config.metrics or ())
    }
    settings = {name: getattr(config, name) for name in SETTINGS if getattr(config, name) is not None}
    return Experiment(**components, metrics=metrics, **settings)


def build(role: str, choice: Choice, registry: Registry) -> BaseModel:
    """Make the component that is chosen."""
    name = choice.name or registry.default(role).entry.name
    component = registry.load(role, name)
    try:
        made = component.model_validate(choice.fields)
    except ValidationError as error:
        raise InvalidSetting(explain(error, component, role, name)) from error
    if not isinstance(made, PLAYERS[role]):
        expected = " or ".join(protocol.__name__ for protocol in PLAYERS[role])
        raise BrokenPlugin(f"{role} {name!r} of {registry.find(role, name).source} is no {expected}")
    return made


def metric_keys(config: RunConfig) -> list[str]:
    """Return the names under which the metrics of a run are reported: a second ``kl`` is ``kl-2``."""
    return numbered([str(metric.name).rpartition(":")[2] for metric in config.metrics or ()])


def named(manifest: Manifest, config: RunConfig) -> Manifest:
    """Return the manifest with the registered name of each component, by which `from_manifest` finds it again."""
    return manifest.model_copy(
        update={
            "components": {
                role: record.model_copy(update={"name": config.components[role].name})
                for role, record in manifest.components.items()
            },
            "metrics": {
                key: manifest.metrics[key].model_copy(update={"name": metric.name})
                for key, metric in zip(metric_keys(config), config.metrics or ())
            },
        }
    )


def differences(before: Manifest, config: RunConfig, experiment: Experiment) -> list[str]:
    """Say what may make a rerun differ from its manifest though the settings are the same."""
    lines = []
    same = set()
    for role, then in before.components.items():
        choice, now = config.components[role], record(getattr(experiment, role))
        if (choice.name, now.fields) == (then.name, then.fields):
            same.add(role)
            for what in ("target", "distribution", "version", "digest"):
                old, new = getattr(then, what), getattr(now, what)
                if old != new:
                    lines.append(f"{role} {then.name!r}: {what} is {new}, the manifest has {old}")
    today = environment()
    for what in ("python", "torch", "machine", "threads"):
        old = before.environment.get(what)
        if old != today[what]:
            lines.append(f"{what} is {today[what]}, the manifest has {old}")
    times = experiment.times.tolist()
    if {"process", "grid"} <= same and len(times) == len(before.times) and times != before.times:
        lines.append(f"grid {config.components['grid'].name!r} gives other times than the manifest has")
    return lines


def _named(
    role: str, components: Mapping[str, Choice], registry: Registry, suggestion: str | int | None = None
) -> Choice:
    choice = components.get(role, Choice())
    if choice.name is not None:
        return choice
    name = str(suggestion) if suggestion is not None else registry.default(role).entry.name
    return Choice(name=name, fields=choice.fields)
