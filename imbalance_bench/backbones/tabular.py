"""Shared by networks for tables: where the columns of categories are, how parameters start, dropout."""

from __future__ import annotations

import torch
from torch import nn

from imbalance_bench.backbones.network import Dropout

Categories = tuple[tuple[int, int], ...]
"""First and one past the last one-hot column of each category."""


def numeric(d: int, categories: Categories) -> list[int]:
    """The columns of ``d`` that belong to no category, in their order."""
    taken = {column for first, end in categories for column in range(first, end)}
    return [column for column in range(d) if column not in taken]


def uniform(*shape: int, fan_in: int) -> nn.Parameter:
    """A parameter that starts uniform within ± 1/√fan_in."""
    return nn.Parameter(torch.empty(shape).uniform_(-(fan_in**-0.5), fan_in**-0.5))


def dropout(p: float) -> nn.Module:
    """Dropout, and nothing where none is dropped: its noise costs as much as a small layer."""
    return Dropout(p) if p else nn.Identity()
