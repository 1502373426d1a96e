"""From options with several values to the runs of a sweep: every combination of what applies to it."""

from __future__ import annotations

import itertools
import json
import math
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import JsonValue

from samplerhub.cli.command import Line
from samplerhub.cli.fields import is_sequence
from samplerhub.cli.options import FieldOptions, Scan
from samplerhub.cli.selection import select_for_run
from samplerhub.config import NUMBERS, RUN_ROLES, SETTINGS, TEXTS
from samplerhub.errors import InvalidSetting, SamplerhubError, UnknownComponent, UnusableFile
from samplerhub.files import read_text
from samplerhub.registry import Registry
from samplerhub.sweep import Cell, Skipped

RANGE = re.compile(r"(linspace|logspace):([^:]+):([^:]+):(\d+)")
MOST = 100_000
"""No sweep has more runs by intention."""
CHOOSING = tuple(f"--{role}" for role in RUN_ROLES)
SETTING = {f"--{name.replace('_', '-')}": name for name in SETTINGS}
KNOWN = (*CHOOSING, "--metric", *SETTING, "--from")
Texts = dict[str, tuple[str, ...]]
"""What is given for each option; one text may stand for several values."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The runs of a sweep."""

    cells: tuple[Cell, ...]
    skipped: tuple[Skipped, ...]
    """Combinations that cannot be run."""


def asked(given: Scan) -> Texts:
    """Return what a command line asks for, on top of the file that it names.

    Raises:
        InvalidSetting: An option has no value, or the file is no sweep's.
    """
    texts: Texts = {}
    for option, value in given.options:
        option = "--samples" if option == "-n" else option
        if value is None:
            raise InvalidSetting(f"{option} needs a value")
        texts[option] = (*texts.get(option, ()), value)
    for file in given.positional:
        texts = _from_toml(Path(file)) | texts
    return _with_seeds(texts)


def plan(texts: Texts, registry: Registry) -> Plan:
    """Return every combination of values: those that can be run, and those that cannot, with why.

    An option that only some of the chosen components have applies to these alone: ``--order 2,3`` makes one run of a
    sampler that has no order. Nothing is sampled.

    Raises:
        SamplerhubError: A name is unknown, an option is unknown to all components, or no combination can be run.
    """
    cells: dict[str, Cell] = {}
    skipped: list[Skipped] = []
    used: set[str] = set()
    errors: list[SamplerhubError] = []
    choosing = [option for option in CHOOSING if option in texts]
    for names in itertools.product(*(list(values(texts[option])) for option in choosing)):
        chosen = dict(zip(choosing, names))
        fields = _fields(chosen, texts, registry)
        applying = {option: found for option, found in _applying(fields, texts).items() if option not in chosen}
        used |= applying.keys()
        seeds = [int(_setting("--seed", seed)) for seed in applying.pop("--seed", [])]
        if len(cells) + _count(applying) * max(1, len(seeds)) > MOST:
            raise InvalidSetting(f"that would be more than {MOST:,} runs; give fewer values")
        for one in itertools.product(*applying.values()):
            options = {**chosen, **dict(zip(applying, one))}
            axes = {option.removeprefix("--"): _typed(text) for option, text in options.items()}
            try:
                cell = Cell.of(_config(options, texts.get("--metric", ()), registry), axes, registry)
            except UnknownComponent:
                raise
            except SamplerhubError as error:
                errors.append(error)
                skipped.append(Skipped(axes, str(error)))
            else:
                cells |= {one.key: one for one in (map(cell.at, seeds) if seeds else [cell])}
    unused = {option: text for option, text in texts.items() if option not in (*used, *KNOWN)}
    fields.check(Scan(tuple((option, text[0]) for option, text in unused.items()), (), False))
    if not cells:
        raise errors[0]
    return Plan(tuple(cells.values()), tuple(skipped))


def values(texts: Iterable[str], sequence: bool = False) -> Iterator[str]:
    """Yield the values that texts stand for: ``1,2``, ``[1, 2]``, ``linspace:0:1:5``, ``logspace:0.01:1:3``.

    Both ranges have their ends in them; that of logspace has equal ratios.

    Args:
        texts: What was given, an option that stands there twice has two.
        sequence: Whether a value is itself a list, so that commas belong to it.
    """
    for text in texts:
        if text.startswith("["):
            items = _items(text)
            whole = sequence and not all(isinstance(item, list) for item in items)
            yield from [text] if whole else (item if isinstance(item, str) else json.dumps(item) for item in items)
        elif (found := RANGE.fullmatch(text)) is not None:
            yield from _range(text, *found.groups())
        elif sequence:
            yield text
        else:
            yield from (part.strip() for part in text.split(","))


