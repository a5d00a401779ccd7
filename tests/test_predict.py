"""A model that was kept scores new rows as its runs scored their test rows; what is wrong with a model or a file."""

from __future__ import annotations

import csv
import errno
import hashlib
import importlib
import io
import json
import os
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from imbalance_bench import predict
from imbalance_bench.card import CARD, _scores
from imbalance_bench.cells import run_cell
from imbalance_bench.errors import BenchError
from imbalance_bench.metrics import calibration, scoring
from imbalance_bench.predict.deciding import decided
from imbalance_bench.predict.model import Model
from imbalance_bench.report.cli import main as report
from imbalance_bench.running import models
from imbalance_bench.store import FILES, CellFolder, arrays
from tests.cells import cell
from tests.commands import shared
from tests.tasks import CONF
from tests.texts import save_bert, save_xlnet

ROWS = 60


@pytest.fixture(scope="module")
def customers(tmp_path_factory) -> Path:
    """A table with numbers, gaps, categories and a column that is to be left out."""
    rng = np.random.default_rng(0)
    churned = rng.random(ROWS) < 0.3
    table = pd.DataFrame(
        {
            "id": [f"{i:03}" for i in range(ROWS)],
            "spent": np.where(rng.random(ROWS) < 0.1, np.nan, rng.normal(5, 2, ROWS).round(2) + 3 * churned),
            "plan": rng.choice(["basic", "plus", "pro"], ROWS),
            "zip": rng.choice(["0123", "0456", "9000"], ROWS),
            "churned": np.where(churned, "yes", "no"),
        }
    )
    path = tmp_path_factory.mktemp("customers") / "customers.csv"
    table.to_csv(path, index=False)
    return path


TABLE = ("dataset.target=churned", "dataset.drop=[id]", "dataset.categorical=[zip]", "backbone.hidden=[6]")
QUICK = ("protocol=stratified_kfold", "protocol.folds=2", "trainer.epochs=3", "trainer.validate_every=1", "save=true")


def kept(outputs: Path, *overrides: str, quick: tuple[str, ...] = QUICK) -> dict[str, Any]:
    """The record of a cell that was trained with save=true."""
    outcome = run_cell(cell(outputs, *quick, *overrides))
    assert outcome.status == "done", outcome.message
    record = CellFolder(outcome.path).record()
    assert record is not None and record["model"] == {"schema": 1}
    return record


@pytest.fixture(scope="module")
def churn(customers, tmp_path_factory) -> dict[str, Any]:
    outputs = tmp_path_factory.mktemp("outputs")
    return kept(outputs, "dataset=csv", f"dataset.path={customers}", *TABLE)


@pytest.fixture
def copied(churn, tmp_path) -> Path:
    """The folder of that record, moved to another place under another name."""
    return Path(shutil.copytree(churn["path"], tmp_path / "my model"))


def called(capsys, *arguments: Any, status: int = 0) -> tuple[str, str]:
    """What the command prints, and what it says beside."""
    assert predict.main([*map(str, arguments), "--device", "cpu"]) == status
    printed = capsys.readouterr()
    return printed.out, printed.err


def table_of(text: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(text), dtype={"id": str, "row": int, "zip": str})


def check_test_rows(record: dict[str, Any], write: Any, data: str = "") -> None:
    """The test rows of each run, written as a new file by ``write(rows)``, get the bits of predictions.npz."""
    from imbalance_bench.data.new_rows import new_rows

    saved = arrays(record, "predictions.npz")
    for run in range(len(record["runs"])):
        mine = saved["run"] == run
        model = Model.load(record["path"], [run], data, "cpu")
        rows = new_rows(write(saved["sample_id"][mine]), model.trained, next(iter(model.encoders.values())), {})
        for readout in ("last", "best"):
            np.testing.assert_array_equal(model.scores(rows.x, readout)[run], saved[f"scores_{readout}"][mine])
        np.testing.assert_array_equal(rows.labels, saved["label"][mine])


def test_a_table(churn, customers, tmp_path):
    whole = pd.read_csv(customers, dtype=str)

    def write(rows):
        path = tmp_path / "new.csv"
        whole.iloc[rows].to_csv(path, index=False)
        return path

    check_test_rows(churn, write)


SMALL_WORDS = ("backbone.length=8", "backbone.vocabulary=40", "backbone.embedding=6")


