"""The command ``results``: the runs of a sweep as a table, in the terminal and in files."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import JsonValue

from samplerhub.cli.exporting import as_json, writer_of
from samplerhub.cli.filters import Condition, conditions_of, in_order, known, wanted
from samplerhub.errors import InvalidSetting, UnusableFile
from samplerhub.sweep import Kept, Store, boards, groups
from samplerhub.sweep.flat import RHO, Row, axes_of, metrics_of, names_of, ranked, rows
from samplerhub.sweep.table import SEED
from samplerhub.sweep.versions import mixed
from samplerhub.wording import among

NAMED = 10
"""So many failures are named, and the others counted."""
SPENT, TIME = "nfe_spent", "seconds"
OF_A_RUN = (SEED, "key")
"""What differs within a group."""


Per = Literal["group", "run"]
"""What a row is."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of the results."""

    where: Sequence[str] = ()
    sort: Sequence[str] = ()
    reverse: bool = False
    metrics: Sequence[str] = ()
    best: str | None = None
    per: Per | None = None
    out: Path | None = None
    as_json: bool = False


def show_results(folder: Path, asked: Asked) -> None:
    """Print the results of a sweep, or write them to a file.

    Raises:
        UnusableFile: The folder has no results, or the file cannot be written.
        InvalidSetting: Something is asked for that is not there.
    """
    from samplerhub.cli import render

    write = writer_of(asked.out) if asked.out is not None else None
    conditions = conditions_of(asked.where)
    store = Store(folder)
    found = list(store.runs())
    runs = [run for run in found if isinstance(run, Kept)]
    unreadable = [problem for problem in found if isinstance(problem, str)]
    if not runs:
        raise UnusableFile(_nothing(folder, unreadable, store))
    per: Per = asked.per or ("group" if asked.best or not (asked.as_json or write) else "run")
    tables = _tables(runs, conditions, per, asked)
    chosen = [row for table in tables for row in table]
    names = _names(chosen, asked.metrics)
    cells = [{name: row.cells[name] for name in names if name in row.cells} for row in chosen]
    if write is not None and asked.out is not None:
        write(asked.out, names, cells)
    if asked.as_json:
        render.machine_readable(as_json(cells))
    elif asked.out is not None:
        render.lines([render.shown(asked.out)])
    else:
        _show(tables, asked, per, len(runs))
    for line in mixed(runs):
        render.note(line, "yellow")
    _problems(store, unreadable)


def _tables(runs: Sequence[Kept], conditions: Sequence[Condition], per: Per, asked: Asked) -> list[list[Row]]:
    """Return the rows that are wanted: one table, or one for each ranking."""
    single = rows(groups(runs, seeds=False))
    of_a_run = [condition for condition in conditions if condition.name in OF_A_RUN]
    kept = wanted(single, of_a_run)
    together = groups([row.group.runs[0] for row in kept], seeds=per == "group")
    found = wanted(rows(together), [condition for condition in conditions if condition not in of_a_run])
    _check(found or single, asked)
    found = in_order(found, [*axes_of(found), "nfe", SEED])
    if asked.best is None:
        return [in_order(found, asked.sort, asked.reverse)]
    return ranked(boards([row.group for row in found], asked.best))


def _check(found: Sequence[Row], asked: Asked) -> None:
    figures = metrics_of(found)
    for said, names, more in (("--metric", asked.metrics, (SPENT, TIME)), ("--best", [asked.best], ())):
        for name in names:
            if name is not None and name not in (*figures, *more):
                raise InvalidSetting(f"{said} {name}: no run has it{among(name, (*figures, *more))}")
    for name in asked.sort:
        known(name, found, f"--sort {name}")
    if asked.best is not None and asked.sort:
        raise InvalidSetting("--best puts the best first; leave --sort out")


def _names(found: Sequence[Row], metrics: Sequence[str]) -> list[str]:
    """Return the columns, those of other metrics left out."""
    left_out = {metric for metric in metrics_of(found) if metrics and metric not in metrics}
    return [name for name in names_of(found) if name.removesuffix("_stderr") not in left_out]


