"""What an engine does for a sweep: one run, from plain data to the files of its folder."""

from __future__ import annotations

from functools import cache

from samplerhub.assembly import assemble, named
from samplerhub.config import RunConfig
from samplerhub.files import tensor_bytes
from samplerhub.registry import Registry

Files = dict[str, bytes]
"""Contents by file name."""
SAMPLES, MANIFEST = "samples.safetensors", "manifest.json"


def run(config: RunConfig) -> Files:
    """Return the files of a finished run: its samples and its manifest."""
    experiment = assemble(config, _registry())
    result = experiment.run()
    manifest = named(result.manifest, config)
    samples = tensor_bytes({"samples": result.samples}, {"fingerprint": experiment.fingerprint()})
    return {SAMPLES: samples, MANIFEST: (manifest.model_dump_json(indent=2) + "\n").encode()}


@cache
def _registry() -> Registry:
    return Registry.discover()
