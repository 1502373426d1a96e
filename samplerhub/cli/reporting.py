"""The command ``report``: a sweep as one HTML file."""

from __future__ import annotations

import json
import webbrowser
from collections.abc import Sequence
from functools import partial
from importlib import metadata
from pathlib import Path

from samplerhub.citation import bibliography, bibtex
from samplerhub.cli.citing import references
from samplerhub.files import write_text
from samplerhub.manifest import Manifest
from samplerhub.registry import Registry
from samplerhub.report import References, page
from samplerhub.sweep import Store


def write_report(registry: Registry, folder: Path, out: Path | None, browse: bool, as_json: bool) -> None:
    """Write the report of a sweep.

    Args:
        registry: What is installed.
        folder: The folder of the sweep.
        out: The file to write; None: ``report.html`` in the folder.
        browse: Whether to open it in a browser.
        as_json: Whether to print JSON.
    """
    from samplerhub.cli import render

    html = page(Store(folder), registry, partial(_references, registry))
    file = folder / "report.html" if out is None else out
    write_text(file, html)
    if as_json:
        render.machine_readable(json.dumps({"report": str(file), "bytes": len(html.encode())}))
    else:
        render.lines([render.shown(file)])
    if browse and not webbrowser.open(file.resolve().as_uri()):
        render.note(f"no browser was found; open {file} in one", "yellow")


def _references(registry: Registry, manifests: Sequence[Manifest]) -> References:
    found = references(registry, manifests)
    works = bibliography(found.mentions)
    return References(works, bibtex(works, metadata.version("samplerhub")), found.problems)
