"""One cell in this process: under its lock, with its log and its clock; how it ended."""

from __future__ import annotations

import logging
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from imbalance_bench import metrics, origin, terminal
from imbalance_bench.card import CARD, card
from imbalance_bench.cells.recipe import Data, Prepared, Watch, data_of, fit, prepare, score
from imbalance_bench.cells.saving import model_files
from imbalance_bench.errors import BenchError, Declined, Pruned, command, of_outputs
from imbalance_bench.metrics import scoring
from imbalance_bench.plugins import in_own_code
from imbalance_bench.running import checkpoints, models, progress
from imbalance_bench.running.checkpoints import Checkpoints, going_on
from imbalance_bench.settings import identity
from imbalance_bench.settings.config import Config, cell_name
from imbalance_bench.settings.objective import ON_TEST, Objective
from imbalance_bench.store import NEW_LOG, CellFolder, Record, Store, file_of
from imbalance_bench.store.files import atomic_write
from imbalance_bench.trackers import Live, Subject

log = logging.getLogger("imbalance_bench")

T = TypeVar("T")


@dataclass(frozen=True)
class Outcome:
    """How a cell ended. ``status``: done | skipped (done before) | busy (another process works on it) |
    declined | failed | pruned (given up by the search that it is a trial of); ``headline`` as in record.json;
    ``message``: why it was declined, failed or pruned; ``note``: what to know of a cell that was done before, or of its
    model; ``lost``: it failed since this process can compute on its GPU no longer."""

    status: str
    labels: dict[str, str]
    path: Path
    runs: int = 0
    seconds: float = 0.0
    headline: dict[str, Any] | None = None
    message: str = ""
    note: str = ""
    lost: bool = False

    def line(self, name: str = "") -> str:
        """The one line that a user sees of a cell. ``name``: what it is called there ("": by its labels)."""
        name = name or cell_name(self.labels)
        if self.status in ("done", "skipped") and self.headline:
            h = self.headline
            figures = f"{h['metric']} {h['mean']:.4f}" + (f" ± {h['sd']:.4f}" if self.runs != 1 else "")
            note = f"\n  {self.message}" if self.message else ""
            if self.status == "skipped":
                return f"{name}: {figures}  (done before: {self.path}{self.note}){note}"
            runs = "1 run" if self.runs == 1 else f"{self.runs} runs"
            pace = f"{runs} in {self.seconds:.2f} s, {self.runs / self.seconds:.2f} runs/s"
            return f"{name}: {figures}  {pace}{self.note}{note}"
        return f"{name}: {self.status}" + (f": {self.message}{self.note}" if self.message else "")


def run_cell(config: Config, watch: Watch | None = None) -> Outcome:
    """Trains, scores and records one cell, unless it is done or another process works on it.

    A failure is recorded (error.txt) and returned, not raised; it leaves earlier results whole, that of this cell too
    where it is trained again (cache=overwrite).
    """
    work = Work(config)
    with work.held():
        if cell := work.prepare():
            work.fit_alone(cell, watch)
            work.finish(cell)
    assert work.outcome is not None
    return work.outcome


def objective_of(config: Config, outcome: Outcome) -> float:
    """What a finished cell gives back to a sweeper. That it was of test rows is kept in the record, as a warning.

    Raises:
        BenchError: the cell has no such number, or is not done.
    """
    objective = Objective.parse(config.objective)
    folder = CellFolder(outcome.path)
    record = folder.record()
    if record is None or record["status"] != "done":
        raise BenchError(f"objective={objective.text}: {outcome.line()}")
    if objective.part == "valid" and (reason := scoring.without_validation(record)):
        raise BenchError(f"objective={objective.text}: {cell_name(outcome.labels)}: {reason}")
    text = file_of(record, "metrics.csv").decode()
    value = objective.of(scoring.from_csv(text), record["headline"]["class_group"])
    warning = ON_TEST.format(objective=objective.text)
    if objective.part == "test" and warning not in (warnings := record.get("warnings", [])):
        terminal.tell(f"warning: {warning}", sys.stderr)
        with folder.lock() as mine:
            if mine:
                folder.amend(record | {"warnings": [*warnings, warning]}, {"metrics.csv": text})
    return value


