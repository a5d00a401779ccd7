"""Slices of test rows, difficult texts above all: which rows they are, how they are scored, who asks for them."""

from __future__ import annotations

import csv
import importlib
import io
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from sklearn.metrics import f1_score, recall_score

from imbalance_bench import metrics, rescore, slices
from imbalance_bench.cells import run_cell
from imbalance_bench.data.base import Dataset, Part
from imbalance_bench.data.sources.sklearn import SklearnSource
from imbalance_bench.data.text.reading import RawTexts
from imbalance_bench.methods.miso.difficult import NEIGHBOURS, marked, share
from imbalance_bench.registry import BACKBONES, METHODS
from imbalance_bench.report.records.records import tidy
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
    found = values(labels, logs, ["a", "b"], "classification", (1,), slices={"difficult": difficult})
    for group, rows in (("minority_difficult", difficult), ("minority_other", (labels == 1) & ~difficult)):
        kept = rows | (labels == 0)
        assert found[group, "f1"] == pytest.approx(f1_score(labels[kept], decided[kept]))
        assert found[group, "recall"] == pytest.approx(recall_score(labels[kept], decided[kept]))
    plain = values(labels, logs, ["a", "b"], "classification", (1,))
    assert plain == {k: v for k, v in found.items() if not k[0].startswith("minority_")}
    none = values(labels, logs, ["a", "b"], "classification", (1,), slices={"difficult": np.zeros(60, bool)})
    assert np.isnan(none["minority_difficult", "f1"])
    assert none["minority_other", "f1"] == pytest.approx(none["positive", "f1"])


def test_several_minority_classes_are_averaged():
    rng = np.random.default_rng(1)
    labels, decided = rng.integers(0, 4, 80), rng.integers(0, 4, 80)
    difficult = np.isin(labels, (1, 3)) & (rng.random(80) < 0.5)
    logs = np.log(np.eye(4)[decided] * 0.6 + 0.1)
    found = values(labels, logs, list("abcd"), "classification", (1, 3), slices={"difficult": difficult})
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
        rows = [r for r in csv.DictReader(file) if r["part"] == "test"]
        return {(r["run"], r["iterate"], r["class_group"], r["metric"]): float(r["value"]) for r in rows}


ASKED = "slices=[difficult]"


def facts(outcome, run: int) -> dict[str, float]:
    return outcome_record(outcome)["runs"][run]["slices"]["difficult"]


def outcome_record(outcome):
    return CellFolder(outcome.path).record()


def test_marks_of_a_split_are_the_same_for_every_method_and_reach_the_metrics(tmp_path, texts):
    overrides = ["protocol.seeds=2", "backbone=lsa", "backbone.dims=10", ASKED]
    outcomes = [run_cell(cell(tmp_path, f"method={m}", *overrides)) for m in ("cross_entropy", "focal")]
    outcomes.append(run_cell(cell(tmp_path, "method=cross_entropy", *overrides[:2], "backbone.dims=5", ASKED)))
    first, *others = map(saved, outcomes)
    difficult = first["slice_difficult"]
    assert difficult.dtype == bool
    assert 0 < difficult.sum() < (first["label"] == 1).sum()
    assert not difficult[first["label"] == 0].any()
    for outcome, other in zip(outcomes[1:], others):
        np.testing.assert_array_equal(difficult, other["slice_difficult"])
        pairs = [(facts(outcomes[0], r), facts(outcome, r)) for r in range(8)]
        assert all(a["share"] == b["share"] for a, b in pairs)
        assert any(a["last"] != b["last"] for a, b in pairs)
    rows = table(outcomes[0])
    for r in range(8):
        mine = first["run"] == r
        labels, hard = first["label"][mine], difficult[mine]
        decided = first["scores_best"][mine].argmax(1)
        kept = hard | (labels == 0)
        score = f1_score(labels[kept], decided[kept], zero_division=0 if hard.any() else np.nan)
        assert rows[str(r), "best", "minority_difficult", "f1"] == pytest.approx(score, nan_ok=True)
    assert not {metric for *_, metric in rows} & {"share", "share_own"}, "facts of a run are no metrics"
    assert not rescore.rescore(CellFolder(outcomes[0].path))


def test_the_report_reads_the_facts_of_slices_of_the_readout_that_they_are_of(tmp_path, texts):
    outcome = run_cell(cell(tmp_path, "method=cross_entropy", "backbone=lsa", "backbone.dims=10", ASKED))
    found = {(r["run"], r["iterate"], r["metric"]): r["value"] for r in of_group(outcome)}
    for r in range(4):
        assert found[r, "last", "share"] == found[r, "best", "share"] == facts(outcome, r)["share"]
        assert found[r, "last", "share_own"] == facts(outcome, r)["last"]["share_own"]
        assert (r, "best", "share_own") not in found


def of_group(outcome, group="minority_difficult"):
    frame = tidy([outcome_record(outcome)])
    return frame[frame["class_group"] == group].to_dict("records")


