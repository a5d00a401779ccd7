"""What trackers are sent while a cell trains, and that none of their errors costs it anything."""

from __future__ import annotations

import csv
import struct
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from imbalance_bench import trackers
from imbalance_bench.cells import Outcome, run_cell
from imbalance_bench.cells.programs import run_cells
from imbalance_bench.errors import BenchError
from imbalance_bench.registry import TRACKERS
from imbalance_bench.trackers import Live, Point, Session, Subject
from tests.cells import cell, composed

Sent = dict[str, list[Point]]


@dataclass
class Notes(Session):
    """Keeps what it is sent; ``fails``: the method that raises."""

    subject: Subject
    fails: str
    points: list[Point]
    ended: str = ""

    def send(self, points: Sequence[Point]) -> None:
        if self.fails == "send":
            raise ConnectionError("the server\nis away")
        self.points += points

    def end(self, status: str) -> None:
        if self.fails == "end":
            raise ConnectionError("the server is away")
        self.ended = status


@dataclass(frozen=True)
class Noting:
    fails: str = ""

    name = "noting"

    def open(self, subject: Subject) -> Session:
        OPENED.append(notes := Notes(subject, self.fails, []))
        if self.fails == "open":
            raise ConnectionError("the server is away")
        return notes


OPENED: list[Notes] = []


@pytest.fixture(autouse=True)
def noting(monkeypatch) -> list[Notes]:
    TRACKERS.names()
    monkeypatch.setitem(TRACKERS._classes, "noting", Noting)
    monkeypatch.setattr(Live, "away", {})
    monkeypatch.setattr(trackers, "EVERY", 0.0)
    OPENED.clear()
    return OPENED


def noted(folder: Path, fails: str = "", *overrides: str) -> Outcome:
    own = ["tracker=none", "+tracker.fails=" + fails, "tracker.name=noting", "protocol.folds=2"]
    return run_cell(cell(folder, *own, *overrides))


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def history(path: Path) -> list[Point]:
    """The points that history.csv says, run by run."""
    return [
        Point(
            "training",
            int(row["epoch"]),
            {f"run{row['run']}/{k}": float(v) for k, v in row.items() if k not in ("run", "epoch") and v},
        )
        for row in table(path / "history.csv")
    ]


def by_run(points: Sequence[Point]) -> list[Point]:
    own = [point for point in points if point.stage == "training"]
    return sorted(own, key=lambda point: (next(iter(point.values)).partition("/")[0], point.step))


def approximately(points: Sequence[Point]) -> list[Any]:
    return [(stage, step, pytest.approx(values)) for stage, step, values in points]


def test_each_epoch_of_each_run_is_sent_as_it_comes_and_then_every_metric(tmp_path):
    outcome = noted(tmp_path)
    (notes,) = OPENED
    assert by_run(notes.points) == approximately(history(outcome.path))
    assert [point.step for point in notes.points[:4]] == [1, 1, 2, 2]
    rows = table(outcome.path / "metrics.csv")
    for run in (0, 1):
        (point,) = [point for point in notes.points if (point.stage, point.step) == ("test", run)]
        mine = [row for row in rows if (row["part"], row["run"]) == ("test", str(run))]
        expected = {f"{row['iterate']}/{row['class_group']}/{row['metric']}": float(row["value"]) for row in mine}
        assert point.values == pytest.approx(expected, nan_ok=True)
    head = outcome.headline
    (mean,) = [point for point in notes.points if point.stage == "test_mean"]
    name = f"{head['iterate']}/{head['class_group']}/{head['metric']}"
    assert mean.values[name] == pytest.approx(head["mean"], abs=1e-6)
    assert notes.ended == "done"
    assert (notes.subject.path, notes.subject.name) == (outcome.path, "cross_entropy breast_cancer native")
    assert notes.subject.options["trainer"]["epochs"] == 2


def test_cells_that_are_trained_together_each_send_their_own_runs(tmp_path):
    own = ["tracker=none", "+tracker.fails=", "tracker.name=noting", "protocol.folds=2"]
    configs = [cell(tmp_path, *own, f"method={method}") for method in ("cross_entropy", "focal")]
    ended = dict(pair for several in run_cells(2, configs.__getitem__) for pair in several)
    assert [ended[place].status for place in (0, 1)] == ["done", "done"]
    for place, notes in enumerate(OPENED):
        assert by_run(notes.points) == approximately(history(ended[place].path))
        assert notes.ended == "done"


def test_one_run_at_a_time_is_known_by_its_fold(tmp_path):
    outcome = noted(tmp_path, "", "trainer.backend=sequential")
    assert by_run(OPENED[0].points) == approximately(history(outcome.path))


def test_a_cell_that_fails_ends_so_at_its_tracker(tmp_path):
    assert noted(tmp_path, "", "method=focal", "trainer.lr=3e38").status == "failed"
    assert OPENED[0].ended == "failed"


