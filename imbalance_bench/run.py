"""The recipe of one cell: data → tasks → fit → predict → score → record."""

from __future__ import annotations

import io
import logging
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imbalance_bench import identity, metrics, origin, scoring, slices
from imbalance_bench.config import Config
from imbalance_bench.data.together import copies_together
from imbalance_bench.errors import BenchError, Declined
from imbalance_bench.plugins import in_own_code
from imbalance_bench.store import CellFolder, Record, Store

if TYPE_CHECKING:
    from imbalance_bench.data.base import Dataset, Part, Task
    from imbalance_bench.data.tasks import Run
    from imbalance_bench.engine.classifier import Classifier


log = logging.getLogger("imbalance_bench")


@dataclass(frozen=True)
class Outcome:
    """How a cell ended. ``status``: done | skipped (done before) | busy (another process works on it) |
    declined | failed; ``headline`` as in record.json; ``message``: why it was declined or failed; ``note``: what to
    know of a cell that was done before."""

    status: str
    labels: dict[str, str]
    path: Path
    runs: int = 0
    seconds: float = 0.0
    headline: dict[str, Any] | None = None
    message: str = ""
    note: str = ""

    def line(self) -> str:
        """The one line that a user sees of a cell."""
        name = " ".join(self.labels[g] for g in ("method", "dataset", "ratio"))
        if self.status in ("done", "skipped") and self.headline:
            h = self.headline
            figures = f"{h['metric']} {h['mean']:.4f} ± {h['sd']:.4f}"
            if self.status == "skipped":
                return f"{name}: {figures}  (done before: {self.path}{self.note})"
            note = f"\n  {self.message}" if self.message else ""
            pace = f"{self.runs} runs in {self.seconds:.2f} s, {self.runs / self.seconds:.2f} runs/s"
            return f"{name}: {figures}  {pace}{note}"
        return f"{name}: {self.status}" + (f": {self.message}{self.note}" if self.message else "")


def loaded(config: Config) -> Dataset:
    """The data set of a cell, copies of its rows kept together where ``dataset.copies`` says so."""
    source, copies = config.component("dataset"), config.plain["dataset"].get("copies", "apart")
    if source.makes_copies:  # and keeps them together
        copies = "apart"
    dataset = source.load(Path(config.paths.data))
    return copies_together(dataset) if copies == "together" else dataset


def run_cell(config: Config) -> Outcome:
    """Trains, scores and records one cell, unless it is done or another process works on it.

    A failure is recorded (error.txt) and returned, not raised; it leaves earlier results whole, that of this cell too
    where it is trained again (cache=overwrite).
    """
    plain = config.plain
    cell = Store(config.paths.outputs).cell(config.labels, identity.cell_id(plain, config.plugins))
    with cell.lock() as mine:
        if not mine:
            return Outcome("busy", config.labels, cell.path, message="another process is working on it")
        if config.cache != "overwrite" and (record := cell.record()) is not None:
            return _done_before(config, record)
        import torch  # noqa: F401  (its seconds are not the cell's)

        start = time.perf_counter()
        try:
            with logged() as lines:
                facts, files, tell = _train(config)
            if identity.cell_id(plain, config.plugins) != cell.path.name:
                raise BenchError("its data, weights or plug-ins were changed while it was trained: run it again")
        except Declined as reason:
            record = _record(config, cell, "declined", time.perf_counter() - start)
            cell.finish(record | {"reason": str(reason)})
            return Outcome("declined", config.labels, cell.path, message=str(reason))
        except Exception as error:
            message = in_own_code(error, config.plugins)
            cell.fail(message, traceback.format_exc())
            kept = "; the earlier record is kept" if (cell.path / "record.json").exists() else ""
            return Outcome("failed", config.labels, cell.path, message=message + kept)
        files["train.log"] = "".join(f"{line}\n" for line in lines)
        record = _record(config, cell, "done", time.perf_counter() - start)
        record["provenance"] |= facts.pop("provenance")
        record = facts | record
        cell.finish(record, files)
        tell(cell.path)
    runs = record["runs"]
    failures = [f"fold {r['fold']} repeat {r['repeat']} diverged: {r['failure']}" for r in runs if r["failure"]]
    message = "\n  ".join(failures)
    return Outcome("done", config.labels, cell.path, len(runs), record["seconds"], record["headline"], message)


