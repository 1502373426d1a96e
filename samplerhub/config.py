"""A run as plain data: from a TOML file, a manifest or the command line, one laid over the other."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from samplerhub.component import Part, held
from samplerhub.errors import InvalidSetting, UnknownComponent, UnusableFile
from samplerhub.manifest import ComponentRecord, Manifest
from samplerhub.plugin import ROLES
from samplerhub.registry import Registry, among

RUN_ROLES = tuple(role for role in ROLES if role not in ("metric", "trainer", "engine"))
"""Roles that a run has one component of."""
TEXTS = ("dtype", "device")
NUMBERS = ("t_max", "rho_max", "t_min", "rho_min")
SETTINGS = ("samples", "steps", "nfe", "seed", "dtype", "device", "batch", "block", "path", *NUMBERS)
EITHER = (("steps", "nfe"), ("t_max", "rho_max"), ("t_min", "rho_min"))
"""Settings that say the same thing in two ways: one that is given takes the place of the other."""


class Choice(BaseModel):
    """A component by name, with the fields that are set; without a name the fields are for the default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str | None = None
    fields: dict[str, JsonValue] = {}
    parts: dict[str, Choice] = {}
    """Components that it is made of, by field."""
    imports: dict[str, str] = {}
    """Functions to import for its fields, "module:attribute": only the command line says so, never a file."""

    def over(self, base: Choice) -> Choice:
        """Return this choice where it says something, the other elsewhere; fields and parts stay with their name."""
        if self.name not in (None, base.name):
            return self
        parts = {field: part for field, part in base.parts.items() if field not in self.fields}
        for field, part in self.parts.items():
            parts[field] = part.over(parts.get(field, Choice()))
        return Choice(
            name=base.name,
            fields={**base.fields, **self.fields},
            parts=parts,
            imports={**base.imports, **self.imports},
        )


