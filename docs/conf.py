"""Configuration of the documentation: ``sphinx-build -W -b html docs docs/_build``."""

from __future__ import annotations

import re
from importlib import metadata

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

project = "samplerhub"
author = "the samplerhub authors"
copyright = "the samplerhub authors"
release = version = metadata.version("samplerhub")

extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"samplerhub {release}"
html_math_renderer = "mathml"

autodoc_member_order = "bysource"
autodoc_default_options = {"exclude-members": "model_config"}
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
python_use_unqualified_type_names = True

SECTION = re.compile(r"(Args|Raises|References|Returns):$")


def as_rst(lines: list[str]) -> list[str]:
    """Return a docstring of this project in reStructuredText: formulas as they are, sections as lists."""
    text: list[str] = []
    section = formula = False
    for line in lines:
        if SECTION.match(line):
            section, formula = True, False
            text += ["", f"*{line}*", ""]
        elif section and line.startswith(" " * 8):
            text.append(f"  {prose(line.strip())}")
        elif section and line.startswith(" " * 4):
            text.append(f"* {prose(line.strip())}")
        elif line.startswith(" " * 4):
            if not formula:
                text += ["", ".. code-block:: text", ""]
            formula = True
            text.append(f"    {line}")
        else:
            if line.strip() and (section or formula):
                text.append("")
                section = formula = False
            text.append(prose(line))
    return text


def prose(line: str) -> str:
    """Escape what reStructuredText would read as markup, and set names in code."""
    parts = re.split(r"(``[^`]*``|`[^`]*`)", line)
    return "".join(
        f"``{part.strip('`')}``" if part.startswith("`") else re.sub(r"([*|]|_(?=\W|$))", r"\\\1", part)
        for part in parts
    )


def rewrite(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    lines[:] = as_rst(lines)


def inline_formula(translator: HTML5Translator, node: nodes.math) -> None:
    translator.body.append(convert(node.astext()))
    raise nodes.SkipNode


def display_formula(translator: HTML5Translator, node: nodes.math_block) -> None:
    translator.body.append(f'<div style="margin: 0.8em 0">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Register the rewriting of docstrings, and formulas as MathML: browsers show it without a script or a network."""
    app.connect("autodoc-process-docstring", rewrite)
    app.add_html_math_renderer("mathml", (inline_formula, None), (display_formula, None))  # type: ignore[arg-type]