@pytest.mark.parametrize(
    "backbone, options",
    [
        ("lsa", ("backbone.dims=5",)),
        ("textcnn", SMALL_WORDS),
        ("textrnn", (*SMALL_WORDS, "backbone.hidden=5")),
        pytest.param("frozen_transformer", ("backbone.model=tiny",), marks=pytest.mark.slow),
        pytest.param("xlnet", ("backbone.model=tiny", "backbone.length=12"), marks=pytest.mark.slow),
    ],
)
def test_texts(tmp_path, backbone, options):
    rng = np.random.default_rng(0)
    spam = rng.random(40) < 0.4
    words = [[*rng.choice(["are", "you", "at", "home"], 4), *(["win", "prize"] if s else ["call"])] for s in spam]
    texts = [" ".join(rng.permutation(row)) for row in words]
    table = pd.DataFrame({"body": texts, "kind": np.where(spam, "spam", "ham")})
    table.to_csv(tmp_path / "mails.csv", index=False)

    def write(rows):
        path = tmp_path / "new.csv"
        table.iloc[rows].to_csv(path, index=False)
        return path

    stopped = tmp_path / "outputs/data/stopwords/nltk_english.txt"
    stopped.parent.mkdir(parents=True)
    stopped.write_text("at")
    save = {"frozen_transformer": save_bert, "xlnet": save_xlnet}.get(backbone)
    if save is not None:
        pytest.importorskip("transformers")
        options = [option.replace("tiny", str(save(tmp_path / "tiny"))) for option in options]
    of_texts = ("dataset=texts", f"dataset.path={tmp_path}/mails.csv", "dataset.text=body", "dataset.target=kind")
    record = kept(tmp_path / "outputs", *of_texts, f"backbone={backbone}", *options)
    check_test_rows(record, write, str(tmp_path / "elsewhere"))


def test_images(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(24):
        path = tmp_path / "pets" / ("cat" if i % 3 else "dog") / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 200 + 50 * (i % 3 > 0), (8, 8), np.uint8)).save(path)
    files = sorted((tmp_path / "pets").rglob("*.png"))
    small = ("backbone=lenet_small", "backbone.kernel=2", "backbone.conv=[2,3]", "backbone.hidden=[5,4]")
    record = kept(
        tmp_path / "outputs", "dataset=image_folder", f"dataset.path={tmp_path}/pets", "dataset.channels=1", *small
    )

    def write(rows):
        new = tmp_path / "new"
        shutil.rmtree(new, ignore_errors=True)
        for place, row in enumerate(rows):  # in the order of the rows
            file = new / f"{place:02}" / files[row].parent.name / "it.png"
            file.parent.mkdir(parents=True)
            shutil.copy(files[row], file)
        return new

    check_test_rows(record, write)


def test_the_runs_of_a_cell_are_averaged(churn, customers, capsys, tmp_path):
    new = pd.read_csv(customers, dtype=str)[:10].assign(note="called", plan=["basic", "gold", *["plus"] * 7, "gold"])
    new.to_csv(tmp_path / "new.csv", index=False)
    printed, said = called(capsys, churn["path"], tmp_path / "new.csv")
    whole = table_of(printed)
    assert list(whole) == ["row", "id", "churned", "note", "p_no", "p_yes", "decision"]
    assert whole["id"].tolist() == new["id"].tolist() and whole["row"].tolist() == list(range(10))
    one = [table_of(called(capsys, churn["path"], tmp_path / "new.csv", "--run", i)[0]) for i in (0, 1)]
    np.testing.assert_allclose(whole["p_yes"], (one[0]["p_yes"] + one[1]["p_yes"]) / 2, rtol=1e-12)
    plain = table_of(called(capsys, churn["path"], tmp_path / "new.csv", "--decide", "probability")[0])
    assert (plain["p_yes"] == whole["p_yes"]).all()
    assert (plain["decision"] == np.where(plain["p_yes"] > plain["p_no"], "yes", "no")).all()
    assert "10 rows scored by the mean of 2 runs (0, 1)" in said
    assert "'note' was not in the training data: kept, not used" in said
    assert "plan: 2 rows have a category that was not seen in training ('gold' in 2)" in said
    # With the class in the file there are metrics; without it, which is what a new file is like, there are none.
    assert "metrics of 10 rows with a class:" in said and "positive: auc_pr" in said and "g_mean" in said
    new.assign(churned="no").to_csv(tmp_path / "new.csv", index=False)
    said = called(capsys, churn["path"], tmp_path / "new.csv")[1]
    assert "metrics of 10 rows with a class (none of class yes: what is over the classes is left out):" in said
    assert "  all: log_loss" in said and "decisions: cost" in said
    assert not any(word in said for word in ("macro", "auc_pr", "g_mean", "balanced", "nan"))
    new.drop(columns=["churned", "note", "id"]).to_csv(tmp_path / "bare.csv", index=False)
    output = tmp_path / "scores.csv"
    printed, said = called(capsys, churn["path"], tmp_path / "bare.csv", "--output", output)
    assert not printed and "metrics" not in said
    bare = table_of(output.read_text())
    assert list(bare) == ["row", "p_no", "p_yes", "decision"]
    assert (bare["p_yes"] == whole["p_yes"]).all()


