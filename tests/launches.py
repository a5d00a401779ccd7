"""Kernels, waits and copies of a step and of an epoch of each method, counted on the simulated device.

``python -m tests.launches`` prints the table of docs/bench.md, "What a step launches"; ``--write`` puts it there.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from imbalance_bench.engine import Engine
from imbalance_bench.engine.monitor import Monitor
from imbalance_bench.methods.base import Method
from imbalance_bench.methods.feature_oversampling import FeatureOverSampler
from imbalance_bench.methods.miso.generator import _adam
from imbalance_bench.methods.miso.method import CAG
from imbalance_bench.methods.shared.oversampling import NeighbourSampler
from imbalance_bench.methods.shared.self_training import SelfTraining
from imbalance_bench.registry import METHODS
from imbalance_bench.running import devices
from tests import simgpu
from tests.tasks import backbone, method, task, trainer
from tests.test_methods_contract import LABELS, QUICK, REGRESSION, chosen, network
from tests.test_miso import generator
from tests.texts import text_task

PAGE = Path(__file__).parents[1] / "docs" / "bench.md"
BEGIN, END = "<!-- python -m tests.launches --write -->", "<!-- end -->"

ROWS = (32, 16)  # of each class: 3 batches of 16, 6 of 8; 64 rows where they are balanced or doubled
SIZES = (16, 8)
RUNS = 4  # what a cell has

# Methods that train nothing on the device, and why.
ON_HOST = {
    "logistic_regression": "scikit-learn",
    "estimator": "scikit-learn, or the package of the estimator",
    "iml": "a metric for each test row, by numpy",
    "mesa": "decision trees",
    "self_paced_ensemble": "decision trees, or another estimator",
    "weob2": "networks of its own, on the CPU",
}
# Of a method with more steps than those of the trainer: the option that says how many epochs they have, the option that
# says how many rows a batch or steps an epoch.
PHASES = {
    "explicit_gradient": ("meta_epochs", None),
    "cwgan": ("epochs", "batch_size"),
    "setconv": (None, "episodes"),
}
# Less of what is no step, and of two kinds of steps one.
OPTIONS: dict[str, dict[str, Any]] = {
    "dos": {"initial": 0.0},
    "lmle": {"initial": 0.0},
    "cwgan": {"ac_epochs": 0},
    "setconv": {"post_sizes": []},
    "self_paced": {"loss_threshold": 0.0},
}
# What a step or an epoch waits for or copies beyond its losses and scores, which come back: method → why.
REASONS = {
    "cwgan": "an epoch's batches are drawn where the noise is, a run at a time",
    "dos": "neighbours' weights are drawn on the CPU, for each batch; a search asks once whether it is sure",
    "explicit_gradient": "how far the copies have moved comes back, apart from losses",
    "lmle": "k-means is scikit-learn's: embeddings come to the host, quintuplets go back, a run at a time",
    "meta_weight_net": "64 meta batches are sent at a time",
    **dict.fromkeys(("mixtext", "mixup", "remix"), "weights and partners are drawn on the CPU, for each batch"),
    "self_paced": "rows of the pool are chosen on the host, a run at a time; here a round is an epoch",
    "miso": "of written texts, only the words count: how many these are",
}


@dataclass(frozen=True)
class Cost:
    """Kernels, waits and copies, of a step and of an epoch beside its steps."""

    step: tuple[float, float, float]
    epoch: tuple[float, float, float]


@contextmanager
def simulated() -> Iterator[None]:
    """``device=sim``."""
    real = devices.choose_device
    choose = lambda name: torch.device("sim", 0) if name == "sim" else real(name)  # noqa: E731
    with simgpu.installed(), mock.patch.object(devices, "choose_device", choose):
        yield


def first_labels() -> dict[str, str]:
    """The first option of each registered method for classification, by the method's name."""
    found: dict[str, str] = {}
    for label in LABELS:
        if label not in REGRESSION:
            found.setdefault(chosen(label)["method"]["name"], label)
    return found


def like(label: str) -> str:
    """The method whose step this one has: only rows, batches, rounds or decision differ."""
    kind = METHODS.get(chosen(label)["method"]["name"])
    if issubclass(kind, SelfTraining):
        return "self_paced"
    if issubclass(kind, FeatureOverSampler):
        return "crt"
    if issubclass(kind, CAG):
        return "miso"
    hooks = all(
        getattr(kind, hook) is getattr(Method, hook) for hook in ("batch_loss", "loss", "initialise", "change_fresh")
    )
    plain = hooks and kind.fit in (Method.fit, NeighbourSampler.fit) and kind.head == "linear"
    return "cross_entropy" if plain else kind.name


