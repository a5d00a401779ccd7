"""Rescoring: records are mended from their predictions alone, whole or not at all, and nothing else is
touched."""

import csv
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from imbalance_bench import metrics, rescore
from imbalance_bench.metrics import scoring
from imbalance_bench.registry import GROUPS
from imbalance_bench.report.records import records
from imbalance_bench.store import SCHEMA, CellFolder, Store

SCRIPT = Path(__file__).parents[1] / "scripts/rescore.py"


def make_cell(outputs, method="smote", dataset="ecoli", cell_id="0123456789ab", seed=0, write_metrics=True):
    """A finished cell of two runs whose predictions, metrics and headline agree."""
    labels = dict.fromkeys(GROUPS, "any") | {"method": method, "dataset": dataset, "ratio": "native"}
    cell = Store(outputs).cell(labels, cell_id)
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(40, 2))
    arrays = {
        "run": np.repeat(np.arange(2, dtype=np.int32), 20),
        "sample_id": np.arange(40),
        "label": np.tile([0, 0, 0, 1], 10),
        "scores_last": (logits - np.logaddexp.reduce(logits, axis=1)[:, None]).astype(np.float32),
    }
    rows = scoring.score_predictions(arrays, [(0, 0), (1, 0)], ["no", "yes"], "classification")
    run = {"repeat": 0, "failure": None, "subset_hash": "a", "test_hash": "b", "n_train": 20, "n_test": 20}
    record = {
        "schema": SCHEMA,
        "id": cell_id,
        "status": "done",
        "labels": labels,
        "config": {group: {} for group in GROUPS},
        "seconds": 1.0,
        "provenance": {},
        "kind": "classification",
        "data": {"classes": 2, "class_names": ["no", "yes"], "features": 2},
        "headline": scoring.headline(rows, 2, "classification"),
        "runs": [run | {"run": i, "fold": i} for i in range(2)],
    }
    cell.finish(record, {"predictions.npz": npz(arrays), "metrics.csv": scoring.to_csv(rows)})
    return cell