def test_metrics_and_decisions_are_those_of_the_record(churn, customers, capsys, tmp_path):
    saved = arrays(churn, "predictions.npz")
    mine = saved["sample_id"][saved["run"] == 0]
    pd.read_csv(customers, dtype=str).iloc[mine].to_csv(tmp_path / "new.csv", index=False)
    with (churn["path"] / "metrics.csv").open() as file:
        found = {
            row["metric"]: float(row["value"])
            for row in csv.DictReader(file)
            if (row["run"], row["iterate"], row["part"]) == ("0", "last", "test")
            and row["class_group"] == ("macro" if "balanced" in row["metric"] else "positive")
        }
    said = called(capsys, churn["path"], tmp_path / "new.csv", "--run", 0)[1]
    assert f"positive: auc_pr {found['auc_pr']:.4f}, auc_roc {found['auc_roc']:.4f}" in said
    assert f"best for f1 on validation rows ({found['threshold_f1']:.3g})" in said
    for objective in ("f1", "g_mean", "balanced_accuracy"):
        said = called(capsys, churn["path"], tmp_path / "new.csv", "--run", 0, "--decide", objective)[1]
        assert f"{objective} {found[f'{objective}_tuned']:.4f}" in said.splitlines()[-1]
        assert f"best for {objective} on" in said
    said = called(capsys, churn["path"], tmp_path / "new.csv", "--run", 0, "--decide", "probability")[1]
    assert f"f1 {found['f1']:.4f}" in said.splitlines()[-1] and "decisions by the highest probability: " in said


def test_probabilities_are_calibrated_where_asked(churn, customers, capsys):
    saved = scoring.parts_of(arrays(churn, "predictions.npz"))["valid"]
    plain = table_of(called(capsys, churn["path"], customers, "--run", 1)[0])
    given = np.log(plain[["p_no", "p_yes"]].to_numpy())
    mine = saved["run"] == 1
    made = calibration.fitted("platt", saved["label"][mine], saved["scores_last"][mine])
    found = table_of(called(capsys, churn["path"], customers, "--run", 1, "--calibration", "platt")[0])
    np.testing.assert_allclose(found["p_yes"], np.exp(made(given))[:, 1], rtol=1e-5)
    assert not np.allclose(found["p_yes"], plain["p_yes"])
    # Two classes: a rising map of probabilities changes no tuned decision.
    assert (found["decision"] == plain["decision"]).all()


def test_what_needs_validation_rows_says_so_where_there_are_none(churn, copied, customers, capsys):
    edited(copied, "model.json", lambda content: content, validation="trained on")
    said = called(capsys, copied, customers)[1]
    assert "decisions by the highest probability (those of this record were trained on: train with" in said
    for words in (("--decide", "cost"), ("--calibration", "prior")):
        said = called(capsys, copied, customers, *words, status=1)[1]
        assert f"{' '.join(words)} needs validation rows that nothing was trained on, and those of this" in said
    record = CellFolder(churn["path"]).record()
    made = decided(record, {0: np.log([[0.6, 0.4]])}, "knn", None, None)
    assert made.decisions.tolist() == [0] and "has no scores of them for --readout knn" in made.how


