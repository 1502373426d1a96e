"""Randomness as an argument: named streams of random numbers, one for each purpose and block."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def stream(seed: int, purpose: str, block: int = 0, device: torch.device | str = "cpu") -> torch.Generator:
    """Return the generator of one purpose and one block: independent of every other stream of the same seed."""
    digest = hashlib.blake2b(f"{seed}/{purpose}/{block}".encode(), digest_size=8).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest, "big") >> 1)


def normal(like: Tensor, rng: torch.Generator) -> Tensor:
    """Return standard normal noise of the shape, type and device of a tensor, drawn from rng and nothing else."""
    return torch.randn(like.shape, generator=rng, device=rng.device, dtype=like.dtype).to(like.device)
