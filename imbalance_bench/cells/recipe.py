"""The recipe of one cell: data → tasks → fit → predict → score → the facts and files of its record."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from imbalance_bench import metrics, slices, terminal
from imbalance_bench.data.base import Dataset
from imbalance_bench.data.last import read_once
from imbalance_bench.data.together import copies_together
from imbalance_bench.errors import BenchError, Declined, NoNumbers, command
from imbalance_bench.metrics import scoring
from imbalance_bench.options import idle
from imbalance_bench.running import checkpoints, progress
from imbalance_bench.settings import identity
from imbalance_bench.settings.config import Config

if TYPE_CHECKING:
    from imbalance_bench.data.base import Part, Task
    from imbalance_bench.data.tasks import Run
    from imbalance_bench.engine import Engine
    from imbalance_bench.engine.classifier import Classifier


log = logging.getLogger("imbalance_bench")

T = TypeVar("T")


def loaded(config: Config) -> Dataset:
    """The data set of a cell, copies of its rows kept together where ``dataset.copies`` says so."""
    source, folder = config.component("dataset"), Path(config.paths.data)
    return read_once(source, identity.digest(config.plain["dataset"]), folder, partial(_loaded, config, source, folder))


def _loaded(config: Config, source: Any, folder: Path) -> Dataset:
    copies = config.plain["dataset"].get("copies", "apart")
    if source.makes_copies:  # and keeps them together
        copies = "apart"
    dataset = source.load(folder)
    if not isinstance(dataset, Dataset):
        what = type(dataset).__name__
        raise BenchError(f"load of dataset={config.labels['dataset']} gives a Dataset; this one gave a {what}")
    return copies_together(dataset) if copies == "together" else dataset


@cache
def say_once(line: str) -> None:
    progress.clear()
    terminal.tell(line, sys.stderr)


def _tell(lines: Sequence[str]) -> None:
    """In the log of each cell; on the terminal once a process, however many cells of a sweep use the data."""
    for line in lines:
        log.info(line)
        say_once(line)


@dataclass
class Prepared:
    """A cell before its training, and what its training gives: a classifier a run, and the facts of its program.

    ``named``: the slices that its test rows are scored on; ``read``: what was read, in a line; ``sizes``: how many runs
    were tried at a time, the last of which was used; ``cells``: how many cells were trained in one program;
    ``graphed``: whether steps were CUDA graphs."""

    config: Config
    dataset: Dataset
    runs: list[Run]
    method: Any
    backbone: Any
    tracker: Any
    engine: Engine
    named: list[str]
    read: str
    classifiers: Sequence[Classifier] = ()
    sizes: Sequence[int] = ()
    cells: int = 1
    graphed: bool = False


Data = Callable[[Config, Any], tuple["Dataset", "list[Run]"]]


def data_of(config: Config, backbone: Any, read: Dataset | None = None) -> tuple[Dataset, list[Run]]:
    """The data set of a cell as its backbone reads it (``read``, where it has been read before), and its runs."""
    from imbalance_bench.data.tasks import make_runs
    from imbalance_bench.data.text.reading import as_read_by

    dataset = read or as_read_by(backbone, loaded(config), Path(config.paths.data), config.device)
    return dataset, make_runs(dataset, config.component("ratio"), config.component("protocol"), config.plain["seed"])


def prepare(config: Config, data: Data = data_of) -> Prepared:
    """All that comes before training; ``data`` gives what ``data_of`` does. Raises Declined where the method cannot do
    the task."""
    from imbalance_bench.data.summary import summary
    from imbalance_bench.data.together import remarks
    from imbalance_bench.engine import Engine

    # The tracker too: what it lacks is known before anything is trained.
    method, backbone, trainer, tracker = (config.component(g) for g in ("method", "backbone", "trainer", "tracker"))
    protocol = config.component("protocol")
    for group, component in (("trainer", trainer), ("method", method), ("dataset", config.component("dataset"))):
        if said := idle(component, group):
            log.warning("%s", said)
    dataset, runs = data(config, backbone)
    named = slices.wanted(dataset, method.slices, config.slices)
    label, doubts = config.labels["dataset"], dataset.info.get("warnings", ())
    read = "; ".join([summary(dataset), *remarks(dataset, protocol, runs)])
    _tell([f"{label}: {read}", *(f"warning: {label}: {doubt}" for doubt in doubts)])
    shape = runs[0].task.train.x.shape[1:]
    log.info("%s: %d runs, %d rows, features %s", dataset.name, len(runs), len(dataset.y), shape)
    for run in runs:
        if reason := method.declines(run.task):
            raise Declined(reason)
    engine = Engine(trainer, config.device, Path(config.paths.data))
    return Prepared(config, dataset, runs, method, backbone, tracker, engine, named, read)


Watch = Callable[[Prepared, "Sequence[Classifier]"], None]
"""Is shown a cell and the runs of it that are trained, while there are more to train; may raise Pruned."""


def fit(cell: Prepared, watch: Watch | None = None) -> None:
    """Trains the runs of a cell, as many at a time as ``Engine.together`` says."""
    from imbalance_bench.engine.graph import Replayed

    captured = Replayed.captured
    tasks = [run.task for run in cell.runs]
    together = cell.engine.together(cell.backbone, tasks[0]) or len(tasks)
    seen = partial(watch, cell) if watch else None
    cell.classifiers, cell.sizes = fit_in_chunks(partial(_fitted, cell), tasks, together, seen)
    cell.graphed = Replayed.captured > captured


def _fitted(cell: Prepared, tasks: list[Task]) -> list[Classifier]:
    from imbalance_bench.engine.classifier import Classifier

    made = cell.method.fit(tasks, cell.backbone, cell.engine)
    if isinstance(made, list) and len(made) == len(tasks) and all(isinstance(one, Classifier) for one in made):
        return made
    what = f"{len(made)} of them" if isinstance(made, list) else f"a {type(made).__name__}"
    raise BenchError(
        f"fit of method={cell.config.labels['method']} gives a list of classifiers, one a task ({len(tasks)}), such as "
        f"engine.classifiers makes; this one gave {what}"
    )


Scored = tuple[dict[str, Any], dict[str, bytes | str], list[dict[str, Any]]]
"""All of a record but the facts that are common to all records, the files beside it, and the rows of metrics.csv."""


def score(cell: Prepared) -> Scored:
    """Predicts and scores the test rows of a trained cell, and its validation rows where nothing was trained on them.
    Raises BenchError where every run diverged."""
    from imbalance_bench.running import devices

    config, dataset, runs, classifiers = cell.config, cell.dataset, cell.runs, cell.classifiers
    for run, classifier in zip(runs, classifiers):
        t = run.task
        end = classifier.failure or (classifier.history[-1] if classifier.history else "trained")
        log.info("fold %d repeat %d: rows %s, %s", t.fold, t.repeat, t.counts.tolist(), end)
    _check_any(classifiers)
    if dataset.kind == "regression":
        _keep_rows(runs, classifiers)
    try:
        validation = _validation(cell)
        predictions = predict(runs, classifiers, validation in scoring.TUNED_ON)
        found = slices.cut(cell.named, dataset, runs, classifiers, Path(config.paths.data))
    except RuntimeError as error:
        if not devices.out_of_memory(error):
            raise
        raise BenchError("the device's memory does not hold the scoring of one run: set device=cpu") from error
    for name, of_runs in found.items():
        masks = [part.mask for part, classifier in zip(of_runs, classifiers) if not classifier.failure]
        predictions[f"slice_{name}"] = np.concatenate(masks)
    rows, own = _scored(cell, predictions, config.calibration)
    ranked = {row["run"]: row["value"] for row in scoring.at_last(rows, "auc_roc", "macro")}
    facts = {
        "kind": dataset.kind,
        "data": {**_data_facts(dataset, runs), "read": cell.read},
        "headline": scoring.headline(rows, dataset.classes, dataset.kind),
        "device": devices.device_name(cell.engine.device),
        "provenance": devices.gpu_facts(cell.engine.device),
        "slices": cell.named,
        "validation": validation,
        "cost": config.cost,
        "calibration": list(config.calibration),
        **({"own_metrics": of_own} if (of_own := scoring.own_metrics(own, dataset.kind)) else {}),
        "cells_together": cell.cells,
        "graphed": cell.graphed,
        "runs_together": cell.sizes[-1],
        "halved_for_memory": list(cell.sizes[:-1]),
        "runs": [
            _run_facts(i, run, c, predictions, ranked.get(i))
            | {"slices": {name: cuts[i].facts for name, cuts in found.items()}}
            for i, (run, c) in enumerate(zip(runs, classifiers))
        ],
    }
    return facts, _files(config, predictions, rows, classifiers), rows


def validation_rows(cell: Prepared, classifiers: Sequence[Classifier]) -> list[dict[str, Any]]:
    """The rows of metrics.csv that are of validation rows, of the first runs of a cell; no test row is looked at."""
    good = [(i, run.task.valid, c) for i, (run, c) in enumerate(zip(cell.runs, classifiers)) if not c.failure]
    if not all(len(part) for _, part, _ in good):
        return []
    scored = [found for one in good if not (found := OfRun(*one)).lost("validation")]
    if not scored:
        return []
    arrays = _arrays(scored)
    arrays |= {f"{scoring.VALID}{name}": array for name, array in arrays.items()}
    rows, _ = _scored(cell, arrays)
    return [row for row in rows if row["part"] == "valid"]


def _scored(
    cell: Prepared, predictions: Mapping[str, np.ndarray], calibrations: Sequence[str] = ()
) -> tuple[list[dict[str, Any]], Mapping[str, metrics.OneVsRest]]:
    """The rows of metrics.csv of predictions of runs of a cell, and the metrics of the user's own in them. One that
    fails is left out with a warning: a trained cell is not lost for it."""
    splits = [(run.task.fold, run.task.repeat) for run in cell.runs]
    minority = [run.task.minority_classes for run in cell.runs]
    dataset, cost = cell.dataset, cell.config.cost
    own: Mapping[str, metrics.OneVsRest] = metrics.METRICS
    while True:
        try:
            rows = scoring.score_predictions(
                predictions, splits, dataset.class_names, dataset.kind, minority, own, cost, calibrations
            )
            return rows, own
        except metrics.MetricFailed as error:
            log.warning("%s; it is left out, and %s computes it once it is put right", error, command("rescore"))
            own = {name: function for name, function in own.items() if name != error.name}


def fit_in_chunks(
    fit: Callable[[Sequence[T]], Sequence[Classifier]],
    tasks: Sequence[T],
    together: int,
    watch: Callable[[Sequence[Classifier]], None] | None = None,
) -> tuple[list[Classifier], list[int]]:
    """Trains ``together`` tasks at a time and halves that when the device's memory runs out; also returns the sizes
    tried, the last of which was used. ``watch`` is shown what is trained while there is more to train. Raises
    BenchError where the memory does not hold one."""
    import torch

    from imbalance_bench.running import devices

    classifiers: list[Classifier] = []
    sizes = [min(together, len(tasks))]
    while len(classifiers) < len(tasks):
        first = len(classifiers)
        some = tasks[first : first + sizes[-1]]
        runs = f"run {first + 1}" + (f" to {first + len(some)}" if len(some) > 1 else "")
        try:
            told = f"{runs} of {len(tasks)}" if len(some) < len(tasks) else ""
            in_turn = progress.within(told, (first, len(some), len(tasks)))
            with in_turn, checkpoints.part(runs), progress.doing("fitting"):
                classifiers += fit(some)
        except RuntimeError as error:
            if not devices.out_of_memory(error):
                raise
            if sizes[-1] == 1:
                raise BenchError(
                    "the device's memory does not hold one run: lower trainer.batch_size, or set device=cpu"
                ) from error
            sizes.append((sizes[-1] + 1) // 2)
            log.warning("out of device memory: %d runs at a time from here on", sizes[-1])
        else:
            if watch and len(classifiers) < len(tasks):
                watch(classifiers)
            continue
        torch.cuda.empty_cache()  # only now, when the error no longer holds the tensors of the failed attempt
    return classifiers, sizes


def _keep_rows(runs: Sequence[Run], classifiers: Sequence[Classifier]) -> None:
    """Keeps the rows of each part among the artefacts of each run, as ``<part>_x`` and ``<part>_y``."""
    for run, classifier in zip(runs, classifiers):
        parts = {"train": run.task.train, "valid": run.task.valid, "test": run.test}
        classifier.artifacts |= {f"{name}_x": part.x for name, part in parts.items()}
        classifier.artifacts |= {f"{name}_y": part.y for name, part in parts.items()}


def _validation(cell: Prepared) -> str:
    """What a cell's validation rows are to it: "none" (there are none), "trained on", or one of ``TUNED_ON``."""
    if not all(len(run.task.valid) for run in cell.runs):
        return "none"
    if cell.engine.trainer.rows == "train_valid":
        return "trained on"
    return "held out" if cell.method.held_out is None else "guided training"


