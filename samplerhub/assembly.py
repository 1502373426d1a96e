"""From names to objects: the only place where a name becomes a component.

What a `RunConfig` leaves open is filled in by `complete`: from what the target suggests, then from the defaults.
`assemble` makes the experiment, `named` writes the names into its manifest, `differences` watches over a rerun.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from samplerhub.capabilities import PLAYERS, Suggests
from samplerhub.component import Part, held, numbered
from samplerhub.config import NUMBERS, RUN_ROLES, SETTINGS, Choice, RunConfig, part_of
from samplerhub.errors import BrokenPlugin, InvalidSetting
from samplerhub.explain import explain, option
from samplerhub.manifest import ComponentRecord, Manifest, environment, record
from samplerhub.nesting import with_all_parts, with_parts
from samplerhub.registry import OWN, Registry
from samplerhub.shorthand import written_out

if TYPE_CHECKING:
    from samplerhub.experiment import Experiment

SAMPLES, STEPS, SEED = 256, 10, 0


def complete(config: RunConfig, registry: Registry) -> RunConfig:
    """Return the config with every role named and every number set: as the target suggests, or the defaults."""
    config = written_out(config, registry)
    target = named_choice("target", config.components.get("target"), registry)
    suggestions = suggested(target, registry)
    config = config.model_copy(update={"components": {**config.components, "target": target}})
    components = {role: named_choice(role, config.components.get(role), registry, suggestions) for role in RUN_ROLES}
    metrics = config.metrics
    if metrics is None:
        metrics = (named_choice("metric", None, registry, suggestions),) if "metric" in suggestions.values else ()
    for metric in metrics:
        if metric.name is None:
            raise InvalidSetting("a metric has fields but no name: name it with --metric")
    config = with_all_parts(config.model_copy(update={"components": components, "metrics": metrics}), registry)
    return config.model_copy(
        update={
            "samples": int(suggestions.values.get("samples", SAMPLES)) if config.samples is None else config.samples,
            "steps": STEPS if (config.steps, config.nfe) == (None, None) else config.steps,
            "seed": SEED if config.seed is None else config.seed,
        }
    )


@dataclass(frozen=True, slots=True)
class Suggestions:
    """What a target suggests."""

    values: Mapping[str, str | int]
    """Names by role, and the number of samples."""
    distribution: str
    """Whose target it is: a name means a component of that distribution first, then of samplerhub."""


def suggested(target: Choice, registry: Registry) -> Suggestions:
    """Return what a target suggests."""
    component = build("target", target, registry)
    values = component.suggests if isinstance(component, Suggests) else {}
    return Suggestions(values, registry.find("target", str(target.name)).distribution)


def named_choice(
    role: str, choice: Choice | None, registry: Registry, suggestions: Suggestions | None = None
) -> Choice:
    """Return the choice with a name: its own, else the one that is suggested, else that of the role's default."""
    choice = choice or Choice()
    if choice.name is not None:
        return choice
    if suggestions and role in suggestions.values:
        name = str(suggestions.values[role])
        found = registry.find(role, name, prefer=[suggestions.distribution, OWN])
    else:
        found = registry.default(role)
    return choice.model_copy(update={"name": registry.spelled(found)})


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


def build(role: str, choice: Choice, registry: Registry, where: str = "") -> BaseModel:
    """Make the component that is chosen, its parts first.

    Args:
        role: What it plays.
        choice: Its name, fields and parts.
        registry: What is installed.
        where: The words before its fields on the command line, ``model.base`` for a part; the role by default.
    """
    where = where or role
    choice = with_parts(role, named_choice(role, choice, registry), registry, where=where)
    name = str(choice.name)
    component = registry.load(role, name)
    marks = held(component, Part)
    made_of: dict[str, object] = {
        field: build(marks[field].role, part, registry, part_of(where, field)) if field in marks else part.name
        for field, part in choice.parts.items()
    }
    functions = {field: imported(path, option(where, field)) for field, path in choice.imports.items()}
    try:
        made = component.model_validate({**choice.fields, **made_of, **functions})
    except ValidationError as error:
        raise InvalidSetting(explain(error, component, role, name, where)) from error
    if not isinstance(made, PLAYERS[role]):
        expected = " or ".join(protocol.__name__ for protocol in PLAYERS[role])
        raise BrokenPlugin(f"{role} {name!r} of {registry.find(role, name).source} is no {expected}")
    return made


