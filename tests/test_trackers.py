"""What trackers are sent; the packages themselves, which are optional, are stood in for."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from imbalance_bench.engine.classifier import Classifier
from imbalance_bench.errors import BenchError
from imbalance_bench.registry import TRACKERS
from tests.cells import composed

LABELS = {"method": "smote", "dataset": "oil", "ratio": "native"}
HISTORY = [{"epoch": 1, "train_loss": 0.5}, {"epoch": 2, "train_loss": 0.25, "valid_score": 0.9}]
ROWS = [{"run": 0, "iterate": "last", "part": "test", "class_group": "class:no", "metric": "f1", "value": 0.75}]


class Recorder:
    """Keeps the calls of its methods, and those of the context managers that they return."""

    def __init__(self) -> None:
        self.calls: list[tuple] = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*args, **kwargs):
            self.calls.append((name, *args, *kwargs.values()))
            return self

        return call

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.calls.append(("closed",))


def stand_in(monkeypatch, name: str, **content) -> None:
    module = ModuleType(name)
    module.__dict__.update(content)
    monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.parametrize("label", ["tensorboard", "mlflow"])
def test_a_missing_package_is_a_message_before_anything_is_trained(monkeypatch, label):
    monkeypatch.setitem(sys.modules, label, None)
    with pytest.raises(BenchError, match=rf"tracker={label} needs the package {label}: pip install '.\[track\]'"):
        TRACKERS.build(composed(f"tracker={label}").tracker)


def test_tensorboard(tmp_path, monkeypatch):
    writer = Recorder()
    places = []
    stand_in(monkeypatch, "tensorboard")
    stand_in(monkeypatch, "torch.utils.tensorboard", SummaryWriter=lambda path: places.append(path) or writer)
    TRACKERS.build({"name": "tensorboard"}).log(tmp_path, LABELS, [Classifier(history=HISTORY)], ROWS)
    assert places == [str(tmp_path / "tensorboard")]
    assert writer.calls == [
        ("add_scalar", "run0/train_loss", 0.5, 1),
        ("add_scalar", "run0/train_loss", 0.25, 2),
        ("add_scalar", "run0/valid_score", 0.9, 2),
        ("add_scalar", "test/last/class:no/f1", 0.75, 0),
        ("closed",),
    ]


def test_mlflow(tmp_path, monkeypatch):
    client = Recorder()
    monkeypatch.setitem(sys.modules, "mlflow", client)
    options = {"name": "mlflow", "uri": "somewhere", "experiment": "mine"}
    TRACKERS.build(options).log(tmp_path, LABELS, [Classifier(history=HISTORY)], ROWS)
    assert client.calls == [
        ("set_tracking_uri", "somewhere"),
        ("set_experiment", "mine"),
        ("start_run", "smote oil native"),
        ("log_params", LABELS),
        ("log_metric", "last.class_no.f1", 0.75, 0),
        ("log_artifacts", str(tmp_path)),
        ("closed",),
    ]
