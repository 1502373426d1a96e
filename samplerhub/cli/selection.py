"""Which components a command line is about: needed before its options can be known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from samplerhub.assembly import complete, metric_keys, named_choice
from samplerhub.cli.options import Chosen, FieldOptions, Scan
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
            config = complete(_with_target_fields(config, given, registry), registry)
        except InvalidSetting:  # the short options may be another component's; if not, assembling says what is wrong
            config = complete(_with_target_fields(config, given.within("target"), registry), registry)
    return Selection(*_with_parts(config, given, registry), manifest)


def select_for_training(given: Scan, registry: Registry) -> Selection:
    """Return the target and the trainer of ``train``; where help is asked for, only those that are named."""
    choices = {role: Choice(name=given.last(f"--{role}")) for role in ("target", "trainer")}
    if not given.help:
        choices = {role: named_choice(role, choice, registry) for role, choice in choices.items()}
    return Selection(*_with_parts(written_out(RunConfig(components=choices), registry), given, registry))


def select_one(role: str, name: str, given: Scan, registry: Registry) -> Selection:
    """Return one component, by its name or by a file that it reads."""
    config = written_out(RunConfig(components={role: Choice(name=name)}), registry)
    return Selection(*_with_parts(config, given, registry))


def laid_over(config: RunConfig, fields: FieldOptions, given: Scan) -> RunConfig:
    """Return the run with the fields that the command line gives its components, and their parts, on top."""
    return _over(config, fields, fields.texts(given))


def _over(config: RunConfig, fields: FieldOptions, texts: Mapping[str, str]) -> RunConfig:
    components, metrics = {}, []
    for role, choice, where in _tops(config):
        if role not in config.components:
            metrics.append(fields.choice(texts, where[0], choice.name))
        else:
            components[role] = fields.choice(texts, where[0])
    return RunConfig(components=components, metrics=tuple(metrics) or None).over(config)


def _with_parts(config: RunConfig, given: Scan, registry: Registry) -> tuple[RunConfig, tuple[Chosen, ...]]:
    """Return the run with the parts that the command line names, and all that has options: parts may have parts."""
    while True:
        config = with_all_parts(config, registry, defaults=not given.help)
        chosen = tuple(one for top in _tops(config) if top[1].name for one in _chosen(registry, *top))
        fields = FieldOptions(chosen)
        texts, parts = fields.texts(given), {option.long for option in fields.options if option.part}
        named = _over(config, fields, {long: text for long, text in texts.items() if long in parts})
        named = with_all_parts(named, registry, defaults=not given.help)
        if named == config:
            return config, chosen
        config = named


def _tops(config: RunConfig) -> Iterator[tuple[str, Choice, tuple[str, ...]]]:
    """Yield the components that are no parts: the role, the choice, and the words that may stand before its fields.

    The first of them are its own whatever else is chosen: ``sampler``, and ``metric`` or ``metric.kl`` among several.
    """
    for role, choice in config.components.items():
        name = _plain(choice.name)
        yield role, choice, (role, f"{role}.{name}", name)
    keys = metric_keys(config)
    for key, choice in zip(keys, config.metrics or ()):
        own = ("metric", f"metric.{key}")
        yield "metric", choice, (*(own if len(keys) == 1 else own[::-1]), key)


def _chosen(registry: Registry, role: str, choice: Choice, where: tuple[str, ...]) -> Iterator[Chosen]:
    """Yield what has options of a component and its parts, which have the same words before theirs, or their name."""
    entry = registry.find(role, str(choice.name)).entry
    together, old_names = entry.aliases, [old for old, _ in entry.deprecated]
    where = (*where, *(words for old in old_names for words in (f"{role}.{old}", old)))
    for same in zip(*(members(registry, role, choice, words) for words in where)):
        (kind, one, prefix), words = same[0], [words for _, _, words in same[1:]]
        component = registry.load(kind, str(one.name))
        top = prefix == where[0]
        yield Chosen(
            kind,
            str(one.name),
            component,
            prefix,
            default_names(component, registry),
            words=tuple(words if top else [*words, _plain(one.name)]),
            together=tuple(w for a in together for w in (f"{role}.{a}", a) if w not in words) if top else (),
        )


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


def _with_target_fields(config: RunConfig, given: Scan, registry: Registry) -> RunConfig:
    """Return the run with the fields that the command line gives its target: what it suggests depends on them."""
    target = named_choice("target", config.components.get("target"), registry)
    alone = RunConfig(components={"target": target})
    (top,) = _tops(alone)
    fields = FieldOptions(list(_chosen(registry, *top))[:1])
    kept = {option.long for option in fields.options if not (option.part or option.imported)}
    texts = {long: text for long, text in fields.texts(given).items() if long in kept}
    target = _over(alone, fields, texts).components["target"]
    return config.model_copy(update={"components": {**config.components, "target": target}})


def _plain(name: str | None) -> str:
    """Return a name without the distribution or the plugin before it."""
    return str(name).rpartition(":")[2]
