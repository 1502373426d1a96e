"""Configuration of the documentation: ``sphinx-build -W -b html docs docs/_build``."""

from __future__ import annotations

import re
from importlib import metadata

project = "samplerhub"
author = "the samplerhub authors"
copyright = "the samplerhub authors"
release = version = metadata.version("samplerhub")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.mathjax"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"samplerhub {release}"
html_static_path: list[str] = []

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
python_use_unqualified_type_names = True

SECTIONS = ("Args:", "Raises:", "References:", "Returns:")


def as_rst(lines: list[str]) -> list[str]:
    """Return a docstring of this project as reStructuredText: formulas and sections as they stand, names in code."""
    text: list[str] = []
    indented = False
    for line in lines:
        starts = line.startswith("    ") or line.strip() in SECTIONS
        if starts and not indented and (not text or not text[-1].strip() or line.strip() in SECTIONS):
            text += ["", ".. code-block:: text", ""]
            indented = True
        elif line.strip() and not starts:
            if indented:
                text.append("")
            indented = False
        text.append(f"    {line}" if indented else prose(line))
    return text


def prose(line: str) -> str:
    """Escape what reStructuredText would read as markup, and set names in code."""
    parts = re.split(r"(``[^`]*``|`[^`]*`)", line)
    return "".join(
        f"``{part.strip('`')}``" if part.startswith("`") else re.sub(r"([*|]|_(?=\W|$))", r"\\\1", part)
        for part in parts
    )


def setup(app: object) -> None:
    """Register the rewriting of docstrings."""

    def rewrite(app: object, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
        lines[:] = as_rst(lines)

    app.connect("autodoc-process-docstring", rewrite)  # type: ignore[attr-defined]