def imported(path: str, said: str) -> object:
    """Import what an option names, "package.module:attribute"; modules of the working directory are found last.

    Args:
        path: What to import.
        said: The option, for the error.

    Raises:
        InvalidSetting: There is no such module or attribute.
    """
    module, _, names = path.partition(":")
    if not (module and names):
        raise InvalidSetting(f"{said}: {path!r} is not allowed: package.module:attribute is expected")
    sys.path.append(os.getcwd())
    try:
        found: object = import_module(module)
        for name in names.split("."):
            found = getattr(found, name)
    except (ModuleNotFoundError, AttributeError) as error:
        raise InvalidSetting(f"{said}: {path!r} cannot be imported: {error}") from error
    finally:
        sys.path.pop()
    return found


def metric_keys(config: RunConfig) -> list[str]:
    """Return the names under which the metrics of a run are reported: a second ``kl`` is ``kl-2``."""
    return numbered([_plain(metric.name) for metric in config.metrics or ()])


def named(manifest: Manifest, config: RunConfig) -> Manifest:
    """Return the manifest with the registered name of each component, by which `from_manifest` finds it again."""
    return manifest.model_copy(
        update={
            "components": {
                role: _with_names(record, config.components[role]) for role, record in manifest.components.items()
            },
            "metrics": {
                key: _with_names(record, metric)
                for (key, record), metric in zip(manifest.metrics.items(), config.metrics or ())
            },
        }
    )


def _with_names(record: ComponentRecord, choice: Choice) -> ComponentRecord:
    parts = {field: _with_names(part, choice.parts.get(field, Choice())) for field, part in record.parts.items()}
    return record.model_copy(update={"name": choice.name, "parts": parts})


def differences(before: Manifest, config: RunConfig, experiment: Experiment) -> list[str]:
    """Say what may make a rerun differ from its manifest though the settings are the same."""
    lines: list[str] = []
    same = set()
    for role, then in before.components.items():
        choice, now = config.components[role], record(getattr(experiment, role))
        if _replaced(then, choice, now):
            continue
        if (now.fields, now.parts.keys()) == (then.fields, then.parts.keys()):
            same.add(role)
        lines += _changes(role, then, choice, now)
    today = environment()
    for what in ("python", "torch", "machine", "threads"):
        old = before.environment.get(what)
        if old != today[what]:
            lines.append(f"{what} is {today[what]}, the manifest has {old}")
    times = experiment.times.tolist()
    asked_for_others = any(getattr(experiment, end) != getattr(before.settings, end) for end in NUMBERS)
    comparable = {"process", "grid"} <= same and len(times) == len(before.times) and not asked_for_others
    if comparable and times != before.times:
        lines.append(f"grid {config.components['grid'].name!r} gives other times than the manifest has")
    return lines


def _replaced(then: ComponentRecord, choice: Choice, now: ComponentRecord) -> bool:
    """Say whether another component was chosen, which needs no warning."""
    return _plain(choice.name) != _plain(then.name) and now.target != then.target


def _changes(where: str, then: ComponentRecord, choice: Choice, now: ComponentRecord) -> Iterator[str]:
    """Say how a component and its parts differ from those of the same names and fields in the manifest."""
    compared = ("target", "distribution", "version", *(("digest",) if now.fields == then.fields else ()))
    for what in compared:
        old, new = getattr(then, what), getattr(now, what)
        if old != new:
            yield f"{where} {then.name!r}: {what} is {new}, the manifest has {old}"
    for field in then.parts.keys() & now.parts.keys():
        part, chosen, made = then.parts[field], choice.parts.get(field, Choice()), now.parts[field]
        if not _replaced(part, chosen, made):
            yield from _changes(part_of(where, field), part, chosen, made)


def _plain(name: str | None) -> str:
    """Return a name without the distribution or the plugin before it."""
    return str(name).rpartition(":")[2]