def npz(arrays):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def files(folder):
    return {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


def edit_metrics(cell, change):
    """The numbers as an earlier version of the metrics wrote them, with their sum."""
    rows = list(csv.DictReader(io.StringIO((cell.path / "metrics.csv").read_text())))
    cell.amend(cell.record(), {"metrics.csv": scoring.to_csv(change(rows))})


def edit_predictions(cell, **arrays):
    with np.load(cell.path / "predictions.npz") as loaded:
        arrays = dict(loaded) | arrays
    finish_with(cell, npz({k: a for k, a in arrays.items() if a is not None}))


def finish_with(cell, predictions):
    """As if the run had written these predictions."""
    record = {k: v for k, v in cell.record().items() if k != "path"}
    cell.finish(record, {"predictions.npz": predictions, "metrics.csv": (cell.path / "metrics.csv").read_text()})


def run(outputs, *wanted):
    return rescore.main([*wanted, "--outputs", str(outputs)])


def test_what_agrees_is_not_touched(tmp_path, capsys):
    make_cell(tmp_path)
    before = files(tmp_path)
    assert run(tmp_path) == 0
    assert files(tmp_path) == before
    assert capsys.readouterr().out.splitlines() == [
        "smote on ecoli native (0123456789ab): unchanged",
        "1 finished cells: 0 changed, 1 unchanged, 0 failed",
    ]


def test_a_mended_and_an_added_metric_reach_the_files(tmp_path, capsys):
    cell = make_cell(tmp_path)
    right, record = (cell.path / "metrics.csv").read_text(), cell.record()

    def older(rows):
        kept = [r for r in rows if r["metric"] != "ece"] + [rows[0] | {"metric": "kappa"}]
        return [r | {"value": float(r["value"]) - 0.25} if r["metric"] == "accuracy" else r for r in kept]

    edit_metrics(cell, older)
    stale = cell.record() | {"headline": record["headline"] | {"mean": 0.1}}
    cell.amend(stale, {"metrics.csv": (cell.path / "metrics.csv").read_text()})
    assert run(tmp_path) == 0
    assert (cell.path / "metrics.csv").read_text() == right and cell.record() == record
    line = capsys.readouterr().out.splitlines()[0]
    for part in ("added all ece", "removed positive kappa", "changed all accuracy (by 0.25 at most)"):
        assert part in line
    assert f"headline auc_pr 0.1000 -> {record['headline']['mean']:.4f}" in line


def test_a_new_metric_needs_no_training(tmp_path, monkeypatch):
    cell = make_cell(tmp_path)
    old = metrics.evaluate_runs
    rank = {"class_group": "all", "metric": "answer", "value": 42.0}
    monkeypatch.setattr(metrics, "evaluate_runs", lambda *a: [[*rows, rank] for rows in old(*a)])
    change = rescore.rescore(cell)
    assert change.added == ["all answer"] and not change.removed and not change.changed
    assert not rescore.rescore(cell)


def test_the_minority_classes_are_those_of_the_records(tmp_path):
    cell = make_cell(tmp_path)
    record = cell.record()
    runs = [run | {"minority_classes": [c]} for run, c in zip(record["runs"], (1, 0))]
    cell.amend(record | {"runs": runs}, {"metrics.csv": (cell.path / "metrics.csv").read_text()})
    change = rescore.rescore(cell)
    assert {name.split()[0] for name in change.added} == {"minority", "majority"} and not change.changed
    rows = list(csv.DictReader(io.StringIO((cell.path / "metrics.csv").read_text())))
    recall = {(r["run"], r["class_group"]): r["value"] for r in rows if r["metric"] == "recall"}
    assert recall["0", "minority"] == recall["0", "class:yes"] and recall["1", "minority"] == recall["1", "class:no"]


def test_every_readout_there_is_is_scored(tmp_path):
    cell = make_cell(tmp_path)
    with np.load(cell.path / "predictions.npz") as loaded:
        arrays = dict(loaded)
    edit_predictions(cell, scores_knn=arrays["scores_last"][::-1])
    assert rescore.rescore(cell).added
    rows = list(csv.DictReader(io.StringIO((cell.path / "metrics.csv").read_text())))
    assert list(dict.fromkeys(r["iterate"] for r in rows)) == ["last", "knn"]
    assert cell.record()["headline"]["iterate"] == "last"


@pytest.mark.parametrize(
    ("predicted", "labels", "expected"),
    [
        ([0, 1, 2, 2], [0, 1, 2, 3], False),
        ([0, 1, 1, 0], [0, 1, 2, 3], True),  # half of four classes
        ([0, 0, 0, 1], [0, 1, 2, 2], False),
        ([2, 2, 2, 2], [0, 1, 2, 2], True),
        ([0, 0, 1, 1], [1, 0, 1, 0], False),
        ([0, 0, 0, 0], [1, 0, 1, 0], True),
        ([0, 0, 0, 0], [0, 0, 0, 0], False),  # the test part has one class
    ],
)
def test_few_classes_are_predicted_or_the_run_collapsed(predicted, labels, expected):
    """At most half of the classes; collapsed only where the ranking is at chance too."""
    classes = max(2, *labels) + 1 if max(labels) > 1 else 2
    scores = np.log(np.eye(classes)[predicted] + 0.01)
    found = scoring.decisions(np.array(labels), scores, 0.9)
    assert found == {"predicted_classes": sorted(set(predicted)), "few_classes": expected, "collapsed": False}
    assert scoring.decisions(np.array(labels), scores, 0.52)["collapsed"] is expected


@pytest.mark.parametrize(
    ("runs", "classes", "words"),
    [
        ([{}, {"collapsed": False}], 2, ""),
        ([{"collapsed": True}, {}], 10, "1 of 2 runs predict at most half of the classes"),
        ([{"collapsed": True}], 2, "1 of 1 runs predict one class only"),
        ([([0], False)] * 3, 2, "3 of 3 runs predict no positive at 0.5"),
        ([([1], False), ([0, 1], False)], 2, "2 of 2 runs"),
        ([([0], True), ([0], False)], 2, "2 of 2 runs predict no positive at 0.5; 1 collapsed: AUC-ROC at most 0.55"),
    ],
)
def test_few_classes_in_words_of_records_of_now_and_before(runs, classes, words):
    def run(facts):
        return dict(zip(("predicted_classes", "collapsed", "few_classes"), (*facts, True)))

    record = {"data": {"classes": classes}, "runs": [run(r) if isinstance(r, tuple) else r for r in runs]}
    said = scoring.few_classes(record)
    assert said.removeprefix("at the last epoch ").startswith(words) and bool(said) == bool(words)


def test_what_has_no_runs_predicts_no_few_classes():
    assert scoring.few_classes(None) == scoring.few_classes({"status": "declined"}) == ""


def test_a_regression_predicts_no_classes():
    assert scoring.decisions(np.array([0.5, 1.5]), np.zeros((2, 1)), np.nan) == scoring.NO_DECISIONS


def test_a_table_that_stays_is_not_read_as_numbers(tmp_path, monkeypatch):
    """Of a hundred thousand cells, nearly all."""
    cells, parsed = [make_cell(tmp_path, cell_id=f"{i:012x}") for i in range(3)], []
    monkeypatch.setattr(rescore, "_numbers", lambda text, of=rescore._numbers: parsed.append(text) or of(text))
    assert rescore.main(["--outputs", str(tmp_path)]) == 0 and not parsed
    (cells[1].path / "metrics.csv").write_text("scribbled")
    assert rescore.main(["--outputs", str(tmp_path)]) == 0 and len(parsed) == 2


def test_undefined_numbers_are_not_changes(tmp_path):
    cell = make_cell(tmp_path)
    edit_predictions(cell, label=np.zeros(40, dtype=np.int64))  # no positive row: auc_pr is nan
    assert rescore.rescore(cell)
    assert not rescore.rescore(cell)


def test_filters_and_ids(tmp_path, capsys):
    for i, (method, dataset) in enumerate([("smote", "ecoli"), ("focal", "ecoli"), ("focal", "oil")]):
        edit_metrics(make_cell(tmp_path, method, dataset, f"{i:012d}"), lambda rows: rows[:-1])
    assert run(tmp_path, "method=foc*,smote", "dataset=oil") == 0
    assert "1 finished cells: 1 changed" in capsys.readouterr().out
    assert run(tmp_path, f"{0:012d}") == 0
    assert "smote on ecoli" in capsys.readouterr().out
    assert run(tmp_path) == 0
    assert "3 finished cells: 1 changed, 2 unchanged, 0 failed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ("method=smotte", "no cell has method=smotte: did you mean smote?"),
        ("methd=smote", "no group 'methd' to select by: did you mean method?"),
        ("abc", "no cell has id=abc"),
    ],
)
def test_a_filter_that_matches_nothing_is_an_error(tmp_path, capsys, wanted, says):
    make_cell(tmp_path)
    assert run(tmp_path, wanted) == 1
    assert says in capsys.readouterr().err


