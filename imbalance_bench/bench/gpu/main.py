"""The sections, and how many seconds each may take: eight minutes in all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imbalance_bench.bench.gpu import agreement, facts, steps, tables, texts
from imbalance_bench.bench.gpu.sections import Setting, run
from imbalance_bench.running.devices import choose_device

SECTIONS = {
    "facts": (facts.facts, 20),
    "agreement": (agreement.agreement, 70),
    "plain": (steps.plain, 60),
    "meta": (steps.meta, 50),
    "lenet": (steps.lenet, 50),
    "resnet": (steps.resnet, 80),
    "tables": (tables.tables, 80),
    "texts": (texts.everything, 40),
    "setconv": (steps.setconv, 20),
}


def main(names: Sequence[str], device: str, rounds: int, quick: bool, out: Path | None) -> dict[str, Any]:
    """Runs the sections of these names."""
    setting = Setting(choose_device(device), rounds, quick)
    return run({name: SECTIONS[name] for name in names}, setting, out)
