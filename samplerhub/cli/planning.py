"""From options with several values to the runs of a sweep: every combination of what applies to it."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import JsonValue

from samplerhub.cli.asking import CHOOSING, KNOWN, MOST, OTHERS, SETTING, Asked, setting, values
from samplerhub.cli.command import Line
from samplerhub.cli.fields import is_sequence
from samplerhub.cli.options import FieldOptions, Scan
from samplerhub.cli.selection import select_for_run
from samplerhub.errors import InvalidSetting, SamplerhubError, UnknownComponent
from samplerhub.registry import Registry
from samplerhub.sweep import Cell, Skipped


@dataclass(frozen=True, slots=True)
class Plan:
    """The runs of a sweep."""

    cells: tuple[Cell, ...]
    skipped: tuple[Skipped, ...]
    """Combinations that cannot be run."""


def plan(asked: Asked, registry: Registry) -> Plan:
    """Return every combination of values: those that can be run, and those that cannot, with why.

    An option that only some of the chosen components have applies to these alone: ``--order 2,3`` makes one run of a
    sampler that has no order. Nothing is sampled.

    Args:
        asked: What is asked for.
        registry: What is installed.

    Raises:
        SamplerhubError: A name is unknown, an option is unknown to all components, or no combination can be run.
    """
    cells: dict[str, Cell] = {}
    skipped: list[Skipped] = []
    used: set[str] = set()
    errors: list[SamplerhubError] = []
    metrics = list(values(asked.texts("--metric")))
    for chosen, fields in _combinations(asked, metrics, registry):
        meant = asked.meant(fields)
        used |= {option for option in asked.options if fields.full(option) in meant}
        applying = {
            option: list(values(texts, _is_sequence(option, fields)))
            for option, texts in meant.items()
            if option not in chosen
        }
        seeds = [int(setting("--seed", seed)) for seed in applying.pop("--seed", [])]
        if len(cells) + _count(applying) * max(1, len(seeds)) > MOST:
            raise InvalidSetting(f"that would be more than {MOST:,} runs; give fewer values")
        for one in itertools.product(*applying.values()):
            options = {**chosen, **dict(zip(applying, one))}
            axes = {_short(option, asked, fields): _typed(text) for option, text in options.items()}
            try:
                cell = Cell.of(_config(options, metrics, registry), axes, registry)
            except UnknownComponent:
                raise
            except SamplerhubError as error:
                errors.append(error)
                skipped.append(Skipped(axes, str(error)))
            else:
                cells |= {one.key: one for one in (map(cell.at, seeds) if seeds else [cell])}
    unused = [option for option in asked.options if option not in (*used, *KNOWN)]
    fields.check(Scan(tuple((option, asked.texts(option)[0]) for option in unused), (), False))
    if not cells:
        raise errors[0]
    return Plan(tuple(cells.values()), tuple(skipped))


def _combinations(
    asked: Asked, metrics: Sequence[str], registry: Registry
) -> Iterator[tuple[dict[str, str], FieldOptions]]:
    """Yield every choice of components and of components inside them, with the options that they then have."""
    choosing = [option for option in CHOOSING if asked.texts(option)]

    def parts(chosen: dict[str, str]) -> Iterator[tuple[dict[str, str], FieldOptions]]:
        first = {option: next(values(asked.texts(option))) for option in asked.options if option not in OTHERS}
        given = _scan({**first, **chosen}, metrics)  # which options there are may depend on what a target is given
        fields = FieldOptions(select_for_run(given, registry).chosen, KNOWN)
        for option, texts in asked.meant(fields).items():
            if option not in chosen and any(one.part for one in fields.meant(option)):
                for name in values(texts):
                    yield from parts({**chosen, option: name})
                return
        yield chosen, fields

    for names in itertools.product(*(list(values(asked.texts(option))) for option in choosing)):
        yield from parts(dict(zip(choosing, names)))


def _is_sequence(option: str, fields: FieldOptions) -> bool:
    return any(is_sequence(one.chosen.component.model_fields[one.field]) for one in fields.meant(option))


def _short(option: str, asked: Asked, fields: FieldOptions) -> str:
    """Return an option as it was written, without hyphens."""
    written = next((one for one in (*asked.line, *asked.file) if fields.full(one) == option), option)
    return written.removeprefix("--")


def _config(options: Mapping[str, str], metrics: Sequence[str], registry: Registry) -> Any:
    settings = {SETTING[option]: setting(option, text) for option, text in options.items() if option in SETTING}
    line = Line.read(_scan(options, metrics), registry, reserved=KNOWN)
    return replace(line, settings=settings).config


def _scan(options: Mapping[str, str], metrics: Sequence[str]) -> Scan:
    figures = (("--metric", name) for name in metrics)
    return Scan((*options.items(), *figures), (), False)


def _count(applying: Mapping[str, Sequence[str]]) -> int:
    return math.prod(len(found) for found in applying.values())


def _typed(text: str) -> JsonValue:
    try:
        value: JsonValue = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, bool | int | float) else text
