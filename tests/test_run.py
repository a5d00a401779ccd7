"""One cell from configuration to record: what is written, what is reproduced, what a failure leaves behind."""

from __future__ import annotations

import csv
import errno
import json
import math
import os
import platform
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from imbalance_bench import metrics
from imbalance_bench.cells import Outcome, run_cell
from imbalance_bench.cells.recipe import predict, validation_rows
from imbalance_bench.data.base import Part, Task
from imbalance_bench.data.sources.sklearn import SklearnSource
from imbalance_bench.data.tasks import Run, make_runs, subset_hash
from imbalance_bench.engine.classifier import Classifier
from imbalance_bench.errors import BenchError, Declined, Pruned
from imbalance_bench.methods.base import Method
from imbalance_bench.registry import METHODS
from imbalance_bench.rescore import main as rescore
from imbalance_bench.running import devices
from imbalance_bench.running.progress import NAME, Progress
from imbalance_bench.settings import identity
from imbalance_bench.settings.config import Config, plain_of
from imbalance_bench.store import NEW_LOG, CellFolder, Store
from tests.cells import cell
from tests.tasks import task

FILES = ["config.yaml", "history.csv", "metrics.csv", "predictions.npz", "record.json", "train.log"]


def run(outputs, *overrides) -> Outcome:
    return run_cell(cell(outputs, *overrides))


def record_of(outcome: Outcome) -> dict:
    return json.loads((outcome.path / "record.json").read_text())


def table(outcome: Outcome, name: str) -> list[dict[str, str]]:
    with (outcome.path / name).open() as file:
        return list(csv.DictReader(file))


def arrays(outcome: Outcome) -> dict[str, np.ndarray]:
    with np.load(outcome.path / "predictions.npz", allow_pickle=False) as file:
        return dict(file)


def contents(folder) -> dict[str, bytes]:
    """The files of a cell but its lock and the log of a training that did not end."""
    left_out = {".lock", NEW_LOG} | (set() if (folder / "record.json").exists() else {"train.log"})
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.name not in left_out}


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> tuple[Config, Outcome]:
    """A finished cell: SMOTE on a table with induced imbalance, every fold twice."""
    outputs = tmp_path_factory.mktemp("outputs")
    config = cell(outputs, "method=smote", "ratio=ir_20", "ratio.r=10", "method.k_neighbors=3", "protocol.seeds=2")
    return config, run_cell(config)


def test_who_watches_a_cell_sees_its_validation_scores_run_by_run_and_may_end_it(tmp_path):
    config = cell(tmp_path, "protocol.folds=3", "trainer.epochs=2", "trainer.runs_together=1")
    seen = []

    def watch(prepared, classifiers):
        seen.append(validation_rows(prepared, classifiers))
        if len(seen) == limit:
            raise Pruned("enough")

    limit = 2
    outcome = run_cell(config, watch)
    assert (outcome.status, outcome.message, len(seen)) == ("pruned", "enough", 2)
    assert not outcome.path.exists() and outcome.line().endswith("pruned: enough")
    seen.clear()
    limit = 9
    outcome = run_cell(config, watch)
    assert outcome.status == "done" and len(seen) == 2  # not asked after the last
    recorded = [row for row in table(outcome, "metrics.csv") if row["part"] == "valid" and int(row["run"]) < 2]
    assert [{k: str(v) for k, v in row.items()} for row in seen[1]] == recorded


# What a cell writes


def test_a_cell_writes_all_its_files_and_says_so_in_one_line(done):
    config, outcome = done
    assert (outcome.status, outcome.runs, outcome.message) == ("done", 8, "")
    assert list(contents(outcome.path)) == FILES
    labels = "/".join(("breast_cancer", "ir_20", "mlp", "smote"))
    assert str(outcome.path) == f"{config.paths.outputs}/runs/{labels}/{identity.cell_id(config.plain)}"
    assert re.fullmatch(
        r"smote breast_cancer ir_20: auc_pr 0\.\d{4} ± 0\.\d{4}  8 runs in [\d.]+ s, [\d.]+ runs/s", outcome.line()
    )


