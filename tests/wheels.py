"""Distributions built as wheels, and environments that have nothing else of ours."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parent.parent
THIRD_PARTY = Path(__file__).parent / "thirdparty"


def copied(source: Path, folder: Path) -> Path:
    """Copy what git knows of a folder, and what it would take: building leaves files behind."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=source, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\n")):
        if (source / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((source / name).read_bytes())
    return folder


def wheel_of(source: Path, folder: Path) -> Path:
    """Build the distribution of a folder and return its wheel."""
    pip = (sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-index", "--no-build-isolation")
    checked(*pip, "-w", folder, copied(source, folder / "source"), folder=folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


def environment_of(wheels: Iterable[Path], folder: Path) -> Path:
    """Make an environment with these wheels, and return its Python.

    What they depend on is that of the environment that runs: its packages are found by a line with their path. No other
    .pth file is read in there, so that what is installed from a checkout, as samplerhub is here, is not found.
    """
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index")
    checked(*pip, *wheels, folder=folder)
    inside = checked(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=folder).strip()
    Path(inside, "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return python


def checked(*command: str | Path, folder: Path, **environment: str) -> str:
    """Run a command that must succeed, without what this process has of paths and settings; return what it prints."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("PYTHON", "PYTEST", "SAMPLERHUB"))}
    done = subprocess.run(
        [*map(str, command)],
        cwd=folder,
        env={**kept, "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout
