"""Search spaces: the ``search:`` keys beside the options of a method, backbone or trainer, checked and typed.

    gamma: 2.0
    alpha: 0.25
    search:
      gamma: {low: 0.5, high: 5, log: true}     # a range; of whole numbers where the option is one
      alpha: [null, 0.25, 0.5, 0.75]            # a list
      trainer: null                             # of a method: trainer and backbone play no part in it
      backbone: null                            # ... or the backbone alone, since its network is its own

``null`` takes a key out (method.search.alpha=null), ``method.search.<key>=[...]`` adds or changes one. An option that
is based on another puts a list in the place of its range as ``gamma: {values: [1, 2, 5]}``: Hydra merges no list with a
mapping.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from imbalance_bench.errors import BenchError, suggestion
from imbalance_bench.options import Wrong, check, coerce, hints, shown
from imbalance_bench.registry import METHODS, SEARCH
from imbalance_bench.settings.config import REGISTRIES, Trainer

DIGITS = 3  # that a drawn number has


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``; ``log``: drawn evenly by their logarithms; ``whole``: whole numbers."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __contains__(self, value: Any) -> bool:
        return isinstance(value, (int, float)) and self.low <= value <= self.high

    def rounded(self, value: float) -> float:
        """A number drawn from the range as it is tried, short enough to be read."""
        if self.whole:
            return int(value)
        return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)


Space = dict[str, Range | list[Any]]
"""Key of an override, e.g. method.gamma → the values that it may have."""


def space_of(cfg: Mapping[str, Any], changes: Mapping[str, Any]) -> Space:
    """The search space of a composed configuration, with ``changes`` by key, e.g. {"method.search.gamma": [1, 2]}.

    Raises:
        BenchError: it is empty; a key is no option, or a value is none that the option takes. Keys within a mapping
            (method.options.<key>) are the estimator's, which a study asks (``Study.open``).
    """
    cfg = copy.deepcopy(dict(cfg))
    for key, values in changes.items():
        where, _, of = key.partition(f".{SEARCH}")
        node: Any = cfg
        for part in where.split("."):
            node = node[part]
        node[SEARCH] = (node.get(SEARCH) or {}) | {of[1:]: values} if of else values
    space = dict(_keys("method", cfg["method"], METHODS))
    own = cfg["method"].get(SEARCH) or {}
    trains, networks = (own.get(group, ...) is not None for group in ("trainer", "backbone"))
    if trains:
        space |= dict(_keys("trainer", cfg["trainer"], None))
    if trains and networks:
        space |= dict(_keys("backbone", cfg["backbone"], REGISTRIES["backbone"]))
    if not space:
        label = cfg["method"].get("label")
        raise BenchError(
            f"nothing to search: method={label} has no search: keys; add one, such as method.search.<key>=[1,2,5] or "
            "'trainer.search.lr={low: 1e-4, high: 1e-1, log: true}'"
        )
    return space


def key_of_space(cfg: Any, key: str) -> str:
    """The key that an option's space stands under: method.search.options.max_depth of method.options.max_depth, and of
    a component within, method.resampler.search.clusters."""
    parts = key.split(".")
    component, node = 1, cfg
    for at, part in enumerate(parts[:-1], 1):
        node = node[part]
        if "name" in node:
            component = at
    return ".".join([*parts[:component], SEARCH, *parts[component:]])


def _keys(where: str, options: Any, registry: Any) -> Iterator[tuple[str, Range | list[Any]]]:
    """The space of a group or, within it, of a component (method.resampler)."""
    if not isinstance(options, dict):
        return
    asked = options.get(SEARCH) or {}
    if not isinstance(asked, dict):
        raise BenchError(f"{where}.search={shown(asked)} must be a mapping of keys to ranges or lists")
    known = hints(registry.get(options["name"]) if registry else Trainer)
    for key, values in asked.items():
        if values is None:
            continue
        first, _, within = str(key).partition(".")  # of a mapping: options.max_depth
        if first not in known or (within and not isinstance(options.get(first), dict)):
            raise BenchError(f"{where}.search.{key}: {where} has no such option: {suggestion(first, known)}")
        yield f"{where}.{key}", _values(f"{where}.search.{key}", values, Any if within else known[first])
    for key, value in options.items():
        if key != SEARCH and isinstance(value, dict) and "name" in value:
            yield from _keys(f"{where}.{key}", value, registry)


def _values(where: str, values: Any, hint: Any) -> Range | list[Any]:
    if isinstance(values, dict) and "values" in values:  # perhaps with a range below, of the option that it is based on
        values = values["values"]
    if isinstance(values, list) and values:
        for value in values:
            check(hint, value, where)
        return values
    if isinstance(values, dict) and {"low", "high"} <= values.keys() <= {"low", "high", "log"}:
        low, high, log = values["low"], values["high"], values.get("log", False)
        for end in (low, high):
            check(hint, end, where)
        numbers = all(isinstance(end, (int, float)) and not isinstance(end, bool) for end in (low, high))
        if numbers and isinstance(log, bool) and low < high and (low > 0 or not log):
            return Range(low, high, log, whole=_whole(hint, low, high))
        need = "0 < low < high" if log else "low < high"
        raise BenchError(f"{where}={shown(values)} must be numbers with {need}, and log true or false")
    raise BenchError(
        f"{where}={shown(values)} must be a list of values, such as [1, 2, 5], or a range, such as "
        "{low: 0.5, high: 5, log: true} (null: not searched)"
    )


def _whole(hint: Any, low: Any, high: Any) -> bool:
    """Whether numbers between these are whole; of an option that takes anything, where the ends are."""
    if hint is Any:
        return isinstance(low, int) and isinstance(high, int)
    try:
        coerce(hint, math.floor(low) + 0.5)
    except Wrong:
        return float(low).is_integer()
    return False
