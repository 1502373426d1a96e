"""The command ``convert``."""

from __future__ import annotations

import json
from pathlib import Path

from samplerhub.errors import InvalidSetting


def convert_checkpoint(source: Path, out: Path | None, part: str | None, trust_pickle: bool, as_json: bool) -> None:
    """Convert a checkpoint, and say what has become of it.

    Raises:
        InvalidSetting: The file to be written is the source, or is not called safetensors.
    """
    from samplerhub.cli import render
    from samplerhub.convert import convert

    out = source.with_suffix(".safetensors") if out is None else out
    if out.suffix != ".safetensors" or out.resolve() == source.resolve():
        raise InvalidSetting(f"--out {out}: give a file that ends in .safetensors, and is not the source")
    done = convert(source, out, part, trust_pickle=trust_pickle)
    if as_json:
        facts = {
            "out": str(out),
            "part": done.part,
            "tensors": len(done.network.tensors),
            "numbers": done.numbers,
            "network": dict(done.network.facts),
            "left_out": list(done.left_out),
        }
        render.machine_readable(json.dumps(facts, indent=2))
        return
    rows = [
        ("converted", done.part or "all of it"),
        ("tensors", f"{len(done.network.tensors)} ({done.numbers:,} numbers)"),
        *((name, value if isinstance(value, str) else json.dumps(value)) for name, value in done.network.facts.items()),
        ("left out", ", ".join(done.left_out) or "nothing that holds tensors"),
        ("not converted", "the architecture: it is code, and the file holds numbers and names"),
    ]
    render.pairs(rows)
    render.lines(["", render.shown(out)])
