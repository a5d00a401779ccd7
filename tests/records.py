"""Synthetic run records for the tests of the report: what cells would have written, with numbers chosen by hand."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from imbalance_bench.registry import GROUPS
from imbalance_bench.settings.conf_files import CONF
from imbalance_bench.settings.config import label_of
from imbalance_bench.settings.identity import digest
from imbalance_bench.settings.presets import jobs_of
from imbalance_bench.store import SCHEMA, Store

PROVENANCE = {
    "date": "2026-01-02T03:04:05+00:00",
    "python": "3.11.0",
    "packages": {"torch": "2.15.0", "numpy": "2.4.6"},
    "git": "abc1234",
    "hardware": "A Processor",
}


def edit(folder: Path, **changes: Any) -> None:
    """Changes keys of a stored record, as whoever wrote it might: without the sum that holds it to what it was."""
    path = folder / "record.json"
    record = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in record.items() if key != "sum"}))


@dataclass
class FakeCell:
    """What presets.PlannedCell is to the report."""

    labels: dict[str, str]
    config: dict[str, Any]
    id: str


@dataclass
class FakePreset:
    paper: dict[str, Any]
    cells: list[FakeCell] = field(default_factory=list)


def cell(
    method: str,
    dataset: str = "ecoli",
    ratio: str = "native",
    options: dict[str, Any] | None = None,
    backbone: str = "mlp",
    trainer: str = "adam",
) -> FakeCell:
    """A cell; ``options``: more of its config, e.g. {"method": {"gamma": 5}}."""
    labels = {
        "method": method,
        "dataset": dataset,
        "ratio": ratio,
        "backbone": backbone,
        "protocol": "holdout_kfold",
        "trainer": trainer,
    }
    config: dict[str, Any] = {group: {"label": label} for group, label in labels.items()} | {"seed": 0}
    for group, more in (options or {}).items():
        config[group] = config[group] | more if isinstance(more, dict) else more
    return FakeCell(labels, config, digest(config))


def write(
    outputs: Path,
    made: FakeCell,
    values: list[float] | dict[str, list[float]],
    best: list[float] | None = None,
    class_group: str = "positive",
    subset: str = "aaaa",
    seconds: float = 1.0,
    arrays: dict[str, np.ndarray] | None = None,
    artifacts: dict[str, np.ndarray] | None = None,
    history: list[dict[str, float]] | None = None,
    kind: str = "classification",
    more: dict[tuple[str, str, str], list[float]] | None = None,
    collapsed: int = 0,
    data: dict[str, Any] | None = None,
    infos: list[dict[str, Any]] | None = None,
    valid: list[float] | dict[str, list[float]] | None = None,
    validation: str | None = None,
) -> Path:
    """Stores a finished cell: one run a value. ``values`` of auc_pr, or by metric; ``best``: auc_pr of that readout;
    ``more``: values by readout, class group and metric; ``collapsed``: how many runs are marked so;
    ``data``: facts of the data set; ``infos``: what each run's method says of itself; ``valid``: as ``values``, of
    validation rows, which were ``validation`` to the training (None: held out)."""
    by_metric = values if isinstance(values, dict) else {"auc_pr": values}
    runs = len(next(iter(by_metric.values())))
    rows = [
        _row(run, "last", class_group, metric, value)
        for metric, many in by_metric.items()
        for run, value in enumerate(many)
    ]
    rows += [_row(run, "best", class_group, "auc_pr", value) for run, value in enumerate(best or [])]
    rows += [_row(run, *where, value) for where, many in (more or {}).items() for run, value in enumerate(many)]
    if valid is not None:
        of_valid = valid if isinstance(valid, dict) else {"auc_pr": valid}
        rows = [row | {"part": "test"} for row in rows] + [
            _row(run, "last", class_group, metric, value) | {"part": "valid"}
            for metric, many in of_valid.items()
            for run, value in enumerate(many)
        ]
    folder = Store(outputs).cell(made.labels, made.id).path
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text(_csv(rows))
    if history:
        (folder / "history.csv").write_text(_csv(history))
    for name, content in (("predictions.npz", arrays), ("artifacts.npz", artifacts)):
        if content:
            np.savez(folder / name, **content)
    metric = next(iter(by_metric))
    record = _record(made, "done") | {
        "seconds": seconds,
        "kind": kind,
        "data": {"classes": 2, "class_names": ["no", "yes"], "features": 8} | (data or {}),
        "device": "cpu",
        **({"validation": said} if (said := validation or (valid and "held out")) else {}),
        "headline": {
            "metric": metric,
            "class_group": class_group,
            "iterate": "last",
            "mean": float(np.mean(by_metric[metric])),
            "sd": 0.0,
        },
        "runs": [
            {
                "run": run,
                "fold": run,
                "repeat": 0,
                "status": "done",
                "failure": None,
                "subset_hash": f"{subset}{run}",
                "test_hash": f"test{run}",
                "n_train": 90,
                "n_test": 10,
                "collapsed": run < collapsed,
                "info": infos[run] if infos else {},
            }
            for run in range(runs)
        ],
    }
    (folder / "record.json").write_text(json.dumps(record))
    return folder


def preset(paper: str, name: str) -> FakePreset:
    """A preset and its grid by their labels, read off the files: composing the cells takes seconds (test_conf.py)."""
    content = _written(f"{paper}/{name}")
    chosen = _options(yaml.safe_load((CONF / "config.yaml").read_text())["defaults"]) | _options(content["defaults"])
    fixed = {group: label_of(chosen[group]) for group in GROUPS}
    cells = []
    for job in jobs_of(content["paper"], []):
        picked = dict(override.split("=", 1) for override in job)
        labels = {group: label_of(picked.get(group, label)) for group, label in fixed.items()}
        config: dict[str, Any] = {group: {"label": label} for group, label in labels.items()}
        config |= {key: value for key, value in picked.items() if key not in GROUPS}
        config["trainer"] = {"label": labels["trainer"], "batch_size": 60, "epochs": 6}
        cells.append(FakeCell(labels, config, digest(config)))
    content["paper"].pop("cells", None)
    return FakePreset(content["paper"], cells)


def axes_of(paper: str, name: str) -> list[str]:
    """The keys of a preset's blocks."""
    blocks = _written(f"{paper}/{name}")["paper"].get("cells", [])
    return list(dict.fromkeys(key for block in blocks for key in block))