def test_the_record_says_what_was_run_on_what(done):
    config, outcome = done
    record = record_of(outcome)
    assert (record["schema"], record["id"], record["status"]) == (identity.SCHEMA, outcome.path.name, "done")
    assert record["labels"] == {
        "dataset": "breast_cancer", "ratio": "ir_20", "protocol": "holdout_kfold", "backbone": "mlp",
        "trainer": "adam", "method": "smote",
    }  # fmt: skip
    assert record["config"] == config.plain
    assert identity.cell_id(record["config"]) == record["id"]
    assert record["kind"] == "classification"
    # 357 benign rows, and a tenth as many malignant ones.
    data = record["data"]
    assert (data["name"], data["rows"], data["features"], data["classes"]) == ("breast_cancer", 392, 30, 2)
    assert (data["class_names"], data["class_counts"]) == (["benign", "malignant"], [357, 35])
    assert record["seconds"] > 0
    where = record["provenance"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", where["date"])
    assert where["packages"]["torch"] == version("torch")
    assert where["packages"]["imbalance_bench"] == version("imbalance_bench")
    assert {"python", "git", "hardware", "platform", "command"} <= set(where)
    assert record["device"] == "cpu"


def test_the_record_says_of_every_run_which_rows_it_had(done):
    config, outcome = done
    dataset, ratio, protocol = (config.component(g) for g in ("dataset", "ratio", "protocol"))
    made = make_runs(dataset.load(outcome.path), ratio, protocol, 0)
    facts = record_of(outcome)["runs"]
    assert [(f["run"], f["fold"], f["repeat"]) for f in facts] == [(i, i // 2, i % 2) for i in range(8)]
    assert len({f["seed"] for f in facts}) == 8
    for fact, run in zip(facts, made):
        assert (fact["status"], fact["failure"], fact["seed"]) == ("done", None, run.task.seed)
        assert (fact["n_train"], fact["n_valid"], fact["n_test"]) == tuple(
            map(len, (run.task.train, run.task.valid, run.test))
        )
        assert fact["n_train"] + fact["n_valid"] + fact["n_test"] == 392
        assert fact["train_counts"] == np.bincount(run.task.train.y).tolist()
        assert fact["subset_hash"] == subset_hash(run.task.train.ids)
        assert fact["test_hash"] == subset_hash(run.test.ids)
        few = fact["train_counts"][1]
        assert fact["info"]["fitted_counts"] == [fact["train_counts"][0], 2 * few]
        assert fact["info"]["synthetic"]["rows"] == few
        assert fact["info"]["synthetic"]["distance_max"] > 0


def test_predictions_are_log_probabilities_of_the_test_rows(done):
    config, outcome = done
    saved = arrays(outcome)
    assert {n: a.dtype for n, a in saved.items()} == {
        prefix + name: dtype
        for prefix in ("", "valid_")
        for name, dtype in {
            "run": np.int32, "sample_id": np.int64, "label": np.int64, "scores_last": np.float32,
            "scores_best": np.float32,
        }.items()
    }  # fmt: skip
    record = record_of(outcome)
    truth = config.component("dataset").load(outcome.path).y
    np.testing.assert_array_equal(saved["label"], truth[saved["sample_id"]])
    for fact in record["runs"]:
        assert subset_hash(saved["sample_id"][saved["run"] == fact["run"]]) == fact["test_hash"]
    for name in ("scores_last", "scores_best", "valid_scores_last", "valid_scores_best"):
        assert saved[name].shape == (len(saved["valid_run" if name.startswith("valid") else "run"]), 2)
        np.testing.assert_allclose(np.exp(saved[name].astype(np.float64)).sum(1), 1, rtol=1e-5)


def test_validation_rows_are_scored_as_training_saw_them(done):
    """Those of the run's own split, by the parameters that the history's validation scores are of."""
    config, outcome = done
    saved, rows = arrays(outcome), table(outcome, "metrics.csv")
    dataset, ratio, protocol = (config.component(g) for g in ("dataset", "ratio", "protocol"))
    runs = make_runs(dataset.load(outcome.path), ratio, protocol, 0)
    history = {(int(h["run"]), int(h["epoch"])): float(h["valid_score"]) for h in table(outcome, "history.csv")}
    for number, made in enumerate(runs):
        mine = saved["valid_run"] == number
        np.testing.assert_array_equal(saved["valid_sample_id"][mine], made.task.valid.ids)
        np.testing.assert_array_equal(saved["valid_label"][mine], made.task.valid.y)
        of_run = [r for r in rows if r["part"] == "valid" and r["run"] == str(number)]
        found = {
            r["iterate"]: float(r["value"]) for r in of_run if (r["class_group"], r["metric"]) == ("positive", "auc_pr")
        }
        scores = [history[number, epoch] for epoch in (1, 2)]
        assert found["last"] == pytest.approx(scores[-1]) and found["best"] == pytest.approx(max(scores))
    assert record_of(outcome)["validation"] == "held out"


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["trainer.rows=train_valid", "protocol.folds=2"], "trained on"),
        (["protocol=official_test", "protocol.valid_fraction=0"], "none"),
        (["method=explicit_gradient", "method.meta_epochs=1", "protocol.folds=2"], "guided training"),
        (
            ["method=hist_gradient_boosting/early_stopping", "method.patience=1", "protocol.folds=2"],
            "guided training",
        ),
        (["method=tau_norm/selected", "protocol.folds=2"], "guided training"),
        (["method=logistic_regression", "protocol.folds=2"], "held out"),
    ],
)
def test_the_record_says_what_validation_rows_were_to_the_training(tmp_path, overrides, says, monkeypatch):
    """Scores of rows that were trained on would be taken for those of rows that were not: there are none."""
    load = SklearnSource.load
    monkeypatch.setattr(SklearnSource, "load", lambda *a: replace(load(*a), test_rows=np.arange(400, 569)))
    outcome = run(tmp_path, *overrides)
    assert record_of(outcome)["validation"] == says
    kept = says in ("guided training", "held out")
    assert ("valid_scores_last" in arrays(outcome)) == kept
    assert {r["part"] for r in table(outcome, "metrics.csv")} == ({"test", "valid"} if kept else {"test"})


