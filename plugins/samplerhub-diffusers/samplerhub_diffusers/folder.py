"""Where things are in a folder of diffusers, and what its files say. Nothing is looked up on a network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from samplerhub.errors import UnusableFile

NETWORK, SCHEDULER = "config.json", "scheduler_config.json"


def network_folder(folder: Path) -> Path:
    """Return the folder of the network: that of a pipeline's `unet`, or the folder itself.

    Raises:
        UnusableFile: There is no network in it.
    """
    return _first([folder / "unet" / NETWORK, folder / NETWORK], folder, "a network").parent


def scheduler_file(folder: Path) -> Path:
    """Return the file of the scheduler's config, of a pipeline or beside a network.

    Raises:
        UnusableFile: There is none.
    """
    places = (folder / "scheduler", folder, folder.parent / "scheduler", folder.parent)
    return _first([place / SCHEDULER for place in places], folder, "a scheduler's config")


def read_config(file: Path) -> dict[str, Any]:
    """Read a config.

    Raises:
        UnusableFile: It is not a JSON object.
    """
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UnusableFile(f"cannot read {file}: {error}") from error
    if not isinstance(config, dict):
        raise UnusableFile(f"{file} is not the config of a diffusers component: it is no JSON object")
    return config


def _first(files: list[Path], folder: Path, what: str) -> Path:
    """Return the first of some files that is there."""
    if not folder.is_dir():
        raise UnusableFile(
            f"there is no folder {str(folder)!r}: give that of a pipeline on this machine (save_pretrained)"
        )
    for file in files:
        if file.is_file():
            return file
    places = ", ".join(map(str, files))
    raise UnusableFile(f"the folder {str(folder)!r} holds no {what.removeprefix('a ')}; looked for {places}")
