"""Sections of the bench, each with a deadline: what is not reached by then is null in the JSON."""

from __future__ import annotations

import json
import statistics
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from imbalance_bench.bench.compare import synchronise


@dataclass(frozen=True)
class Setting:
    """Where the bench runs, and how much of it: ``quick`` is a test's size, of one round and the smallest of all."""

    device: torch.device
    rounds: int
    quick: bool
    until: float = float("inf")  # by time.monotonic()

    @property
    def gpu(self) -> bool:
        return self.device.type == "cuda"

    @property
    def late(self) -> bool:
        return time.monotonic() >= self.until

    def sized(self, whole: int, quick: int) -> int:
        return quick if self.quick else whole


Section = Callable[[Setting], dict[str, Any]]


def speeds(rivals: Mapping[str, Callable[[], int]], setting: Setting) -> dict[str, float | None]:
    """Median of what each makes a second over interleaved rounds after one that does not count; each callable returns
    how much it made. None for what the deadline leaves out, and for what the memory does not hold."""
    found: dict[str, list[float]] = {name: [] for name in rivals}
    able = []
    for name, rival in rivals.items():
        if setting.late:
            break
        try:
            rival()
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
        else:
            able.append(name)
    for _ in range(setting.rounds):
        for name in able:
            if setting.late and found[name]:
                continue
            synchronise()
            start = time.perf_counter()
            made = rivals[name]()
            synchronise()
            found[name].append(made / (time.perf_counter() - start))
    return {name: statistics.median(values) if values else None for name, values in found.items()}


def ratio(found: Mapping[str, float | None], name: str, to: str) -> float | None:
    """How many times as fast ``name`` is as ``to``."""
    a, b = found.get(name), found.get(to)
    return None if a is None or b is None else a / b


def run(sections: Mapping[str, tuple[Section, float]], setting: Setting, out: Path | None) -> dict[str, Any]:
    """Runs each section until its own number of seconds, prints it, and writes what there is so far to ``out``. A
    section that raises says so in its place: the others still count."""
    results: dict[str, Any] = {}
    for name, (section, seconds) in sections.items():
        start = time.monotonic()
        within = replace(setting, until=start + seconds)
        try:
            results[name] = section(within)
        except Exception as error:  # noqa: BLE001  (an hour on a rented GPU must not end with its first surprise)
            if setting.quick:
                raise
            results[name] = {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
        results[name]["seconds"] = round(time.monotonic() - start, 1)
        print(f"\n== {name}\n" + "\n".join(lines(results[name])), flush=True)
        if out is not None:
            out.write_text(json.dumps(results, indent=1) + "\n")
    return results


def lines(value: Any, indent: int = 0) -> list[str]:
    """A nested result as a person reads it."""
    shown: list[str] = []
    for key, inner in value.items():
        if isinstance(inner, dict):
            shown += [" " * indent + f"{key}:", *lines(inner, indent + 2)]
        else:
            shown.append(" " * indent + f"{key}: {_number(inner)}")
    return shown


def _number(value: Any) -> str:
    if value is None:
        return "not reached"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)
