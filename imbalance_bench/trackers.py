"""Where histories and metrics go besides the run folder. Optional packages; no result depends on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imbalance_bench.errors import BenchError
from imbalance_bench.registry import TRACKERS

if TYPE_CHECKING:
    from imbalance_bench.methods.base import Classifier

Rows = list[dict[str, Any]]


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

    def log(self, path: Path, labels: dict[str, str], classifiers: Sequence[Classifier], rows: Rows) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise BenchError("tracker=tensorboard needs the package tensorboard: pip install '.[track]'") from error
        with SummaryWriter(str(path / "tensorboard")) as writer:
            for i, classifier in enumerate(classifiers):
                for row in classifier.history:
                    for name, value in row.items():
                        if name != "epoch":
                            writer.add_scalar(f"run{i}/{name}", value, int(row["epoch"]))
            for row in rows:
                tag = f"test/{row['iterate']}/{row['class_group']}/{row['metric']}"
                writer.add_scalar(tag, row["value"], row["run"])


@TRACKERS.register("mlflow")
@dataclass(frozen=True)
class MLflow:
    """One MLflow run a cell; ``uri`` as MLFLOW_TRACKING_URI."""

    uri: str
    experiment: str

    def log(self, path: Path, labels: dict[str, str], classifiers: Sequence[Classifier], rows: Rows) -> None:
        try:
            import mlflow
        except ImportError as error:
            raise BenchError("tracker=mlflow needs the package mlflow: pip install '.[track]'") from error
        mlflow.set_tracking_uri(self.uri)
        mlflow.set_experiment(self.experiment)
        with mlflow.start_run(run_name=" ".join(labels[g] for g in ("method", "dataset", "ratio"))):
            mlflow.log_params(labels)
            for row in rows:
                name = f"{row['iterate']}.{row['class_group']}.{row['metric']}".replace(":", "_")
                mlflow.log_metric(name, row["value"], step=row["run"])
            mlflow.log_artifacts(str(path))