def test_no_records(tmp_path, capsys):
    assert run(tmp_path) == 0
    assert "0 finished cells" in capsys.readouterr().out
    assert run(tmp_path, "method=smote") == 1
    assert "no cell has method=smote: there is no cell" in capsys.readouterr().err
    assert run(tmp_path / "nowhere") == 1
    assert f"--outputs {tmp_path / 'nowhere'}: there is no such folder" in capsys.readouterr().err


def cut(cell):
    finish_with(cell, (cell.path / "predictions.npz").read_bytes()[:-200])


def of_other_shape(cell):
    edit_predictions(cell, scores_last=np.zeros((40, 3)))


def cut_afterwards(cell):
    path = cell.path / "predictions.npz"
    path.write_bytes(path.read_bytes()[:-200])


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda cell: (cell.path / "predictions.npz").unlink(), "is missing"),
        (cut, "is damaged"),
        (cut_afterwards, "is damaged (not what the run wrote)"),
        (lambda cell: edit_predictions(cell, label=None, scores_last=None), "has no label, scores_last"),
        (of_other_shape, "cannot score"),
        (lambda cell: edit_predictions(cell, label=np.zeros(39, int)), "label has the shape (39,), not 40 rows"),
        (lambda cell: edit_predictions(cell, label=np.array(0)), "label has the shape (), not 40 rows"),
        (lambda cell: edit_predictions(cell, difficult_share=np.zeros(3)), "difficult_share has the shape (3,), not 2"),
        (lambda cell: edit_predictions(cell, run=np.full(40, 2)), "its runs are not among the 2 of the record"),
        (lambda cell: edit_predictions(cell, run=np.zeros(40)), "its runs are not among the 2 of the record"),
    ],
)
def test_a_damaged_cell_is_named_left_alone_and_stops_no_other(tmp_path, capsys, damage, says):
    bad, good = make_cell(tmp_path, cell_id="a" * 12), make_cell(tmp_path, "focal", cell_id="b" * 12)
    edit_metrics(good, lambda rows: rows[:-1])
    damage(bad)
    before = files(bad.path)
    assert run(tmp_path) == 1
    printed = capsys.readouterr()
    assert says in printed.err and "smote on ecoli" in printed.err
    assert files(bad.path) == before
    assert "1 changed, 0 unchanged, 1 failed" in printed.out


