"""The check that a table or a figure compares like with like."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from imbalance_bench.errors import BenchError, command
from imbalance_bench.options import flatten, written
from imbalance_bench.report.records.records import LABELS, CellState
from imbalance_bench.settings.config import value_of
from imbalance_bench.settings.identity import digest
from imbalance_bench.store import Record


def same_data(record: Record) -> Any:
    """The settings that cells must share to be compared."""
    return tuple(record["labels"][g] for g in ("dataset", "ratio", "protocol"))


def refuse_mixed_rows(records: Iterable[Record], place: Callable[[Record], Any] = same_data) -> None:
    """Raises BenchError when two cells that stand in one row of a table saw different rows in one fold, or different
    tokens of them under one backbone (a list of stop words is a file that may change).

    Compares the training rows of the task (before resampling, so that over-samplers and ``*_train_valid`` pass) and
    the test rows. Records of equal ``place(record)`` stand side by side.
    """
    remedy = "train one of them again under the other's settings, or delete the folder that should not count"
    first: dict[Any, tuple[Record, dict[str, Any]]] = {}
    for record in records:
        backbone = digest(record["config"].get("backbone"))
        for run in record.get("runs", []):
            key = (place(record), run["fold"], run["repeat"])
            other, other_run = first.setdefault(key, (record, run))
            for field, rows in (("subset_hash", "training"), ("test_hash", "test")):
                if run.get(field) != other_run.get(field):
                    raise BenchError(
                        f"one table would mix two {rows} sets of fold {run['fold']}: {_name(other)} has rows "
                        f"{other_run.get(field)}, {_name(record)} has {run.get(field)}{_why(other, record)}; {remedy}"
                    )
            other, other_run = first.setdefault((*key, backbone), (record, run))
            theirs, ours = ((r.get("info") or {}).get("tokens") for r in (other_run, run))
            if theirs != ours:
                raise BenchError(
                    f"one table would mix two readings of the texts of fold {run['fold']}: {_name(other)} has "
                    f"{theirs}, {_name(record)} has {ours}; {remedy}"
                )


def _name(record: Record) -> str:
    labels = record["labels"]
    return f"{labels['method']} on {labels['dataset']} {labels['ratio']} (id {record['id']})"


def _why(a: Record, b: Record) -> str:
    one, two = flatten(a["config"]), flatten(b["config"])
    differing = [
        f"{key}={text(value_of(one, key))} / {text(value_of(two, key))}"
        for key in sorted(one.keys() | two.keys())
        if key.split(".")[0] in ("dataset", "ratio", "protocol") and value_of(one, key) != value_of(two, key)
    ]
    if not differing:
        return "; their settings are equal, so the data changed"
    return f"; they differ in {', '.join(differing)}"


def text(value: Any) -> str:
    """The value of an option in the name of what has it."""
    return value if isinstance(value, str) else written(value)


def refuse_several_places(
    results: Iterable[CellState], panel: Callable[[CellState], Any] = lambda _: None, same: Sequence[str] = LABELS[1:]
) -> None:
    """Raises BenchError when finished cells that a figure shows side by side, those of equal ``panel(outcome)``, differ
    in what it does not show: a label of ``same``, by default all but the method, or settings behind equal labels.
    Backbone and trainer are compared within a method: a method may bring its own, or train no network."""
    panels: dict[Any, list[CellState]] = {}
    for result in results:
        if result.state == "done":
            panels.setdefault(panel(result), []).append(result)
    for here in panels.values():
        for axis in same:
            values: dict[str, dict[str, None]] = {}
            for result in here:
                whose = result.labels["method"] if axis in ("backbone", "trainer") else ""
                values.setdefault(whose, {})[result.labels[axis]] = None
            if different := next((v for v in values.values() if len(v) > 1), None):
                several = " and ".join(f"{axis}={value}" for value in different)
                raise BenchError(f"cells of {several} would stand in one place of this figure: give one {axis} here")
        refuse_equal_labels(result.cell for result in here)


def refuse_equal_labels(cells: Iterable[Any]) -> None:
    """Raises BenchError when two cells would stand in one place of a table or figure."""
    seen: dict[tuple[Any, ...], Any] = {}
    for cell in cells:
        other = seen.setdefault(tuple(sorted(cell.labels.items())), cell)
        if other.id != cell.id:
            one, two = flatten(other.config), flatten(cell.config)
            differing = sorted(k for k in one.keys() | two.keys() if value_of(one, k) != value_of(two, k))
            raise BenchError(
                f"two cells have the same labels and differ in {', '.join(differing)}: give one value of it here, "
                f"or compare them with {command('report')} without --paper"
            )
