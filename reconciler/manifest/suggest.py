"""The nearest right name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

__all__ = ["did_you_mean", "nearest", "same_word"]

_LONGEST: Final = 100


def nearest(word: str, candidates: Iterable[str]) -> str:
    """The candidate most like ``word``, "" when none is. Case, ``_``, ``-`` and spaces weigh nothing."""
    if len(word) > _LONGEST:
        return ""
    folded: dict[str, str] = {}
    for candidate in candidates:
        folded.setdefault(_folded(candidate), candidate)
    found = difflib.get_close_matches(_folded(word), folded, 1, 0.6)
    return folded[found[0]] if found else ""


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """``did you mean x?``, or "" when nothing is near."""
    near = nearest(word, candidates)
    return f"did you mean {near}?" if near else ""


def same_word(one: str, other: str) -> bool:
    """Two spellings of one name (``servedEntities``, ``served_entities``)."""
    return _folded(one) == _folded(other)


def _folded(word: str) -> str:
    return word.casefold().replace("_", "").replace("-", "").replace(" ", "")