def _show(tables: Sequence[Sequence[Row]], asked: Asked, per: Per, total: int) -> None:
    """Print the tables: what is the same everywhere is said once above."""
    from samplerhub.cli import render

    every = [row for table in tables for row in table]
    if not every:
        render.lines([f"none of {_count(total, 'run')} is wanted by --where"])
        return
    same, varying = _apart(every, [*axes_of(every), "nfe", *([RHO] if any(RHO in row.cells for row in every) else [])])
    if "steps" in varying and all(row.cells["steps"] == row.cells["nfe"] for row in every):
        varying = [name for name in varying if name != "nfe"]
    render.lines([_counted(every, total), *([f"all: {_in_words(every[0], same)}"] if same else [])])
    seeds = {len(row.group.runs) for row in every}
    fixed = [(name, _cell(name)) for name in varying]
    fixed += [("seeds", _cell("seeds"))] if per == "group" and len(seeds) > 1 else []
    fixed += [(SEED, _cell(SEED))] if per == "run" else []
    if any(row.cells["nfe"] != row.cells[SPENT] for row in every) or SPENT in asked.metrics:
        fixed.append(("spent", _cell(SPENT)))
    figures = [name for name in (*metrics_of(every), TIME) if name in (asked.metrics or metrics_of(every))]
    figures.sort(key=lambda name: name != asked.best)
    for table in tables:
        title = ""
        columns = list(fixed)
        if asked.best is not None:
            here, _ = _apart(table, varying)
            title = _in_words(table[0], here)
            columns = [("", _rank), *((name, cell) for name, cell in fixed if name not in here)]
        render.lines(["", *[title] * bool(title)])
        render.fitted(
            {name: [cell(row) for row in table] for name, cell in columns},
            {name: [_figure(row, name) for row in table] for name in figures},
        )
    if asked.best is not None and any(row.cells["tied"] for row in every):
        render.lines(["", "= a t-test, paired by seed, does not tell it from the best of its table (5 %)"])


def _counted(found: Sequence[Row], total: int) -> str:
    """Return how many runs there are, in how many groups of how many seeds."""
    shown, sizes = sum(len(row.group.all) for row in found), {len(row.group.runs) for row in found}
    text = _count(shown, "run") if shown == total else f"{shown:,} of {_count(total, 'run')}"
    if shown > len(found):
        text += f" in {_count(len(found), 'group')}"
        text += f", {min(sizes)} seeds each" if len(sizes) == 1 else ""
    return text


def _apart(found: Sequence[Row], names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the names that have the same value in all rows, and the others."""
    same = [name for name in names if len({json.dumps(row.cells.get(name)) for row in found}) == 1]
    return same, [name for name in names if name not in same]


def _in_words(row: Row, names: Sequence[str]) -> str:
    words = {"nfe": "NFE", RHO: "noise level"}
    told = ((name, row.cells.get(name)) for name in names)
    return ", ".join(
        "no budget of NFE" if name == "nfe" and value is None else f"{words.get(name, name)} {_plain(value)}"
        for name, value in told
    )


def _cell(name: str) -> Callable[[Row], str]:
    return lambda row: _plain(row.cells.get(name))


def _rank(row: Row) -> str:
    return f"{row.cells['rank']}{' =' if row.cells['tied'] else ''}"


def _figure(row: Row, name: str) -> str:
    from samplerhub.cli import render

    figure = row.group.figures.get(name)
    if figure is None:
        return f"{row.group.seconds:.3g}" if name == TIME else ""
    return render.measured(figure.value, figure.stderr or None)


def _plain(value: JsonValue) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value)


def _problems(store: Store, unreadable: Sequence[str]) -> None:
    """Name the runs that failed, and those that cannot be read."""
    from samplerhub.cli import render
    from samplerhub.cli.sweeping import in_words

    failed = [f"failed {in_words(one.axes) or one.key}: {one.error}" for one in store.failures()]
    again = "; the same sweep does them again"
    for texts, what in ((failed, "failed"), (unreadable, "cannot be read")):
        for text in texts[:NAMED]:
            render.note(text, "red")
        if texts:
            more = f"{len(texts) - NAMED} more of them, " if len(texts) > NAMED else ""
            render.note(f"{_count(len(texts), 'run')} {what}{', ' + more[:-2] + ' not named' if more else ''}{again}")


def _nothing(folder: Path, unreadable: Sequence[str], store: Store) -> str:
    if (folder / "manifest.json").exists():
        return f"{folder} is a single run, no sweep: samplerhub compare {folder} OTHER shows it beside another"
    if unreadable:
        return f"{folder} has {_count(len(unreadable), 'run')}, and none can be read: {unreadable[0]}"
    failures = store.failures()
    if failures:
        return f"{folder} has no finished run; {_count(len(failures), 'run')} failed: {failures[0].error}"
    return f"{folder} has no finished run: name the folder of a sweep, what was its --out DIR"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
