"""Trackers: what a cell gives while it trains, and ends with, sent elsewhere too. Optional packages; no result depends
on them, and none of their errors ends a run."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import threading
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from imbalance_bench.errors import BenchError
from imbalance_bench.options import Text, flatten
from imbalance_bench.registry import TRACKERS
from imbalance_bench.store.locks import lock_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imbalance_bench.data.base import Task
    from imbalance_bench.running.progress import Listener, Numbers, Runs

log = logging.getLogger("imbalance_bench")

EVERY = 1.0  # seconds between two sendings
WAIT = 5.0  # seconds that a server may take to answer
AGAIN = 60.0  # seconds after which a tracker that did not answer is tried again
LAST = 1.0  # seconds for a last word where the process is told to end


@dataclass(frozen=True)
class Subject:
    """The cell that a tracker is told of: its folder, its labels, and what determines its result (Config.plain)."""

    path: Path
    labels: Mapping[str, str]
    options: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What the cell is called, as on the terminal."""
        return " ".join(self.labels[group] for group in ("method", "dataset", "ratio"))


class Point(NamedTuple):
    """Values by name, of a ``stage`` at a ``step``: an epoch of "training"; a run of "test" or "valid", the metrics of
    those rows; 0 of "test_mean" or "valid_mean", their means over the runs."""

    stage: str
    step: int
    values: dict[str, float]


class Session(ABC):
    """What a tracker has begun for a cell. Each method may raise whatever the tracker raises."""

    @abstractmethod
    def send(self, points: Sequence[Point]) -> None:
        """Passes these on."""

    @abstractmethod
    def end(self, status: str) -> None:
        """``status``: done | failed | killed."""


def require(tracker: str, *packages: str) -> None:
    """Raises BenchError where a package is not installed: before anything is trained."""
    if missing := [package for package in packages if find_spec(package) is None]:
        what = f"the package{'s' * (len(missing) > 1)} {', '.join(missing)}"
        raise BenchError(f"tracker={tracker} needs {what}: pip install -c constraints.txt -e '.[{tracker}]'")


@TRACKERS.register("none")
@dataclass(frozen=True)
class NoTracker:
    """The run folder only."""

    def open(self, subject: Subject) -> Session | None:
        return None


@TRACKERS.register("tensorboard")
@dataclass(frozen=True)
class TensorBoard:
    """Event files beside the record: ``tensorboard --logdir outputs/runs``."""

    def __post_init__(self) -> None:
        require("tensorboard", "tensorboard")

    def open(self, subject: Subject) -> Session | None:
        return _Events(subject)


class _Events(Session):
    def __init__(self, subject: Subject) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(subject.path / "tensorboard"))
        for name, value in flatten(subject.options).items():
            self.writer.add_text(name, str(value))

    def send(self, points: Sequence[Point]) -> None:
        for stage, step, values in points:
            for name, value in values.items():
                self.writer.add_scalar(f"{stage}/{name}", value, step)
        self.writer.flush()

    def end(self, status: str) -> None:
        self.writer.close()


@TRACKERS.register("mlflow")
@dataclass(frozen=True)
class MLflow:
    """One MLflow run a cell, whose tag ``folder`` is the cell's; ``uri`` as MLFLOW_TRACKING_URI: a server, or an SQLite
    file, which ``mlflow ui --backend-store-uri`` shows."""

    uri: Text
    experiment: Text

    def __post_init__(self) -> None:
        require("mlflow", "mlflow", *(("sqlalchemy", "alembic") if self.uri.startswith("sqlite") else ()))

    def open(self, subject: Subject) -> Session | None:
        return _MLflowRun(self.uri, self.experiment, subject)


