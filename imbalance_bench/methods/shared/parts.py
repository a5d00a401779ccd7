"""What a part of a method, such as its generator, takes of the method's options."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

T = TypeVar("T")


def part_of(kind: type[T], method: Any) -> T:
    """The dataclass ``kind`` from the attributes of ``method`` that have the names of its fields."""
    return kind(**{f.name: getattr(method, f.name) for f in fields(kind) if hasattr(method, f.name)})  # type: ignore[arg-type]
