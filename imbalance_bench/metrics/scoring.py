"""Metrics of saved predictions (the arrays of predictions.npz): what run writes and rescore.py writes again."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from imbalance_bench import metrics, origin
from imbalance_bench.alike import alike
from imbalance_bench.errors import command
from imbalance_bench.metrics import calibration, probabilities, thresholds

CHANCE = 0.55  # AUC-ROC up to which a ranking is called gone
VALID = "valid_"  # before the names of arrays of validation rows in predictions.npz
# Of what a record says of its validation rows, that with which it has their scores: nothing was trained on them, or
# the method learned from them in a way of its own. Else they are "trained on", or there are "none".
TUNED_ON = ("held out", "guided training")
OF_PROBABILITIES = ("brier", "brier_minority", "log_loss", "ece_mass")  # ``probabilities.of_probabilities``
TUNED = tuple(f"{objective}_tuned" for objective in thresholds.OBJECTIVES)
RANKS = "decision function, which ranks rows: they are no probabilities"
AT_ONCE = 1 << 18  # scores of runs that are one array
NO_DECISIONS: dict[str, Any] = {"predicted_classes": [], "few_classes": False, "collapsed": False}


def score_predictions(
    arrays: Mapping[str, np.ndarray],
    runs: Sequence[tuple[int, int]],
    class_names: Sequence[str],
    kind: str,
    minority: Sequence[Sequence[int]] | None = None,
    own: Mapping[str, metrics.OneVsRest] | None = None,
    cost: float = thresholds.COST,
    calibrations: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """The rows of metrics.csv: run, fold, repeat, iterate, part (test, then valid), class_group, metric, value.

    ``arrays`` as in predictions.npz, ``scores_<readout>`` for every readout there is, and ``ranks_<readout>`` where
    classes rank rows otherwise, ``slice_<name>`` for every slice (``slices.py``), which are of test rows; ``runs``:
    (fold, repeat) of each run of the cell; ``minority``: the minority classes of each run; ``own`` as in
    ``metrics.evaluate``; ``cost``: of a missed positive (row of a minority class), in false alarms.

    Where there are scores of validation rows, decisions that are tuned on them are scored too (``_decided``), on the
    rows of either part: those of the part valid are of the rows that they were tuned on. So are probabilities that are
    calibrated on them, of the kinds ``calibrations`` (``_calibrated``), on test rows.
    """
    parts = parts_of(arrays)
    found = {part: list(_readouts(of_part)) for part, of_part in parts.items()}
    fitted: dict[tuple[str, int], Fitted] = {}
    if "valid" in found and kind == "classification":
        fitted = _fitted(found["valid"], minority, cost, calibrations)
    rows: list[dict[str, Any]] = []
    for part, readouts in found.items():
        values: list[list[dict[str, Any]]] = [[] for _ in readouts]
        for at in _of_one_size(readouts):
            some = [readouts[place] for place in at]
            labels, scores = np.stack([one.labels for one in some]), np.stack([one.scores for one in some])
            few = [tuple(minority[one.run]) if minority else () for one in some]
            ranks = None if some[0].ranks is None else np.stack([one.ranks for one in some if one.ranks is not None])
            slices = {name: np.stack([one.slices[name] for one in some]) for name in some[0].slices}
            of_each = metrics.evaluate_runs(labels, scores, class_names, kind, few, ranks, slices, own)
            if kind == "classification":
                costs = np.stack([thresholds.costs_of(len(class_names), of_run, cost) for of_run in few])
                tuned = [fitted.get((one.readout, one.run)) for one in some]
                of_each = [a + b for a, b in zip(of_each, _decided(labels, scores, costs, tuned))]
            for place, of_one in zip(at, of_each):
                values[place] = of_one
        for one, of_one in zip(readouts, values):
            calibrated = fitted.get((one.readout, one.run)) if part == "test" and calibrations else None
            if calibrated:
                few_of = minority[one.run] if minority else ()
                of_one = of_one + _calibrated(one.labels, one.scores, few_of, calibrated)
            fold, repeat = runs[one.run]
            where = {"run": one.run, "fold": fold, "repeat": repeat, "iterate": one.readout, "part": part}
            rows += [{**where, **value} for value in of_one]
    return rows


@dataclass(frozen=True)
class Predicted:
    """A readout of one run, on the rows of one part."""

    readout: str
    run: int
    labels: np.ndarray
    scores: np.ndarray
    ranks: np.ndarray | None
    slices: dict[str, np.ndarray]


def _readouts(of_part: Mapping[str, np.ndarray]) -> Iterator[Predicted]:
    """The readouts of a part, each with its runs."""
    rows_of = [(run, np.flatnonzero(of_part["run"] == run)) for run in np.unique(of_part["run"]).tolist()]
    slices = {name.removeprefix("slice_"): mask for name, mask in of_part.items() if name.startswith("slice_")}
    for readout in [name.removeprefix("scores_") for name in of_part if name.startswith("scores_")]:
        scores, ranks = of_part[f"scores_{readout}"], of_part.get(f"ranks_{readout}")
        for run, mine in rows_of:
            cuts = {name: mask[mine] for name, mask in slices.items()}
            ranked = None if ranks is None else ranks[mine]
            yield Predicted(readout, run, of_part["label"][mine], scores[mine], ranked, cuts)


def _of_one_size(readouts: Sequence[Predicted]) -> Iterator[list[int]]:
    """Places of readouts with equally many rows, which are scored as one array: as many as are quick together."""
    for (size, _), at in alike((one.scores.shape, one.ranks is None) for one in readouts):
        most = max(AT_ONCE // math.prod(size), 1)
        yield from (at[start : start + most] for start in range(0, len(at), most))


@dataclass(frozen=True)
class Fitted:
    """Tuned on the validation rows of a run: ``offsets`` by objective, ``calibrations`` by kind; None where it is not
    defined, one class among the rows."""

    offsets: dict[str, np.ndarray | None]
    calibrations: dict[str, calibration.Calibration | None]


def _fitted(
    valid: Sequence[Predicted],
    minority: Sequence[Sequence[int]] | None,
    cost: float,
    calibrations: Sequence[str],
) -> dict[tuple[str, int], Fitted]:
    """By readout and run."""
    found: dict[tuple[str, int], Fitted] = {}
    for at in _of_one_size(valid):
        some = [valid[place] for place in at]
        labels, scores = np.stack([one.labels for one in some]), np.stack([one.scores for one in some])
        few = [minority[one.run] if minority else () for one in some]
        costs = np.stack([thresholds.costs_of(scores.shape[2], of_run, cost) for of_run in few])
        for one, offsets in zip(some, thresholds.offsets_of_runs(labels, scores, costs)):
            fits = {kind: calibration.fitted(kind, one.labels, one.scores) for kind in calibrations}
            found[one.readout, one.run] = Fitted(offsets, fits)
    return found


def _decided(
    labels: np.ndarray, log_probs: np.ndarray, costs: np.ndarray, fitted: Sequence[Fitted | None]
) -> list[list[dict[str, Any]]]:
    """Of each of R runs, labels (R, n), log-probabilities (R, n, C), costs (R, C): the cost of the plain decisions on
    these rows; <objective>_tuned of those that are tuned for it and, of two classes, the threshold. nan where nothing
    could be tuned."""
    binary = costs.shape[1] == 2
    groups = {"f1": "positive", "g_mean": "positive"} if binary else {"f1": "macro", "g_mean": "macro"}
    groups |= {"balanced_accuracy": "macro", "cost": "all"}
    offsets = [one.offsets if one else {} for one in fitted]
    values: list[list[tuple[str, str, float]]] = [[] for _ in offsets]
    # Of all objectives or of none: what is not defined is so by the labels.
    for some, at in alike(tuple(name for name, found in each.items() if found is not None) for each in offsets):
        tuned = np.array([[offsets[run][name] for name in some] for run in at]).reshape(
            len(at), len(some), costs.shape[1]
        )
        decided = [log_probs[at].argmax(axis=2)[:, None]]
        decided += [thresholds.decide(log_probs[at][:, None], tuned[:, :, None])] if some else []
        of_each = thresholds.decisions_of_runs(labels[at], np.concatenate(decided, axis=1), costs[at])
        for place, run in enumerate(at):
            values[run].append(("all", "cost", float(of_each["cost"][place, 0])))
            for objective, found in offsets[run].items():
                value = threshold = float("nan")
                if found is not None:
                    value = float(of_each[objective][place, 1 + some.index(objective)])
                    threshold = thresholds.as_threshold(found) if binary else threshold
                values[run].append((groups[objective], f"{objective}_tuned", value))
                values[run] += [(groups[objective], f"threshold_{objective}", threshold)] if binary else []
    return [[{"class_group": group, "metric": m, "value": value} for group, m, value in of_run] for of_run in values]


def _calibrated(
    labels: np.ndarray, log_probs: np.ndarray, minority: Sequence[int], fitted: Fitted
) -> list[dict[str, Any]]:
    """<metric>_<kind> of the probabilities that each kind of calibration makes of these; nan where there is none."""
    plain = probabilities.of_probabilities(labels, log_probs, minority)
    rows = []
    for kind, calibrate in fitted.calibrations.items():
        values = dict.fromkeys(plain, float("nan"))
        if calibrate is not None:
            values = probabilities.of_probabilities(labels, calibrate(log_probs), minority)
        rows += [{"class_group": "all", "metric": f"{name}_{kind}", "value": value} for name, value in values.items()]
    return rows


def parts_of(arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """The arrays of predictions.npz by the part that they are of, "test" and, where it was scored, "valid", each under
    the same names."""
    test = {name: array for name, array in arrays.items() if not name.startswith(VALID)}
    valid = {name.removeprefix(VALID): array for name, array in arrays.items() if name.startswith(VALID)}
    return {"test": test, "valid": valid} if valid else {"test": test}


def without_validation(record: Mapping[str, Any]) -> str:
    """Why a record has no scores of validation rows that may be chosen by, and what to do; "" where it has."""
    role = record.get("validation")
    if role is None:
        return "its record has no validation scores: train it again with cache=overwrite"
    if role == "trained on":
        return "its validation rows were trained on: set trainer.rows=train"
    if role not in TUNED_ON:
        return "it has no validation rows: choose a protocol that has, or protocol.valid_fraction above 0"
    return ""


def ranks_only(record: Mapping[str, Any]) -> bool:
    """Whether the scores of a record's runs rank rows and are no probabilities (an estimator's decision function)."""
    return any(str((run.get("info") or {}).get("scores", "")).startswith("decision_function") for run in record["runs"])


def why_absent(record: Mapping[str, Any], metric: str, place: str = "", kinds: Iterable[str] = ()) -> str:
    """Why a record that was scored has not got a metric of ours, and what to do; "" where it is none of ours.
    ``place``: the words of a command for its folder of outputs; ``kinds``: calibrations that the records beside it
    have, which a command is to keep."""
    tuned = [*TUNED, *(f"threshold_{objective}" for objective in thresholds.OBJECTIVES)]
    base, _, kind = metric.rpartition("_")
    calibrated = base in OF_PROBABILITIES and kind in calibration.KINDS
    if (calibrated or metric in tuned) and (reason := without_validation(record)):
        return reason
    if calibrated:
        every = ",".join(dict.fromkeys([*kinds, *record.get("calibration", []), kind]))
        return f"`{command('rescore')} --calibration {every}{place}` computes it, without training"
    ours = metric in (*tuned, "cost") or metric in metrics.built_in()
    return f"`{command('rescore')}{place}` computes it, where the cell has it, without training" if ours else ""


def of_validation() -> set[str]:
    """The metrics that validation rows are scored by and options may be chosen by, those of the user's own included."""
    return {*metrics.built_in(), *metrics.METRICS, "cost", *TUNED}