def predict(runs: Sequence[Run], classifiers: Sequence[Classifier], validation: bool = False) -> dict[str, np.ndarray]:
    """Scores of every run that did not diverge on its test rows, as the flat arrays of predictions.npz; and, where
    ``validation`` asks for them, those of its validation rows, under the same names behind ``scoring.VALID``. A run
    whose scores are no numbers has failed. Raises BenchError where all have."""
    named = {"": "test", scoring.VALID: "validation"} if validation else {"": "test"}
    scored: dict[str, list[OfRun]] = {prefix: [] for prefix in named}
    for i, (run, classifier) in enumerate(zip(runs, classifiers)):
        if classifier.failure:
            continue
        parts = zip(named, (run.test, run.task.valid))
        try:
            found = {prefix: OfRun(i, part, classifier) for prefix, part in parts}
        except NoNumbers as error:
            classifier.failure = str(error)
            continue
        classifier.failure = next((lost for p, one in found.items() if (lost := one.lost(named[p]))), None)
        for prefix, one in {} if classifier.failure else found.items():
            scored[prefix].append(one)
    _check_any(classifiers)
    return {f"{prefix}{name}": array for prefix, of in scored.items() for name, array in _arrays(of).items()}


def _check_any(classifiers: Sequence[Classifier]) -> None:
    if all(c.failure for c in classifiers):
        raise BenchError(f"every run diverged; the first: {classifiers[0].failure}")


