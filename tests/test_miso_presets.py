"""Every table and figure of the MISO paper is a preset, and its cells run: at smoke size, on made-up texts, with a
small TextCNN in place of whatever reads them."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from imbalance_bench.data.base import Dataset
from imbalance_bench.data.text.reading import RawTexts
from imbalance_bench.settings.presets import PlannedCell, load_preset, presets
from imbalance_bench.store import Store
from tests import records
from tests.cells import check, one_a_method
from tests.tasks import option

PRESETS = presets("miso")
IN_THE_PAPER = [f"table{n}" for n in range(1, 7)] + ["figure1", "figure2"]
SMALL = {
    "width": 16, "heads": 2, "layers": 1, "pretrain_steps": 4, "mine_steps": 2, "epochs": 2, "epoch_steps": 2,
    "batch_size": 16, "share": 0.5, "fusion_steps": 2,
}  # fmt: skip


def tiny(label: str) -> Dataset:
    """Texts of a few words, of which each class has two more often than the other."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [70, 30])
    words = np.array([f"word{i}" for i in range(12)])
    texts = [" ".join([*rng.choice(words, 4), *rng.choice(words[3 * c : 3 * c + 2], 3)]) for c in y]
    return Dataset(label, np.array(texts, object), y, ("most", "few"), RawTexts(), "text")


def smoke(cell: PlannedCell) -> dict[str, Any]:
    """The cell, shrunk: two folds, two short epochs, a mild imbalance, a small network and a small generator."""
    plain = copy.deepcopy(cell.config)
    small = {"vocabulary": 60, "length": 10, "stop_words": False, "embedding": 8, "widths": [2, 3], "filters": 4}
    plain["backbone"] = option("backbone", "textcnn") | small
    plain["trainer"] |= {"epochs": 2, "batch_size": 16}
    plain["protocol"]["folds"] = 2
    plain["ratio"] |= {"r": 3} if "r" in plain["ratio"] else {}
    plain["method"] |= {key: value for key, value in SMALL.items() if key in plain["method"]}
    return plain


def test_every_table_and_figure_of_the_paper_has_a_preset():
    assert set(IN_THE_PAPER) <= set(PRESETS)


# Of a preset in several forms, which the smoke size makes one, the paper's own is quick.
FORMS = ("_cpu", "_classes", "_stand_ins")
TABLE_3 = sorted({c.labels["method"] for c in records.preset("miso", "table3_cpu").cells})
NAMES = {method: option("method", method)["name"] for method in TABLE_3}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name.endswith(FORMS) else []) for name in PRESETS]
)
def test_a_cell_of_every_preset_runs(name, tmp_path, monkeypatch):
    """The last method of the paper's own section: MISO's or CAG's, where there is one."""
    grid = records.preset("miso", name)
    own = {cell.labels["method"] for cell in grid.cells}
    chosen = next(method for method in ("miso", "cag", "cross_entropy") if method in own)
    (cell,) = one_a_method("miso", name, [chosen])
    check(cell, smoke, tiny, tmp_path, monkeypatch)


@pytest.mark.parametrize(
    "method",
    # An option of each method is quick; of the others tests/test_methods_contract.py trains each on texts.
    [
        pytest.param(m, marks=[] if m == min(o for o in TABLE_3 if NAMES[o] == NAMES[m]) else pytest.mark.slow)
        for m in TABLE_3
    ],
)
def test_every_method_of_table_3_runs(method, tmp_path, monkeypatch):
    (cell,) = one_a_method("miso", "table3_cpu", [method])
    check(cell, smoke, tiny, tmp_path, monkeypatch)
    (record,) = Store(tmp_path).records()
    assert all(run["status"] == "done" for run in record["runs"])


def test_tables_1_4_5_and_6_need_no_runs_but_those_of_table_3():
    """Their cells are the same cells: equal options, not only equal labels (one cell of each: composing takes time)."""

    def ids(name: str, *overrides: str) -> set[str]:
        narrow = ["dataset=sms_spam", "ratio=native", "backbone=textcnn", *overrides]
        return {cell.id for cell in load_preset("miso", name, narrow).cells}

    plain, made = "method=cross_entropy", "method=miso"
    assert ids("table1_cpu", plain) == ids("table3_cpu", plain) == ids("table3", plain, "trainer=textcnn")
    assert ids("table4", made, "trainer=textcnn") == ids("table6_cpu", made) == ids("table3_cpu", made)
