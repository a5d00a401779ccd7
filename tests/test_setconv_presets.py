"""Every table and figure of the SetConv paper is a preset, and its cells run: at smoke size, on made-up texts, with
vectors that need no weights."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from imbalance_bench.data.base import Dataset
from imbalance_bench.data.splits import RepeatedHoldout, RowsToSplit
from imbalance_bench.data.text.reading import RawTexts
from imbalance_bench.registry import PROTOCOLS
from imbalance_bench.settings.presets import PlannedCell, load_preset, presets
from tests import records
from tests.cells import check, one_a_method
from tests.tasks import option

PRESETS = presets("setconv")
IN_THE_PAPER = [f"table{n}" for n in range(1, 5)] + [f"figure{n}" for n in range(1, 9)]
# What is slow at its own size: episodes an epoch, trees of a forest.
SMALL = {"episodes": 5, "post_size": 20, "post_sizes": [10], "support": 8, "trees": 5, "clusters": 3, "members": 2}


def tiny(label: str) -> Dataset:
    """Texts of a few words, of which each of two or four classes has one more often than the others."""
    classes = "abcd" if label.endswith("_4") or label.startswith("ag_news") else "ab"
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(len(classes)), 40)
    words = np.array([f"word{i}" for i in range(12)])
    texts = [" ".join([*rng.choice(words, 5), *([words[c]] * 2)]) for c in y]
    return Dataset(label, np.array(texts, object), y, tuple(classes), RawTexts(), "text")


def smoke(cell: PlannedCell) -> dict[str, Any]:
    """The cell, shrunk: two splits, two short epochs, a mild imbalance, LSA in place of whatever encodes its texts."""
    plain = copy.deepcopy(cell.config)
    plain["backbone"] = option("backbone", "lsa") | {"dims": 6}
    plain["trainer"] |= {"epochs": 2, "batch_size": 32}
    plain["protocol"] |= {"repeats": 2, "valid_fraction": 0.2}
    plain["ratio"] |= {"r": 2} if "r" in plain["ratio"] else {}
    plain["ratio"] |= {"keep": {1: 0.5, 2: 0.5, 3: 0.4}} if "keep" in plain["ratio"] else {}
    for options in (plain["method"], plain["method"].get("resampler") or {}):
        options.update({key: small for key, small in SMALL.items() if key in options})
    return plain


def test_every_table_and_figure_of_the_paper_has_a_preset():
    assert set(IN_THE_PAPER) <= set(PRESETS)


@pytest.mark.parametrize(
    "name",
    # On open data the smoke size makes it the paper's own.
    [
        pytest.param(n, marks=[pytest.mark.slow] if n.removesuffix("_open") in set(PRESETS) - {n} else [])
        for n in PRESETS
    ],
)
def test_a_cell_of_every_preset_runs(name, tmp_path, monkeypatch):
    """That of SetConv, where there is one."""
    methods = {cell.labels["method"] for cell in records.preset("setconv", name).cells}
    cells = one_a_method("setconv", name, ["setconv"] if "setconv" in methods else [])
    check(cells[0], smoke, tiny, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_every_method_of_every_preset_runs(name, tmp_path, monkeypatch):
    for cell in one_a_method("setconv", name, []):
        check(cell, smoke, tiny, tmp_path, monkeypatch)


@pytest.mark.parametrize("label, shares", [("setconv", (63, 7, 30)), ("setconv_60_40", (54, 6, 40))])
def test_the_splits_of_the_paper(label, shares):
    """Ten, 7:3 with a tenth of the development part for validation, the same class shares in every part."""
    protocol = PROTOCOLS.build(option("protocol", label))
    assert isinstance(protocol, RepeatedHoldout)
    y = np.repeat([0, 1], [800, 200])
    splits = protocol.splits(RowsToSplit(y))
    assert len(splits) == 10 and len({s.test.tobytes() for s in splits}) == 10
    for split in splits:
        assert tuple(len(part) for part in split) == tuple(10 * share for share in shares)
        assert [y[part].mean() for part in split] == pytest.approx([0.2] * 3)


def test_one_split_with_ten_seeds():
    protocol = PROTOCOLS.build(option("protocol", "setconv_one_split"))
    assert (protocol.repeats, protocol.seeds, protocol.test_fraction) == (1, 10, 0.3)


@pytest.mark.slow
def test_figures_6_and_8_need_no_runs_but_those_of_the_others():
    """Their cells are the same cells: equal options, not only equal labels (one cell of each: composing takes time)."""

    def ids(names: list[str], *overrides: str) -> list[str]:
        narrow = ["method=setconv", *overrides]
        return [cell.id for name in names for cell in load_preset("setconv", name, narrow).cells]

    here = ["figure6_open", "figure7_open", "figure8_open", "vectors_open", "two_classes_open"]
    papers = ids(["figure6", "figure7", "figure8"], "dataset=semeval")
    for found in (papers, ids(here, "dataset=imdb_5000", "backbone=lsa")):
        assert len(found) >= 3 and len(set(found)) == 1
