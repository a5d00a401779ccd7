"""Recomputes the metrics of finished cells from their saved predictions; nothing is trained.

For records made before a metric was added or fixed, for metrics of your own (plugins=[my_metrics]), and for a
``metrics.csv`` that is damaged. A metric of your own whose module is not named keeps its numbers. Imports no torch.
``metrics.csv`` and the headline in ``record.json`` are each rewritten whole, in that order, and only where they differ:
a rescore that is killed is finished by the next one.
"""

from __future__ import annotations

import json
import math
import sys
from argparse import ArgumentTypeError
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from imbalance_bench import metrics
from imbalance_bench.card import CARD, card, renewed
from imbalance_bench.errors import BenchError, suggestion
from imbalance_bench.metrics import calibration, scoring, thresholds
from imbalance_bench.plugins import import_plugins
from imbalance_bench.settings.select import select
from imbalance_bench.store import OUTPUTS, CellFolder, Damaged, Record, Store, arrays, file_of, has_file, remedy
from imbalance_bench.store.index import entries_of
from imbalance_bench.terminal import tell
from imbalance_bench.terminal.arguments import ArgumentParser, plugins_of

Key = tuple[str, ...]


@dataclass(frozen=True)
class Change:
    """The changes that a rescore made to one cell. ``added``, ``removed``: "class_group metric" of numbers that only
    the new or the old file has; ``changed``: the same of those whose value differs; ``largest``: the largest absolute
    difference; ``restored``: the old file was not the one that the record was written with; ``lost``: metrics of the
    user's own in it, with their modules, which were not named."""

    record: Record
    added: list[str]
    removed: list[str]
    changed: list[str]
    largest: float
    headline: tuple[dict[str, Any], dict[str, Any]]
    restored: bool
    lost: dict[str, str]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.headline_moved or self.restored)

    @property
    def headline_moved(self) -> bool:
        """Whether the headline of the record has changed."""
        old, new = (json.dumps(h, sort_keys=True) for h in self.headline)  # as text, so that nan equals nan
        return old != new

    def line(self) -> str:
        """The line that says what has changed in the cell."""
        if not self:
            return f"{_name(self.record)}: unchanged"
        parts = ["metrics.csv was damaged"] if self.restored else []
        parts += [f"lost {name}: plugins=[{module}] computes it again" for name, module in self.lost.items()]
        for word in ("added", "removed", "changed"):
            if names := getattr(self, word):
                shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
                parts.append(f"{word} {shown}" + (f" (by {self.largest:.3g} at most)" if word == "changed" else ""))
        if self.headline_moved:
            old, new = self.headline
            parts.append(f"headline {new['metric']} {old['mean']:.4f} -> {new['mean']:.4f}")
        return f"{_name(self.record)}: {'; '.join(parts)}"


def rescore(cell: CellFolder, **asked: Any) -> Change:
    """Rewrites what differs in one finished cell. ``asked``: ``cost`` of a missed positive and kinds of ``calibration``
    in place of the record's own.

    Raises:
        BenchError: its predictions are missing, damaged or no log-probabilities, it is being trained, or the
            disk does not take the new files; the old ones are then whole.
    """
    with cell.lock() as mine:
        record = cell.record()
        if not mine or record is None:
            raise BenchError(f"{cell.path} is being trained by another process: rescore it afterwards")
        record, predictions = _named_slices(record, _predictions(record))
        splits = [(run["fold"], run["repeat"]) for run in record["runs"]]
        data = record["data"]
        minority = [run.get("minority_classes", ()) for run in record["runs"]]  # absent from earlier records
        was = {"cost": record.get("cost", thresholds.COST), "calibration": record.get("calibration", [])}
        now = was | asked
        names, kind = data["class_names"], record["kind"]
        rows = scoring.score_predictions(
            predictions, splits, names, kind, minority, cost=now["cost"], calibrations=now["calibration"]
        )
        headline = scoring.headline(rows, data["classes"], kind)
        had, whole = record.get("own_metrics", {}), _whole(record)
        # of modules that were not named; what a named module has no longer goes
        unnamed = {n: s for n, s in had.items() if n not in metrics.METRICS and s["module"] not in sys.modules}
        own = (unnamed if whole else {}) | scoring.own_metrics(metrics.METRICS, kind)
        if whole and unnamed:
            rows += [
                row for row in scoring.from_csv((cell.path / "metrics.csv").read_text()) if row["metric"] in unnamed
            ]
        text = scoring.to_csv(rows)
        lost = {} if whole else {name: source["module"] for name, source in unnamed.items()}
        change = _compare(record, text, headline, not whole, lost)
        amended = {key: value for key, value in record.items() if key != "own_metrics"} | {"headline": headline}
        amended |= (now if now != was else {}) | ({"own_metrics": own} if own else {})
        files = {"metrics.csv": text} | _card(amended, text)
        if change or own != had or now != was or CARD in files:
            cell.amend(amended, files)
    return change


