"""What is said after a word that is not known."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" where a known word is close, else nothing."""
    close = get_close_matches(word, list(known), n=1, cutoff=0.7)
    return f"; did you mean {close[0]!r}?" if close else ""


def among(word: str, known: Iterable[str], called: str = "known:") -> str:
    """Return what is said after an unknown word: the one that is close, if any, and all that there are."""
    known = list(known)
    return f"{did_you_mean(word, known) or ';'} {called} {', '.join(known) or 'none'}"
