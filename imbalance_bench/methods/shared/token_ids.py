"""Shared by methods that make texts of token ids."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def closed(texts: np.ndarray, pad: int, tail: Sequence[int]) -> np.ndarray:
    """Texts (n, L) that end in the ids ``tail``, which they have nowhere else; cut where there is no room for it."""
    if not tail:
        return texts
    out = np.full_like(texts, pad)
    for text, to in zip(texts, out):
        kept = text[~np.isin(text, [pad, *tail])][: len(text) - len(tail)]
        to[: len(kept) + len(tail)] = [*kept, *tail]
    return out