class OfRun:
    """What a run says of the rows of a part, by readout: scores (n, C), and ranks where it has such."""

    def __init__(self, run: int, part: Part, classifier: Classifier) -> None:
        self.run, self.part = run, part
        self.scores, self.ranks = {}, {}
        for readout in classifier.readouts:
            self.scores[readout] = classifier.scores(part.x, readout).astype(np.float32)
            if (ranks := classifier.ranks(part.x, readout)) is not None:
                self.ranks[readout] = ranks.astype(np.float32)

    def lost(self, name: str) -> str | None:
        """Why this is a failure, where scores are no numbers; ``name``: of the part."""
        for readout, scores in self.scores.items():
            numbers = np.isfinite(scores) if scores.shape[1] == 1 else scores < np.inf  # log-probabilities: -inf is one
            bad = np.flatnonzero(~numbers.all(axis=1))
            if len(bad):
                return (
                    f"scores ({readout}) of {len(bad)} of {len(scores)} {name} rows are no numbers, the first of row "
                    f"{self.part.ids[bad[0]]} (from 0): lower trainer.lr (or the step sizes of the method), or look at "
                    "the features of that row"
                )
        return None


def _arrays(of_runs: Sequence[OfRun]) -> dict[str, np.ndarray]:
    arrays = {
        "run": np.concatenate([np.full(len(one.part), one.run, np.int32) for one in of_runs]),
        "sample_id": np.concatenate([one.part.ids for one in of_runs]),
        "label": np.concatenate([one.part.y for one in of_runs]),
    }
    for readout in of_runs[0].scores:
        if all(readout in one.scores for one in of_runs):
            arrays[f"scores_{readout}"] = np.concatenate([one.scores[readout] for one in of_runs])
            if ranks := [one.ranks[readout] for one in of_runs if readout in one.ranks]:
                arrays[f"ranks_{readout}"] = np.concatenate(ranks)
    return arrays


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
    auc_roc: float | None,
) -> dict[str, Any]:
    from imbalance_bench.data.tasks import subset_hash

    task = run.task
    mine = predictions["run"] == index
    decisions = scoring.NO_DECISIONS
    if auc_roc is not None:  # of a classification that did not diverge
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
    history = [{"run": i, **row} for i, c in enumerate(classifiers) for row in c.history]
    artifacts = {f"run{i}_{k}": v for i, c in enumerate(classifiers) for k, v in c.artifacts.items()}
    files: dict[str, bytes | str] = {
        "config.yaml": config.replay_text(),
        "predictions.npz": _npz(predictions),
        "metrics.csv": scoring.to_csv(rows),
        "history.csv": scoring.to_csv(history),
    }
    return files | ({"artifacts.npz": _npz(artifacts)} if artifacts else {})


def _npz(arrays: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()
