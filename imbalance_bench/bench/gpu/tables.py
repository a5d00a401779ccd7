"""Explicit Gradient's Tables 2 and 3: one data set whole, and both tables by the steps that are in them."""

from __future__ import annotations

import math
import time
from collections import Counter
from typing import Any

from imbalance_bench.bench.compare import synchronise, trainer
from imbalance_bench.bench.gpu import made
from imbalance_bench.bench.gpu.sections import Setting
from imbalance_bench.data.sources.imblearn import SETS
from imbalance_bench.engine import Engine
from imbalance_bench.methods.base import Method

SET = "satimage"
FOLDS, VALID = 4, 0.2  # of protocol=holdout_kfold
BATCH, GAN_BATCH = 128, 64
# Options of both tables → how many of them cost the same. Over-samplers are plain training on more rows, after work of
# the host (by imbalanced-learn, which a bare machine lacks); MESA's trees are the host's altogether.
OPTIONS = {
    "cross_entropy": 2,
    "cross_entropy/400": 1,
    "focal": 1,
    "ldam": 2,
    "class_weighted": 1,
    "balanced_batches": 1,
    "random_undersampling": 1,
    "random_oversampling": 5,
    "random_oversampling/balanced": 4,
    "explicit_gradient": 3,
    "explicit_gradient/retrain": 1,
    "cwgan": 1,
}


def resampled(option: str, rows: int, positives: int) -> tuple[int, int]:
    """Rows of the majority and of the minority that plain training sees."""
    return {
        "random_undersampling": (positives, positives),
        "random_oversampling": (rows - positives, 2 * positives),
        "random_oversampling/balanced": (rows - positives, rows - positives),
        "cwgan": (rows - positives, 2 * positives),
    }.get(option, (rows - positives, positives))


def steps(option: str, rows: int, positives: int, epochs: int, gan_epochs: int) -> Counter[str]:
    """Steps of a cell of four runs by kind, of a training part with so many rows."""
    plain = math.ceil(sum(resampled(option, rows, positives)) / BATCH)
    counted = Counter(plain=epochs * plain)
    if option == "cross_entropy/400":
        counted["plain"] *= 2
    if option.startswith("explicit_gradient"):
        counted["meta"] = epochs * plain
    if option == "explicit_gradient/retrain":
        counted["plain"] += epochs * math.ceil((rows + positives) / BATCH)
    if option == "cwgan":
        counted["gan"] = gan_epochs * math.ceil(rows / GAN_BATCH)
    return counted


def training_rows(name: str) -> tuple[int, int]:
    """Rows and positives that a fold of a data set trains on."""
    share = (1 - VALID) * (FOLDS - 1) / FOLDS
    return round(share * SETS[name].rows), round(share * SETS[name].positives)


def both_tables(epochs: int, gan_epochs: int) -> Counter[str]:
    """Steps of all cells, by kind."""
    total: Counter[str] = Counter()
    for name in SETS:
        for option, alike in OPTIONS.items():
            for kind, n in steps(option, *training_rows(name), epochs, gan_epochs).items():
                total[kind] += alike * n
    return total


def tables(setting: Setting) -> dict[str, Any]:
    """Seconds of each cell on rows of satimage's size, one cell at a time; seconds a step of each kind, and what both
    tables take at that pace (goal: 300 s)."""
    epochs, gan_epochs = setting.sized(200, 1), setting.sized(300, 1)
    rows, positives = training_rows(SET) if not setting.quick else (200, 20)
    seconds: dict[str, float | None] = dict.fromkeys(OPTIONS)
    pace: dict[str, float] = {}
    made.method("cross_entropy").fit(
        [made.table((20, 20), 4)], made.backbone(), Engine(trainer("adam", 1), str(setting.device))
    )
    for option in OPTIONS:
        if setting.late:
            break
        counts = resampled(option, rows, positives) if "sampling" in option else (rows - positives, positives)
        tasks = [made.table(counts, SETS[SET].features, s) for s in range(FOLDS)]
        of_cell = trainer("adam", epochs * (2 if option == "cross_entropy/400" else 1), validate_every=1)
        method = cell_method(option, epochs, gan_epochs)
        synchronise()
        start = time.perf_counter()
        method.fit(tasks, made.backbone(), Engine(of_cell, str(setting.device)))
        synchronise()
        seconds[option] = spent = time.perf_counter() - start
        counted = steps(option, rows, positives, epochs, gan_epochs)
        # What is left when the kinds whose pace is known are taken off: plain steps come first.
        left = spent - sum(n * pace[kind] for kind, n in counted.items() if kind in pace)
        for kind in set(counted) - set(pace):
            pace[kind] = max(0.0, left) / counted[kind]
    total = both_tables(200, 300)
    both = sum(n * pace[kind] for kind, n in total.items()) if set(total) <= set(pace) else None
    return {
        "seconds of a cell of four runs": seconds,
        "seconds a step": pace,
        "steps of both tables": dict(total),
        "seconds of both tables, a cell at a time (goal 300)": both,
    }


def cell_method(option: str, epochs: int, gan_epochs: int) -> Method:
    """The method of an option, as long as the cell is."""
    if "sampling" in option:
        return made.method("cross_entropy")
    if option == "cwgan":
        return made.method(option, epochs=gan_epochs)
    changed = {"meta_epochs": epochs} if option.startswith("explicit_gradient") else {}
    return made.method(option.partition("/400")[0], **changed)