def test_a_model_may_be_moved_and_its_card_says_how_it_is_used(churn, copied, customers, capsys):
    assert called(capsys, copied, customers)[0] == called(capsys, churn["path"], customers)[0]
    card = (copied / "model.md").read_text()
    assert "| no |" in card and "| auc_pr | 0." in card and "t interval over runs" in card
    assert f"python scripts/predict.py {churn['path']} new.csv --output scores.csv" in card
    assert "60 rows: " in card and churn["id"] in card
    assert (
        re.search(r"^\| f1 \| 0\.\d+( to 0\.\d+)? \|$", card, re.M) and "'yes' where its probability is above" in card
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop(columns=["spent", "zip"]).rename(columns={"plan": "plans"}),
         "lacks 3 of the 3 columns that the model was trained with: 'spent', 'plan', 'zip'; it has also .*'plans'"),
        (lambda t: t.drop(columns="zip"), "lacks 1 of the 3 .*: 'zip'"),
        (lambda t: t.assign(spent=["n. a.", *t["spent"][1:]]),
         "column 'spent' holds numbers in the training data, and here 'n. a.' .* in 1 of 60 rows, the first is row 0"),
        (lambda t: t.assign(spent="inf"), "60 infinite values, the first in column 'spent'"),
        (lambda t: t.assign(spent="1e300"), "numbers that are too large, the first is row 0"),
        (lambda t: t[:0], "is empty: it has a header and no rows"),
    ],
)  # fmt: skip
def test_a_table_that_is_not_like_the_training_data_is_named(churn, customers, capsys, tmp_path, change, words):
    path = tmp_path / "new.csv"
    change(pd.read_csv(customers, dtype=str)).to_csv(path, index=False)
    said = called(capsys, churn["path"], path, status=1)[1]
    assert said.startswith("error: ") and len(said.splitlines()) == 1
    assert pd.Series([said]).str.contains(words, regex=True)[0], said
    assert "dataset.path" not in said
    if "n. a." in said:  # the advice reads it
        assert called(capsys, churn["path"], path, "dataset.missing=['n. a.']")[0]


@pytest.mark.parametrize("gap", ["", "n. a."])
def test_numbers_with_another_mark_are_read_by_what_the_error_advises(churn, customers, capsys, tmp_path, gap):
    path, separator = tmp_path / "new.csv", "dataset.separator=semicolon"
    pd.read_csv(customers, dtype={"zip": str, "id": str}).to_csv(path, sep=";", decimal=",", na_rep=gap, index=False)
    said = called(capsys, churn["path"], path, separator, status=1)[1]
    assert "values are numbers written as '" in said and "dataset.decimal" in said
    assert len(advised := re.findall(r"dataset\.\w+=\S+?(?='(?: |$))|dataset\.missing=\[.*?\]", said)) == 1 + bool(gap)
    assert called(capsys, churn["path"], path, separator, *advised)[0] == called(capsys, churn["path"], customers)[0]


def test_files_that_cannot_be_read_are_named(churn, customers, capsys, tmp_path):
    (tmp_path / "nothing.csv").write_text("")
    for name, words in (("absent.csv", "cannot be read: No such file"), ("nothing.csv", "is empty")):
        assert words in called(capsys, churn["path"], tmp_path / name, status=1)[1]
    semicolons = tmp_path / "new.csv"
    semicolons.write_text(customers.read_text().replace(",", ";"))
    assert "set dataset.separator=semicolon" in called(capsys, churn["path"], semicolons, status=1)[1]
    assert called(capsys, churn["path"], semicolons, "dataset.separator=semicolon")[0]
    semicolons.write_text(customers.read_text().replace(",", "|"))
    assert called(capsys, churn["path"], semicolons, "dataset.separator=|")[0]
    wrong = called(capsys, churn["path"], customers, "dataset.positive=no", status=1)[1]
    assert "dataset.positive does not say how a new file is read" in wrong
    assert "the model has runs 0, 1" in called(capsys, churn["path"], customers, "--run", 7, status=1)[1]
    assert "has last, best" in called(capsys, churn["path"], customers, "--readout", "knn", status=1)[1]


def edited(folder: Path, name: str, change: Any, **record: Any) -> None:
    """Changes a file of a model and the record as somebody might who can compute sums."""
    content = change((folder / name).read_bytes())
    (folder / name).write_bytes(content)
    whole = json.loads((folder / "record.json").read_text())
    whole["files"][name] = hashlib.sha256(content).hexdigest()
    whole.pop("sum", None)
    (folder / "record.json").write_text(json.dumps(whole | record))


