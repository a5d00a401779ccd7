"""What a sweeper is given of a cell: a metric of validation rows, and of test rows only with a warning."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from imbalance_bench.cells import Outcome, objective_of, run_cell
from imbalance_bench.errors import BenchError
from imbalance_bench.report.records.records import numbers
from imbalance_bench.settings.config import OBJECTIVE
from imbalance_bench.settings.objective import Objective
from imbalance_bench.store import CellFolder
from imbalance_bench.sweep import Sweep
from tests import records
from tests.cells import cell
from tests.tasks import CONF


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> tuple[Path, Outcome]:
    outputs = tmp_path_factory.mktemp("outputs")
    return outputs, run_cell(cell(outputs, "protocol.folds=2"))


def given(outputs: Path, *overrides: str) -> float:
    config = cell(outputs, "protocol.folds=2", *overrides)
    return objective_of(config, run_cell(config))


def rows(outcome: Outcome, part: str, group: str, metric: str) -> list[float]:
    with (outcome.path / "metrics.csv").open() as file:
        found = [r for r in csv.DictReader(file) if (r["part"], r["iterate"]) == (part, "last")]
    return [float(r["value"]) for r in found if (r["class_group"], r["metric"]) == (group, metric)]


def test_it_is_the_mean_over_runs_of_validation_rows(done):
    outputs, outcome = done
    assert OBJECTIVE == "valid/auc_pr"
    assert given(outputs) == pytest.approx(np.mean(rows(outcome, "valid", "positive", "auc_pr")))
    assert given(outputs) != pytest.approx(outcome.headline["mean"])
    for text, group in (
        ("valid/log_loss", "all"),
        ("valid/balanced_accuracy", "macro"),
        ("valid/f1_tuned", "positive"),
    ):
        found = rows(outcome, "valid", group, text.rpartition("/")[2])
        assert given(outputs, f"objective={text}") == pytest.approx(np.mean(found))
    of_class = given(outputs, "objective=valid/class:benign/recall")
    assert of_class == pytest.approx(np.mean(rows(outcome, "valid", "class:benign", "recall")))
    assert "warnings" not in CellFolder(outcome.path).record()


def test_test_rows_are_given_with_a_warning_that_stays_in_the_record(tmp_path, capsys):
    value = given(tmp_path, "objective=test/auc_pr")
    assert "warning: a sweeper was given test/auc_pr" in capsys.readouterr().err
    outcome = run_cell(cell(tmp_path, "protocol.folds=2"))
    assert outcome.status == "skipped" and value == pytest.approx(outcome.headline["mean"])  # no part of the id
    record = CellFolder(outcome.path).record()
    assert len(record["warnings"]) == 1 and "chosen on the test rows" in record["warnings"][0]
    assert not CellFolder(outcome.path).damage() and numbers(record)
    assert given(tmp_path, "objective=test/auc_pr") == value
    assert CellFolder(outcome.path).record()["warnings"] == record["warnings"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("auc_pr", "objective=auc_pr is not <rows>/<metric>: valid/auc_pr"),
        ("train/f1", "is not <rows>/<metric>"),
        ("valid/threshold_f1", "objective=valid/threshold_f1: no value of threshold_f1 is better than another"),
        ("valid/", "is not <rows>/<metric>"),
        ("valid/auc_rp", "objective=valid/auc_rp: there is no metric auc_rp of these rows: did you mean auc_pr"),
        ("valid/minor/f1", "no class group minor: did you mean"),
    ],
)
def test_what_it_cannot_be_is_said(done, text, says):
    with pytest.raises(BenchError, match=says):
        given(done[0], f"objective={text}")


def test_what_is_defined_in_no_run_is_none():
    row = {"part": "valid", "iterate": "last", "class_group": "positive", "metric": "f1", "value": "nan"}
    with pytest.raises(BenchError, match="defined in no run"):
        Objective.parse("valid/f1").of([row], "positive")
    assert Objective.parse("valid/f1").of([row, row | {"value": "0.5"}], "positive") == 0.5


@pytest.mark.parametrize(
    ("validation", "says"),
    [(None, "cache=overwrite"), ("trained on", "set trainer.rows=train"), ("none", "it has no validation rows")],
)
def test_a_cell_without_validation_scores_says_why(tmp_path, validation, says):
    path = records.write(tmp_path, made := records.cell("focal"), [0.5])
    records.edit(path, **({"validation": validation} if validation else {}))
    with pytest.raises(BenchError, match=says):
        objective_of(cell(tmp_path), Outcome("skipped", made.labels, path))


def job(outputs: Path, sweeper: str, *overrides: str) -> float | None:
    """A job of a sweep as Hydra calls it, under a sweeper of this name."""
    quick = [f"paths.outputs={outputs}", "trainer.epochs=2", "device=cpu", "protocol.folds=2", *overrides]
    hydra = [f"hydra.sweeper._target_={sweeper}", "hydra.mode=MULTIRUN", "hydra.job.num=0", "hydra.runtime.cwd=."]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", [*quick, *hydra], return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    OmegaConf.set_struct(cfg, False)
    del cfg.hydra
    try:
        return Sweep().job(cfg)
    finally:
        HydraConfig.instance().cfg = None


def test_only_a_sweeper_that_chooses_asks(done, capsys):
    outputs, outcome = done
    chooses = "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper"
    assert job(outputs, chooses) == pytest.approx(np.mean(rows(outcome, "valid", "positive", "auc_pr")))
    listed = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
    without = ["trainer.rows=train_valid"]
    assert job(outputs, listed, *without) is None
    with pytest.raises(BenchError, match="objective=valid/auc_pr.*trained on"):
        job(outputs, chooses, *without)
    assert json.loads((outcome.path / "record.json").read_text())["validation"] == "held out"