@contextmanager
def logged() -> Iterator[list[str]]:
    """Collects what the package logs, for train.log; warnings are also shown at once."""
    lines: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))
            if record.levelno >= logging.WARNING:
                print(f"warning: {record.getMessage()}", file=sys.stderr, flush=True)

    handler = Collect()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        log.removeHandler(handler)


def _done_before(config: Config, record: Record) -> Outcome:
    """The outcome of a cell that is not trained again."""
    status = "skipped" if record["status"] == "done" else record["status"]
    headline, reason = record.get("headline"), record.get("reason", "")
    note = ""
    if "code" not in record:  # an earlier version wrote it, and some of its numbers were others
        note = "; its record does not name the code that made it: cache=overwrite trains it again"
    elif modules := origin.changed(record["code"]):
        note = f"; made by other code ({origin.named(modules)} changed since): cache=overwrite trains it again"
    elif missing := sorted(set(config.slices) - set(record.get("slices", config.slices))):
        note = f"; without slices=[{','.join(missing)}]: cache=overwrite trains it again with them"
    elif missing := scoring.stale_metrics(record):
        modules = sorted({metrics.METRICS[name].__module__ for name in missing})
        place = f" --outputs {config.paths.outputs}" if config.paths.outputs != "outputs" else ""
        command = f"`python scripts/rescore.py 'plugins=[{','.join(modules)}]'{place}` computes it, without training"
        note = f"; without {', '.join(missing)} as it is now: {command}"
    return Outcome(status, config.labels, record["path"], headline=headline, message=reason, note=note)