def test_a_place_that_cannot_be_written_is_named_before_anything_is_scored(
    churn, customers, capsys, tmp_path, monkeypatch
):
    monkeypatch.setattr(predict, "predicted", None)
    same = tmp_path / "same.csv"
    same.symlink_to(customers)
    for output, words in (
        (customers, "is the file of the rows"),
        (same, "is the file of the rows"),
        ("no/s.csv", "there is no folder"),
        (tmp_path, "is a folder: name a file in it"),
    ):
        assert words in called(capsys, churn["path"], customers, "--output", output, status=1)[1]


def test_a_full_disk_asks_for_another_output(churn, customers, capsys, tmp_path, monkeypatch):
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "")

    monkeypatch.setattr(os, "fsync", full)
    said = called(capsys, churn["path"], customers, "--output", tmp_path / "scores.csv", status=1)[1]
    assert said.strip().endswith("scores.csv: the disk is full; free it or set --output=<another file>")
    assert not list(tmp_path.glob("*scores*"))


def test_what_is_wrong_with_a_model_is_said(churn, copied, customers, capsys, tmp_path):
    def said(folder=copied):
        text = called(capsys, folder, customers, status=1)[1]
        assert len(text.splitlines()) == 1
        return text

    assert "there is no such folder" in said(tmp_path / "absent")
    assert "holds no record.json" in said(tmp_path)
    facts = (copied / "model.json").read_bytes()
    (copied / "model.json").write_bytes(facts.replace(b"minmax", b"zscore").replace(b"plus", b"plum"))
    assert "model.json is damaged (not what the run wrote): train the cell again with save=true" in said()
    (copied / "model.json").unlink()
    assert "model.json is missing" in said()
    (copied / "model.json").write_bytes(facts)
    arrays_of = (copied / "model.safetensors").read_bytes()
    edited(copied, "model.safetensors", lambda content: content[:-8])
    assert "is damaged" in said()
    edited(copied, "model.safetensors", lambda content: arrays_of, model={"schema": 99})
    assert "has a model of schema 99, and this version of imbalance_bench reads 1: use the version" in said()
    edited(copied, "model.json", lambda content: content.replace(b'"network"', b'"wonder"'), model={"schema": 1})
    assert "has a part of kind 'wonder', which is unknown here" in said()
    edited(copied, "model.json", lambda content: b"{}")
    assert "model.json is damaged" in said()
    edited(copied, "model.json", lambda content: facts, runs=churn["runs"][:1])
    assert "record.json is damaged (the model has runs 0, 1, and it has 1 run): train the cell again" in said()


def test_a_part_whose_class_is_in_any_module_of_the_package_is_looked_for_there_and_nowhere_else(monkeypatch):
    asked = []
    monkeypatch.setattr(models.importlib, "import_module", asked.append)
    for module in ("imbalance_bench.methods.unheard", "imbalance_bench_of_mine.classifiers", "own_method"):
        with pytest.raises(BenchError, match="a part of kind 'unheard', which is unknown here"):
            models.restored(models.State(kind="unheard", module=module), models.Surroundings())
    assert asked == ["imbalance_bench.methods.unheard"]


def test_a_new_record_leaves_no_file_of_an_earlier_model():
    assert {*models.FILES, CARD} <= set(FILES)


def test_a_record_without_a_model_says_so_when_one_is_asked_for(customers, tmp_path, capsys):
    table = ("dataset=csv", f"dataset.path={customers}", *TABLE)
    without = run_cell(cell(tmp_path, *QUICK, *table, "save=false"))
    asked = run_cell(cell(tmp_path, *QUICK, *table))
    assert asked.status == "skipped" and asked.path == without.path  # the same cell
    assert "without a model: cache=overwrite trains it again and keeps one" in asked.line()
    said = called(capsys, asked.path, customers, status=1)[1]
    assert "trained without save=true" in said and "save=true cache=overwrite" in said
    assert run_cell(cell(tmp_path, *QUICK, *table, "cache=overwrite")).status == "done"
    assert called(capsys, asked.path, customers)[0]
    assert "without a model" not in run_cell(cell(tmp_path, *QUICK, *table)).line()
    run_cell(cell(tmp_path, *QUICK, *table, "cache=overwrite", "save=false"))
    assert not list(asked.path.glob("model*"))


