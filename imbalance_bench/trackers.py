"""Send histories and metrics elsewhere, besides the run folder. Optional packages; no result depends on them."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imbalance_bench.errors import BenchError
from imbalance_bench.options import Text
from imbalance_bench.registry import TRACKERS

if TYPE_CHECKING:
    from imbalance_bench.engine.classifier import Classifier

Rows = list[dict[str, Any]]


def require(package: str) -> None:
    """So that a missing package is known before anything is trained."""
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise BenchError(f"tracker={package} needs the package {package}: pip install '.[track]'") from error


@TRACKERS.register("none")
@dataclass(frozen=True)
class NoTracker:
    """The run folder only."""

    def log(self, path: Path, labels: dict[str, str], classifiers: Sequence[Classifier], rows: Rows) -> None:
        """Nothing to do."""


@TRACKERS.register("tensorboard")
@dataclass(frozen=True)
class TensorBoard:
    """Event files beside the record: ``tensorboard --logdir outputs/runs``."""

    def __post_init__(self) -> None:
        require("tensorboard")

    def log(self, path: Path, labels: dict[str, str], classifiers: Sequence[Classifier], rows: Rows) -> None:
        from torch.utils.tensorboard import SummaryWriter

        with SummaryWriter(str(path / "tensorboard")) as writer:
            for i, classifier in enumerate(classifiers):
                for row in classifier.history:
                    for name, value in row.items():
                        if name != "epoch":
                            writer.add_scalar(f"run{i}/{name}", value, int(row["epoch"]))
            for row in rows:
                tag = f"{row['part']}/{row['iterate']}/{row['class_group']}/{row['metric']}"
                writer.add_scalar(tag, row["value"], row["run"])


@TRACKERS.register("mlflow")
@dataclass(frozen=True)
class MLflow:
    """One MLflow run a cell; ``uri`` as MLFLOW_TRACKING_URI."""

    uri: Text
    experiment: Text

    def __post_init__(self) -> None:
        require("mlflow")

    def log(self, path: Path, labels: dict[str, str], classifiers: Sequence[Classifier], rows: Rows) -> None:
        import mlflow

        mlflow.set_tracking_uri(self.uri)
        mlflow.set_experiment(self.experiment)
        with mlflow.start_run(run_name=" ".join(labels[g] for g in ("method", "dataset", "ratio"))):
            mlflow.log_params(labels)
            for row in rows:
                part = "" if row["part"] == "test" else f"{row['part']}."
                name = f"{part}{row['iterate']}.{row['class_group']}.{row['metric']}".replace(":", "_")
                mlflow.log_metric(name, row["value"], step=row["run"])
            mlflow.log_artifacts(str(path))
