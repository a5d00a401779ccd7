"""What is alike, so that it is computed as one array."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TypeVar

K = TypeVar("K", bound=Hashable)


def alike(keys: Iterable[K]) -> list[tuple[K, list[int]]]:
    """Each key, in order of first appearance, with the places at which it stands."""
    places: dict[K, list[int]] = {}
    for place, key in enumerate(keys):
        places.setdefault(key, []).append(place)
    return list(places.items())