def test_several_classes_of_a_built_in_set(capsys, tmp_path):
    from sklearn.datasets import load_wine

    record = kept(tmp_path, "dataset=wine", "method=logistic_regression")
    x, y = load_wine(return_X_y=True)
    table = pd.DataFrame(x, columns=[f"x{i}" for i in range(13)])
    table.assign(**{"class": [record["data"]["class_names"][c] for c in y]}).to_csv(tmp_path / "new.csv", index=False)
    printed, said = called(capsys, record["path"], tmp_path / "new.csv")
    assert list(table_of(printed)) == ["row", "class", "p_class_0", "p_class_1", "p_class_2", "decision"]
    assert "offsets that are best for f1 on validation rows" in said and "metrics of 178 rows" in said
    assert "By offsets of the classes" in (record["path"] / "model.md").read_text()


def test_a_regression(capsys, tmp_path):
    sine = ("dataset=sine", "method=squared_error", "protocol=official_test", "backbone=mlp_sine")
    record = kept(tmp_path, *sine, quick=("save=true",))
    saved = arrays(record, "predictions.npz")
    artifacts = arrays(record, "artifacts.npz")
    pd.DataFrame({"x0": artifacts["run0_test_x"][:, 0].astype(float)}).to_csv(tmp_path / "new.csv", index=False)
    found = table_of(called(capsys, record["path"], tmp_path / "new.csv")[0])
    np.testing.assert_allclose(found["prediction"], saved["scores_last"][:, 0], rtol=1e-6)
    assert "Decisions" not in (record["path"] / "model.md").read_text()


def test_a_cell_whose_classifiers_cannot_be_saved_is_recorded_all_the_same(customers, tmp_path, monkeypatch, capsys):
    importlib.import_module("imbalance_bench.engine")
    monkeypatch.delitem(models.KINDS, "network")
    outcome = run_cell(cell(tmp_path, *QUICK, "dataset=csv", f"dataset.path={customers}", *TABLE))
    assert outcome.status == "done" and "its model" not in outcome.line()
    said = capsys.readouterr().err
    assert "save=true: no model is kept: imbalance_bench.engine.NetworkClassifier does not say what to save" in said
    assert "model" not in CellFolder(outcome.path).record()


def test_estimators_made_of_unknown_types_are_neither_written_nor_read():
    io = pytest.importorskip("skops.io")
    from fractions import Fraction

    from imbalance_bench.running.models import ESTIMATORS, NotKept, State, packed, unpacked

    with pytest.raises(NotKept, match="made of fractions.Fraction"):
        packed({"run0": State(estimators={"it": Fraction(1, 2)}, kind="trees")}, {})
    files = packed({"run0": State(kind="trees")}, {})
    strange = io.dumps({"run0/it": Fraction(1, 2)})
    with pytest.raises(predict.BenchError, match="asks for fractions.Fraction, and only classes of sklearn"):
        unpacked(files | {ESTIMATORS: strange})


def lines_of(page):
    """Those of a page that keep a model or score rows by one."""
    lines = re.findall(r"^ *(python scripts/.*(?:save=true|new\.csv).*)$", (CONF.parent / page).read_text(), re.M)
    return [line for line in lines if "<record folder>" not in line]


@pytest.mark.parametrize(
    ("page", "method", "quick"),
    [
        ("README.md", "smote", "trainer.epochs=2"),
        ("docs/models.md", "hist_gradient_boosting", "method.options.max_iter=3"),
    ],
)
def test_the_commands_of_the_page_work(page, method, quick, customers, tmp_path):
    if method == "hist_gradient_boosting":
        pytest.importorskip("skops")
    lines = lines_of(page)
    assert len(lines) == {"README.md": 2, "docs/models.md": 4}[page]
    table = pd.read_csv(customers, dtype=str)
    table.to_csv(tmp_path / "customers.csv", index=False)
    table[:9].drop(columns="churned").to_csv(tmp_path / "new.csv", index=False)
    if page == "README.md":  # which leaves no column out
        table.drop(columns="id").to_csv(tmp_path / "customers.csv", index=False)
    for line in lines:
        _, script, *words = shlex.split(line)
        words = [
            found for word in words for found in (map(str, tmp_path.glob(word)) if word.endswith("/*") else [word])
        ]
        less = [quick, "protocol.folds=2", "device=cpu"] if "train.py" in script else []
        done = shared().call(tmp_path, [str(CONF.parent / script), *words, *less])
        assert done.returncode == 0, done.stderr
        if less:
            folder = tmp_path / done.stdout.strip().partition("its model: ")[2]
            assert f"/{method}/" in str(folder) and (folder / "model.md").exists(), done.stdout
    scores = table_of((tmp_path / "scores.csv").read_text())
    assert len(scores) == 9 and {"id", "p_yes", "decision"} <= set(scores)