class Work:
    """What this process does for one cell: under its lock (``held``), with its log and its clock (``do``). ``outcome``
    says how the cell ended, as soon as it has; then nothing more is done for it. ``seconds``: what it took, of a
    program with other cells the share of its runs."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.folder = Store(config.paths.outputs).cell(config.labels, identity.cell_id(config.plain, config.plugins))
        self.outcome: Outcome | None = None
        self.log = Log(self.folder.path)
        self.progress = progress.Progress(cell_name(config.labels), [self.folder.path / progress.NAME])
        self.live: Live | None = None
        self.seconds = 0.0

    @contextmanager
    def held(self) -> Iterator[None]:
        """The lock of the cell. It has ended at once where it is done, or where another process holds the lock."""
        checkpoints.wait_until_written(self.folder.path, self.folder.locked)
        with self.folder.lock() as mine:
            if mine:
                progress.forget(self.folder.path)  # of a process that was killed
                checkpoints.forget_writers(self.folder.path)
                if self.config.cache == "overwrite":
                    checkpoints.remove(self.folder.path)
                elif (record := self.folder.record()) is not None:
                    self.outcome = _done_before(self.config, record)
            else:
                state = progress.read(self.folder.path)
                who = f" (process {state['process']} on {state['host']})" if state else ""
                self.outcome = self._ended("busy", f"another process is working on it{who}")
            try:
                yield
            finally:
                if self.live:
                    self.live.close(killed=isinstance(sys.exception(), SystemExit))

    def do(self, part: Callable[[], T]) -> T | None:
        """The result of a part of the work; None where the cell has ended, or ends by what ``part`` raises."""
        if self.outcome is not None:
            return None
        from imbalance_bench.running import devices  # and torch, whose seconds are not the cell's

        start = time.perf_counter()
        try:
            with progress.following(self.progress), logged(self.log):
                return part()
        except Declined as reason:
            record = self._record("declined", time.perf_counter() - start)
            self.folder.finish(record | {"reason": str(reason)}, {"config.yaml": self.config.replay_text()})
            checkpoints.remove(self.folder.path)
            self.outcome = self._ended("declined", str(reason))
        except Pruned as reason:
            self.outcome = self._ended("pruned", str(reason))
            self.folder.forget()
        except Exception as error:
            message = in_own_code(error, self.config.plugins)
            self.folder.fail(message, traceback.format_exc(), self.config.replay_text())
            kept = "; the earlier record is kept" if (self.folder.path / "record.json").exists() else ""
            self.outcome = replace(self._ended("failed", message + kept), lost=devices.lost(error))
        finally:
            self.seconds += time.perf_counter() - start
        return None

    def prepare(self, data: Data = data_of) -> Prepared | None:
        """The cell before its training, its tracker listening; None where it has ended."""
        return self.do(partial(self._prepare, data))

    def _prepare(self, data: Data) -> Prepared:
        with progress.doing("reading and splitting the data"):
            cell = prepare(self.config, data)
        subject = Subject(self.folder.path, self.config.labels, self.config.plain)
        self.live = Live(cell.tracker, subject, [run.task for run in cell.runs])
        self.progress.listeners = self.live.listeners
        return cell

    @property
    def listeners_among(self) -> list[progress.Listener]:
        """Of a training of several cells, this one among them."""
        return self.live.listeners_among if self.live else []

    def fit_alone(self, cell: Prepared, watch: Watch | None = None) -> None:
        """Trains the cell's runs, in a program of their own."""
        of_cell = checkpoints_of([self])
        self.do(partial(self._fit, cell, of_cell, watch))
        self.seconds += of_cell.spent

    def _fit(self, cell: Prepared, of_cell: Checkpoints, watch: Watch | None) -> None:
        from imbalance_bench.running import devices

        try:
            going_on(of_cell, partial(fit, cell, watch))
        except Exception as error:
            # Where the machine was not at fault, whoever repairs what was begins with nothing of it.
            if not (devices.lost(error) or devices.out_of_memory(error) or isinstance(error, (OSError, MemoryError))):
                of_cell.remove()
            raise

    def finish(self, cell: Prepared) -> None:
        """Scores a trained cell and writes its record. Raises BenchError where the disk does not take it."""
        if (scored := self.do(partial(self._scored, cell))) is None:
            return
        facts, files = scored
        files["train.log"] = "".join(f"{line}\n" for line in self.log.lines)
        record = self._record("done", self.seconds)
        record["provenance"] |= facts.pop("provenance")
        record = facts | record
        if "model" in record:
            files[CARD] = card(record | {"path": self.folder.path}, str(files["metrics.csv"]))
        self.folder.finish(record, files)
        checkpoints.remove(self.folder.path)
        outcome = self._ended("done", _diverged(record))
        model = f"; its model: {self.folder.path}" if "model" in record else ""
        self.outcome = replace(
            outcome, runs=len(record["runs"]), seconds=record["seconds"], headline=record["headline"], note=model
        )

    def _scored(self, cell: Prepared) -> tuple[dict[str, Any], dict[str, bytes | str]]:
        with progress.doing("scoring"):
            facts, files, rows = score(cell)
        if self.config.save and (kept := model_files(cell)):
            facts["model"], files = {"schema": models.SCHEMA}, files | kept
        if identity.cell_id(self.config.plain, self.config.plugins) != self.folder.path.name:
            raise BenchError("its data, weights or plug-ins were changed while it was trained: run it again")
        if self.live:
            self.live.done(rows)  # before the record: what it warns of is in the log
        return facts, files

    def _ended(self, status: str, message: str) -> Outcome:
        return Outcome(status, self.config.labels, self.folder.path, message=message)

    def _record(self, status: str, seconds: float) -> dict[str, Any]:
        return {
            "schema": identity.SCHEMA,
            "id": self.folder.path.name,
            "status": status,
            "labels": self.config.labels,
            "config": self.config.plain,
            "contents": identity.contents(self.config.plain, self.config.plugins),
            "code": identity.code(self.config.plain),
            "seconds": round(seconds, 3),
            "provenance": {"date": identity.now(), **identity.provenance()},
        }


