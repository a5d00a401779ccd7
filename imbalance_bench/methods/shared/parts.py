"""The options of a method that a part of it takes, such as its generator."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

T = TypeVar("T")


def part_of(kind: type[T], method: Any) -> T:
    """The dataclass ``kind`` from the attributes of ``method`` that have the names of its fields."""
    return kind(**{f.name: getattr(method, f.name) for f in fields(kind) if hasattr(method, f.name)})  # type: ignore[arg-type]
