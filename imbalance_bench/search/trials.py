"""The trials of a study: what they tried and what came of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from imbalance_bench.options import Count, Seed, Text, shown

Values = dict[str, Any]
"""Key of an override → its value."""


@dataclass(frozen=True)
class Options:
    """conf/search.yaml."""

    trials: Count
    batch: Count
    sampler: Literal["tpe", "random"]
    pruner: Literal["none", "median"]
    seed: Seed
    metric: Annotated[Text | None, "null: the one that heads the record"]
    readout: Text


@dataclass(frozen=True)
class Trial:
    """One that has ended: ``value`` of validation rows (None: it failed or was pruned, for ``reason``). ``steps``: the
    means over its first run, its first two, and so on, where there is a pruner."""

    number: int
    values: Values
    value: float | None
    id: str
    reason: str = ""
    steps: tuple[float, ...] = ()

    @property
    def pruned(self) -> bool:
        """Whether the pruner gave the trial up after some of its runs."""
        return self.value is None and bool(self.steps)

    @property
    def name(self) -> str:
        """The values that it tries, as overrides."""
        return " ".join(f"{key}={shown(value)}" for key, value in self.values.items()) or "the defaults"