def checkpoints_of(works: Sequence[Work]) -> Checkpoints:
    """The checkpoints of cells that are trained together, beside the record of the first."""
    configs = [work.config for work in works]

    def of() -> dict[str, Any]:
        import torch

        from imbalance_bench.running import devices

        return {
            "cells": [work.folder.path.name for work in works],
            "code": {name: sum_ for config in configs for name, sum_ in identity.code(config.plain).items()},
            # What is no part of a cell's identity, and yet of how its numbers come about.
            "trainer": [config.plain["trainer"] for config in configs],
            "device": devices.choose_device(configs[0].device).type,
            "torch": torch.__version__,
        }

    return Checkpoints(works[0].folder.path / checkpoints.NAME, configs[0].checkpoint_minutes, of, atomic_write)


class Log:
    """The lines of a cell's train.log, written as they come, so that a cell whose process is killed has them too.
    Beside an earlier record, whose own log stays until the new one takes its place, they go to train.new.log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines: list[str] = []

    def append(self, line: str) -> None:
        """Writes a line at the end; one that the disk does not take is kept in memory only."""
        name = NEW_LOG if (self.folder / "record.json").exists() else "train.log"
        with suppress(OSError), (self.folder / name).open("a" if self.lines else "w", encoding="utf-8") as file:
            file.write(f"{line}\n")
        self.lines.append(line)


@contextmanager
def logged(*logs: Log) -> Iterator[None]:
    """Adds what the package logs to each of ``logs``; warnings are also shown at once."""

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            for one in logs:
                one.append(self.format(record))
            if record.levelno >= logging.WARNING:
                progress.clear()
                terminal.tell(f"warning: {record.getMessage()}", sys.stderr)

    handler = Collect()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    log.addHandler(handler)
    if log.level != logging.INFO:  # else what the loggers know of their levels is forgotten
        log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)


def _done_before(config: Config, record: Record) -> Outcome:
    """The outcome of a cell that is not trained again."""
    status = "skipped" if record["status"] == "done" else record["status"]
    headline = record.get("headline")
    message = _diverged(record) if status == "skipped" else record.get("reason", "")
    note = ""
    if "code" not in record:  # an earlier version wrote it, and some of its numbers were others
        note = "; its record does not name the code that made it: cache=overwrite trains it again"
    elif modules := origin.changed(record["code"]):
        note = f"; made by other code ({origin.named(modules)} changed since): cache=overwrite trains it again"
    elif missing := sorted(set(config.slices) - set(record.get("slices", config.slices))):
        note = f"; without slices=[{','.join(missing)}]: cache=overwrite trains it again with them"
    elif config.save and status == "skipped" and "model" not in record:
        note = "; without a model: cache=overwrite trains it again and keeps one"
    elif missing := scoring.stale_metrics(record):
        modules = sorted({metrics.METRICS[name].__module__ for name in missing})
        words = f"'plugins=[{','.join(modules)}]'{of_outputs(config.paths.outputs)}"
        remedy = f"`{command('rescore')} {words}` computes it, without training"
        note = f"; without {', '.join(missing)} as it is now: {remedy}"
    elif status == "skipped" and (rescored := _scored_otherwise(config, record)):
        note = f"; scored with {rescored}, without training"
    runs = len(record.get("runs", []))
    return Outcome(status, config.labels, record["path"], runs, headline=headline, message=message, note=note)


def _diverged(record: Record) -> str:
    """The folds of a finished cell that diverged, a line each."""
    failed = [run for run in record["runs"] if run["failure"]]
    return "\n  ".join(f"fold {run['fold']} repeat {run['repeat']} diverged: {run['failure']}" for run in failed)


def _scored_otherwise(config: Config, record: Record) -> str:
    """What a cell was scored with where that is not what is asked for, and the command that scores it so."""
    cost, kinds = record.get("cost", config.cost), record.get("calibration", [])
    others = [f"--cost {config.cost:g}"] * (cost != config.cost)
    missing = [kind for kind in config.calibration if kind not in kinds]
    others += [f"--calibration {','.join([*kinds, *missing])}"] * bool(missing)
    if not others:
        return ""
    words = " ".join([record["id"], *others]) + of_outputs(config.paths.outputs)
    was = f"cost={cost:g} calibration=[{','.join(kinds)}]"
    return f"{was}: `{command('rescore')} {words}` scores it as asked"