def test_a_damaged_record_is_named_and_stops_no_other(tmp_path, capsys):
    bad, good = make_cell(tmp_path, cell_id="a" * 12), make_cell(tmp_path, "focal", cell_id="b" * 12)
    edit_metrics(good, lambda rows: rows[:-1])
    (bad.path / "record.json").write_text("{}")
    assert run(tmp_path) == 1
    printed = capsys.readouterr()
    assert f"damaged: {bad.path / 'record.json'} is damaged (no valid schema): delete its folder" in printed.err
    assert printed.out.endswith("1 finished cells: 1 changed, 0 unchanged, 0 failed; 1 records do not count\n")


def half(path):
    path.write_bytes(path.read_bytes()[:800])


@pytest.mark.parametrize(
    "damage",
    [lambda p: p.write_text("run,fold\n0,0\n"), lambda p: p.write_bytes(b"\xff"), lambda p: p.unlink(), half]
    + [lambda p: p.write_text(p.read_text().replace("0.", "1.", 1))],
)
def test_damaged_metrics_are_computed_again(tmp_path, capsys, damage):
    """As the message on them says; what is whole afterwards is said to be."""
    cell = make_cell(tmp_path)
    right = files(cell.path).keys(), (cell.path / "metrics.csv").read_text(), cell.record()
    damage(cell.path / "metrics.csv")
    assert cell.state() == "damaged" and f"rescore.py {cell.path.name}" in cell.damage()
    assert run(tmp_path, cell.path.name) == 0
    assert "metrics.csv was damaged" in capsys.readouterr().out
    assert cell.state() == "done"
    assert (files(cell.path).keys(), (cell.path / "metrics.csv").read_text(), cell.record()) == right


def test_a_rescore_that_is_killed_between_its_files_is_finished_by_the_next(tmp_path, monkeypatch):
    cell = make_cell(tmp_path)
    right = (cell.path / "metrics.csv").read_text(), cell.record()
    edit_metrics(cell, lambda rows: rows[:-1])
    rename = Path.replace

    def killed(path, target):
        if target.name == "record.json":
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        rescore.rescore(cell)
    monkeypatch.undo()
    assert cell.state() == "damaged" and "rescore.py" in cell.damage()
    assert rescore.rescore(cell)
    assert cell.state() == "done"
    assert ((cell.path / "metrics.csv").read_text(), cell.record()) == right