def _range(text: str, kind: str, first: str, last: str, count: str) -> list[str]:
    try:
        ends, n = (float(first), float(last)), int(count)
    except ValueError as error:
        raise InvalidSetting(f"{text}: {error}; write {kind}:FIRST:LAST:COUNT") from error
    if not 1 <= n <= MOST or (kind == "logspace" and min(ends) <= 0):
        raise InvalidSetting(f"{text}: the count is 1 to {MOST:,}, and the ends of a logspace are more than 0")
    numbers = np.linspace(*ends, n) if kind == "linspace" else np.geomspace(*ends, n)
    return [f"{number:.12g}" for number in numbers]


def _items(text: str) -> list[Any]:
    try:
        items = json.loads(text)
    except ValueError as error:
        raise InvalidSetting(f"{text} is not a list: {error}") from error
    return list(items)


def _fields(chosen: Mapping[str, str], texts: Texts, registry: Registry) -> FieldOptions:
    """Return the options of the components of a combination; which they are may depend on what a target is given."""
    first = {option: next(values(text)) for option, text in texts.items() if option not in ("--metric", *chosen)}
    given = _scan({**chosen, **first}, texts.get("--metric", ()))
    return FieldOptions(select_for_run(given, registry).chosen, KNOWN)


def _applying(fields: FieldOptions, texts: Texts) -> dict[str, list[str]]:
    """Return the values of the options that mean something beside these components."""
    found = {}
    for option, text in texts.items():
        if option in SETTING or option == "--from":
            found[option] = list(values(text))
        elif meant := fields.meant(option):
            info = meant[0].chosen.component.model_fields[meant[0].field]
            found[option] = list(values(text, is_sequence(info)))
    return found


def _config(options: Mapping[str, str], metrics: Sequence[str], registry: Registry) -> Any:
    settings = {SETTING[option]: _setting(option, text) for option, text in options.items() if option in SETTING}
    line = Line.read(_scan(options, metrics), registry, reserved=KNOWN)
    return replace(line, settings=settings).config


def _scan(options: Mapping[str, str], metrics: Sequence[str]) -> Scan:
    figures = (("--metric", name) for name in values(metrics))
    return Scan((*options.items(), *figures), (), False)


def _setting(option: str, text: str) -> str | int | float:
    name = SETTING[option]
    if name in TEXTS:
        return text
    kind, what = (float, "a number") if name in NUMBERS else (int, "an integer")
    try:
        return kind(text)
    except ValueError as error:
        raise InvalidSetting(f"{option} {text!r}: it must be {what}") from error


def _count(applying: Mapping[str, Sequence[str]]) -> int:
    return math.prod(len(found) for found in applying.values())


def _typed(text: str) -> JsonValue:
    try:
        value: JsonValue = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, bool | int | float) else text


def _with_seeds(texts: Texts) -> Texts:
    """Return the texts with ``--seeds 5`` written out: five seeds from the first one on."""
    if "--seeds" not in texts:
        return texts
    *_, count = texts.pop("--seeds")
    first = next(values(texts.get("--seed", ("0",))))
    if not (count.isdecimal() and 1 <= int(count) <= MOST):
        raise InvalidSetting(f"--seeds {count!r}: it must be an integer, at least 1: how many seeds")
    start = int(_setting("--seed", first))
    return texts | {"--seed": (",".join(str(start + i) for i in range(int(count))),)}


def _from_toml(file: Path) -> Texts:
    """Return the options that a file stands for: a key is an option, a table a component with its fields."""
    try:
        data = tomllib.loads(read_text(file))
    except tomllib.TOMLDecodeError as error:
        raise UnusableFile(f"{file} is not TOML: {error}") from error
    texts: Texts = {}
    for key, value in data.items():
        for option, text in _options(f"--{key.replace('_', '-')}", value):
            texts[option] = (*texts.get(option, ()), text)
    return texts


def _options(option: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        if "name" in value:
            yield from _options(option, value["name"])
        where = f"{option}.{value['name']}" if option == "--metric" else option
        for field, inner in value.items():
            if field != "name":
                yield from _options(f"{where}.{field.replace('_', '-')}", inner)
    elif isinstance(value, list) and (option == "--metric" or any(isinstance(item, dict) for item in value)):
        for item in value:
            yield from _options(option, item)
    else:
        yield option, value if isinstance(value, str) else json.dumps(value)
