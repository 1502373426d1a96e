"""The folder of one run: finished blocks while it goes on, then the manifest, the samples and a picture."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from samplerhub.block import Block
from samplerhub.curves import draw_curves
from samplerhub.errors import UnusableFile
from samplerhub.experiment import Experiment, Result
from samplerhub.files import read_tensors, whole, writable_folder, write_tensors, write_text
from samplerhub.manifest import Manifest, record
from samplerhub.picture import draw


class RunFolder:
    """The folder of one run, and its `samplerhub.block.BlockStore`.

    Each file is written whole or not at all. Finished blocks are kept until the run is complete, so that the same
    command takes up a run that was killed.
    """

    def __init__(self, path: Path) -> None:
        self.path = writable_folder(path)
        self.blocks = path / "blocks"

    @classmethod
    def of(cls, experiment: Experiment, out: Path | None = None) -> RunFolder:
        """Return the folder of an experiment: the same experiment has the same folder, ``runs/<8 hex>``."""
        if out is None:
            metrics = experiment.metrics if isinstance(experiment.metrics, dict) else {}
            parts = [
                experiment.fingerprint(),
                record(experiment.features).model_dump_json(),
                *(f"{key}={record(m).model_dump_json()}" for key, m in metrics.items()),
            ]
            out = Path("runs") / hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]
        return cls(out)

    def load(self, fingerprint: str, index: int) -> Block | None:
        """Return a block that an earlier run with this fingerprint finished, or None."""
        try:
            tensors, header = read_tensors(self._block(index))
            if header["fingerprint"] != fingerprint:
                return None
            return Block(tensors["samples"], float(header["rho"]), int(header["rows"]), tensors.get("path"))
        except (UnusableFile, KeyError, ValueError):
            return None

    def save(self, fingerprint: str, index: int, block: Block) -> None:
        """Keep a finished block."""
        writable_folder(self.blocks)
        header = {"fingerprint": fingerprint, "rho": repr(block.rho), "rows": str(block.rows)}
        path = {} if block.path is None else {"path": block.path}
        write_tensors(self._block(index), {"samples": block.samples, **path}, header)

    def finished(self, experiment: Experiment) -> int:
        """Return how many blocks of this experiment are there already."""
        fingerprint, size = experiment.fingerprint(), experiment.block or experiment.samples
        indices = {int(file.stem) for file in self._files() if file.stem.isdecimal()}
        return sum(i * size < experiment.samples and self.load(fingerprint, i) is not None for i in indices)

    def write(self, experiment: Experiment, result: Result, manifest: Manifest) -> dict[str, Path]:
        """Write the files of a finished run, and remove its blocks; return where the files are, the manifest last."""
        files = {
            "samples": self.path / "samples.safetensors",
            "picture": self.path / "samples.png",
            "manifest": self.path / "manifest.json",
        }
        header = {"fingerprint": experiment.fingerprint()}  # one key: several are written in no particular order
        write_tensors(files["samples"], {"samples": result.samples}, header)
        with whole(files["picture"]) as temporary:
            draw(experiment, result).savefig(temporary, dpi=150)
        curves = draw_curves(result.metrics)
        if curves is not None:
            files = {**files, "curves": self.path / "curves.png"}
            with whole(files["curves"]) as temporary:
                curves.savefig(temporary, dpi=150)
        write_text(files["manifest"], manifest.model_dump_json(indent=2) + "\n")
        self._clear()
        return files

    def _block(self, index: int) -> Path:
        return self.blocks / f"{index:05d}.safetensors"

    def _files(self) -> Iterator[Path]:
        return self.blocks.glob("[0-9]*.safetensors")

    def _clear(self) -> None:
        """Remove the files of blocks, and their folder unless something else is in it."""
        for file in self._files():
            file.unlink(missing_ok=True)
        with suppress(OSError):
            os.rmdir(self.blocks)
