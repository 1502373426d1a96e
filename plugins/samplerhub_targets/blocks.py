"""Rows in blocks, so that what is computed for each row and each component stays in the cache."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

NUMBERS = 2**17
"""Numbers of one array of a block."""
TILE = 16
"""Matrix kernels give a row the same bits in every call whose rows are a multiple of this."""


def in_blocks(f: Callable[[Tensor, Tensor], Tensor], y: Tensor, rho: Tensor, width: int) -> Tensor:
    """Return f(y, rho), row by row, where f makes arrays of `width` numbers a row; rho is (n, 1) or (1, 1)."""
    rows = max(NUMBERS // width // TILE, 1) * TILE
    if len(y) <= rows:
        return f(y, rho)
    levels = [rho] * -(-len(y) // rows) if len(rho) == 1 else torch.split(rho, rows)
    return torch.cat([f(y_i, rho_i) for y_i, rho_i in zip(torch.split(y, rows), levels)])