class _MLflowRun(Session):
    def __init__(self, uri: str, experiment: str, subject: Subject) -> None:
        # As it is, a server that is away is asked for minutes.
        limits = {"HTTP_REQUEST_TIMEOUT": f"{WAIT:g}", "HTTP_REQUEST_MAX_RETRIES": "1"}
        for name, value in {**limits, "DISABLE_TELEMETRY": "true"}.items():
            os.environ.setdefault(f"MLFLOW_{name}", value)
        from mlflow import MlflowClient
        from mlflow.entities import Param

        for noisy in ("mlflow", "alembic"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        with _alone(uri):
            self.client = MlflowClient(uri)
            known = self.client.get_experiment_by_name(experiment)
            place = known.experiment_id if known else self.client.create_experiment(experiment)
        tags = {"folder": str(subject.path.absolute()), **subject.labels}
        self.run = self.client.create_run(place, run_name=subject.name, tags=tags).info.run_id
        self.client.log_batch(self.run, params=[Param(k, str(v)[:5000]) for k, v in flatten(subject.options).items()])

    def send(self, points: Sequence[Point]) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        metrics = [
            Metric(re.sub(r"[^\w./ -]", "_", f"{stage}/{name}")[:250], value, now, step)
            for stage, step, values in points
            for name, value in values.items()
        ]
        for start in range(0, len(metrics), 1000):  # as many as it takes at a time
            self.client.log_batch(self.run, metrics=metrics[start : start + 1000])

    def end(self, status: str) -> None:
        self.client.set_terminated(self.run, {"done": "FINISHED", "failed": "FAILED", "killed": "KILLED"}[status])


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """One process at a time: two that make the tables of a new SQLite file at once are in each other's way."""
    kind, _, path = uri.partition(":///")
    if not kind.startswith("sqlite"):
        yield
        return
    Path(path).absolute().parent.mkdir(parents=True, exist_ok=True)
    with lock_file(Path(f"{path}.lock")) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@TRACKERS.register("wandb")
@dataclass(frozen=True)
class WandB:
    """One run of Weights & Biases a cell. ``mode``: offline keeps it in ``folder``, for ``wandb sync``."""

    project: Text
    mode: Literal["online", "offline"]
    folder: Text

    def __post_init__(self) -> None:
        require("wandb", "wandb")

    def open(self, subject: Subject) -> Session | None:
        return _WandBRun(self, subject)


class _WandBRun(Session):
    def __init__(self, tracker: WandB, subject: Subject) -> None:
        import wandb

        Path(tracker.folder).mkdir(parents=True, exist_ok=True)
        settings = wandb.Settings(
            silent=True, console="off", init_timeout=WAIT, finish_timeout=WAIT, disable_git=True, save_code=False
        )
        self.run = wandb.init(
            project=tracker.project,
            name=subject.name,
            dir=tracker.folder,
            mode=tracker.mode,
            config={**subject.options, "folder": str(subject.path.absolute())},
            tags=[label[:64] for label in subject.labels.values()],
            reinit="create_new",
            settings=settings,
        )
        self.stages: set[str] = set()

    def send(self, points: Sequence[Point]) -> None:
        for stage, step, values in points:
            axis = f"{stage}/step"
            if stage not in self.stages:
                self.stages.add(stage)
                self.run.define_metric(axis, hidden=True)
                self.run.define_metric(f"{stage}/*", step_metric=axis)
            self.run.log({axis: step, **{f"{stage}/{name}": value for name, value in values.items()}})

    def end(self, status: str) -> None:
        self.run.finish(exit_code=int(status != "done"))


class Live:
    """Sends a cell's numbers to its tracker while they come (it listens to the cell's progress). The first error of the
    tracker is a warning in the cell's log, and the last that the tracker hears of the cell."""

    away: dict[str, tuple[float, str]] = {}  # trackers that could not begin: when, and why

    def __init__(self, tracker: Any, subject: Subject, tasks: Sequence[Task]) -> None:
        self.tracker, self.tasks = tracker, tasks
        self.runs = {(task.fold, task.repeat): run for run, task in enumerate(tasks)}
        self.waiting: list[Point] = []
        self.session: Session | None = None
        self.sent = time.monotonic()
        since, why = self.away.get(repr(tracker), (-AGAIN, ""))
        if why and time.monotonic() - since < AGAIN:
            self._warn(why)
            return
        try:
            self.session = tracker.open(subject)
        except Exception as error:
            why = _first_line(error)
            self.away[repr(tracker)] = time.monotonic(), why
            self._warn(why)

    @property
    def listeners(self) -> list[Listener]:
        """Of the cell's own training."""
        return [self.hear] if self.session else []

    @property
    def listeners_among(self) -> list[Listener]:
        """Of a training of several cells."""
        return [self._hear_own] if self.session else []

    def hear(self, stage: str, done: float, numbers: Numbers, runs: Runs | None) -> None:
        """Is told what a stage has given, as progress.report is."""
        if self.session is None:
            return
        if runs is not None:
            for task, row in runs():
                run = self.runs.get((task.fold, task.repeat), 0)
                values = {f"run{run}/{name}": value for name, value in row.items() if name != "epoch"}
                self.waiting.append(Point(stage, int(done), values))
        else:
            self.waiting.append(Point(stage, int(done), dict(numbers() if callable(numbers) else numbers)))
        if time.monotonic() - self.sent >= EVERY:
            self._send()

    def _hear_own(self, stage: str, done: float, numbers: Numbers, runs: Runs | None) -> None:
        own = {id(task) for task in self.tasks}
        if runs is not None and (mine := [(task, row) for task, row in runs() if id(task) in own]):
            self.hear(stage, done, numbers, lambda: mine)

    def done(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Ends well, with the rows of metrics.csv."""
        if self.session is None:
            return
        of_run: dict[tuple[str, int], dict[str, float]] = defaultdict(dict)
        of_all: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for row in rows:
            name = f"{row['iterate']}/{row['class_group']}/{row['metric']}"
            of_run[row["part"], row["run"]][name] = float(row["value"])
            of_all[row["part"]][name].append(float(row["value"]))
        self.waiting += [Point(part, run, values) for (part, run), values in of_run.items()]
        for part, found in of_all.items():
            means = {name: sum(values) / len(values) for name, values in found.items()}
            self.waiting.append(Point(f"{part}_mean", 0, means))
        self._send()
        self._end("done")

    def close(self, killed: bool = False) -> None:
        """Ends otherwise, unless it has ended; ``killed``: the process is told to end, and does not wait long."""
        if self.session is None:
            return
        if killed:
            last = threading.Thread(target=self._end, args=("killed",), daemon=True)
            last.start()
            last.join(LAST)
        else:
            self._send()
            self._end("failed")

    def _send(self) -> None:
        if self.session and self.waiting:
            try:
                self.session.send(self.waiting)
            except Exception as error:
                self._drop(error)
            self.waiting = []
            self.sent = time.monotonic()

    def _end(self, status: str) -> None:
        session, self.session = self.session, None
        if session:
            try:
                session.end(status)
            except Exception as error:
                self._drop(error)

    def _drop(self, error: Exception) -> None:
        session, self.session = self.session, None
        self._warn(_first_line(error))
        if session:
            with suppress(Exception):
                session.end("failed")

    def _warn(self, why: str) -> None:
        log.warning("tracker=%s is told no more of this cell: %s", self.tracker.name, why)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
