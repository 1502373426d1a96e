"""What is public stays: names are added, and removed only after they were deprecated for a minor release."""

from __future__ import annotations

import json
from importlib import metadata
from typing import Any

import pytest
from public import FILE, flat, gained, lost, public

ADDED = """
This is public now, and public.json does not have it. If it is meant to be: run `python tests/public.py`, and commit the
file."""
REMOVED = """
This was public, and is no more. Whoever uses it has to be told for one minor release: deprecate it first, see
docs/stability.md. If no release has ever had it, run `python tests/public.py --unreleased`, and commit the file."""
ROLE = """
A role has a new member, which the components that others have written do not have: they would play their role no more.
Make it a capability of its own (samplerhub/capabilities.py), and look for it with isinstance."""


@pytest.fixture(scope="module")
def told() -> tuple[dict[str, Any], dict[str, Any]]:
    """What was public, and what is."""
    return json.loads(FILE.read_text()), public()


def test_nothing_public_is_removed(told: tuple[dict[str, Any], dict[str, Any]]) -> None:
    missing = lost(*told, metadata.version("samplerhub"))
    assert not missing, "\n".join(["", *missing]) + REMOVED


def test_what_is_added_is_written_down(told: tuple[dict[str, Any], dict[str, Any]]) -> None:
    new = gained(*told)
    assert not new, "\n".join(["", *new]) + ADDED


def test_roles_do_not_grow(told: tuple[dict[str, Any], dict[str, Any]]) -> None:
    before, now = told
    new = {
        role: members
        for role, members in now["roles"].items()
        if set(members) - set(before["roles"].get(role, members))
    }
    assert not new, f"{new}{ROLE}"


BEFORE: dict[str, Any] = {
    "python": {"samplerhub": {"Step": ["t", "x"]}},
    "commands": {"run": ["--steps"]},
    "components": {"grid": {"edm": ["exponent"]}},
    "deprecated": {},
}


def now(deprecated: dict[str, str] | None = None, **sections: Any) -> dict[str, Any]:
    return {**BEFORE, **sections, "deprecated": deprecated or {}}


def test_a_removal_is_found() -> None:
    assert flat(BEFORE) >= {"python/samplerhub/Step/x", "commands/run/--steps", "components/grid/edm/exponent"}
    assert lost(BEFORE, BEFORE, "0.1") == gained(BEFORE, BEFORE) == []
    assert lost(BEFORE, now(python={"samplerhub": {"Step": ["t"]}}), "0.1") == ["python/samplerhub/Step/x"]
    assert lost(BEFORE, now(commands={"run": []}), "9.0") == ["commands/run/--steps"]
    assert gained(BEFORE, now(commands={"run": ["--steps", "--nfe"]})) == ["commands/run/--nfe"]


def test_what_has_another_name_is_not_removed_until_its_time() -> None:
    renamed = {"grid": {"karras": ["exponent"]}}
    assert lost(BEFORE, now(components=renamed), "0.2") == ["components/grid/edm", "components/grid/edm/exponent"]
    deprecated = now({"components/grid/edm": "0.3"}, components=renamed)
    assert lost(BEFORE, deprecated, "0.2") == []
    assert "components/grid/edm" not in gained(BEFORE, deprecated)
    assert "components/grid/karras" in gained(BEFORE, deprecated)

    removed, kept = now(components=renamed), {**deprecated, "components": {"grid": {"karras": ["exponent"], "edm": []}}}
    assert lost(kept, removed, "0.2") == ["components/grid/edm"]
    assert lost(kept, removed, "0.3") == []
