"""Small made-up tasks, and components built from their YAML files, for tests."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from imbalance_bench.data.base import Part, Task
from imbalance_bench.registry import BACKBONES, GROUPS, METHODS, build
from imbalance_bench.settings.conf_files import CONF, content_of
from imbalance_bench.settings.config import Trainer, label_of


@cache
def options_of(group: str) -> tuple[str, ...]:
    """All options of a group, e.g. dos and dos/k3 of method."""
    files = (CONF / group).rglob("*.yaml")
    return tuple(sorted(p.relative_to(CONF / group).with_suffix("").as_posix() for p in files))


def option_of(group: str, label: str) -> str:
    """The option that a label stands for: dos_k3 is method=dos/k3."""
    return next(option for option in options_of(group) if label_of(option) == label)


@cache
def option(group: str, label: str) -> dict[str, Any]:
    """What the option of a label holds, with what it is based on: as Hydra reads it (tests/test_conf.py), which takes
    as long for one as this does for all."""
    found = content_of(group, option_of(group, label))
    common = {"copies": "apart"} if group == "dataset" else {}  # conf/config.yaml
    return common | {key: value for key, value in found.items() if key not in GROUPS}


def require(options: dict[str, Any]) -> None:
    """Skips the test where the package of a method's estimator is not installed."""
    if package := str(options.get("estimator", "")).partition(".")[0]:
        pytest.importorskip(package)


def method(label: str, **options: Any) -> Any:
    """A method as its option has it, with changed options."""
    return METHODS.build(option("method", label) | options)


def backbone(label: str = "mlp", **options: Any) -> Any:
    return BACKBONES.build(option("backbone", label) | options)


def trainer(label: str = "adam", **options: Any) -> Trainer:
    return build(Trainer, option("trainer", label) | options, "trainer")


def blobs(n: list[int], d: int, rng: np.random.Generator) -> Part:
    """n[c] rows of class c around a corner of its own, in d dimensions."""
    y = np.repeat(np.arange(len(n)), n)
    centres = np.random.default_rng(7).normal(size=(len(n), d))
    x = centres[y] + 0.8 * rng.normal(size=(len(y), d))
    order = rng.permutation(len(y))
    return Part(x[order].astype(np.float32), y[order], np.arange(len(y)))


def task(seed: int = 0, n: tuple[int, ...] = (90, 15), d: int = 4, fold: int = 0) -> Task:
    rng = np.random.default_rng(seed)
    valid = [max(4, c // 3) for c in n]
    pool = blobs([0] + [20] * (len(n) - 1), d, rng)
    return Task(
        train=blobs(list(n), d, rng),
        valid=blobs(valid, d, rng),
        withdrawn=pool,
        classes=len(n),
        kind="classification",
        fold=fold,
        repeat=0,
        seed=1000 + seed,
        minority_classes=tuple(range(1, len(n))),
    )


def image_task(seed: int = 0, n: tuple[int, ...] = (30, 14, 12), size: int = 6) -> Task:
    """Several-class images (1, size, size)."""
    flat = task(seed, n, size * size)

    def shaped(part: Part) -> Part:
        return Part(part.x.reshape(-1, 1, size, size), part.y, part.ids)

    return replace(flat, train=shaped(flat.train), valid=shaped(flat.valid), withdrawn=shaped(flat.withdrawn))


def byte_image_task(seed: int = 0, n: tuple[int, ...] = (30, 14, 12), size: int = 8) -> Task:
    """Several-class images as image data sets have them: uint8 (1, size, size)."""
    floats = image_task(seed, n, size)

    def bytes_of(part: Part) -> Part:
        return Part(np.clip(128 + 40 * part.x, 0, 255).astype(np.uint8), part.y, part.ids)

    return replace(
        floats,
        train=bytes_of(floats.train),
        valid=bytes_of(floats.valid),
        withdrawn=bytes_of(floats.withdrawn),
    )
