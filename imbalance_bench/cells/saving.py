"""What the runs of a cell learned, as files beside its record, and the card that tells of them (``save=true``)."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from imbalance_bench.errors import command
from imbalance_bench.metrics import scoring
from imbalance_bench.running.models import NotKept, State, packed, state_of
from imbalance_bench.settings.config import labels_shown

if TYPE_CHECKING:
    from imbalance_bench.cells.recipe import Prepared
    from imbalance_bench.data.base import Dataset, Task

log = logging.getLogger("imbalance_bench")

CARD = "model.md"
SHOWN = (
    *("auc_pr", "auc_roc", "f1", "f1_tuned", "precision", "recall", "g_mean", "g_mean_tuned", "balanced_accuracy"),
    *("balanced_accuracy_tuned", "log_loss", "brier", "mse"),
)
UNBOUNDED = ("log_loss", "mse")  # the others are between 0 and 1


def model_files(cell: Prepared) -> dict[str, bytes | str]:
    """The files of the runs that did not diverge, with the preprocessing that each was trained behind. None, with a
    warning, where they cannot be saved: a trained cell is not lost for it."""
    states: dict[str, State] = {}
    encoders: dict[int, str] = {}
    try:
        for i, (run, classifier) in enumerate(zip(cell.runs, cell.classifiers)):
            if classifier.failure:
                continue
            states[f"run{i}"] = state_of(classifier)
            encoders[i] = f"encoder{run.task.fold}"
            if encoders[i] not in states:  # repeats of a fold are behind the same one
                states[encoders[i]] = fitted(cell.dataset, run.task)
        return packed(states, {"encoders": encoders, **_facts(cell)})
    except NotKept as reason:
        log.warning("save=true: no model is kept: %s", reason)
        return {}


def fitted(dataset: Dataset, task: Task) -> State:
    """The preprocessing of a run. It is fitted again, to the same training rows: a task has the rows it made only."""
    encode = dataset.encode
    if not hasattr(encode, "fitted"):
        raise NotKept(
            f"the preprocessing of data set {dataset.name}, {type(encode).__qualname__}, has no fitted(x, fit_rows) "
            "that gives it as an object"
        )
    return state_of(encode.fitted(dataset.x, task.train.ids))


def _facts(cell: Prepared) -> dict[str, Any]:
    """How new rows are read."""
    dataset = cell.dataset
    return {
        "modality": dataset.modality,
        "language": dataset.language,
        "shape": list(np.shape(dataset.x)[1:]),
        "plugins": list(cell.config.plugins),
    }


def card(record: Mapping[str, Any], metrics: str) -> str:
    """What a reader of the folder ``record["path"]`` needs to know of its model, as Markdown: data, counts, scores,
    what it decides by, commands. ``metrics``: its metrics.csv."""
    data, config = record["data"], record["config"]
    labels = labels_shown(record["labels"], config)
    done = [run for run in record["runs"] if not run["failure"]]
    folder = shlex.quote(str(record["path"]))
    lines = [
        f"# {labels['method']} on {labels['dataset']}",
        "",
        f"A model of imbalance_bench, made {record['provenance']['date'][:10]} (id {record['id']}).",
        "",
        "## Data",
        "",
        f"- {data['read']}" if "read" in data else f"- {data['name']}",
        f"- ratio {labels['ratio']}, protocol {labels['protocol']}, network {labels['backbone']}, trainer "
        f"{labels['trainer']}, seed {config['seed']}",
    ]
    if record["kind"] == "classification":
        counts = np.array([run["train_counts"] for run in done])
        lines += [
            "",
            "| class | rows of the data | training rows of a run |",
            "| --- | --- | --- |",
            *(
                f"| {name} | {total} | {low if low == high else f'{low} to {high}'} |"
                for name, total, low, high in zip(
                    data["class_names"], data["class_counts"], counts.min(axis=0), counts.max(axis=0)
                )
            ),
        ]
    lines += [
        "",
        "## Scores on test rows",
        "",
        f"Mean over {len(done)} run{'s' if len(done) != 1 else ''}, each on the test rows of its split, at the last "
        "epoch; in brackets the 95 % t interval over runs, which overlap in their training rows: take it for a guide. "
        "The runs averaged, as predict.py does, were not scored together.",
        "",
        *_scores(metrics),
        "",
        *_decisions(record, metrics),
        "## Use",
        "",
        f"    {command('predict')} {folder} new.csv --output scores.csv",
        "",
        f"It averages the probabilities of {len(done)} run{'s' if len(done) != 1 else ''}; `--run N` takes one. The "
        "folder may be moved or copied.",
        "",
        "Made by",
        "",
        f"    {record['provenance']['command']}",
        "",
        "and made again by",
        "",
        f"    {command('train')} -cp {folder} -cn config cache=overwrite",
        "",
    ]
    return "\n".join(lines)


def _decisions(record: Mapping[str, Any], metrics: str) -> list[str]:
    """What predict.py decides by."""
    if record["kind"] != "classification":
        return []
    plain = "The class of the highest probability"
    lines = ["## Decisions", ""]
    if record.get("validation") not in scoring.TUNED_ON:
        return [
            *lines,
            f"{plain}: there are no validation rows that nothing was trained on, to tune a threshold on.",
            "",
        ]
    if record["data"]["classes"] > 2:
        return [*lines, "By offsets of the classes that are best for F1 on the validation rows of each run.", ""]
    positive = record["data"]["class_names"][1]
    lines += [f"{positive!r} where its probability is above the threshold that is best on the validation rows:", ""]
    lines += ["| for | threshold of a run |", "| --- | --- |"]
    for (metric, _), values in _of_runs(metrics).items():
        if metric.startswith("threshold_") and np.isfinite(values).any():
            low, high = np.nanmin(values), np.nanmax(values)
            between = f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
            lines.append(f"| {metric.removeprefix('threshold_')} | {between} |")
    return [*lines, "", "Without `--decide` that for f1. `--decide probability` takes 0.5.", ""]


def _of_runs(metrics: str) -> dict[tuple[str, str], list[float]]:
    """(metric, class group) → its values of the runs, at the last epoch on test rows."""
    found: dict[tuple[str, str], list[float]] = {}
    for row in scoring.from_csv(metrics):
        if row["iterate"] == "last" and row["part"] == "test":
            found.setdefault((row["metric"], row["class_group"]), []).append(float(row["value"]))
    return found


def _scores(metrics: str) -> list[str]:
    """A table of the metrics in ``SHOWN``, of the class groups that there are."""
    from scipy.stats import t

    found = {key: values for key, values in _of_runs(metrics).items() if key[0] in SHOWN}
    groups = [g for g in ("positive", "macro", "all") if any(group == g for _, group in found)]
    lines = [f"| metric | {' | '.join(groups)} |", "| --- |" + " --- |" * len(groups)]
    for metric in SHOWN:
        cells = []
        for group in groups:
            values = np.array(found.get((metric, group), []))
            values = values[np.isfinite(values)]
            cell = f"{values.mean():.4f}" if len(values) else ""
            if len(values) > 1:
                reach = float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
                low, high = max(0.0, values.mean() - reach), values.mean() + reach
                cell += f" [{low:.4f}, {high if metric in UNBOUNDED else min(1.0, high):.4f}]"
            cells.append(cell)
        if any(cells):
            lines.append(f"| {metric} | {' | '.join(cells)} |")
    return lines