@cache
def _shown(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _tell(lines: Sequence[str]) -> None:
    """In the log of each cell; on the terminal once a process, however many cells of a sweep use the data."""
    for line in lines:
        log.info(line)
        _shown(line)


def _train(config: Config) -> tuple[dict[str, Any], dict[str, bytes | str], Callable[[Path], None]]:
    """All of a record but the facts that are common to all records, the files beside it, and what tells the tracker of
    the finished cell's folder."""
    import torch

    from imbalance_bench import devices
    from imbalance_bench.data.summary import summary
    from imbalance_bench.data.tasks import make_runs
    from imbalance_bench.data.text.reading import as_read_by
    from imbalance_bench.data.together import remarks
    from imbalance_bench.engine import Engine

    # The tracker too: what it lacks is known before anything is trained.
    method, backbone, trainer, tracker = (config.component(g) for g in ("method", "backbone", "trainer", "tracker"))
    folder, protocol = Path(config.paths.data), config.component("protocol")
    dataset = as_read_by(backbone, loaded(config), folder, config.device)
    named = slices.wanted(dataset, method.slices, config.slices)
    runs = make_runs(dataset, config.component("ratio"), protocol, config.plain["seed"])
    label, doubts = config.labels["dataset"], dataset.info.get("warnings", ())
    read = "; ".join([summary(dataset), *remarks(dataset, protocol, runs)])
    _tell([f"{label}: {read}", *(f"warning: {label}: {doubt}" for doubt in doubts)])
    shape = runs[0].task.train.x.shape[1:]
    log.info("%s: %d runs, %d rows, features %s", dataset.name, len(runs), len(dataset.y), shape)
    for run in runs:
        if reason := method.declines(run.task):
            raise Declined(reason)
    engine = Engine(trainer, config.device, folder)
    together = engine.together(backbone, runs[0].task) or len(runs)
    classifiers, sizes = fit_in_chunks(lambda tasks: method.fit(tasks, backbone, engine), runs, together)
    for run, classifier in zip(runs, classifiers):
        t = run.task
        end = classifier.failure or (classifier.history[-1] if classifier.history else "trained")
        log.info("fold %d repeat %d: rows %s, %s", t.fold, t.repeat, t.counts.tolist(), end)
    if all(c.failure for c in classifiers):
        raise BenchError(f"every run diverged; the first: {classifiers[0].failure}")
    if dataset.kind == "regression":
        for run, classifier in zip(runs, classifiers):
            classifier.artifacts |= {f"{n}_x": p.x for n, p in _parts(run)} | {f"{n}_y": p.y for n, p in _parts(run)}
    try:
        predictions = predict(runs, classifiers)
        found = slices.cut(named, dataset, runs, classifiers, folder)
    except torch.OutOfMemoryError as error:
        raise BenchError("the device's memory does not hold the scoring of one run: set device=cpu") from error
    for name, of_runs in found.items():
        masks = [part.mask for part, classifier in zip(of_runs, classifiers) if not classifier.failure]
        predictions[f"slice_{name}"] = np.concatenate(masks)
    splits = [(run.task.fold, run.task.repeat) for run in runs]
    minority = [run.task.minority_classes for run in runs]
    score = partial(scoring.score_predictions, predictions, splits, dataset.class_names, dataset.kind, minority)
    rows, own = _scored(score, metrics.METRICS)

    def tell(path: Path) -> None:
        try:
            tracker.log(path, config.labels, classifiers, rows)
        except Exception as error:  # a server that is away must not cost a trained cell
            print(f"warning: tracker={tracker.name} received nothing: {error}", file=sys.stderr, flush=True)

    facts = {
        "kind": dataset.kind,
        "data": {**_data_facts(dataset, runs), "read": read},
        "headline": scoring.headline(rows, dataset.classes, dataset.kind),
        "device": devices.device_name(engine.device),
        "provenance": devices.gpu_facts(engine.device),
        "slices": named,
        **({"own_metrics": of_own} if (of_own := scoring.own_metrics(own, dataset.kind)) else {}),
        "runs_together": sizes[-1],
        "halved_for_memory": sizes[:-1],
        "runs": [
            _run_facts(i, run, c, predictions, rows) | {"slices": {name: s[i].facts for name, s in found.items()}}
            for i, (run, c) in enumerate(zip(runs, classifiers))
        ],
    }
    return facts, _files(config, predictions, rows, classifiers), tell


def _scored(
    score: Callable[[Mapping[str, metrics.OneVsRest]], list[dict[str, Any]]], own: Mapping[str, metrics.OneVsRest]
) -> tuple[list[dict[str, Any]], Mapping[str, metrics.OneVsRest]]:
    """The rows of metrics.csv, and the metrics of the user's own in them. One that fails is left out with a warning: a
    trained cell is not lost for it."""
    try:
        return score(own), own
    except metrics.MetricFailed as error:
        log.warning("%s; it is left out, and scripts/rescore.py computes it once it is put right", error)
        return _scored(score, {name: function for name, function in own.items() if name != error.name})


def fit_in_chunks(
    fit: Callable[[list[Task]], list[Classifier]], runs: Sequence[Run], together: int
) -> tuple[list[Classifier], list[int]]:
    """Trains ``together`` runs at a time and halves that when the device's memory runs out; also returns the sizes
    tried, the last of which was used. Raises BenchError where it does not hold one."""
    import torch

    classifiers: list[Classifier] = []
    sizes = [min(together, len(runs))]
    while len(classifiers) < len(runs):
        first = len(classifiers)
        try:
            classifiers += fit([r.task for r in runs[first : first + sizes[-1]]])
        except torch.OutOfMemoryError as error:
            if sizes[-1] == 1:
                raise BenchError(
                    "the device's memory does not hold one run: lower trainer.batch_size, or set device=cpu"
                ) from error
            sizes.append((sizes[-1] + 1) // 2)
            log.warning("out of device memory: %d runs at a time from here on", sizes[-1])
        else:
            continue
        torch.cuda.empty_cache()  # only now, when the error no longer holds the tensors of the failed attempt
    return classifiers, sizes


def _parts(run: Run) -> list[tuple[str, Part]]:
    return [("train", run.task.train), ("valid", run.task.valid), ("test", run.test)]


def predict(runs: Sequence[Run], classifiers: Sequence[Classifier]) -> dict[str, np.ndarray]:
    """Scores of every run that did not diverge on its test rows, as the flat arrays of predictions.npz."""
    good = [(i, run, c) for i, (run, c) in enumerate(zip(runs, classifiers)) if not c.failure]
    arrays = {
        "run": np.concatenate([np.full(len(run.test), i, np.int32) for i, run, _ in good]),
        "sample_id": np.concatenate([run.test.ids for _, run, _ in good]),
        "label": np.concatenate([run.test.y for _, run, _ in good]),
    }
    for readout in good[0][2].readouts:
        if all(readout in c.readouts for _, _, c in good):
            scores = [c.scores(run.test.x, readout) for _, run, c in good]
            arrays[f"scores_{readout}"] = np.concatenate(scores).astype(np.float32)
            ranks = [r for _, run, c in good if (r := c.ranks(run.test.x, readout)) is not None]
            if ranks:
                arrays[f"ranks_{readout}"] = np.concatenate(ranks).astype(np.float32)
    return arrays


def _record(config: Config, cell: CellFolder, status: str, seconds: float) -> dict[str, Any]:
    return {
        "schema": identity.SCHEMA,
        "id": cell.path.name,
        "status": status,
        "labels": config.labels,
        "config": config.plain,
        "contents": identity.contents(config.plain, config.plugins),
        "code": identity.code(config.plain),
        "seconds": round(seconds, 3),
        "provenance": {"date": identity.now(), **identity.provenance()},
    }


def _data_facts(dataset: Dataset, runs: Sequence[Run]) -> dict[str, Any]:
    run = runs[0]
    facts = {
        "name": dataset.name,
        "classes": dataset.classes,
        "class_names": list(dataset.class_names),
        "features": int(np.prod(run.task.train.x.shape[1:])),
        "rows": len(run.task.train) + len(run.task.valid) + len(run.test),
        "info": dataset.info,
    }
    if dataset.kind == "classification":
        labels = np.concatenate([run.task.train.y, run.task.valid.y, run.test.y])
        facts["class_counts"] = np.bincount(labels, minlength=dataset.classes).tolist()
    return facts


def _run_facts(
    index: int,
    run: Run,
    classifier: Classifier,
    predictions: dict[str, np.ndarray],
    rows: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    from imbalance_bench.data.tasks import subset_hash

    task = run.task
    mine = predictions["run"] == index
    decisions = scoring.NO_DECISIONS
    if task.kind == "classification" and not classifier.failure:
        key = (index, "last", "macro", "auc_roc")
        auc_roc = next(r["value"] for r in rows if (r["run"], r["iterate"], r["class_group"], r["metric"]) == key)
        decisions = scoring.decisions(predictions["label"][mine], predictions["scores_last"][mine], auc_roc)
    return {
        "run": index,
        "fold": task.fold,
        "repeat": task.repeat,
        "seed": task.seed,
        "status": "failed" if classifier.failure else "done",
        "failure": classifier.failure,
        **decisions,
        "minority_classes": list(task.minority_classes),
        "n_train": len(task.train),
        "n_valid": len(task.valid),
        "n_test": len(run.test),
        "train_counts": task.counts.tolist(),
        "subset_hash": subset_hash(task.train.ids),
        "test_hash": subset_hash(run.test.ids),
        "info": classifier.info | ({"tokens": task.vocabulary.info} if task.vocabulary else {}),
    }


def _files(
    config: Config,
    predictions: dict[str, np.ndarray],
    rows: list[dict[str, Any]],
    classifiers: Sequence[Classifier],
) -> dict[str, bytes | str]:
    """The files of a finished cell by name."""
    import yaml

    # libyaml's dumper where there is one: the Python one takes longer than all the other files together.
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    history = [{"run": i, **row} for i, c in enumerate(classifiers) for row in c.history]
    artifacts = {f"run{i}_{k}": v for i, c in enumerate(classifiers) for k, v in c.artifacts.items()}
    files: dict[str, bytes | str] = {
        "config.yaml": yaml.dump(config.replay(), Dumper=dumper, sort_keys=False),
        "predictions.npz": _npz(predictions),
        "metrics.csv": scoring.to_csv(rows),
        "history.csv": scoring.to_csv(history),
    }
    return files | ({"artifacts.npz": _npz(artifacts)} if artifacts else {})


def _npz(arrays: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()