def own_metrics(names: Iterable[str], kind: str) -> dict[str, dict[str, Any]]:
    """Metrics of the user's own in a record: name → its module, and a hash of each file that it is computed by. None
    of a regression, whose errors have no classes."""
    if kind == "regression":
        return {}
    modules = {name: metrics.METRICS[name].__module__ for name in names}
    return {name: {"module": module, "code": origin.plugin_code([module])} for name, module in modules.items()}


def stale_metrics(record: Mapping[str, Any]) -> list[str]:
    """The registered metrics of the user's own that a record lacks, or has from other code."""
    now = own_metrics(metrics.METRICS, record["kind"]) if record["status"] == "done" else {}
    return [name for name, source in now.items() if record.get("own_metrics", {}).get(name) != source]


def at_last(rows: Sequence[Mapping[str, Any]], metric: str, group: str) -> list[Mapping[str, Any]]:
    """The rows that hold a metric of each run at the last epoch, on test rows."""
    of_metric = (row for row in rows if row["metric"] == metric and row["class_group"] == group)
    return [row for row in of_metric if row["part"] == "test" and row["iterate"] == "last"]


def headline(rows: Sequence[Mapping[str, Any]], classes: int, kind: str) -> dict[str, Any]:
    """Mean and sd over runs of the metric that heads the table: AUC-PR of the positive class, macro AUC-PR of more
    than two classes, mean squared error of a regression; at the last epoch."""
    if kind == "regression":
        metric, group = "mse", "all"
    else:
        metric, group = "auc_pr", "positive" if classes == 2 else "macro"
    values = [row["value"] for row in at_last(rows, metric, group)]
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return {"metric": metric, "class_group": group, "iterate": "last", "mean": float(np.mean(values)), "sd": sd}


