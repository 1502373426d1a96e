"""What the pages say is run: their commands, their Python, and the output that they show.

In README.md and docs/*.md, in the order of a page, in an empty folder of the page's own:

* a ``python`` block is executed, in one namespace for the page, warnings as errors; a ``text`` block that follows it is
  what it prints
* in a ``console`` block each line ``$ samplerhub ...`` is run and must exit with 0, or with the number below a line
  ``$ echo $?``; the lines under a command, if any, are what it prints
* a block after ``<!-- file: NAME -->`` is written to that file instead, before anything is run; a ``pyproject.toml``
  installs the folder
* a block after ``<!-- not executed: REASON -->`` is left alone

In shown output ``...`` stands for anything.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import invalidate_caches
from pathlib import Path

import pytest

from samplerhub.cli import main

ROOT = Path(__file__).parents[1]
PAGES = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if page.exists()]
FENCE = re.compile(r"^(?P<fence>`{3,})(?P<language>[\w-]*)[^\n`]*\n(?P<text>.*?)^(?P=fence)`*$", re.M | re.S)
COMMENT = re.compile(r"<!-- (?P<what>file|not executed): (?P<value>[^\n]*?) -->\s*\Z")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    text: str
    line: int
    file: str | None
    skipped: bool
    shown: str | None
    """The text block that follows."""


@dataclass(frozen=True)
class Command:
    """A command of a console block, with the output below it and the exit code that it must have."""

    words: list[str]
    shown: str
    code: int = 0


def blocks_of(page: str) -> Iterator[Block]:
    matches = list(FENCE.finditer(page))
    for match, after in zip(matches, [*matches[1:], None]):
        comment = COMMENT.search(page, 0, match.start())
        what, value = (comment["what"], comment["value"]) if comment else (None, None)
        follows = after is not None and after["language"] == "text" and not page[match.end() : after.start()].strip()
        yield Block(
            match["language"],
            match["text"],
            page.count("\n", 0, match.start()) + 1,
            value if what == "file" else None,
            what == "not executed",
            after["text"] if follows and after else None,
        )


def commands_of(text: str) -> list[Command]:
    """Return the samplerhub commands of a console block."""
    commands: list[Command] = []
    for part in re.split(r"^\$ ", text, flags=re.M)[1:]:
        line, _, shown = re.sub(r"\\\n\s*", "", part).partition("\n")
        if line.strip() == "echo $?":
            last = commands.pop()
            commands.append(Command(last.words, last.shown, int(shown)))
        elif line.startswith("samplerhub"):
            commands.append(Command(shlex.split(line, comments=True)[1:], shown))
    return commands


def matches(shown: str, printed: str) -> bool:
    """Say whether a text is what was shown, ``...`` standing for anything, trailing blanks aside."""
    shown, printed = (
        "\n".join(line.rstrip() for line in text.strip().splitlines()) for text in (shown, uncoloured(printed))
    )
    pattern = ".*?".join(re.escape(part) for part in shown.split("..."))
    return re.fullmatch(pattern, printed, re.S) is not None


def uncoloured(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


class Folder:
    """Where a page is run."""

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = name
        self.namespace: dict[str, object] = {"__name__": "__main__"}

    def run(self, block: Block) -> None:
        if block.file is not None or block.skipped:
            return
        elif block.language == "python":
            self.python(block)
        elif block.language == "console":
            for command in commands_of(block.text):
                self.command(command, block.line)

    def write(self, name: str, text: str) -> None:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        invalidate_caches()
        if file.name == "pyproject.toml":
            self.install(tomllib.loads(text)["project"])

    def install(self, project: dict[str, object]) -> None:
        """Do what pip does, as far as plugins are concerned: write the metadata where it is found."""
        metadata = self.path / f"{str(project['name']).replace('-', '_')}-{project['version']}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        )
        groups = project["entry-points"]
        assert isinstance(groups, dict)
        lines = [
            line
            for group, points in groups.items()
            for line in (f"[{group}]", *(f"{k} = {v}" for k, v in points.items()))
        ]
        (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")

    def python(self, block: Block) -> None:
        printed = io.StringIO()
        source = "\n" * block.line + block.text  # so that a traceback names the line of the page
        with warnings.catch_warnings(), redirect_stdout(printed):
            warnings.simplefilter("error")
            exec(compile(source, self.name, "exec"), self.namespace)
        if block.shown is not None:
            assert matches(block.shown, printed.getvalue()), f"line {block.line} prints\n{printed.getvalue()}"

    def command(self, command: Command, line: int) -> None:
        printed = io.StringIO()
        with redirect_stdout(printed), redirect_stderr(printed):
            code = main(command.words)
        text = uncoloured(printed.getvalue())
        said = f"line {line}: samplerhub {shlex.join(command.words)}"
        assert code == command.code, f"{said} exits with {code}\n{text}"
        if command.shown.strip():
            assert matches(command.shown, text), f"{said} prints\n{text}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_is_true(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for place in (tmp_path / "src", tmp_path):  # a package of the page's own, and the metadata of its installation
        monkeypatch.syspath_prepend(str(place))
    for name, value in {"COLUMNS": "80", "TERM": "dumb", "NO_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    for name in ("SAMPLERHUB_PLUGINS", "SAMPLERHUB_STRICT", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    modules = set(sys.modules)
    folder = Folder(tmp_path, str(page.relative_to(ROOT)))
    try:
        blocks = list(blocks_of(page.read_text()))
        for block in blocks:
            if block.file is not None:
                folder.write(block.file, block.text)
        for block in blocks:
            folder.run(block)
    finally:
        for name in set(sys.modules) - modules:
            if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
                del sys.modules[name]


def test_the_pages_build(tmp_path: Path) -> None:
    pytest.importorskip("sphinx")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d", str(tmp_path / "trees")]
    done = subprocess.run(
        [*command, str(ROOT / "docs"), str(tmp_path / "html")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "default"},
    )
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_in_the_reference() -> None:
    import samplerhub

    text = (ROOT / "docs" / "api.md").read_text()
    missing = [name for name in samplerhub.__all__ if not re.search(rf"samplerhub\.{name}\b", text)]
    assert not missing


def test_shown_output_is_compared_with_dots_for_anything() -> None:
    assert matches("a ... c\n", "a b\n b c   \n")
    assert not matches("a\n", "a\nb\n")
    assert [
        (c.words, c.code) for c in commands_of("$ pip install x\n$ samplerhub list \\\n    grid\nno\n$ echo $?\n2\n")
    ] == [(["list", "grid"], 2)]
