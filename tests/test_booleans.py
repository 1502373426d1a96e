"""Options that are true where they stand without a value."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from samplerhub.cli import main
from samplerhub.cli.options import scan

RUN = ["run", "--quiet", "--json", "-n", "65", "--steps", "1", "--metric", "fd-pca"]


@pytest.mark.parametrize(
    ("words", "whiten"),
    [
        (["--features.whiten"], True),
        (["--features.whiten", "--seed", "1"], True),
        (["--whiten", "-n", "66"], True),
        (["--pca.whiten", "--quiet"], True),
        (["--features.whiten", "true"], True),
        (["--features.whiten", "false"], False),
        (["--whiten=false"], False),
        (["--features.whiten", "--features.whiten", "false"], False),
    ],
)
def test_a_boolean_needs_no_value(
    words: list[str], whiten: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*RUN, "--out", str(tmp_path), *words]) == 0
    report = json.loads(capsys.readouterr().out)
    manifest = json.loads(Path(report["files"]["manifest"]).read_text(encoding="utf-8"))
    assert manifest["components"]["features"]["fields"]["whiten"] is whiten


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seed"], "--seed needs a value"),
        (["--features.components", "-n", "66"], "--features.components needs a value"),
        (["--features.whiten", "perhaps"], "whiten"),
    ],
)
def test_anything_else_needs_one(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RUN, *words]) == 2
    assert message in capsys.readouterr().err


def test_what_is_an_option_and_what_a_value() -> None:
    assert scan(["--a", "-1", "--b", "-n", "5", "--c", "-inf", "--d", "-.5"]).options == (
        ("--a", "-1"), ("--b", None), ("-n", "5"), ("--c", "-inf"), ("--d", "-.5")
    )  # fmt: skip
