"""The module `k_diffusion.sampling`, without the package's training code, which would import torchvision."""

from __future__ import annotations

import sys
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor

from samplerhub.errors import BrokenPlugin
from samplerhub_peers.peer import unusable

PARENT = "samplerhub_peers.kdiffusion.original"
"""The name of the package in which the module believes itself to be; `k_diffusion` itself is left alone."""


@cache
def sampling() -> Any:
    """Return the module, executed from its own file; all that it takes from its package is `utils.append_dims`.

    Raises:
        BrokenPlugin: k-diffusion is not there, or something that it needs is not.
    """
    found = find_spec("k_diffusion")
    if found is None or not found.submodule_search_locations:
        raise BrokenPlugin("k-diffusion is not installed: pip install --no-deps k-diffusion torchsde torchdiffeq")
    parent = ModuleType(PARENT)
    parent.__path__ = []
    utils = ModuleType(f"{PARENT}.utils")
    utils.append_dims = append_dims  # type: ignore[attr-defined]
    parent.utils = utils  # type: ignore[attr-defined]
    file = Path(found.submodule_search_locations[0]) / "sampling.py"
    spec = spec_from_file_location(f"{PARENT}.sampling", file)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules.update({PARENT: parent, utils.__name__: utils})
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise unusable("k-diffusion", error) from error
    return module


def append_dims(x: Tensor, ndim: int) -> Tensor:
    """Return x with dimensions of size 1 appended until there are so many."""
    return x.reshape(x.shape + (1,) * (ndim - x.ndim))