def test_a_full_disk_leaves_the_old_files(tmp_path, capsys, monkeypatch):
    cell = make_cell(tmp_path)
    edit_metrics(cell, lambda rows: rows[:-1])
    before = files(tmp_path)

    def full(path, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert run(tmp_path) == 1
    assert "the disk is full" in capsys.readouterr().err
    assert files(tmp_path) == before


def test_a_cell_in_training_is_left_to_its_process(tmp_path, capsys):
    cell = make_cell(tmp_path)
    edit_metrics(cell, lambda rows: rows[:-1])
    with CellFolder(cell.path).lock():
        assert run(tmp_path) == 1
    assert "being trained by another process" in capsys.readouterr().err


def test_the_command_imports_neither_torch_nor_sklearn(tmp_path):
    edit_metrics(make_cell(tmp_path), lambda rows: rows[:-1])
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['rescore.py', '--outputs', {str(tmp_path)!r}]\n"
        "try:\n"
        f"    runpy.run_path({str(SCRIPT)!r}, run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    assert not end.code, end.code\n"
        "print(sorted({'torch', 'sklearn', 'pandas', 'hydra'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]" and "1 changed" in done.stdout


# Validation rows


def with_validation(cell, **more):
    """The cell as if the run had scored validation rows too: other ones, as many of each run."""
    with np.load(cell.path / "predictions.npz") as loaded:
        test = dict(loaded)
    valid = {f"valid_{name}": array for name, array in test.items()}
    valid["valid_scores_last"] = valid["valid_scores_last"][:, ::-1]
    edit_predictions(cell, **valid | more)
    return cell


def test_validation_rows_are_scored_as_test_rows_are_and_no_table_counts_them(tmp_path):
    cell = with_validation(make_cell(tmp_path))
    record, before = cell.record(), records.numbers(cell.record())
    change = rescore.rescore(cell)
    assert "valid positive auc_pr" in change.added and not change.changed and not change.headline_moved
    with (cell.path / "metrics.csv").open() as file:
        rows = [r for r in csv.DictReader(file) if (r["class_group"], r["metric"]) == ("positive", "auc_pr")]
    test, valid = ([float(r["value"]) for r in rows if r["part"] == part] for part in ("test", "valid"))
    with np.load(cell.path / "predictions.npz") as saved:
        for run, value in enumerate(valid):
            mine = saved["valid_run"] == run
            scores = metrics.ranking_scores(saved["valid_scores_last"][mine], 1)
            assert value == metrics.average_precision(saved["valid_label"][mine] == 1, scores) != test[run]
    after = records.numbers(cell.record())
    assert [row for row in after if row in before] == before and cell.record()["headline"] == record["headline"]
    assert not rescore.rescore(cell)


@pytest.mark.parametrize(
    "damage", [{"valid_label": np.zeros(3, int)}, {"valid_run": np.full(40, 9)}, {"valid_run": None}]
)
def test_validation_arrays_that_do_not_fit_are_damage(tmp_path, damage, capsys):
    with_validation(make_cell(tmp_path), **damage)
    assert run(tmp_path) == 1
    assert "predictions.npz" in (said := capsys.readouterr().err) and "cache=overwrite" in said


def test_another_cost_is_counted_without_training(tmp_path, capsys):
    cell = with_validation(make_cell(tmp_path))
    assert run(tmp_path) == run(tmp_path, "--cost", "3") == 0
    said = capsys.readouterr().out
    assert "changed all cost" in said and "added positive f1_tuned" in said
    record, rows = cell.record(), records.numbers(cell.record())
    assert record["cost"] == 3
    costs = [row[-2] for row in rows if row[-3] == "cost"]
    with np.load(cell.path / "predictions.npz") as saved:
        y, predicted = saved["label"], saved["scores_last"].argmax(axis=1)
    wrong = np.where(y == 1, 3.0, 1.0) * (predicted != y)
    assert costs == pytest.approx([wrong[:20].mean(), wrong[20:].mean()])
    assert not rescore.rescore(cell)  # at the record's own cost
    with pytest.raises(SystemExit):
        run(tmp_path, "--cost", "0")


def test_calibrations_are_computed_without_training_and_kept(tmp_path, capsys):
    cell = with_validation(make_cell(tmp_path))
    assert run(tmp_path) == run(tmp_path, "--calibration", "platt,prior") == 0
    assert "added all brier_platt, all brier_minority_platt" in capsys.readouterr().out
    assert cell.record()["calibration"] == ["platt", "prior"] and not rescore.rescore(cell)
    assert run(tmp_path, "--calibration", "none") == 0
    assert "removed all brier_platt" in capsys.readouterr().out and cell.record()["calibration"] == []
    with pytest.raises(SystemExit):
        run(tmp_path, "--calibration", "plat")
    assert "there is no calibration plat: " in (said := capsys.readouterr().err) and "platt" in said