def decisions(labels: np.ndarray, scores: np.ndarray, auc_roc: float) -> dict[str, Any]:
    """Facts of a run's decisions, for its record: the classes that its scores (n, C) predict; whether these are at most
    half of those that labels (n,) hold (of two: one); whether it *collapsed*: its ranking is gone too, by its AUC-ROC
    (macro). Rare classes that are ranked well and never predicted are not a collapse."""
    if scores.shape[1] < 2:
        return NO_DECISIONS
    predicted = np.unique(scores.argmax(axis=1)).tolist()
    few = 2 * len(predicted) <= len(np.unique(labels))
    return {"predicted_classes": predicted, "few_classes": few, "collapsed": bool(few and auc_roc <= CHANCE)}


def few_classes(record: Mapping[str, Any] | None) -> str:
    """How many runs of a record predict few classes, and which, as a footnote; "" where none does. Earlier records
    call them all ``collapsed``, and do not say which of two classes is predicted."""
    runs = (record or {}).get("runs", [])
    few = [run for run in runs if run.get("few_classes", run.get("collapsed"))]
    if not few or record is None:
        return ""
    words = "predict at most half of the classes"
    if record["data"]["classes"] == 2:
        predicted = {tuple(run.get("predicted_classes", ())) for run in few}
        one = {(0,): "predict no positive at 0.5", (1,): "predict no negative at 0.5"}
        words = one[predicted.pop()] if len(predicted) == 1 and predicted < one.keys() else "predict one class only"
    gone = sum(run["collapsed"] for run in few if "few_classes" in run)
    ranking = f"; {gone} collapsed: AUC-ROC at most {CHANCE:g}" if gone else ""
    return f"at the last epoch {len(few)} of {len(runs)} runs {words}{ranking}"


