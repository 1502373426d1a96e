"""Rows as a file: CSV, Parquet or JSON, by the end of its name."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from samplerhub.errors import InvalidSetting
from samplerhub.files import whole, write_text

Cells = Mapping[str, JsonValue]
WORD = 2**63


def writer_of(file: Path) -> Callable[[Path, Sequence[str], Sequence[Cells]], None]:
    """Return what writes a file of this name.

    Raises:
        InvalidSetting: No format has it, or what it needs is not installed.
    """
    if file.suffix.lower() not in WRITERS:
        raise InvalidSetting(f"--out {file}: the end of the name says the format: {', '.join(WRITERS)}")
    if file.suffix.lower() == ".parquet":
        _pyarrow()
    return WRITERS[file.suffix.lower()]


def as_json(rows: Sequence[Cells]) -> str:
    """Return rows as a JSON list of objects; what is not finite is the text NaN, Infinity or -Infinity."""
    plain = [{name: _finite(value) for name, value in row.items()} for row in rows]
    return json.dumps(plain, indent=1, allow_nan=False, ensure_ascii=False)


def _finite(value: JsonValue) -> JsonValue:
    if isinstance(value, float) and not math.isfinite(value):
        return json.dumps(value)
    return value


def _write_json(file: Path, names: Sequence[str], rows: Sequence[Cells]) -> None:
    write_text(file, as_json(rows) + "\n")


def _write_csv(file: Path, names: Sequence[str], rows: Sequence[Cells]) -> None:
    """Write text in which an empty field is a missing value; numbers to their last bit, lists as JSON."""
    text = io.StringIO()
    table = csv.DictWriter(text, names, lineterminator="\n")
    table.writeheader()
    table.writerows({name: _plain(value) for name, value in row.items()} for row in rows)
    write_text(file, text.getvalue())


def _write_parquet(file: Path, names: Sequence[str], rows: Sequence[Cells]) -> None:
    """Write typed columns; one of several types is text, as are integers of more than 64 bits."""
    pyarrow, parquet = _pyarrow()
    columns = {name: _column([row.get(name) for row in rows]) for name in names}
    empty = [name for name, column in columns.items() if all(value is None for value in column)]
    arrays = {
        name: pyarrow.array(column, pyarrow.float64() if name in empty else None) for name, column in columns.items()
    }
    with whole(file) as temporary:
        parquet.write_table(pyarrow.table(arrays), temporary)


def _column(values: Sequence[JsonValue]) -> list[JsonValue]:
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        return [None if value is None else float(value) for value in values]  # type: ignore[arg-type]
    large = any(isinstance(value, int) and not -WORD <= value < WORD for value in values)
    if len(kinds) <= 1 and not kinds & {list, dict} and not large:
        return list(values)
    return [None if value is None else value if isinstance(value, str) else json.dumps(value) for value in values]


def _plain(value: JsonValue) -> JsonValue:
    return json.dumps(value) if isinstance(value, bool | list | dict) else value


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise InvalidSetting(
            f"Parquet needs pyarrow, which cannot be imported ({error}): pip install 'samplerhub[parquet]', "
            "or write .csv or .json"
        ) from error
    return pyarrow, pyarrow.parquet


WRITERS = {".csv": _write_csv, ".parquet": _write_parquet, ".json": _write_json}
