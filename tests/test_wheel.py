"""The wheel holds what a user needs: the plugins, the weights, the types and the entry points."""

from __future__ import annotations

import zipfile
from pathlib import Path

from wheels import ROOT


def test_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (entry_points,) = (archive.read(name).decode() for name in names if name.endswith("entry_points.txt"))
    plugins = {path.parent.name for path in (ROOT / "plugins").glob("*/__init__.py")}
    assert plugins
    assert {f"{plugin}/__init__.py" for plugin in plugins} <= names
    assert all(f"= {plugin}" in entry_points for plugin in plugins)
    assert {"samplerhub/py.typed", "samplerhub/cli/__init__.py"} <= names
    assert {f"samplerhub_{plugin}/digits.safetensors" for plugin in ("models", "features")} <= names
    assert {
        f"samplerhub/scaffold/templates/{name}.j2" for name in ("shared/__init__.py", "sampler/component.py")
    } <= names
    assert {f"samplerhub/report/templates/{name}" for name in ("page.html.j2", "style.css", "script.js")} <= names
    assert not any(name.startswith(("tests/", "docs/")) for name in names)