def test_metrics_and_headline_are_those_of_the_predictions(done):
    _, outcome = done
    saved, rows = arrays(outcome), table(outcome, "metrics.csv")
    assert list(rows[0]) == ["run", "fold", "repeat", "iterate", "part", "class_group", "metric", "value"]
    assert {r["iterate"] for r in rows} == {"last", "best"}
    rows = [r for r in rows if r["part"] == "test"]
    found = [r for r in rows if (r["metric"], r["class_group"], r["iterate"]) == ("auc_pr", "positive", "last")]
    values = []
    for row in found:
        mine = saved["run"] == int(row["run"])
        ranked = metrics.ranking_scores(saved["scores_last"][mine], 1)
        values.append(metrics.average_precision(saved["label"][mine] == 1, ranked))
        assert float(row["value"]) == pytest.approx(values[-1])
    headline = record_of(outcome)["headline"]
    assert headline == outcome.headline
    assert (headline["metric"], headline["class_group"], headline["iterate"]) == ("auc_pr", "positive", "last")
    assert headline["mean"] == pytest.approx(np.mean(values))
    assert headline["sd"] == pytest.approx(np.std(values, ddof=1))


def test_history_has_a_row_an_epoch_and_the_log_a_line_a_run(done):
    _, outcome = done
    history = table(outcome, "history.csv")
    assert [(int(h["run"]), int(h["epoch"])) for h in history] == [(r, e) for r in range(8) for e in (1, 2)]
    assert all(math.isfinite(float(h["train_loss"])) and math.isfinite(float(h["valid_score"])) for h in history)
    lines = (outcome.path / "train.log").read_text().splitlines()
    assert "breast_cancer: 569 rows: 357 of 'benign', 212 of 'malignant' (positive)" in lines[0]
    assert "breast_cancer: 8 runs, 569 rows, features (30,)" in lines[1]
    assert "training: 2 epochs of 8 runs × 2 steps" in lines[2]
    assert len(lines) == 11


def test_the_saved_configuration_is_the_cell(done):
    config, outcome = done
    saved = OmegaConf.to_container(OmegaConf.load(outcome.path / "config.yaml"))
    assert plain_of(saved) == config.plain


def test_several_classes_and_regression(tmp_path):
    several = run(tmp_path, "dataset=wine", "protocol.folds=2")
    assert several.headline["class_group"] == "macro"
    assert arrays(several)["scores_last"].shape[1] == 3
    sine = run(
        tmp_path, "dataset=sine", "protocol=official_test", "backbone=mlp_sine", "method=squared_error/train_valid"
    )
    assert (sine.headline["metric"], sine.headline["class_group"], sine.runs) == ("mse", "all", 1)
    assert record_of(sine)["kind"] == "regression"
    assert arrays(sine)["label"].dtype == np.float64
    with np.load(sine.path / "artifacts.npz") as file:
        assert file["run0_train_x"].shape == (5, 1)


