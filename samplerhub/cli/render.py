"""What a terminal shows: tables, progress and messages. The only user of rich."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from samplerhub import protocols

FILLING = re.compile(r" +((?:\x1b\[[\d;]*m)*)$", re.M)
"""Blanks at the end of a line, but for the colours that end there."""


def note(message: str, style: str = "") -> None:
    """Say something beside the results, on stderr."""
    Console(stderr=True, highlight=False).print(Text(message, style), soft_wrap=True)


def error(message: str) -> None:
    """Show what went wrong, on stderr."""
    Console(stderr=True, highlight=False).print(Text("error: ", "bold red") + Text(message), soft_wrap=True)


def lines(texts: Iterable[str]) -> None:
    """Print lines as they are."""
    for text in texts:
        _show(Text(text), soft_wrap=True)


def _show(*parts: RenderableType, soft_wrap: bool = False) -> None:
    """Print on stdout, less the blanks with which tables fill their lines."""
    console = Console(highlight=False)
    with console.capture() as capture:
        for part in parts:
            console.print(part, soft_wrap=soft_wrap)
    sys.stdout.write(FILLING.sub(r"\1", capture.get()))
    sys.stdout.flush()


@contextmanager
def progress(title: str, quiet: bool) -> Iterator[Callable[[protocols.Progress], None]]:
    """Show a bar on stderr while work goes on; none where stderr is no terminal, or when quiet."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", style="dim"),
    )
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task(title, total=None, note="")

        def observe(now: protocols.Progress) -> None:
            bar.update(task, completed=now.done, total=now.total, note=now.note)

        yield observe


def pairs(rows: Iterable[tuple[str, str]]) -> None:
    """Print names and what they stand for."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(name, Text(text))
    _show(table)


def groups(tables: Mapping[str, Sequence[tuple[str, str]]]) -> None:
    """Print titles, with names and texts in one pair of columns below each."""
    width = max((len(name) for rows in tables.values() for name, _ in rows), default=0)
    for i, (title, rows) in enumerate(tables.items()):
        if i:
            _show("")
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column(style="cyan", no_wrap=True, min_width=width)
        table.add_column(overflow="fold")
        for name, text in rows:
            table.add_row(name, Text(text))
        _show(Text(title, "bold"), Padding(table, (0, 0, 0, 2)))


def columns(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table with a header."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    _show(table)


def fitted(fixed: Mapping[str, Sequence[str]], others: Mapping[str, Sequence[str]]) -> None:
    """Print columns; those for which a line has no room follow in another table, beside the fixed ones again."""
    room, left = Console().width, list(others.items())
    while True:
        shown = [*fixed.items(), *left[:1]]
        left = left[1:]
        while left and _width([*shown, left[0]]) <= room:
            shown.append(left.pop(0))
        columns([name for name, _ in shown], list(zip(*(texts for _, texts in shown))))
        if not left:
            return
        _show("")


def _width(shown: Sequence[tuple[str, Sequence[str]]]) -> int:
    return sum(2 + max(map(len, (name, *texts))) for name, texts in shown) - 2


def bars(rows: Sequence[tuple[str, float, str]], width: int = 40) -> None:
    """Print names, bars as long as their values (to the left of the axis where negative), and texts."""
    low, high = min([0.0, *(value for _, value, _ in rows)]), max([0.0, *(value for _, value, _ in rows)])
    scale = width / (high - low or 1.0)
    left = round(-low * scale)
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for name, value, text in rows:
        length = round(abs(value) * scale)
        filled = " " * (left - length) + "━" * length if value < 0 else " " * left + "━" * length
        table.add_row(Text(name, "bold"), Text(filled.ljust(width), "red" if value < 0 else "cyan"), Text(text))
    _show(table)


def definitions(rows: Iterable[tuple[str, str, str]]) -> None:
    """Print terms, a remark beside each, and a text below it."""
    for term, remark, text in rows:
        title = Text.assemble((term, "cyan"), "  ", (remark, "dim"))
        _show(Padding(title, (0, 0, 0, 2)), Padding(Text(text), (0, 0, 0, 6)))


def outcome(state: str, what: str, found: str) -> None:
    """Print a line on something that passed, failed or was skipped."""
    mark = {"passed": ("ok     ", "green"), "failed": ("FAILS  ", "bold red")}.get(state, ("skipped", "dim"))
    _show(Text.assemble(mark, f"  {what}", f"  {found}" if found else ""), soft_wrap=True)


def measured(value: float, stderr: float | None) -> str:
    """Return a figure to the digits that its standard error allows: ``0.0123 ± 0.0004``."""
    if stderr is None or not (math.isfinite(value) and math.isfinite(stderr) and stderr > 0):
        return f"{value:#.4g}".removesuffix(".") if stderr is None else f"{value:.4g} ± {stderr:.2g}"
    digits = 1 - math.floor(math.log10(stderr))
    if 0 <= digits <= 6:
        return f"{value:.{digits}f} ± {stderr:.{digits}f}"
    return f"{value:.3e} ± {stderr:.1e}"


def shown(path: Path) -> str:
    """Return a path as short as it can be written from here."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def machine_readable(text: str) -> None:
    """Write text for another program."""
    sys.stdout.write(text + "\n")
