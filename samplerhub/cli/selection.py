"""Which components a command line is about: needed before its options can be known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from samplerhub.assembly import complete, metric_keys, named_choice
from samplerhub.cli.fields import value_of
from samplerhub.cli.options import Chosen, Scan
from samplerhub.config import RUN_ROLES, Choice, RunConfig, read_manifest
from samplerhub.errors import InvalidSetting
from samplerhub.manifest import Manifest
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
    wanted = [(role, choice.name, role) for role, choice in config.components.items() if choice.name is not None]
    keys = metric_keys(config)
    for key, metric in zip(keys, config.metrics or ()):
        wanted.append(("metric", str(metric.name), "metric" if len(keys) == 1 else f"metric.{key}"))
    chosen = tuple(Chosen(role, name, registry.load(role, name), prefix) for role, name, prefix in wanted)
    return Selection(config, chosen, manifest)


def select_for_training(given: Scan, registry: Registry) -> tuple[Chosen, ...]:
    """Return the target and the trainer of ``train``; where help is asked for, only those that are named."""
    names = {role: given.last(f"--{role}") for role in ("target", "trainer")}
    if not given.help:
        names = {role: named_choice(role, Choice(name=name), registry).name for role, name in names.items()}
    return tuple(
        Chosen(role, name, registry.load(role, name), role) for role, name in names.items() if name is not None
    )


def _from_files(given: Scan, registry: Registry) -> tuple[RunConfig, Manifest | None]:
    config, manifest = RunConfig(), None
    source = given.last("--from")
    if source is not None:
        chosen = [role for role in (*RUN_ROLES, "metric") if given.values(f"--{role}")]
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
        option = name.replace("_", "-")
        text = given.last(f"--target.{option}") or (given.last(f"--{option}") if bare else None)
        if text is not None:
            fields[name] = value_of(text, info)
    target = Choice(name=target.name, fields=fields)
    return config.model_copy(update={"components": {**config.components, "target": target}})