# Again


def test_a_finished_cell_is_skipped_unless_it_shall_be_overwritten(done):
    config, outcome = done
    before = contents(outcome.path)
    again = run_cell(config)
    assert (again.status, again.headline) == ("skipped", outcome.headline)
    assert "done before" in again.line()
    assert contents(outcome.path) == before


def test_the_same_seed_gives_the_same_bits(tmp_path):
    """Also where the process has used its generators and other runs have been trained in between."""
    overrides = ("method=explicit_gradient", "method.meta_epochs=2", "protocol.folds=2")
    first = run(tmp_path, *overrides)
    before, record = contents(first.path), record_of(first)
    torch.manual_seed(5)
    again = run(tmp_path, *overrides, "cache=overwrite")
    assert (again.status, again.path) == ("done", first.path)
    for name in ("predictions.npz", "metrics.csv", "history.csv"):
        assert contents(again.path)[name] == before[name], name
    assert record_of(again)["runs"] == record["runs"]
    elsewhere = run(tmp_path / "elsewhere", *overrides)
    assert elsewhere.path.name == first.path.name
    assert contents(elsewhere.path)["predictions.npz"] == before["predictions.npz"]


def test_another_seed_changes_the_training_and_not_the_split(tmp_path):
    first, second = (run(tmp_path, "protocol.folds=2", f"seed={seed}") for seed in (0, 1))
    assert first.path != second.path
    one, two = arrays(first), arrays(second)
    np.testing.assert_array_equal(one["sample_id"], two["sample_id"])
    assert (one["scores_last"] != two["scores_last"]).all()


def test_more_seeds_and_other_groupings_leave_a_run_as_it_is(tmp_path):
    """Results do not depend on how many runs are trained together."""
    overrides = ("method=smote", "protocol.folds=2", "trainer.precision=float64")
    one = arrays(run(tmp_path / "one", *overrides))
    two = run(tmp_path / "two", *overrides, "protocol.seeds=2")
    first_repeat = [f["run"] for f in record_of(two)["runs"] if f["repeat"] == 0]
    saved = arrays(two)
    chosen = np.isin(saved["run"], first_repeat)
    np.testing.assert_array_equal(saved["sample_id"][chosen], one["sample_id"])
    alone = arrays(run(tmp_path / "alone", *overrides, "trainer.runs_together=1"))
    oracle = arrays(run(tmp_path / "oracle", *overrides, "trainer.backend=sequential"))
    for name in ("scores_last", "scores_best"):
        # Saved as float32, whose last digit may round either way.
        np.testing.assert_allclose(saved[name][chosen], one[name], rtol=0, atol=1e-6)
        np.testing.assert_allclose(alone[name], one[name], rtol=0, atol=1e-6)
        np.testing.assert_allclose(oracle[name], one[name], rtol=0, atol=1e-6)
    assert (saved["scores_last"][~chosen] != saved["scores_last"][chosen]).any()


# Failures


class Poisoned(Method):
    """Its training rows are not numbers in the folds of ``bad``."""

    bad: tuple[int, ...] = ()

    def resample(self, task: Task, rows: Part) -> Part:
        return Part(np.full_like(rows.x, np.nan), rows.y, rows.ids) if task.fold in self.bad else rows


class Unwilling(Method):
    def declines(self, task: Task) -> str | None:
        return "has other plans"


class Broken(Method):
    def resample(self, task: Task, rows: Part) -> Part:
        raise KeyError("a mistake in somebody's own method")


