"""Difficult samples: neighbours counted plainly, the same marks for every method, and what records make of them."""

from __future__ import annotations

import csv
import importlib
import re

import numpy as np
import pytest
import torch
import yaml
from sklearn.metrics import f1_score, recall_score

from imbalance_bench import metrics, rescore
from imbalance_bench.data.base import Dataset, Part
from imbalance_bench.data.sources.sklearn import SklearnSource
from imbalance_bench.data.text.reading import RawTexts
from imbalance_bench.registry import BACKBONES
from imbalance_bench.run import run_cell
from imbalance_bench.slices import NEIGHBOURS, marked, share
from imbalance_bench.store import CellFolder
from tests.cells import cell
from tests.tasks import CONF


def part(y) -> Part:
    return Part(np.zeros((len(y), 1)), np.array(y), np.arange(len(y)))


@pytest.mark.parametrize("minority", [(1,), (1, 2)])
def test_marks_and_shares_are_those_of_a_plain_search(minority):
    rng = np.random.default_rng(0)
    train, test = part(rng.permutation(np.repeat([0, 1, 2], (30, 12, 10)))), part(rng.integers(0, 3, 25))
    x, z = (rng.normal(size=(len(p), 2)) + 2 * p.y[:, None] for p in (train, test))

    def hard(row, others):
        near = others[np.argsort(np.linalg.norm(x[others] - row, axis=1))[:NEIGHBOURS]]
        return any(train.y[i] not in minority for i in near)

    every = np.arange(len(train))
    expected = [y in minority and hard(row, every) for row, y in zip(z, test.y)]
    assert marked(torch.tensor(z), test, torch.tensor(x), train, minority).tolist() == expected
    own = [hard(x[i], np.delete(every, i)) for i in every if train.y[i] in minority]
    assert share(torch.tensor(x), train, minority) == pytest.approx(np.mean(own))
    assert 0 < np.mean(own) < 1
    assert 0 < np.sum(expected) < np.isin(test.y, minority).sum()


def test_equal_rows_do_not_take_the_place_of_the_row_itself():
    x = torch.zeros(20, 2)
    assert share(x, part([1] * 18 + [0] * 2), (1,)) in (0, 1)
    assert share(torch.cat([x, 5 + x[:2]]), part([1] * 20 + [0] * 2), (1,)) == 0


def values(*arguments, **marks):
    return {(r["class_group"], r["metric"]): r["value"] for r in metrics.evaluate(*arguments, **marks)}


def test_the_positives_are_the_difficult_rows_and_the_negatives_all_majority_rows():
    rng = np.random.default_rng(0)
    labels, decided = rng.integers(0, 2, 60), rng.integers(0, 2, 60)
    difficult = (labels == 1) & (rng.random(60) < 0.4)
    logs = np.log(np.eye(2)[decided] * 0.8 + 0.1)
    found = values(labels, logs, ["a", "b"], "classification", (1,), difficult=difficult)
    for group, rows in (("minority_difficult", difficult), ("minority_other", (labels == 1) & ~difficult)):
        kept = rows | (labels == 0)
        assert found[group, "f1"] == pytest.approx(f1_score(labels[kept], decided[kept]))
        assert found[group, "recall"] == pytest.approx(recall_score(labels[kept], decided[kept]))
    plain = values(labels, logs, ["a", "b"], "classification", (1,))
    assert plain == {k: v for k, v in found.items() if not k[0].startswith("minority_")}
    none = values(labels, logs, ["a", "b"], "classification", (1,), difficult=np.zeros(60, bool))
    assert np.isnan(none["minority_difficult", "f1"])
    assert none["minority_other", "f1"] == pytest.approx(none["positive", "f1"])


def test_several_minority_classes_are_averaged():
    rng = np.random.default_rng(1)
    labels, decided = rng.integers(0, 4, 80), rng.integers(0, 4, 80)
    difficult = np.isin(labels, (1, 3)) & (rng.random(80) < 0.5)
    logs = np.log(np.eye(4)[decided] * 0.6 + 0.1)
    found = values(labels, logs, list("abcd"), "classification", (1, 3), difficult=difficult)
    scores = []
    for c in (1, 3):
        kept = (difficult & (labels == c)) | np.isin(labels, (0, 2))
        scores.append(f1_score(labels[kept] == c, decided[kept] == c))
    assert found["minority_difficult", "f1"] == pytest.approx(np.mean(scores))


