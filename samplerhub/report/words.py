"""Numbers and names as the report writes them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping

from pydantic import JsonValue

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
LONGEST = 120
"""Characters of a value that are shown."""


def number(value: float) -> str:
    """Return a number with four digits."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞" if value > 0 else "−∞"
    mantissa, _, power = f"{value:.4g}".partition("e")
    mantissa = mantissa.replace("-", "−")
    return f"{mantissa}·10{str(int(power)).translate(SUPERSCRIPTS)}" if power else mantissa


def figure(value: float, stderr: float | None) -> tuple[str, str]:
    """Return a value to the digits that its standard error allows, and the error; "" where it has none."""
    if not stderr or not (math.isfinite(value) and math.isfinite(stderr)):
        return number(value), ""
    digits = 1 - math.floor(math.log10(stderr))
    if 0 <= digits <= 6:
        return f"{value:.{digits}f}".replace("-", "−"), f"{stderr:.{digits}f}"
    power = math.floor(math.log10(max(abs(value), stderr)))
    if digits < 0 and power < 5:
        return f"{value:.0f}".replace("-", "−"), f"{stderr:.0f}"
    scale, shown = 10.0**power, max(0, digits + power)
    ten = f"·10{str(power).translate(SUPERSCRIPTS)}"
    return f"{value / scale:.{shown}f}{ten}".replace("-", "−"), f"{stderr / scale:.{shown}f}{ten}"


def plus_minus(value: float, stderr: float | None) -> str:
    """Return a value and its standard error in one."""
    shown, error = figure(value, stderr)
    return f"{shown} ± {error}" if error else shown


def tick(value: float) -> str:
    """Return the label of a tick."""
    power = math.floor(math.log10(abs(value))) if value else 0
    if -4 < power < 5:
        return f"{value:.6g}".replace("-", "−")
    mantissa = f"{value / 10.0**power:.3g}"
    ten = f"10{str(power).translate(SUPERSCRIPTS)}"
    return ten if mantissa == "1" else f"{mantissa}·{ten}".replace("-", "−")


def text(value: JsonValue) -> str:
    """Return a value of an axis."""
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 1]}…"


def in_words(axes: Mapping[str, JsonValue], names: Iterable[str] | None = None) -> str:
    """Return what distinguishes a run: ``sampler deis, nfe 10``."""
    return ", ".join(f"{name} {text(axes[name])}" for name in (axes if names is None else names) if name in axes)


def count(n: int, what: str) -> str:
    """Return a number of things."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def listed(items: Iterable[str]) -> str:
    """Return "a, b and c"."""
    *first, last = items
    return f"{', '.join(first)} and {last}" if first else last
