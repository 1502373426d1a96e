"""Every check that there is, by role, and the page that explains them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from samplerhub.plugin import ROLES
from samplerhub.testing import (
    component,
    convergence,
    engine,
    features,
    grid,
    metric,
    model,
    prior,
    process,
    target,
    trainer,
)
from samplerhub.testing.check import Check

EVERY = component.CHECKS
"""The checks of every component."""
CHECKS: Mapping[str, tuple[Check, ...]] = MappingProxyType(
    {
        "process": process.CHECKS,
        "target": target.CHECKS,
        "model": model.CHECKS,
        "sampler": convergence.CHECKS,
        "grid": grid.CHECKS,
        "prior": prior.CHECKS,
        "features": features.CHECKS,
        "metric": metric.CHECKS,
        "trainer": trainer.CHECKS,
        "engine": engine.CHECKS,
    }
)
"""The checks of each role, beside those of every component."""


def reference() -> str:
    """Return what each check is and why, as Markdown: the part of the documentation that is made from the code."""
    return "\n".join(_page()).strip() + "\n"


def _page() -> Iterator[str]:
    yield from _section("Every component", EVERY)
    for role, checks in CHECKS.items():
        yield from _section(f"{role.capitalize()}: {ROLES[role]}", checks)


def _section(title: str, checks: tuple[Check, ...]) -> Iterator[str]:
    yield from (f"### {title}", "")
    for one in checks:
        text = f"* `{one.id}`: {one.what} {one.why} *Usually: {one.cause}.*"
        yield from textwrap.wrap(text, 120, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    yield ""
