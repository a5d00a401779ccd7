"""Blocks of a preset: which cells they stand for, and what overrides make of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from imbalance_bench.errors import BenchError
from imbalance_bench.settings.conf_files import CONF
from imbalance_bench.settings.identity import digest
from imbalance_bench.settings.presets import jobs_of

GRIDS = json.loads(Path(__file__).with_name("grids.json").read_text())  # preset → number and digest of its cells

BLOCKS = [
    {"dataset": ["mnist", "svhn"], "trainer": ["short"], "method": ["cnn", "dos/k3"]},
    {"dataset": ["cifar10"], "trainer": ["short", "long"], "method": ["cnn"]},
]


def jobs(*overrides: str, cells: Any = BLOCKS, table: str = "table6") -> list[str]:
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    return [" ".join(job) for job in jobs_of({"table": table, "cells": cells}, parsed)]


def values(found: Sequence[str]) -> list[str]:
    """The values alone, mnist/short/cnn."""
    return [" ".join(part.partition("=")[2] for part in job.split()) for job in found]


def test_blocks_stand_for_their_products():
    assert jobs()[0] == "dataset=mnist trainer=short method=cnn"
    assert values(jobs()) == [
        "mnist short cnn", "mnist short dos/k3", "svhn short cnn", "svhn short dos/k3", "cifar10 short cnn",
        "cifar10 long cnn",
    ]  # fmt: skip
    assert jobs(cells=None) == [""]
    assert values(jobs(cells=[{"seed": [1, None, True, 0.001]}, {"seed": 1}])) == ["1", "null", "true", "0.001"]


def test_cells_come_in_the_order_of_values_and_once():
    crossed = [{"dataset": ["a", "b"], "ratio": ["x"]}, {"ratio": ["y", "x"], "dataset": ["b", "a"]}]
    assert values(jobs(cells=crossed)) == ["a x", "a y", "b x", "b y"]


@pytest.mark.parametrize(
    ("overrides", "left"),
    [
        (["dataset=svhn"], ["svhn short cnn", "svhn short dos/k3"]),
        (["dataset=cifar10,mnist", "method=cnn"], ["cifar10 short cnn", "cifar10 long cnn", "mnist short cnn"]),
        (["trainer=long"], ["cifar10 long cnn"]),
        # what is in no block takes the place of every block's
        (["dataset=usps", "method=cnn"], ["usps short cnn", "usps long cnn"]),
        (["dataset=svhn,usps", "trainer=short", "method=dos/k3"], ["svhn short dos/k3", "usps short dos/k3"]),
        # what no block names applies to all
        (["trainer=long", "seed=1,2"], ["cifar10 long cnn 1", "cifar10 long cnn 2"]),
        (["dataset=svhn", "method=dos/k3", "method.k=1,2"], ["svhn short dos/k3 1", "svhn short dos/k3 2"]),
    ],
)
def test_overrides_narrow_blocks_and_change_cells(overrides, left):
    assert values(jobs(*overrides)) == left


def test_a_key_of_some_blocks_only():
    blocks = [{"method": ["focal"], "method.gamma": [1, 2]}, {"method": ["smote"]}]
    assert jobs(cells=blocks) == ["method=focal method.gamma=1", "method=focal method.gamma=2", "method=smote"]
    assert jobs("method=focal", "method.gamma=2.0,2", cells=blocks) == [
        "method=focal method.gamma=2.0", "method=focal method.gamma=2",
    ]  # fmt: skip
    assert jobs("+method.gamma=2", "method=focal", cells=blocks) == ["method=focal method.gamma=2"]


def test_no_cell_left_says_what_there_is_and_what_runs_it():
    with pytest.raises(BenchError) as error:
        jobs("dataset=mnist", "trainer=long,short", "method=cnn,dos/k3", "trainer=long")
    assert str(error.value) == (
        "no cell is left: table6 has dataset=mnist with trainer=short only (paper.cells=null runs what you name)"
    )


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ("mnist", "paper.cells is a list of blocks, such as"),
        ([], "paper.cells is a list of blocks, such as"),
        (["mnist"], "'mnist' is no block"),
        ([{"dataset": []}], r"dataset: \[\] is no list of values"),
        ([{"dataset": [{"a": 1}]}], "is no list of values"),
        ([{"dataset": ["a"], "ratio": ["x"]}, {"dataset": ["b"]}], "block 2 names no ratio, as others do"),
    ],
)
def test_malformed_blocks_are_told(cells, message):
    with pytest.raises(BenchError, match=message):
        jobs(cells=cells)


def test_a_sweep_over_a_range_asks_for_values():
    with pytest.raises(BenchError, match=r"lr=interval\(0,1\): a sweep takes values that can be listed"):
        jobs("trainer.lr=interval(0,1)")


def test_the_cells_of_every_preset_are_those_written_down():
    """A change here is a change of what a paper's table holds: write it down where it is meant."""
    found = {}
    for path in sorted((CONF / "paper").glob("*/*.yaml")):
        paper = yaml.safe_load(path.read_text()).get("paper")
        if isinstance(paper, dict):
            cells = sorted(" ".join(sorted(job)) for job in jobs_of(paper, []))
            found[f"{path.parent.name}/{path.stem}"] = f"{len(cells)} {digest(cells)}"
    assert found == GRIDS
