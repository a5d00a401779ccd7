"""Side by side in one run: interleaved rounds, medians, ratios."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from imbalance_bench.registry import build
from imbalance_bench.settings.conf_files import content_of
from imbalance_bench.settings.config import Trainer


def compare(rivals: dict[str, Callable[[], int]], rounds: int) -> dict[str, float]:
    """Median of what each makes a second, over interleaved rounds; each callable returns how much it made."""
    speeds: dict[str, list[float]] = {name: [] for name in rivals}
    for rival in rivals.values():
        rival()  # warm-up: imports, first allocations, compilation
    for _ in range(rounds):
        for name, rival in rivals.items():
            synchronise()
            start = time.perf_counter()
            made = rival()
            synchronise()
            speeds[name].append(made / (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in speeds.items()}


def counted(loop: Callable[[], Any], made: int) -> Callable[[], int]:
    def rival() -> int:
        loop()
        return made

    return rival


def synchronise() -> None:
    """Waits for what the GPU was asked to do."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def show(title: str, results: dict[str, dict[str, float]]) -> None:
    """A table: rivals down, settings across, speeds and their ratio to the first rival's."""
    print(f"\n{title}")
    names = list(next(iter(results.values())))
    width = max(map(len, names)) + 2
    print(" " * width + "".join(f"{setting:>22s}" for setting in results))
    for name in names:
        cells = (f"{_speed(speeds[name])} ({speeds[name] / speeds[names[0]]:.2f}x)" for speeds in results.values())
        print(f"{name:{width}s}" + "".join(f"{c:>22s}" for c in cells))


def _speed(made: float) -> str:
    return f"{made:,.0f}" if made >= 10 else f"{made:.2f}"


def option(group: str, label: str) -> dict[str, Any]:
    """The keys of conf/<group>/<label>.yaml, with those of its bases, read without Hydra: a GPU machine may lack it."""
    return content_of(group, label)


def trainer(label: str, epochs: int, **options: Any) -> Trainer:
    """conf/trainer/<label>.yaml with other options, validated once, at the end."""
    return build(Trainer, option("trainer", label) | {"epochs": epochs, "validate_every": epochs} | options, "trainer")