def test_a_record_from_before_slices_is_read_and_rescored(tmp_path, texts):
    """Its marks lie in predictions.npz as ``difficult``, its shares there and as rows of metrics.csv."""
    outcome = run_cell(cell(tmp_path, "method=cross_entropy", "backbone=lsa", "backbone.dims=10", ASKED))
    made, record, arrays = of_group(outcome), outcome_record(outcome), saved(outcome)
    text = (outcome.path / "metrics.csv").read_text()
    for row in made:
        if row["metric"] in ("share", "share_own"):
            keys = ("run", "fold", "repeat", "iterate", "part", "class_group", "metric")
            where = ",".join(str((row | {"part": "test"})[k]) for k in keys)
            text += f"{where},{row['value']}\n"
    own = [facts(outcome, r)["last"]["share_own"] for r in range(4)]
    arrays["difficult"] = arrays.pop("slice_difficult")
    arrays |= {"difficult_share": [facts(outcome, r)["share"] for r in range(4)], "difficult_share_own": own}
    old = {k: v for k, v in record.items() if k not in ("path", "slices")}
    old["runs"] = [{k: v for k, v in run.items() if k != "slices"} for run in old["runs"]]
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    CellFolder(outcome.path).finish(old, {"predictions.npz": buffer.getvalue(), "metrics.csv": text})

    def sorted_rows():
        return sorted(of_group(outcome), key=str)

    assert sorted_rows() == sorted(made, key=str)
    again = run_cell(cell(tmp_path, "method=cross_entropy", "backbone=lsa", "backbone.dims=10", ASKED))
    assert again.status == "skipped" and "without" not in again.line()
    assert rescore.rescore(CellFolder(outcome.path)).removed == [
        "minority_difficult share",
        "minority_difficult share_own",
    ]
    assert sorted_rows() == sorted(made, key=str)
    assert outcome_record(outcome)["runs"] == record["runs"]
    assert not rescore.rescore(CellFolder(outcome.path))


def test_nobody_pays_who_did_not_ask_and_a_skipped_cell_says_what_it_lacks(tmp_path, texts, monkeypatch):
    monkeypatch.setitem(slices.MAKERS, "difficult", lambda *_: pytest.fail("computed though nobody asked"))
    options = ["method=cross_entropy", "backbone=lsa", "backbone.dims=10", "protocol.folds=2"]
    outcome = run_cell(cell(tmp_path, *options))
    assert outcome.status == "done", outcome.message
    assert not any(name.startswith("slice_") for name in saved(outcome))
    assert not any(group.startswith("minority_") for _, _, group, _ in table(outcome))
    assert "without" not in run_cell(cell(tmp_path, *options)).line()
    assert (
        "without slices=[difficult]: cache=overwrite trains it again"
        in run_cell(cell(tmp_path, *options, ASKED)).line()
    )


def test_miso_asks_and_so_do_the_presets_whose_tables_show_it():
    assert METHODS.get("miso").slices == METHODS.get("cag").slices == ("difficult",)
    for path in (CONF / "paper" / "miso").glob("*.yaml"):
        if "minority_difficult" in path.read_text() and path.stem != "claims":
            assert yaml.safe_load(path.read_text())["slices"] == ["difficult"], path


def test_slices_of_a_data_set_are_scored_and_those_of_nobody_refused(tmp_path, monkeypatch):
    load = SklearnSource.load

    def with_slices(self, folder):
        made = load(self, folder)
        rows = np.arange(len(made.y))
        return replace(made, slices={"even": rows % 2 == 0, "third": rows % 3 == 0})

    monkeypatch.setattr(SklearnSource, "load", with_slices)
    outcome = run_cell(cell(tmp_path, "method=cross_entropy", "protocol.folds=2"))
    arrays, rows = saved(outcome), table(outcome)
    np.testing.assert_array_equal(arrays["slice_even"], arrays["sample_id"] % 2 == 0)
    mine = arrays["run"] == 0
    labels, decided = arrays["label"][mine], arrays["scores_last"][mine].argmax(1)
    ids = arrays["sample_id"][mine]
    for group, part in (("even", ids % 2 == 0), ("third", ids % 3 == 0), ("other", (ids % 2 != 0) & (ids % 3 != 0))):
        score = recall_score(labels[part], decided[part])
        assert rows["0", "last", f"minority_{group}", "recall"] == pytest.approx(score)
    outcome = run_cell(cell(tmp_path, "method=cross_entropy", "protocol.folds=2", "slices=[evn]", "cache=overwrite"))
    assert outcome.status == "failed" and "unknown slice evn" in outcome.message and "even" in outcome.message


def test_a_slice_that_cannot_be_computed_costs_no_trained_cell(tmp_path, capsys):
    outcome = run_cell(cell(tmp_path, "method=cross_entropy", "protocol.folds=2", ASKED))
    assert outcome.status == "done"
    assert "slice difficult is left out: it compares texts, and breast_cancer has none" in capsys.readouterr().err


def test_the_recipe_of_an_ordinary_module_for_texts_works(tmp_path, texts, monkeypatch):
    """docs/texts.md, as it stands; its own features are not asked for."""
    code, options = re.findall(r"```(?:python|yaml)\n(.*?)```", (CONF.parent / "docs/texts.md").read_text(), re.S)
    (tmp_path / "my_network.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(BACKBONES, "_classes", {name: BACKBONES.get(name) for name in BACKBONES.names()})
    importlib.import_module("my_network")
    config = cell(tmp_path, "method=cross_entropy", "protocol.folds=2", "backbone=textcnn", ASKED)
    config.plain["backbone"] = yaml.safe_load(options)
    outcome = run_cell(config)
    assert outcome.status == "done", outcome.message
    assert saved(outcome)["slice_difficult"].any()
    assert facts(outcome, 0).keys() == {"share"}
