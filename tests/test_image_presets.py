"""Every preset of the image papers runs: its cells at smoke size, on random images in place of the data sets."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from imbalance_bench.data.base import Dataset
from imbalance_bench.data.encode import RawPixels
from imbalance_bench.settings.presets import PlannedCell, presets
from tests import records
from tests.cells import check, one_a_method

IN_THE_PAPER = {
    "dos": [f"table{n}" for n in range(1, 9)] + ["figure1", "figure2"],
    "selectnet": [f"table{n}" for n in range(1, 4)] + ["figure1", "figure2"],
}
PRESETS = [(paper, name) for paper in IN_THE_PAPER for name in presets(paper)]
GREY = ("mnist", "mnist_back_rotation")
# The largest networks are only deeper: their counts and gradients are tests of their own.
SHALLOW = {"resnet32": 8, "resnet56": 8, "resnet20_v2": 11, "resnet56_v2": 11}


def tiny(label: str) -> Dataset:
    """As many classes and channels as the data set has, in images as small as every network takes: a few a class, and
    two for testing."""
    classes, rows = (100, 8) if label == "cifar100" else (10, 30)
    y = np.tile(np.arange(classes), rows + 2)
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (len(y), 1 if label.startswith(GREY) else 3, 16, 16), dtype=np.uint8)
    test_rows = np.arange(rows * classes, len(y))
    return Dataset(label, x, y, tuple(map(str, range(classes))), RawPixels(), "image", test_rows=test_rows)


def smoke(cell: PlannedCell) -> dict[str, Any]:
    """The cell, shrunk: one trial, two short epochs, few enough images that a rare class keeps some."""
    plain = copy.deepcopy(cell.config)
    plain["trainer"] |= {"epochs": 2, "batch_size": 64, "validate_every": 2}
    plain["protocol"]["trials"] = 1
    if plain["ratio"]["name"] == "random_classes":
        plain["ratio"]["p"] = 0.6
    if plain["ratio"]["name"] == "gaussian":
        plain["ratio"]["reduction"] = 0.2  # classes as large as each other have none below the median
    if plain["ratio"]["name"] == "minor_major":
        plain["ratio"]["minor"] = 0.25
    if plain["ratio"]["name"] == "long_tailed":
        plain["ratio"]["mu"] = 0.25
    if plain["ratio"]["name"] == "class_list":
        plain["ratio"]["keep"] = dict.fromkeys(plain["ratio"]["keep"], 0.4)
    if "depth" in plain["backbone"]:
        plain["backbone"]["depth"] = SHALLOW[cell.labels["backbone"]]
    if "meta_per_class" in plain["method"]:
        plain["method"]["meta_per_class"] = 2
    return plain


@pytest.mark.parametrize("paper", IN_THE_PAPER)
def test_every_table_and_figure_of_the_paper_has_a_preset(paper):
    assert set(IN_THE_PAPER[paper]) <= set(presets(paper))


@pytest.mark.parametrize(
    "paper, name",
    [
        pytest.param(*preset, marks=[pytest.mark.slow] if preset[1].endswith(("_short", "_cifar10_jpeg")) else [])
        for preset in PRESETS
    ],
)
def test_a_cell_of_every_preset_runs(paper, name, tmp_path, monkeypatch):
    """The last method of the preset's own section, which is the paper's."""
    grid = records.preset(paper, name)
    own = [side.partition("@")[0] for side in next(iter(grid.paper.get("sections", {}).values()), {})]
    *_, last = dict.fromkeys(c.labels["method"] for c in grid.cells if not own or c.labels["method"] in own)
    (cell,) = one_a_method(paper, name, [last])
    check(cell, smoke, tiny, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("paper, name", PRESETS)
def test_every_method_of_every_preset_runs(paper, name, tmp_path, monkeypatch):
    for cell in one_a_method(paper, name, []):
        check(cell, smoke, tiny, tmp_path, monkeypatch)