class RunConfig(BaseModel):
    """A run as plain data; what is None or missing is open."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    components: dict[str, Choice] = {}
    """By role."""
    metrics: tuple[Choice, ...] | None = None
    samples: int | None = None
    steps: int | None = None
    nfe: int | None = None
    seed: int | None = None
    dtype: str | None = None
    device: str | None = None
    batch: int | None = None
    block: int | None = None
    path: int | None = None
    t_max: float | None = None
    rho_max: float | None = None
    t_min: float | None = None
    rho_min: float | None = None

    def over(self, base: RunConfig) -> RunConfig:
        """Return this config where it says something, the other elsewhere."""
        components = dict(base.components)
        for role, choice in self.components.items():
            components[role] = choice.over(base.components.get(role, Choice()))
        settings: dict[str, Any] = {name: getattr(base, name) for name in SETTINGS}
        for one, other in EITHER:
            if (getattr(self, one), getattr(self, other)) != (None, None):
                settings[one] = settings[other] = None
        settings |= {name: getattr(self, name) for name in SETTINGS if getattr(self, name) is not None}
        return RunConfig(components=components, metrics=self._metrics_over(base.metrics), **settings)

    def _metrics_over(self, base: tuple[Choice, ...] | None) -> tuple[Choice, ...] | None:
        if self.metrics is None or base is None:
            return base if self.metrics is None else self.metrics
        earlier = {choice.name: choice for choice in base}
        return tuple(choice.over(earlier.get(choice.name, Choice())) for choice in self.metrics)

    @classmethod
    def from_toml(cls, path: Path) -> Self:
        """Read an experiment file: a key for each role (a name, or a table with a name and fields) and the settings."""
        from samplerhub.files import read_text

        text = read_text(path)
        try:
            return cls.parse(tomllib.loads(text), where=str(path))
        except tomllib.TOMLDecodeError as error:
            raise UnusableFile(f"{path} is not TOML: {error}") from error

    @classmethod
    def parse(cls, data: Mapping[str, Any], where: str) -> Self:
        """Read the plain data of an experiment file."""
        known = (*RUN_ROLES, "metric", *SETTINGS)
        for key in data:
            if key not in known:
                raise InvalidSetting(f"{where}: {key!r} is no key{among(key, known)}")
        for key in SETTINGS:
            allowed, what = _kind(key)
            if key in data and type(data[key]) not in allowed:
                raise InvalidSetting(f"{where}: {key} = {data[key]!r} is not {what}")
        metrics = data.get("metric")
        return cls(
            components={role: _choice(role, data[role], where) for role in RUN_ROLES if role in data},
            metrics=None if metrics is None else tuple(
                _choice("metric", metric, where) for metric in (metrics if isinstance(metrics, list) else [metrics])
            ),
            **{key: data[key] for key in SETTINGS if key in data},
        )  # fmt: skip

    @classmethod
    def from_manifest(cls, manifest: Manifest, registry: Registry, chosen: Collection[str] = ()) -> Self:
        """Return the run that a manifest records, but for the roles for which something else is chosen.

        Components are found by their registered names, those of the recorded distribution first; nothing is imported on
        a file's word.

        Args:
            manifest: The record of a run.
            registry: What is installed.
            chosen: Roles, or parts such as ``model.base``, for which something else is chosen.
        """
        needed = [
            role for role in RUN_ROLES if role not in chosen and (role != "features" or role in manifest.components)
        ]
        for role in needed:
            if role not in manifest.components:
                raise InvalidSetting(f"the manifest has no {role}, and a run needs one: choose it with --{role}")
        recorded = partial(_recorded, registry, chosen)
        metrics = None if "metric" in chosen else tuple(recorded("metric", m) for m in manifest.metrics.values())
        return cls(
            components={role: recorded(role, manifest.components[role]) for role in needed},
            metrics=metrics,
            **manifest.settings.model_dump(),
        )


def read_manifest(path: Path) -> Manifest:
    """Read the manifest of an earlier run."""
    from samplerhub.files import read_json

    try:
        manifest = Manifest.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise UnusableFile(f"{path} is not the manifest of a run: {where}: {first['msg']}") from error
    for role in manifest.components:
        if role not in RUN_ROLES:
            raise UnusableFile(f"{path} is not the manifest of a run: no role {role!r}{among(role, RUN_ROLES)}")
    times, steps = len(manifest.times), manifest.settings.steps
    if times != steps + 1:
        raise UnusableFile(f"{path} was changed: it has {times} times, but {steps} steps have {steps + 1}")
    return manifest


def _kind(setting: str) -> tuple[tuple[type, ...], str]:
    """Return the types of a setting, and what they are called."""
    if setting in TEXTS:
        return (str,), "text"
    return ((int, float), "a number") if setting in NUMBERS else ((int,), "an integer")


def _choice(role: str, data: object, where: str) -> Choice:
    return choice_of(data, f"{where}: {role}")


def choice_of(data: object, where: str) -> Choice:
    """Return the choice that a name means, or a table with a name and fields.

    Raises:
        InvalidSetting: It is neither, or a field has a value that is not plain data.
    """
    if isinstance(data, str):
        return Choice(name=data)
    if not (isinstance(data, dict) and isinstance(data.get("name", ""), str)):
        raise InvalidSetting(f"{where} = {data!r}: expected a name, or a table with a name and fields")
    try:
        return Choice(name=data.get("name"), fields={key: value for key, value in data.items() if key != "name"})
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidSetting(
            f"{where}.{first['loc'][1]}: {first['input']} is not allowed: "
            "a number, a text, true or false is expected, or lists or tables of them"
        ) from error


def _recorded(
    registry: Registry, chosen: Collection[str], role: str, component: ComponentRecord, where: str = ""
) -> Choice:
    where = where or role
    if component.name is None:
        raise UnknownComponent(
            f"the manifest's {where} {component.target} was made in Python and has no name in the registry, and "
            f"nothing is imported on a file's word: rerun it from Python, or choose another with --{where}"
        )
    name = registry.spelled(registry.find(role, component.name, prefer=[component.distribution]))
    if not component.parts:
        return Choice(name=name, fields=component.fields)
    marks, parts = held(registry.load(role, name), Part), {}
    for field, part in component.parts.items():
        there = part_of(where, field)
        if field not in marks:
            raise UnknownComponent(f"the manifest's {there} cannot be made: {role} {name!r} has no such part any more")
        if there not in chosen:
            parts[field] = _recorded(registry, chosen, marks[field].role, part, there)
    return Choice(name=name, fields=component.fields, parts=parts)


def part_of(where: str, field: str) -> str:
    """Return the words before the fields of a part on the command line: ``model.base``."""
    return f"{where}.{field.replace('_', '-')}"