@pytest.fixture
def texts(monkeypatch) -> None:
    """A data set of texts in the place of a table: words of each class, and words of both."""
    rng = np.random.default_rng(0)
    y = rng.permutation(np.repeat([0, 1], (90, 30)))
    words = np.array([[f"{c}{i}" for i in range(12)] for c in ("no", "yes", "any")])
    own = rng.random(len(y))
    x = [
        " ".join(words[np.where(rng.random(8) < 0.7 * share, c, 2), rng.integers(0, 12, 8)]) for c, share in zip(y, own)
    ]
    made = Dataset("texts", np.array(x, object), y, ("no", "yes"), RawTexts(), modality="text")
    monkeypatch.setattr(SklearnSource, "load", lambda self, folder: made)


def saved(outcome) -> dict[str, np.ndarray]:
    with np.load(outcome.path / "predictions.npz") as arrays:
        return dict(arrays)


def table(outcome) -> dict[tuple[str, ...], float]:
    with (outcome.path / "metrics.csv").open() as file:
        rows = csv.DictReader(file)
        return {(r["run"], r["iterate"], r["class_group"], r["metric"]): float(r["value"]) for r in rows}


def test_marks_of_a_split_are_the_same_for_every_method_and_reach_the_metrics(tmp_path, texts):
    overrides = ["protocol.seeds=2", "backbone=lsa", "backbone.dims=10"]
    outcomes = [run_cell(cell(tmp_path, f"method={m}", *overrides)) for m in ("cross_entropy", "focal")]
    outcomes.append(run_cell(cell(tmp_path, "method=cross_entropy", "backbone=lsa", "backbone.dims=5", overrides[0])))
    first, *others = map(saved, outcomes)
    assert first["difficult"].dtype == bool
    assert 0 < first["difficult"].sum() < (first["label"] == 1).sum()
    assert not first["difficult"][first["label"] == 0].any()
    for other in others:
        for name in ("difficult", "difficult_share"):
            np.testing.assert_array_equal(first[name], other[name])
        assert (first["difficult_share_own"] != other["difficult_share_own"]).any()
    rows = table(outcomes[0])
    for r in range(8):
        mine = first["run"] == r
        labels, difficult = first["label"][mine], first["difficult"][mine]
        decided = first["scores_best"][mine].argmax(1)
        kept = difficult | (labels == 0)
        score = f1_score(labels[kept], decided[kept], zero_division=0 if difficult.any() else np.nan)
        assert rows[str(r), "best", "minority_difficult", "f1"] == pytest.approx(score, nan_ok=True)
        for readout in ("last", "best"):
            assert rows[str(r), readout, "minority_difficult", "share"] == pytest.approx(first["difficult_share"][r])
        assert 0 <= rows[str(r), "last", "minority_difficult", "share_own"] <= 1
        assert (str(r), "best", "minority_difficult", "share_own") not in rows
    assert not rescore.rescore(CellFolder(outcomes[0].path))


def test_the_recipe_of_an_ordinary_module_for_texts_works(tmp_path, texts, monkeypatch):
    """docs/texts.md, as it stands; its own features are not asked for."""
    code, options = re.findall(r"```(?:python|yaml)\n(.*?)```", (CONF.parent / "docs/texts.md").read_text(), re.S)
    (tmp_path / "my_network.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(BACKBONES, "_classes", {name: BACKBONES.get(name) for name in BACKBONES.names()})
    importlib.import_module("my_network")
    config = cell(tmp_path, "method=cross_entropy", "protocol.folds=2", "backbone=textcnn")
    config.plain["backbone"] = yaml.safe_load(options)
    outcome = run_cell(config)
    assert outcome.status == "done", outcome.message
    arrays = saved(outcome)
    assert arrays["difficult"].any() and np.isnan(arrays["difficult_share_own"]).all()


def test_other_data_have_no_marks(tmp_path):
    outcome = run_cell(cell(tmp_path, "method=cross_entropy"))
    assert not any(name.startswith("difficult") for name in saved(outcome))
    assert not any(group.startswith("minority_") for _, _, group, _ in table(outcome))