def test_a_rescore_writes_the_card_again(churn, tmp_path):
    from imbalance_bench.rescore import rescore

    folder = Path(shutil.copytree(churn["path"], tmp_path / churn["id"]))

    def told() -> set[str]:
        """The thresholds for cost that the card gives."""
        return set(re.search(r"^\| cost \| (.*) \|$", (folder / CARD).read_text(), re.M)[1].split(" to "))

    before, card = told(), (folder / CARD).read_text()
    assert rescore(CellFolder(folder), cost=2)
    values = [
        float(row["value"])
        for row in scoring.from_csv((folder / "metrics.csv").read_text())
        if (row["metric"], row["part"], row["iterate"]) == ("threshold_cost", "test", "last")
    ]
    assert told() == {f"{min(values):.3g}", f"{max(values):.3g}"} != before
    after = (folder / CARD).read_text()
    assert not rescore(CellFolder(folder)) and (folder / CARD).read_text() == after
    (folder / CARD).write_text(card)  # of a rescore by earlier code
    assert not rescore(CellFolder(folder)) and (folder / CARD).read_text() == after
    assert CellFolder(folder).record()["cost"] == 2


def test_the_card_keeps_to_the_bounds_of_a_metric_and_to_one_value_a_split():
    def csv_of(values):
        rows = [
            {"run": i, "fold": fold, "repeat": repeat, "iterate": "last", "class_group": "all", "metric": metric,
             "value": value, "part": "test"}
            for metric in ("brier", "balanced_accuracy", "log_loss")
            for i, ((fold, repeat), value) in enumerate(values.items())
        ]  # fmt: skip
        return scoring.to_csv(rows)

    values = {(0, 0): 0.354, (1, 0): 1.114}
    lines = "\n".join(_scores(csv_of(values), 3))
    assert "| brier | 0.7340 [0.0000, 2.0000] |" in lines and "| log_loss | 0.7340 [0.0000, 5.56" in lines
    assert "| balanced_accuracy | 0.7340 [0.0000, 1.0000] |" in lines
    assert "| brier | 0.7340 [0.0000, 1.0000] |" in "\n".join(_scores(csv_of(values), 2))
    often = {(fold, repeat): value for (fold, _), value in values.items() for repeat in range(5)}
    assert _scores(csv_of(often), 3) == _scores(csv_of(values), 3)
    seeds = {(0, repeat): 0.1 + 0.001 * repeat for repeat in range(5)}
    assert "| brier | 0.1020 [0.1000, 0.1040] |" in "\n".join(_scores(csv_of(seeds), 3))


def test_scores_that_are_no_probabilities_are_said_to_be_none(capsys, tmp_path, customers):
    record = kept(tmp_path, f"dataset.path={customers}", "dataset=csv", "dataset.target=churned", "method=linear_svm")
    said = called(capsys, record["path"], customers)[1]
    assert "p_no, ... are made of a decision function, which ranks rows: they are no probabilities" in said
    assert "--calibration platt makes some of them" in said
    assert "no probabilities" not in called(capsys, record["path"], customers, "--calibration", "platt")[1]
    card = (record["path"] / CARD).read_text()
    assert "Its scores are a decision function, which ranks rows: they are no probabilities, and `--calib" in card
    outputs = str(record["path"].parents[5])
    assert report(["--outputs", outputs, "--metric", "brier"]) == 0
    note = capsys.readouterr().out
    assert "brier of linear_svm: the scores are a decision function, which ranks rows: they are no prob" in note
    assert "--metric brier_platt is of calibrated ones" in note and "rescore.py --calibration platt --outputs" in note
    assert report(["--outputs", outputs, "--metric", "auc_pr"]) == 0
    assert "no probabilities" not in capsys.readouterr().out
