"""The model card, ``model.md``: what a reader of the folder of a saved model needs to know of it. Imports no torch."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from typing import Any

import numpy as np

from imbalance_bench.errors import command
from imbalance_bench.metrics import scoring
from imbalance_bench.settings.config import labels_shown

CARD = "model.md"
USE = "## Use"  # the heading of its commands
SHOWN = (
    *("auc_pr", "auc_roc", "f1", "f1_tuned", "precision", "recall", "g_mean", "g_mean_tuned", "balanced_accuracy"),
    *("balanced_accuracy_tuned", "log_loss", "brier", "mse"),
)
MOST = {"log_loss": math.inf, "mse": math.inf}  # the largest value; of others 1, of a Brier score of several classes 2
Run = tuple[int, int]  # fold and repeat


def renewed(old: str, new: str) -> bool:
    """Whether a card says other things of the model than an earlier one, commands aside."""
    return old.partition(USE)[0] != new.partition(USE)[0]


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
        "epoch; in brackets the 95 % t interval over runs (seeds of a split count by their mean), which overlap in "
        "their training rows: take it for a guide. "
        "The runs averaged, as predict.py does, were not scored together.",
        "",
        *_scores(metrics, data.get("classes", 0)),
        *_of_ranks(record),
        "",
        *_decisions(record, metrics),
        USE,
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
    for (metric, _), by_run in _of_runs(metrics).items():
        values = list(by_run.values())
        if metric.startswith("threshold_") and np.isfinite(values).any():
            low, high = np.nanmin(values), np.nanmax(values)
            between = f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
            lines.append(f"| {metric.removeprefix('threshold_')} | {between} |")
    return [*lines, "", "Without `--decide` that for f1. `--decide probability` takes 0.5.", ""]


def _of_ranks(record: Mapping[str, Any]) -> list[str]:
    """Says where scores are no probabilities."""
    if not scoring.ranks_only(record):
        return []
    cure = "" if scoring.without_validation(record) else ", and `--calibration platt` of predict.py makes some of them"
    return ["", f"Its scores are a {scoring.RANKS}{cure}: log loss and Brier score say little of it."]


def _of_runs(metrics: str) -> dict[tuple[str, str], dict[Run, float]]:
    """(metric, class group) → its values by run, at the last epoch on test rows; nan where it is not defined."""
    found: dict[tuple[str, str], dict[Run, float]] = {}
    for row in scoring.from_csv(metrics):
        if row["iterate"] == "last" and row["part"] == "test":
            run = (int(row["fold"]), int(row["repeat"]))
            found.setdefault((row["metric"], row["class_group"]), {})[run] = float(row["value"])
    return found


def _scores(metrics: str, classes: int) -> list[str]:
    """A table of the metrics in ``SHOWN``, of the class groups that there are."""
    found = {key: values for key, values in _of_runs(metrics).items() if key[0] in SHOWN}
    groups = [g for g in ("positive", "macro", "all") if any(group == g for _, group in found)]
    lines = [f"| metric | {' | '.join(groups)} |", "| --- |" + " --- |" * len(groups)]
    for metric in SHOWN:
        most = 2.0 if metric == "brier" and classes > 2 else MOST.get(metric, 1.0)
        cells = [_mean(found.get((metric, group), {}), most) for group in groups]
        if any(cells):
            lines.append(f"| {metric} | {' | '.join(cells)} |")
    return lines


def _mean(by_run: Mapping[Run, float], most: float) -> str:
    """The mean over runs, with its t interval between 0 and ``most``; seeds of a fold count by their mean, of one fold
    alone each counts."""
    from scipy.stats import t

    defined = {run: value for run, value in by_run.items() if np.isfinite(value)}
    if not defined:
        return ""
    alone = len({fold for fold, _ in defined}) == 1
    groups: dict[Run, list[float]] = {}
    for (fold, repeat), value in defined.items():
        groups.setdefault((fold, repeat if alone else 0), []).append(value)
    mean, values = float(np.mean(list(defined.values()))), np.array([np.mean(of) for of in groups.values()])
    if len(values) < 2:
        return f"{mean:.4f}"
    reach = float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return f"{mean:.4f} [{max(0.0, mean - reach):.4f}, {min(most, mean + reach):.4f}]"