def selection_score(labels: np.ndarray, log_probs: np.ndarray, kind: str) -> float:
    """The score that chooses the best epoch on validation, higher is better: average precision of the positive class,
    its mean over classes for more than two, minus the mean squared error of a regression."""
    return float(selection_scores(labels[None], log_probs[None], kind)[0])


def selection_scores(labels: np.ndarray, log_probs: np.ndarray, kind: str) -> np.ndarray:
    """``selection_score`` (R,) of R runs of n rows each: labels (R, n), log-probabilities (R, n, C)."""
    runs, n, classes = log_probs.shape
    if kind == "regression":
        return np.asarray(-np.mean((log_probs[..., 0] - labels) ** 2, axis=1))
    if classes == 2:
        return metrics.average_precisions(labels == 1, metrics.ranking_scores(log_probs, 1))
    found, present = np.empty((runs, classes)), np.empty((runs, classes), bool)
    some = max(AT_ONCE // (runs * n), 1)
    for first in range(0, classes, some):
        mine = range(first, min(first + some, classes))
        positive = labels[:, None] == np.array(mine)[:, None]
        ranked = np.stack([metrics.ranking_scores(log_probs, c) for c in mine], axis=1)
        of_mine = metrics.average_precisions(positive.reshape(-1, n), ranked.reshape(-1, n))
        found[:, mine], present[:, mine] = of_mine.reshape(runs, -1), positive.any(axis=2)
    return np.array([np.mean(of_run[has_rows]) for of_run, has_rows in zip(found, present)])


def to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV text; the columns are the keys in order of first appearance."""
    kinds = dict.fromkeys(map(tuple, rows))  # rows of one kind have the same keys
    columns = list(dict.fromkeys(key for keys in kinds for key in keys))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    if len(kinds) == 1:
        writer.writerows(row.values() for row in rows)
    else:
        writer.writerows([row.get(column, "") for column in columns] for row in rows)
    return text.getvalue()


def from_csv(text: str) -> list[dict[str, str]]:
    """The rows of a metrics.csv, values as text. Files of earlier versions do not say the part, which is test."""
    return [{"part": "test"} | row for row in csv.DictReader(io.StringIO(text))]
