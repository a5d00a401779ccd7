"""Which cells or records a command is about: the words ``group=pattern[,pattern...]`` and ids of its command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TypeVar

from imbalance_bench.errors import BenchError, suggestion
from imbalance_bench.settings.config import label_of

T = TypeVar("T")


def select(found: Sequence[T], wanted: Sequence[str], names: Callable[[T], Mapping[str, str]]) -> list[T]:
    """Those whose ``names`` match every word, e.g. ``method=dos*,focal dataset=ecoli``, and one of the ids given.

    Patterns are those of a shell; an option stands for its label (dos/k3 for dos_k3).

    Raises:
        BenchError: a word names no group, or a pattern matches nothing (the nearest names are offered), or each word
            something and no cell all of them.
    """
    filters: dict[str, list[str]] = {}
    for word in wanted:
        key, _, patterns = word.rpartition("=")
        filters.setdefault(key or "id", []).extend(label_of(patterns).split(","))
    named = [names(item) for item in found]
    groups = sorted({group for labels in named for group in labels})
    for group, values in filters.items():
        if groups and group not in groups:
            raise BenchError(f"no group {group!r} to select by: {suggestion(group, groups)}")
        known = {labels[group] for labels in named}
        for pattern in values:
            if not any(fnmatchcase(name, pattern) for name in known):
                hint = suggestion(pattern, known) if known else "there is no cell"
                raise BenchError(f"no cell has {group}={pattern}: {hint}")
    chosen = [
        item
        for item, labels in zip(found, named)
        if all(any(fnmatchcase(labels[g], p) for p in patterns) for g, patterns in filters.items())
    ]
    if filters and not chosen:
        raise BenchError(f"no cell has all of {' '.join(wanted)}: leave one out, or train.py runs what is missing")
    return chosen