def _written(name: str) -> dict[str, Any]:
    """What the file of a preset says, and that which it is based on."""
    content = yaml.safe_load((CONF / "paper" / f"{name}.yaml").read_text())
    for base in (b for b in content.get("defaults", []) if isinstance(b, str) and b != "_self_"):
        under = _written(base)
        content["defaults"] = under["defaults"] + content["defaults"]
        content["paper"] = under["paper"] | content["paper"]
    return content


def _options(defaults: list[Any]) -> dict[str, str]:
    """Group → option of a defaults list."""
    named = [entry for entry in defaults if isinstance(entry, dict)]
    return {key.split()[-1].strip("/"): option for entry in named for key, option in entry.items()}


def decline(outputs: Path, made: FakeCell, reason: str) -> None:
    folder = Store(outputs).cell(made.labels, made.id).path
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(json.dumps(_record(made, "declined") | {"seconds": 0.0, "reason": reason}))


def fail(outputs: Path, made: FakeCell, message: str) -> None:
    Store(outputs).cell(made.labels, made.id).fail(message, "Traceback ...")


def _record(made: FakeCell, status: str) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "id": made.id,
        "status": status,
        "labels": made.labels,
        "config": made.config,
        "provenance": PROVENANCE,
    }


def _row(run: int, readout: str, class_group: str, metric: str, value: float) -> dict[str, Any]:
    return {
        "run": run,
        "fold": run,
        "repeat": 0,
        "iterate": readout,
        "class_group": class_group,
        "metric": metric,
        "value": value,
    }


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