def measured() -> list[str]:
    """The methods whose steps are counted."""
    return sorted({like(label) for name, label in first_labels().items() if name not in ON_HOST})


@cache
def cost(label: str, runs: int = RUNS) -> Cost:
    """What an epoch more costs, at two sizes of a batch: from these, a step and the rest of an epoch."""
    if label == "miso":
        return Cost(tuple(_iteration().tolist()), (0, 0, 0))
    totals, steps = zip(*(_epoch(label, runs, size) for size in SIZES))
    step = (totals[1] - totals[0]) / (steps[1] - steps[0])
    return Cost(tuple(step.tolist()), tuple((totals[0] - steps[0] * step).tolist()))


def _iteration() -> np.ndarray:
    """Of a joint iteration of MISO's generator, on texts of at most 9 words, in one run."""
    made = generator(text_task(0, ROWS), method("miso", **QUICK["miso"]), device="sim")
    optimisers = [_adam(modules, 1e-3) for modules in (made.critics, [made.networks], made.mines)]
    pair = next(made._pairs())
    with simgpu.counting() as counter:
        made._iterate(*pair, 2.0, *optimisers)
    return _totals(counter)


def _totals(counter: simgpu.Counter) -> np.ndarray:
    return np.array([counter.kernels, counter.waits.total(), counter.copies.total()], float)


def _epoch(label: str, runs: int, size: int) -> tuple[np.ndarray, int]:
    """Kernels, waits and copies of what a second epoch adds, and its steps."""
    found = [_count(label, runs, size, epochs) for epochs in (1, 2)]
    return found[1][0] - found[0][0], found[1][1] - found[0][1]


def _count(label: str, runs: int, size: int, epochs: int) -> tuple[np.ndarray, int]:
    asked = chosen(label)["method"]
    name = asked["name"]
    texts = METHODS.get(name).reads == "tokens"
    options = asked | QUICK.get(name, {}) | OPTIONS.get(name, {})
    settings = {"epochs": epochs, "batch_size": size}
    if name in PHASES:
        length, batch = PHASES[name]
        if length is not None:
            options[length], settings["epochs"] = epochs, 1
        if batch is not None:
            options[batch] = sum(ROWS) // size if batch == "episodes" else size
            settings["batch_size"] = SIZES[0]
    elif "share" in asked:  # of two stages, which need two epochs, the first is longer by one
        settings["epochs"] = epochs + 1
    tasks = [(text_task if texts else task)(s, ROWS) for s in range(runs)]
    steps, end_epoch = 0, Monitor.end_epoch

    def watched(self: Monitor, phase: str, epoch: int, losses: Any, *args: Any) -> None:
        nonlocal steps
        steps += len(losses)
        end_epoch(self, phase, epoch, losses, *args)

    with mock.patch.object(Monitor, "end_epoch", watched), simgpu.counting() as counter:
        METHODS.build(options).fit(tasks, network("texts") if texts else backbone(), Engine(trainer(**settings), "sim"))
    return _totals(counter), steps


def figures(label: str) -> list[float]:
    """Kernels, waits and copies of a step, waits of an epoch beside its steps."""
    found = cost(label)
    return [round(abs(figure), 1) for figure in (*found.step, found.epoch[1])]


def table() -> str:
    """The table, in Markdown."""
    lines = [
        "| method | R | kernels a step | waits | copies | waits an epoch | why (beyond losses and scores) |",
        "|---|---|---|---|---|---|---|",
    ]
    for label in measured():
        cells = " | ".join(f"{figure:g}" for figure in figures(label))
        lines.append(f"| {label} | {1 if label == 'miso' else RUNS} | {cells} | {REASONS.get(label, '')} |")
    return "\n".join(lines)


def printed(text: str) -> dict[str, list[float]]:
    """The figures of a table, by method."""
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {row[0]: [float(figure) for figure in row[2:6]] for row in rows[1:]}


def on_page() -> str:
    """The table as it stands in docs/bench.md."""
    return PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]


if __name__ == "__main__":
    simgpu.register()
    with simulated():
        new = table()
    print(new)
    if "--write" in sys.argv:
        page = PAGE.read_text(encoding="utf-8")
        before, _, after = page.partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n\n{new}\n\n{END}{after.partition(END)[2]}", encoding="utf-8")
