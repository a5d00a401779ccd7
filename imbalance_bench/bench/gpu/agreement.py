"""Is the GPU right: scores of the CPU, equal bits of two trainings, and no wait of the host within a step."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from imbalance_bench.bench.compare import trainer
from imbalance_bench.bench.gpu import made
from imbalance_bench.bench.gpu.sections import Setting
from imbalance_bench.data.base import Task
from imbalance_bench.engine import Engine

BACKBONES = {
    "mlp": "table",
    "lenet_small": "grey",
    "lenet_large": "colour",
    "keras_cnn": "colour",
    "resnet20": "colour",
    "resnet20_v2": "colour",
    "textcnn": "texts",
    "textrnn": "texts",
}
SMALL: dict[str, dict[str, Any]] = {
    "resnet20": {"depth": 8},
    "resnet20_v2": {"depth": 11},
    "lenet_large": {"conv": [3, 4]},
}
METHODS = (
    *("cross_entropy", "focal", "ldam", "dice", "balanced_softmax", "logit_adjustment", "mixup", "crt", "lmle"),
    *("meta_weight_net", "cwgan", "explicit_gradient", "dos"),
)


def tasks(kind: str, setting: Setting) -> list[Task]:
    """Two runs, one with fewer rows."""
    n = setting.sized(256, 24)
    of = {
        "table": lambda n, s: made.table((n - n // 3, n // 3), 8, s),
        "grey": lambda n, s: made.pictures(n, (1, 28, 28), s),
        "colour": lambda n, s: made.pictures(n, (3, 32, 32), s),
        "texts": lambda n, s: made.words(n, 16, s),
    }
    return [of[kind](n - n // 4 * s, s) for s in range(2)]


def scores(label: str, net: Any, given: list[Task], device: str) -> list[np.ndarray]:
    """Of the validation part, after one epoch (methods of two stages: one each)."""
    settings = trainer("sgd", 2 if label in ("crt", "dos") else 1, batch_size=32, lr=1e-2)
    fitted = made.method(label, **SHORT.get(label, {})).fit(given, net, Engine(settings, device))
    return [classifier.scores(task.valid.x) for classifier, task in zip(fitted, given)]


SHORT: dict[str, dict[str, Any]] = {
    "cwgan": {"epochs": 2},
    "explicit_gradient": {"meta_epochs": 1},
    "crt": {"share": 0.5},
    "dos": {"initial": 0.5, "decisions": []},
}


def apart(label: str, name: str, kind: str, setting: Setting) -> dict[str, float | None]:
    """The largest difference of scores after one epoch, CPU and device, and of two trainings on the device."""
    if setting.late:
        return {"from the CPU": None, "two trainings": None}
    net = made.backbone(name, **(SMALL[name] if setting.quick and name in SMALL else {}))
    given = tasks(kind, setting)
    host, first, second = (scores(label, net, given, device) for device in ("cpu", *[str(setting.device)] * 2))

    def largest(a: list[np.ndarray], b: list[np.ndarray]) -> float:
        return max(float(np.abs(x - y).max()) for x, y in zip(a, b))

    return {"from the CPU": largest(host, first), "two trainings": largest(first, second)}


@contextmanager
def watched() -> Iterator[list[str]]:
    """Collects a line for each time that the host waits for the GPU."""
    found: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield found
        finally:
            torch.cuda.set_sync_debug_mode("default")
    found += [str(w.message) for w in caught if "synchroniz" in str(w.message)]


def waits(label: str, setting: Setting) -> float | None:
    """Of a step: what ten more steps in an epoch add."""
    if setting.late or not setting.gpu:
        return None
    counts = []
    for steps in (10, 20):
        given = [made.table((30 * steps, 2 * steps), 8, s) for s in range(2)]
        settings = trainer("adam", 2, batch_size=32, graph=False)
        net, engine = made.backbone(), Engine(settings, str(setting.device))
        with watched() as lines:
            made.method(label, **SHORT.get(label, {})).fit(given, net, engine)
        counts.append(len(lines))
    return (counts[1] - counts[0]) / 20


def agreement(setting: Setting) -> dict[str, Any]:
    """Backbones under plain training, methods on the MLP, waits of their steps."""
    backbones, methods = list(BACKBONES.items()), list(METHODS)
    if setting.quick:
        backbones, methods = backbones[:2] + backbones[4:7:2], methods[-3:]
    plain = {name: apart("cross_entropy", name, kind, setting) for name, kind in backbones}
    return {
        "backbones, largest difference of scores": plain,
        "methods, largest difference of scores": {label: apart(label, "mlp", "table", setting) for label in methods},
        "waits a step": {label: waits(label, setting) for label in methods},
    }