@pytest.mark.parametrize("fails", ["open", "send", "end"])
def test_an_error_of_a_tracker_is_one_line_of_the_log_and_costs_nothing(tmp_path, fails, capsys):
    outcome = noted(tmp_path / "a", fails)
    whole = noted(tmp_path / "b")
    assert outcome.status == "done" and outcome.headline == whole.headline
    warning = "tracker=noting is told no more of this cell: ConnectionError: the server"
    assert (outcome.path / "train.log").read_text().count(warning) == 1
    assert capsys.readouterr().err.count(warning) == 1
    assert outcome.path.name == whole.path.name


def test_a_server_that_is_away_is_not_asked_by_every_cell(monkeypatch):
    for _ in range(3):
        assert Live(Noting("open"), Subject(Path(), {}, {}), []).listeners == []
    assert len(OPENED) == 1
    monkeypatch.setattr(trackers, "AGAIN", 0.0)
    Live(Noting("open"), Subject(Path(), {}, {}), [])
    assert len(OPENED) == 2


@pytest.mark.parametrize("label, package", [("tensorboard", "tensorboard"), ("mlflow", "mlflow"), ("wandb", "wandb")])
def test_a_missing_package_is_a_message_before_anything_is_trained(monkeypatch, label, package):
    monkeypatch.setitem(sys.modules, package, None)
    message = rf"tracker={label} needs the packages? {package}.*: pip install -c constraints.txt -e '.\[{label}\]'"
    with pytest.raises(BenchError, match=message):
        TRACKERS.build(composed(f"tracker={label}").tracker)


# With the packages, where they are installed: what was written is read back.


def run(folder: Path, *overrides: str) -> Outcome:
    return run_cell(cell(folder, "protocol.folds=2", *overrides))


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    outcome = run(tmp_path, "tracker=tensorboard")
    events = EventAccumulator(str(outcome.path / "tensorboard"))
    events.Reload()
    for point in history(outcome.path):
        for name, value in point.values.items():
            found = {event.step: event.value for event in events.Scalars(f"{point.stage}/{name}")}
            assert found[point.step] == pytest.approx(value)
    assert [event.step for event in events.Scalars("test/last/macro/auc_roc")] == [0, 1]
    assert "trainer.epochs/text_summary" in events.Tags()["tensors"]


def test_mlflow(tmp_path):
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    from mlflow import MlflowClient

    outcome = run(tmp_path, "tracker=mlflow")
    assert "told no more" not in (outcome.path / "train.log").read_text()
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    (found,) = client.search_runs([client.get_experiment_by_name("imbalance_bench").experiment_id])
    assert (found.info.run_name, found.info.status) == ("cross_entropy breast_cancer native", "FINISHED")
    assert found.data.params["trainer.epochs"] == "2"
    assert found.data.tags["folder"] == str(outcome.path)
    for point in history(outcome.path):
        for name, value in point.values.items():
            sent = client.get_metric_history(found.info.run_id, f"{point.stage}/{name}")
            assert {metric.step: metric.value for metric in sent}[point.step] == pytest.approx(value)
    assert [m.step for m in client.get_metric_history(found.info.run_id, "test/last/macro/auc_roc")] == [0, 1]


def test_an_mlflow_server_that_is_away(tmp_path):
    pytest.importorskip("mlflow")
    outcome = run(tmp_path, "tracker=mlflow", "tracker.uri=http://127.0.0.1:9")
    assert outcome.status == "done" and outcome.seconds < 60
    assert "tracker=mlflow is told no more of this cell: " in (outcome.path / "train.log").read_text()


def entries(content: bytes) -> Iterator[bytes]:
    """Of a log as LevelDB writes it, after W&B's 7 bytes: in blocks, where each part has a head of checksum, length and
    kind (whole, first, middle, last)."""
    at, block, whole = 7, 2**15, b""
    while at + 7 <= len(content):
        if block - at % block < 7:
            at += block - at % block
            continue
        length, kind = struct.unpack_from("<HB", content, at + 4)
        whole += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield whole
            whole = b""


def test_wandb_offline(tmp_path):
    pytest.importorskip("wandb")
    from wandb.proto.wandb_internal_pb2 import Record

    outcome = run(tmp_path, "tracker=wandb", "tracker.mode=offline")
    assert "told no more" not in (outcome.path / "train.log").read_text()
    (path,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    sent, config = [], {}
    for data in entries(path.read_bytes()):
        record = Record.FromString(data)
        if record.HasField("history"):
            sent.append({item.key or item.nested_key[0]: item.value_json for item in record.history.item})
        if record.HasField("run"):
            config |= {item.key: item.value_json for item in record.run.config.update}
    for point in history(outcome.path):
        at = [row for row in sent if row.get(f"{point.stage}/step") == str(point.step)]
        for name, value in point.values.items():
            (row,) = [row for row in at if f"{point.stage}/{name}" in row]
            assert float(row[f"{point.stage}/{name}"]) == pytest.approx(value)
    assert '"epochs":2' in config["trainer"].replace(" ", "")
