"""The page: templates filled with facts. Everything that is not made here is escaped, and nothing is fetched."""

from __future__ import annotations

import base64
import hashlib
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from samplerhub.citation import Cited
from samplerhub.errors import UnusableFile
from samplerhub.manifest import Manifest
from samplerhub.registry import Registry
from samplerhub.report import chart, made_of
from samplerhub.report.boards import Board, Colours, boards, colours, ordered
from samplerhub.report.chart import Chart
from samplerhub.report.drawing import SIDE
from samplerhub.report.leaderboard import Leaderboard, leaderboard
from samplerhub.report.path import along_the_path
from samplerhub.report.pictures import Gallery, gallery
from samplerhub.report.quality import against_churn, against_nfe
from samplerhub.report.words import count, in_words, number
from samplerhub.sweep import Kept, Store, groups

LIMIT = 1_000_000
"""Bytes of a page; pictures are left out where they would make it larger."""
PICTURES = 300_000
"""Bytes of all pictures."""
FEW = 40
"""Skipped combinations, failures and damaged runs that are written out."""
UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
"""Characters that no page may have, or that change the order in which others are read."""


@dataclass(frozen=True, slots=True)
class References:
    """The works that the components of the runs follow."""

    works: Sequence[Cited] = ()
    bibtex: str = ""
    problems: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """What the page has of a board."""

    board: Board
    leaderboard: Leaderboard
    charts: tuple[tuple[str, tuple[Chart, ...]], ...]
    """Of each metric."""
    path: tuple[Chart, ...]
    gallery: Gallery | None = None


def page(store: Store, registry: Registry, cited: Callable[[Sequence[Manifest]], References]) -> str:
    """Return the report of a sweep as HTML.

    Args:
        store: The sweep.
        registry: What is installed.
        cited: Says which works the components of runs follow.

    Raises:
        UnusableFile: The folder cannot be read, or has no finished run.
    """
    runs, broken = _read(store)
    failures = store.failures()
    if not runs:
        raise UnusableFile(_nothing(store, len(failures), broken))
    together = ordered(groups(runs))
    tints = colours(together)
    parts = [_part(board, tints) for board in boards(together)]
    facts = {
        "title": store.folder.resolve().name,
        "folder": store.folder,
        "again": shlex.join(["samplerhub", "run", "--from", str(runs[0].folder / "manifest.json")]),
        "runs": runs,
        "groups": together,
        "broken": broken,
        "failures": failures,
        "noted": store.noted(),
        "colours": tints,
        "budgets": list(dict.fromkeys(b.nfe for part in parts for b in part.leaderboard.budgets)),
        "seeds": sorted({run.manifest.settings.seed for run in runs}),
        "components": made_of.components(runs, registry),
        "settings": made_of.settings(runs),
        "environment": made_of.environment(runs),
        "references": cited([run.manifest for run in runs]),
        "few": FEW,
        "made": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        "version": metadata.version("samplerhub"),
    }
    room = min(PICTURES, LIMIT - len(_rendered(facts, parts).encode()) - 10_000)
    return _rendered(facts, [_with_pictures(part, tints, registry, room // len(parts)) for part in parts])


def _read(store: Store) -> tuple[list[Kept], list[str]]:
    """Return the runs whose records can be read, and what is wrong with the others."""
    runs, broken = [], []
    for found in store.runs():
        try:
            if isinstance(found, Kept) and found.manifest:
                runs.append(found)
            else:
                broken.append(str(found))
        except UnusableFile as error:
            broken.append(str(error))
    return runs, broken


def _nothing(store: Store, failed: int, broken: Sequence[str]) -> str:
    what = f"{store.folder} has no finished run of a sweep"
    if failed:
        return (
            f"{what}, and {count(failed, 'run')} that failed: `samplerhub sweep ... --out {store.folder}` tries again"
        )
    if broken:
        return f"{what}, and {len(broken)} that cannot be read: {broken[0]}"
    return f"{what}: name the folder that was given to `samplerhub sweep ... --out DIR`"


def _part(board: Board, tints: Colours) -> Part:
    charts = []
    for metric in board.metrics:
        drawn = (against_nfe(board, metric, tints), against_churn(board, metric, tints))
        charts.append((metric, tuple(one for one in drawn if one is not None)))
    return Part(board, leaderboard(board, tints), tuple(charts), tuple(along_the_path(board, tints)))


def _with_pictures(part: Part, tints: Colours, registry: Registry, room: int) -> Part:
    drawn = gallery(part.board, tints, registry, room) if room > 0 else None
    return Part(part.board, part.leaderboard, part.charts, part.path, drawn)


def _rendered(facts: dict[str, object], parts: Sequence[Part]) -> str:
    environment = Environment(
        loader=PackageLoader("samplerhub.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_seen,
    )
    environment.filters |= {"number": number, "in_words": in_words, "count": count}
    style, script = (_own(environment, name) for name in ("style.css", "script.js"))
    return environment.get_template("page.html.j2").render(
        facts,
        parts=parts,
        geometry=chart,
        side=SIDE,
        style=style,
        script=script,
        policy=f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; img-src data:; "
        "base-uri 'none'; form-action 'none'",
    )


def _seen(value: object) -> object:
    """Return what is written for a value; characters that no page may have are replaced."""
    return UNSEEN.sub("\N{REPLACEMENT CHARACTER}", value) if type(value) is str else value


def _own(environment: Environment, name: str) -> Markup:
    """Return a file of the package that is put into the page as it is."""
    assert environment.loader is not None
    source, _, _ = environment.loader.get_source(environment, name)
    return Markup(source)


def _hash(text: str) -> str:
    """Return the source expression that lets a browser use a text, and no other."""
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
