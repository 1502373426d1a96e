"""What a sweep is asked for: options with several values, from a command line and from a file."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from samplerhub.cli.options import FieldOptions, Scan
from samplerhub.config import EITHER, NUMBERS, RUN_ROLES, SETTINGS, TEXTS
from samplerhub.errors import InvalidSetting, UnusableFile
from samplerhub.files import read_text

RANGE = re.compile(r"(linspace|logspace):([^:]+):([^:]+):(\d+)")
MOST = 100_000
"""No sweep has more runs by intention."""
CHOOSING = tuple(f"--{role}" for role in RUN_ROLES)
SETTING = {f"--{name.replace('_', '-')}": name for name in SETTINGS}
KNOWN = (*CHOOSING, "--metric", *SETTING, "--from")
OTHERS = ("--metric", "--seeds")
"""Options that are no component's, and no setting of one run."""
Texts = dict[str, tuple[str, ...]]
"""What is given for each option; one text may stand for several values."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A sweep as it is asked for: what stands on the command line goes over what is in the file, option by option."""

    line: Texts
    file: Texts
    bare: frozenset[str] = frozenset()
    """Options without a value: booleans that are true."""

    @classmethod
    def read(cls, given: Scan) -> Asked:
        """Return what a command line asks for, and the file that it names.

        Raises:
            InvalidSetting: An option has no value, or the file is no sweep's.
        """
        line: Texts = {}
        bare = set()
        for option, value in given.options:
            option = "--samples" if option == "-n" else option
            if value is None:
                bare.add(option)
            line[option] = (*line.get(option, ()), "true" if value is None else value)
        file: Texts = {}
        for name in given.positional:
            file |= _from_toml(Path(name))
        asked = cls(_with_seeds(line), _with_seeds(file), frozenset(bare))
        asked.check_values([option for option in bare if option in (*KNOWN, "--out", "--engine", "--seeds")])
        return asked

    def take(self, option: str) -> str | None:
        """Return the last value of an option that is no part of a run, and leave it out from now on."""
        found = [layer.pop(option)[-1] for layer in (self.file, self.line) if option in layer]
        return found[-1] if found else None

    @property
    def options(self) -> list[str]:
        """All options, those of the file first."""
        return list(dict.fromkeys((*self.file, *self.line)))

    def texts(self, option: str) -> tuple[str, ...]:
        """Return what is given for an option."""
        return self.line.get(option) or self.file.get(option, ())

    def check_values(self, options: Iterable[str]) -> None:
        """Raise `InvalidSetting` if one of these has no value."""
        for option in options:
            if option in self.bare:
                raise InvalidSetting(f"{option} needs a value")

    def meant(self, fields: FieldOptions) -> Texts:
        """Return what applies beside these components, under the full names of fields.

        Raises:
            InvalidSetting: A field is set by two spellings, or one that is no boolean has no value.
        """
        found: Texts = {}
        for layer in (self.file, self.line):
            said: dict[str, str] = {}
            for option, texts in layer.items():
                meant = fields.meant(option)
                if option not in (*SETTING, "--from") and not meant:
                    continue
                name = meant[0].long if meant else option
                if name in said:
                    raise InvalidSetting(f"{said[name]} and {option} are the same option: give one of them")
                if option in self.bare and not (meant and meant[0].boolean):
                    self.check_values([option])
                said[name] = option
                for other in _others(name):
                    if other in layer:
                        raise InvalidSetting(f"{name} and {other} say the same thing in two ways: give one of them")
                    found.pop(other, None)
                found[name] = texts
        return found


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
    if not (1 <= n <= MOST and all(map(math.isfinite, ends))) or (kind == "logspace" and min(ends) <= 0):
        raise InvalidSetting(
            f"{text}: the count is 1 to {MOST:,}, the ends are finite, and those of a logspace more than 0"
        )
    numbers = np.linspace(*ends, n) if kind == "linspace" else np.geomspace(*ends, n)
    return [f"{number:.12g}" for number in numbers]


def _items(text: str) -> list[Any]:
    try:
        items = json.loads(text)
    except ValueError as error:
        raise InvalidSetting(f"{text} is not a list: {error}") from error
    return list(items)


def _others(option: str) -> list[str]:
    """Return the settings that say the same thing as an option in another way."""
    names = next((names for names in EITHER if SETTING.get(option) in names), ())
    return [other for other, name in SETTING.items() if name in names and other != option]


def setting(option: str, text: str) -> str | int | float:
    """Return the value of a setting.

    Raises:
        InvalidSetting: It is no number where one is expected.
    """
    name = SETTING[option]
    if name in TEXTS:
        return text
    kind, what = (float, "a number") if name in NUMBERS else (int, "an integer")
    try:
        return kind(text)
    except ValueError as error:
        raise InvalidSetting(f"{option} {text!r}: it must be {what}") from error


def _with_seeds(texts: Texts) -> Texts:
    """Return the texts with ``--seeds 5`` written out: five seeds from the first one on."""
    if "--seeds" not in texts:
        return texts
    *_, count = texts.pop("--seeds")
    first, *more = values(texts.get("--seed", ("0",)))
    if more:
        raise InvalidSetting("--seeds counts from one --seed on: give one seed, or all of them without --seeds")
    if not (count.isdecimal() and 1 <= int(count) <= MOST):
        raise InvalidSetting(f"--seeds {count!r}: it must be an integer, at least 1: how many seeds")
    start = int(setting("--seed", first))
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