class Large(Method):
    """More than ``most`` runs at a time do not fit into memory, nor, with ``scored`` false, the scores of one."""

    most: int = 1
    scored: bool = True

    def fit(self, tasks: Sequence[Task], backbone: Any, engine: Any) -> list[Classifier]:
        if len(tasks) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        made = super().fit(tasks, backbone, engine)
        for classifier in made:
            if not self.scored:
                classifier.scores = self.beyond_memory  # type: ignore[method-assign]
        return made

    def beyond_memory(self, *_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.fixture
def poisoned(monkeypatch):
    """method.name=poisoned, and the folds that it spoils."""

    def use(*folds: int) -> str:
        monkeypatch.setattr(Poisoned, "bad", folds)
        return "method.name=poisoned"

    METHODS.names()  # the package's own first
    for name, cls in (("poisoned", Poisoned), ("unwilling", Unwilling), ("broken", Broken), ("large", Large)):
        monkeypatch.setitem(METHODS._classes, name, cls)
    return use


def test_a_run_that_diverges_is_marked_and_the_others_are_whole(tmp_path, poisoned):
    whole = arrays(run(tmp_path / "whole", poisoned()))
    outcome = run(tmp_path, poisoned(1))
    assert outcome.status == "done"
    assert "fold 1 repeat 0 diverged: train_loss is nan at training epoch 1 step 1" in outcome.message
    assert outcome.message in outcome.line()
    facts = record_of(outcome)["runs"]
    assert [f["status"] for f in facts] == ["done", "failed", "done", "done"]
    assert "lower trainer.lr" in facts[1]["failure"]
    assert {r["run"] for r in table(outcome, "metrics.csv")} == {"0", "2", "3"}
    saved = arrays(outcome)
    for name in whole:
        others = whole["valid_run" if name.startswith("valid_") else "run"] != 1
        np.testing.assert_allclose(saved[name], whole[name][others], rtol=0, atol=1e-5)
    assert np.isfinite(outcome.headline["mean"])


def test_a_cell_whose_runs_all_diverge_fails_and_leaves_earlier_results_whole(tmp_path, poisoned):
    earlier = run(tmp_path, "protocol.folds=2")
    before = contents(earlier.path)
    failed = run(tmp_path, poisoned(0, 1), "protocol.folds=2")
    assert failed.status == "failed"
    assert failed.message.startswith("every run diverged; the first: train_loss is nan")
    assert sorted(contents(failed.path)) == ["config.yaml", "error.txt"]
    assert (failed.path / "error.txt").read_text().startswith(failed.message)
    assert contents(earlier.path) == before
    store = Store(tmp_path)
    assert [r["id"] for r in store.records()] == [earlier.path.name]
    assert sorted(c.state() for c in store.cells()) == ["done", "failed"]
    # Tried again, now with luck.
    config = contents(failed.path)["config.yaml"]
    assert run(tmp_path, poisoned(), "protocol.folds=2").status == "done"
    assert contents(failed.path)["config.yaml"] == config
    assert list(contents(failed.path)) == FILES


def test_a_cell_that_is_declined_is_recorded_with_the_reason_and_not_tried_again(tmp_path, poisoned):
    first = run(tmp_path, "method.name=unwilling")
    assert (first.status, first.message) == ("declined", "has other plans")
    record = record_of(first)
    assert (record["status"], record["reason"], "runs" in record) == ("declined", "has other plans", False)
    again = run(tmp_path, "method.name=unwilling")
    assert (again.status, again.message) == ("declined", "has other plans")
    assert record_of(again) == record and set(record["files"]) == {"config.yaml"}
    assert issubclass(Declined, BenchError)


def test_a_mistake_in_a_method_fails_its_cell_with_the_traceback_in_a_file(tmp_path, poisoned):
    outcome = run(tmp_path, "method.name=broken")
    assert (outcome.status, outcome.message) == ("failed", 'KeyError: "a mistake in somebody\'s own method"')
    assert "Traceback" in (outcome.path / "error.txt").read_text()
    assert "Traceback" not in outcome.line()


@pytest.mark.parametrize(
    "asked, most, halved", [("null", 8, []), ("null", 2, [8, 4]), ("2", 2, []), ("5", 1, [5, 3, 2])]
)
def test_the_record_says_whether_runs_were_halved_for_memory(tmp_path, poisoned, monkeypatch, asked, most, halved):
    """And the cell is the same one, however many of its 8 runs were trained at a time."""
    monkeypatch.setattr(Large, "most", most)
    outcome = run(tmp_path, "method.name=large", "protocol.seeds=2", f"trainer.runs_together={asked}")
    record = record_of(outcome)
    assert (record["runs_together"], record["halved_for_memory"]) == (most, halved)
    assert [f["status"] for f in record["runs"]] == ["done"] * 8
    assert record["id"] == identity.cell_id(cell(tmp_path, "method.name=large", "protocol.seeds=2").plain)


def test_memory_that_does_not_hold_one_run_fails_its_cell_with_the_override_to_change(tmp_path, poisoned, monkeypatch):
    monkeypatch.setattr(Large, "most", 0)
    outcome = run(tmp_path, "method.name=large")
    assert outcome.status == "failed"
    assert outcome.message.startswith("the device's memory does not hold one run: lower trainer.batch_size, or set")
    monkeypatch.setattr(Large, "most", 1)
    monkeypatch.setattr(Large, "scored", False)
    outcome = run(tmp_path, "method.name=large")
    assert outcome.status == "failed"
    assert outcome.message == "the device's memory does not hold the scoring of one run: set device=cpu"


@pytest.mark.parametrize(
    "error, out, lost",
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True, False),
        (RuntimeError("CUDA error: out of memory\nCompile with ..."), True, False),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True, False),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True, False),
        (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"), True, False),
        (torch.AcceleratorError("CUDA error: device-side assert triggered"), False, True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False, True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(...)`"), False, True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False, False),
        (ValueError("CUDA error in somebody's text"), False, False),
    ],
)
def test_what_a_device_says_of_its_memory_and_of_its_end(error, out, lost):
    assert (devices.out_of_memory(error), devices.lost(error)) == (out, lost)


@pytest.mark.parametrize(
    "name, message",
    [
        ("gpu", "must be one of auto, cpu, cuda, or cuda:<number>"),
        ("cuda:", "must be one of auto, cpu, cuda, or cuda:<number>"),
        ("cuda:one", "must be one of auto, cpu, cuda, or cuda:<number>"),
        ("cpu:0", "must be one of auto, cpu, cuda, or cuda:<number>"),
        ("cuda:9", r"device=cuda:9, but torch sees 2 GPUs here: use device=cuda:0, cuda:1 or device=auto"),
    ],
)
def test_a_device_that_is_not_there(name, message, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(BenchError, match=message):
        devices.choose_device(name)


def test_a_gpu_by_its_number(monkeypatch):
    current = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: current[-1])
    assert devices.choose_device("cuda:1") == torch.device("cuda", 1)
    assert current == [1]


def test_what_is_trained_again_and_fails_keeps_its_earlier_record(tmp_path, poisoned):
    earlier = run(tmp_path, poisoned(), "protocol.folds=2")
    before = contents(earlier.path)
    failed = run(tmp_path, poisoned(0, 1), "protocol.folds=2", "cache=overwrite")
    assert failed.status == "failed"
    assert failed.message.endswith("; the earlier record is kept")
    error = contents(earlier.path)
    assert error.pop("error.txt").startswith(b"every run diverged")
    assert error == before
    made = CellFolder(earlier.path)
    assert made.state() == "done"
    assert run(tmp_path, poisoned(), "protocol.folds=2").status == "skipped"
    assert run(tmp_path, poisoned(), "protocol.folds=2", "cache=overwrite").status == "done"
    assert made.error() == ""


def test_a_fold_that_diverged_is_told_each_time(tmp_path, poisoned):
    first, again = (run(tmp_path, poisoned(1), "protocol.folds=2") for _ in range(2))
    assert again.status == "skipped" and first.message.startswith("fold 1 repeat 0 diverged")
    assert again.message == first.message
    assert again.line().endswith(f")\n  {first.message}")


def test_a_finished_cell_that_is_asked_for_scored_otherwise_says_so(tmp_path):
    short = ["protocol.folds=2", "trainer.epochs=1"]
    run(tmp_path, *short)
    again = run(tmp_path, *short, "cost=50", "calibration=[platt]")
    remedy = f"{again.path.name} --cost 50 --calibration platt --outputs {tmp_path}"
    assert f"; scored with cost=10 calibration=[]: `python scripts/rescore.py {remedy}` scores" in again.line()
    assert rescore(remedy.split()) == 0
    assert run(tmp_path, *short, "cost=50", "calibration=[platt]").note == ""
    assert "scored with cost=50 calibration=[platt]" in run(tmp_path, *short).note


def test_one_run_has_no_spread(tmp_path):
    alone = ["protocol=repeated_holdout", "protocol.repeats=1", "trainer.epochs=1"]
    lines = [run(tmp_path, *alone).line() for _ in range(2)]
    assert "±" not in "".join(lines) and "  1 run in " in lines[0] and "  (done before" in lines[1]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_overwriting_on_a_device_that_is_not_here_keeps_the_earlier_record(tmp_path):
    earlier = run(tmp_path, "protocol.folds=2")
    assert run(tmp_path, "protocol.folds=2", "cache=overwrite", "device=cuda").status == "failed"
    assert run(tmp_path, "protocol.folds=2").headline == earlier.headline


@pytest.mark.parametrize("renamed", range(7))
def test_overwriting_that_is_killed_leaves_the_old_the_new_or_a_cell_to_be_trained(tmp_path, monkeypatch, renamed):
    """Killed when some of the new files have their names: never an old record beside new numbers."""
    earlier = run(tmp_path, "protocol.folds=2", "trainer.epochs=1")
    before = contents(earlier.path)
    left, rename = [renamed], Path.replace

    def killed(path: Path, target: Path) -> Path:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", killed)
    with suppress(KeyboardInterrupt):
        run(tmp_path, "protocol.folds=2", "trainer.epochs=1", "cache=overwrite")
    monkeypatch.undo()
    state = CellFolder(earlier.path).state()
    assert state == ("done" if renamed == 6 else "started")
    again = run(tmp_path, "protocol.folds=2", "trainer.epochs=1")
    assert again.status == ("skipped" if renamed == 6 else "done")
    assert CellFolder(again.path).state() == "done"
    assert contents(again.path).keys() == before.keys()


def test_what_is_killed_while_training_again_leaves_the_old_record(tmp_path, poisoned, monkeypatch):
    earlier = run(tmp_path, poisoned(), "protocol.folds=2")
    before = contents(earlier.path)

    def killed(*_: Any) -> Part:
        raise KeyboardInterrupt

    monkeypatch.setattr(Poisoned, "resample", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, poisoned(), "protocol.folds=2", "cache=overwrite")
    assert contents(earlier.path) == before


def test_what_an_earlier_training_wrote_and_this_one_does_not_is_gone(tmp_path):
    earlier = run(tmp_path, "protocol.folds=2")
    (earlier.path / "artifacts.npz").write_bytes(b"of another training")
    (earlier.path / ".metrics.csv.4711").write_bytes(b"of a process that was killed")
    again = run(tmp_path, "protocol.folds=2", "cache=overwrite")
    assert list(contents(again.path)) == FILES


@pytest.mark.parametrize(
    "overrides, message",
    [
        (["ratio=ir_200"], r"rows a class: benign: 357, malignant: 1\): choose a lower ratio"),
        (["ratio=ir_100"], "class 'malignant' has 2 rows left .*folds=4 .*: choose a lower ratio.*protocol.folds=2"),
        (["ratio=ir_50", "method=smote"], "fold 1 has 4 of class 1: set method.k_neighbors=3, choose a lower"),
        (["dataset=wine", "method=smote", "method.k_neighbors=99"], "method=smote needs at least k_neighbors"),
        (["method=focal", "trainer.lr=3e38"], "every run diverged.*lower trainer.lr"),
        (
            ["method=tl_rs_csl", "trainer=sgd", "trainer.epochs=1", "trainer.batch_size=400", "trainer.lr=3e38"],
            "every run diverged; the first: outputs are not finite after the last step of epoch 1; .*lower trainer.lr",
        ),
        (["trainer.optimiser=rmsprop"], "trainer.optimiser='rmsprop' must be one of adam, adamw, sgd"),
        (["device=gpu"], "device='gpu' must be one of auto, cpu, cuda"),
    ],
)
def test_what_cannot_be_done_fails_with_the_override_to_change(tmp_path, overrides, message):
    outcome = run(tmp_path, *overrides)
    assert outcome.status == "failed"
    assert re.search(message, outcome.message), outcome.message
    assert sorted(contents(outcome.path)) == ["config.yaml", "error.txt"]


def test_a_tracker_that_is_not_installed_is_known_before_training(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    outcome = run(tmp_path, "tracker=tensorboard")
    assert outcome.message == (
        "tracker=tensorboard needs the package tensorboard: pip install -c constraints.txt -e '.[tensorboard]'"
    )
    assert sorted(contents(outcome.path)) == ["config.yaml", "error.txt"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_asked_for_and_absent(tmp_path):
    outcome = run(tmp_path, "device=cuda")
    assert (outcome.status, "use device=auto or device=cpu" in outcome.message) == ("failed", True)


def test_a_full_disk_is_one_message_and_leaves_nothing_half_written(tmp_path, monkeypatch):
    earlier = run(tmp_path, "protocol.folds=2")
    before = contents(earlier.path)

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BenchError, match="the disk is full; free it or set paths.outputs="):
        run(tmp_path, "protocol.folds=3")
    monkeypatch.undo()
    assert contents(earlier.path) == before
    (other,) = (c for c in Store(tmp_path).cells() if c.path != earlier.path)
    assert contents(other.path) == {}
    assert other.state() == "started"
    assert run(tmp_path, "protocol.folds=3").status == "done"


def test_a_file_where_the_outputs_should_be_is_one_message(tmp_path):
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(BenchError, match="taken.*a file stands where a folder should be.*set paths.outputs="):
        run(tmp_path / "taken")
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_cell_that_another_process_works_on_is_left_to_it(tmp_path):
    config = cell(tmp_path)
    held = Store(tmp_path).cell(config.labels, identity.cell_id(config.plain))
    with held.lock():
        outcome = run_cell(config)
    assert (outcome.status, outcome.message) == ("busy", "another process is working on it")
    assert contents(held.path) == {}
    Progress("", [held.path / NAME], now=iter(range(0, 99, 9)).__next__).report("training", 1, 2, "epochs", {})
    with held.lock():
        outcome = run_cell(config)
    assert outcome.message == f"another process is working on it (process {os.getpid()} on {platform.node()})"


def test_a_damaged_record_is_named_and_not_overwritten(tmp_path):
    config = cell(tmp_path, "protocol.folds=2")
    path = Store(tmp_path).cell(config.labels, identity.cell_id(config.plain)).path
    path.mkdir(parents=True)
    (path / "record.json").write_text('{"schema": 1, "id"')
    with pytest.raises(BenchError, match="record.json is damaged .*: delete its folder and run again"):
        run_cell(config)
    assert run(tmp_path, "protocol.folds=2", "cache=overwrite").status == "done"


# Leakage


@pytest.mark.parametrize(
    "method", [["smote"], ["explicit_gradient", "method.meta_epochs=2"], ["cross_entropy", "dataset.scale=zscore"]]
)
def test_test_rows_change_nothing_but_their_own_predictions(tmp_path, method):
    """Half of the test rows get other features (extreme numbers, another category, gaps): training, validation scores
    and the predictions on the other half are the same bits."""
    rng = np.random.default_rng(0)
    rows = [[*rng.normal(size=3).round(6), "rgb"[i % 3], "yes" if i % 5 == 0 else "no"] for i in range(150)]

    def trained(name: str) -> tuple[Outcome, dict[str, np.ndarray]]:
        path = tmp_path / name
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([["a", "b", "c", "colour", "class"], *rows])
        where = ["dataset=csv", f"dataset.path={path}", "dataset.target=class"]
        split = ["protocol=repeated_holdout", "protocol.repeats=1"]
        outcome = run(tmp_path, *where, *split, f"method={method[0]}", *method[1:])
        return outcome, arrays(outcome)

    first, before = trained("first.csv")
    changed = before["sample_id"][::2]
    for i in changed.tolist():
        rows[i][:4] = [1e6, -1e6, "", "b"]
    second, after = trained("second.csv")
    assert first.path != second.path
    np.testing.assert_array_equal(before["sample_id"], after["sample_id"])
    assert contents(second.path)["history.csv"] == contents(first.path)["history.csv"]
    touched = np.isin(before["sample_id"], changed)
    for name in ("scores_last", "scores_best"):
        np.testing.assert_array_equal(after[name][~touched], before[name][~touched])
        assert (after[name][touched] != before[name][touched]).all(1).all()


class Says(Classifier):
    """Classes are alike, but of the rows ``lost``, of which it says nothing."""

    def __init__(self, lost):
        super().__init__()
        self.lost = lost

    def scores(self, x, readout="last"):
        scores = np.log(np.full((len(x), 2), 0.5))
        scores[self.lost] = np.nan
        return scores


def test_a_run_whose_scores_are_no_numbers_fails_alone():
    runs = [Run(t, t.valid) for t in (task(0), task(1))]
    whole, broken = Says([]), Says([3, 5])
    arrays = predict(runs, [whole, broken], validation=True)
    assert whole.failure is None
    assert "scores (last) of 2 of 35 test rows are no numbers, the first of row 3 (from 0)" in broken.failure
    assert set(arrays["run"]) == set(arrays["valid_run"]) == {0}
    with pytest.raises(BenchError, match="every run diverged; the first: scores"):
        predict(runs, [Says([0]), Says([1])])
