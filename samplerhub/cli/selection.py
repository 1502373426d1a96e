"""Which components a command line is about: needed before its options can be known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samplerhub.assembly import complete, metric_keys, named_choice
from samplerhub.cli.fields import value_of
from samplerhub.cli.options import Chosen, FieldOptions, Scan
from samplerhub.component import held
from samplerhub.config import RUN_ROLES, Choice, RunConfig, read_manifest
from samplerhub.errors import InvalidSetting
from samplerhub.manifest import Manifest
from samplerhub.nesting import default_names, members, with_all_parts
from samplerhub.registry import Registry
from samplerhub.shorthand import written_out


@dataclass(frozen=True)
class Selection:
    """The components of a run, as far as files and the names on the command line say."""

    config: RunConfig
    chosen: tuple[Chosen, ...]
    manifest: Manifest | None = None
    """The manifest that the run starts from."""


def select_for_run(given: Scan, registry: Registry) -> Selection:
    """Return the components of ``run``; where help is asked for, only those that are named."""
    config, manifest = _from_files(given, registry)
    names = {role: name for role in RUN_ROLES if (name := given.last(f"--{role}")) is not None}
    metrics = tuple(Choice(name=name) for name in given.values("--metric")) or None
    named = RunConfig(components={role: Choice(name=name) for role, name in names.items()}, metrics=metrics)
    config = written_out(named.over(config), registry)
    if not given.help:
        try:
            config = complete(_with_target_fields(config, given, registry, bare=True), registry)
        except InvalidSetting:  # the bare options may be another component's; if not, assembling says what is wrong
            config = complete(_with_target_fields(config, given, registry, bare=False), registry)
    return Selection(*_with_parts(config, given, registry), manifest)


def select_for_training(given: Scan, registry: Registry) -> Selection:
    """Return the target and the trainer of ``train``; where help is asked for, only those that are named."""
    choices = {role: Choice(name=given.last(f"--{role}")) for role in ("target", "trainer")}
    if not given.help:
        choices = {role: named_choice(role, choice, registry) for role, choice in choices.items()}
    return Selection(*_with_parts(RunConfig(components=choices), given, registry))


def select_one(role: str, name: str, given: Scan, registry: Registry) -> Selection:
    """Return one component, by its name or by a file that it reads."""
    config = written_out(RunConfig(components={role: Choice(name=name)}), registry)
    return Selection(*_with_parts(config, given, registry))


def laid_over(config: RunConfig, fields: FieldOptions, values: Mapping[str, Any]) -> RunConfig:
    """Return the run with the fields that the command line gives its components, and their parts, on top."""
    components = {role: fields.choice(values, role) for role in config.components}
    metrics = [
        fields.choice(values, prefix, metric.name) for prefix, metric in zip(_prefixes(config), config.metrics or ())
    ]
    return RunConfig(components=components, metrics=tuple(metrics) or None).over(config)


def _with_parts(config: RunConfig, given: Scan, registry: Registry) -> tuple[RunConfig, tuple[Chosen, ...]]:
    """Return the run with the parts that the command line names, and all that has options: parts may have parts."""
    while True:
        config = with_all_parts(config, registry, defaults=not given.help)
        tops = [(role, choice, role) for role, choice in config.components.items() if choice.name is not None]
        tops += [("metric", metric, prefix) for prefix, metric in zip(_prefixes(config), config.metrics or ())]
        chosen = tuple(
            Chosen(role, str(choice.name), component, prefix, default_names(component, registry))
            for top in tops
            for role, choice, prefix in members(registry, *top)
            for component in [registry.load(role, str(choice.name))]
        )
        fields = FieldOptions(chosen)
        named = with_all_parts(laid_over(config, fields, fields.values(given)), registry, defaults=not given.help)
        if named == config:
            return config, chosen
        config = named


def _prefixes(config: RunConfig) -> list[str]:
    """Return the words before the fields of each metric."""
    keys = metric_keys(config)
    return ["metric"] if len(keys) == 1 else [f"metric.{key}" for key in keys]


def _from_files(given: Scan, registry: Registry) -> tuple[RunConfig, Manifest | None]:
    config, manifest = RunConfig(), None
    source = given.last("--from")
    if source is not None:
        chosen = [name.removeprefix("--") for name, _ in given.options if given.values(name)]
        manifest = read_manifest(Path(source))
        config = RunConfig.from_manifest(manifest, registry, chosen)
    if given.positional:
        config = RunConfig.from_toml(Path(given.positional[0])).over(config)
    return config, manifest


def _with_target_fields(config: RunConfig, given: Scan, registry: Registry, *, bare: bool) -> RunConfig:
    """Return the run with the fields that the command line gives its target: what it suggests depends on them."""
    target = named_choice("target", config.components.get("target"), registry)
    component = registry.load("target", str(target.name))
    fields = dict(target.fields)
    for name, info in component.model_fields.items():
        if name in held(component):
            continue
        option = name.replace("_", "-")
        text = given.last(f"--target.{option}") or (given.last(f"--{option}") if bare else None)
        if text is not None:
            fields[name] = value_of(text, info)
    target = target.model_copy(update={"fields": fields})
    return config.model_copy(update={"components": {**config.components, "target": target}})