def _card(record: Record, metrics: str) -> dict[str, str]:
    """The model card of these numbers, where there is one that says otherwise."""
    if not has_file(record, CARD):
        return {}
    new, path = card(record, metrics), record["path"] / CARD
    return {CARD: new} if not path.exists() or renewed(path.read_text(encoding="utf-8"), new) else {}


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; the exit status is 1 when a cell could not be rescored (the others were)."""
    parser = ArgumentParser(prog="rescore.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "wanted",
        nargs="*",
        help="ids, or filters such as method=smote,ada* dataset=ecoli; plugins=[my_metrics] names modules of your own",
    )
    parser.add_argument(
        "--cost", type=_cost, help="cost of a missed positive, in false alarms (default: each record's own)"
    )
    parser.add_argument(
        "--calibration",
        type=_kinds,
        help=f"{','.join(calibration.KINDS)}, fitted on validation rows, or none (default: each record's own)",
    )
    parser.add_argument("--outputs", default=OUTPUTS, help="the folder that holds runs/ (paths.outputs)")
    arguments = parser.parse_args(argv)
    asked = {key: value for key in ("cost", "calibration") if (value := getattr(arguments, key)) is not None}
    counts = {"changed": 0, "unchanged": 0, "failed": 0}
    try:
        every, damaged = entries_of(Store.named(arguments.outputs))
        wanted, plugins = plugins_of(arguments.wanted)
        import_plugins(plugins)
        if plugins and not metrics.METRICS:
            raise BenchError(f'plugins=[{",".join(plugins)}] registers no metric: decorate one, @metric("my_metric")')
        entries = select([entry for entry in every if entry.status == "done"], wanted, lambda entry: entry.names)
    except BenchError as error:
        tell(f"error: {error}", sys.stderr)
        return 1
    for entry in entries:
        try:
            change = rescore(entry.cell, **asked)
        except BenchError as error:
            counts["failed"] += 1
            tell(f"error: {_name({'labels': entry.labels, 'id': entry.cell.path.name})}: {error}", sys.stderr)
            continue
        counts["changed" if change else "unchanged"] += 1
        print(change.line(), flush=True)
    for found in damaged:  # whichever cells were asked for: what a damaged record is of is not known
        print(f"{found.state}: {found}", file=sys.stderr)
    text = ", ".join(f"{n} {word}" for word, n in counts.items())
    print(f"{len(entries)} finished cells: {text}" + (f"; {len(damaged)} records do not count" if damaged else ""))
    return int(counts["failed"] > 0 or any(found.state == "damaged" for found in damaged))


def _cost(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= thresholds.MOST:
        raise ArgumentTypeError(f"{text} is not a number above 0, up to {thresholds.MOST:g}")
    return value


def _kinds(text: str) -> list[str]:
    kinds = [] if text == "none" else text.split(",")
    for kind in kinds:
        if kind not in calibration.KINDS:
            raise ArgumentTypeError(f"there is no calibration {kind}: {suggestion(kind, calibration.KINDS)}")
    return kinds


def _name(record: Mapping[str, Any]) -> str:
    labels = record["labels"]
    return f"{labels['method']} on {labels['dataset']} {labels['ratio']} ({record['id']})"


def _predictions(record: Record) -> dict[str, np.ndarray]:
    """The arrays of a record's predictions.npz, of one length each part.

    Raises:
        Damaged: they are missing, cut off, or do not fit the record.
    """
    name = "predictions.npz"
    path, cure = record["path"] / name, remedy(record, name)
    loaded = arrays(record, name)
    if absent := {"run", "label", "scores_last"} - loaded.keys():
        raise Damaged(path, f"has no {', '.join(sorted(absent))}", cure)
    runs = len(record["runs"])
    for part, of_part in scoring.parts_of(loaded).items():
        prefix = "" if part == "test" else scoring.VALID
        if absent := {"run", "label"} - of_part.keys():
            raise Damaged(path, f"has no {', '.join(sorted(prefix + key for key in absent))}", cure)
        rows = of_part["run"].size
        for key, array in of_part.items():
            wanted = runs if key.startswith("difficult_") else rows
            if array.shape[:1] != (wanted,):
                raise Damaged(path, f"is damaged ({prefix}{key} has the shape {array.shape}, not {wanted} rows)", cure)
        number = of_part["run"]
        if not rows or number.dtype.kind != "i" or not 0 <= number.min() <= number.max() < runs:
            raise Damaged(path, f"is damaged (its runs are not among the {runs} of the record)", cure)
    return loaded


def _named_slices(record: Record, saved: dict[str, np.ndarray]) -> tuple[Record, dict[str, np.ndarray]]:
    """The record and predictions of a cell that is older than named slices, with its array ``difficult`` as one of
    them and the shares beside it as facts of the runs; others as they are."""
    if "difficult" not in saved:
        return record, saved
    nothing = np.full(len(record["runs"]), np.nan)
    shares, own = (saved.get(f"difficult_{key}", nothing).tolist() for key in ("share", "share_own"))
    runs = []
    for run, of_split, of_network in zip(record["runs"], shares, own):
        last = {} if math.isnan(of_network) else {"last": {"share_own": of_network}}
        runs.append(run | {"slices": {"difficult": {"share": of_split, **last}}})
    saved = {key: array for key, array in saved.items() if not key.startswith("difficult")} | {
        "slice_difficult": saved["difficult"]
    }
    return record | {"runs": runs, "slices": ["difficult"]}, saved


def _whole(record: Record) -> bool:
    """Whether metrics.csv is the one that the record was written with."""
    try:
        file_of(record, "metrics.csv")
    except Damaged:
        return False
    return True


def _compare(record: Record, text: str, headline: dict[str, Any], restored: bool, lost: dict[str, str]) -> Change:
    path = record["path"] / "metrics.csv"
    before = path.read_text(errors="replace") if path.is_file() else ""
    old, new = ({}, {}) if before == text else (_numbers(before), _numbers(text))  # as nearly always
    shared = {key: (old[key], new[key]) for key in new if key in old}
    differing = {k: abs(a - b) for k, (a, b) in shared.items() if not (a == b or math.isnan(a) and math.isnan(b))}
    return Change(
        record,
        added=_names(k for k in new if k not in old),
        removed=_names(k for k in old if k not in new),
        changed=_names(differing),
        largest=max((d for d in differing.values() if not math.isnan(d)), default=0.0),
        headline=(record["headline"], headline),
        restored=restored,
        lost=lost,
    )


def _numbers(text: str) -> dict[Key, float]:
    """The numbers of a metrics.csv by the columns that name them; none of a file that is not one."""
    keys = ("run", "fold", "repeat", "iterate", "part", "class_group", "metric")
    try:
        return {tuple(row[k] for k in keys): float(row["value"]) for row in scoring.from_csv(text)}
    except (KeyError, TypeError, ValueError):
        return {}


def _names(keys: Iterable[Key]) -> list[str]:
    names = [(part, f"{group} {metric}") for *_, part, group, metric in keys]
    return list(dict.fromkeys(name if part == "test" else f"{part} {name}" for part, name in names))
