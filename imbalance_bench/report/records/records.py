"""Records → one tidy DataFrame, and what became of each cell of a preset. Imports no torch."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from imbalance_bench import origin
from imbalance_bench.errors import BenchError, command
from imbalance_bench.metrics import calibration, scoring
from imbalance_bench.report.records.collected import Collected, Collection, Source, numbers_of
from imbalance_bench.settings.select import select
from imbalance_bench.store import CellFolder, Damaged, Record
from imbalance_bench.store.index import entries_of

if TYPE_CHECKING:
    import pandas as pd

    from imbalance_bench.settings.presets import PlannedCell

LABELS = ("method", "dataset", "ratio", "backbone", "protocol", "trainer")
COLUMNS = (
    "id", *LABELS, "run", "fold", "repeat", "iterate", "class_group", "metric", "value", "subset_hash"
)  # fmt: skip
KEY = slice(COLUMNS.index("iterate"), COLUMNS.index("value"))
VALUE = COLUMNS.index("value")
Cell = CellFolder | Collected
Run = tuple[int, int]  # fold and repeat
Head = tuple[str, str]  # a metric, and of which class group
Values = dict[tuple[str, str, str], list[float]]  # (readout, class group, metric) → a number a run
LOWER_IS_BETTER = {
    "mse", "mae", "ece", "cost", "cost_tuned", *scoring.OF_PROBABILITIES,
    *(f"{metric}_{kind}" for metric in scoring.OF_PROBABILITIES for kind in calibration.KINDS),
}  # fmt: skip


READOUTS = {
    "last": "last epoch",
    "best": "best epoch on validation",
    "knn": "k-nearest neighbours on deep features",
    "lr": "logistic regression on deep features",
}
POST = re.compile(r"post_([1-9]\d*)")


def readout_title(readout: str) -> str:
    """Title of a readout: one of ``READOUTS`` or "post_<n>". Raises BenchError where it is neither."""
    if post := POST.fullmatch(readout):
        return f"last epoch, representatives of {post[1]} rows"
    if readout not in READOUTS:
        raise BenchError(f"unknown readout {readout!r}: known are {', '.join(READOUTS)} and post_<rows>")
    return READOUTS[readout]


class NothingRun(BenchError):
    """A preset has no records, or too few of them to show anything; the message is the command that makes them, and
    which ``damaged`` records do not count."""

    def __init__(self, paper: str, preset: str, so_far: str = "", damaged: Iterable[str] = ()) -> None:
        self.what = f"too little of {preset} was run yet ({so_far})" if so_far else f"nothing of {preset} was run yet"
        self.preset, self.damaged = f"+paper={paper}/{preset}", list(damaged)
        super().__init__(self.told())

    def told(self, own: str | None = None) -> str:
        """The message; ``own``: the user's folder of configurations, which its command is to name."""
        folder = f"--config-dir {own} " if own else ""
        return "\n  ".join([f"{self.what}: {command('train')} -m {folder}{self.preset}", *self.damaged])


def tidy(records: Iterable[Record]) -> pd.DataFrame:
    """One row a number, columns ``COLUMNS``: what ``metrics.csv`` of every finished record holds of test rows, and what
    its runs' facts have of generated rows (``_generated``) and of slices (``_of_slices``).

    ``subset_hash`` is that of the run's training rows before any resampling. Declined records have no rows.
    """
    import pandas as pd

    rows = [row for record in records if record["status"] == "done" for row in numbers(record)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def by_cell(records: Iterable[Record]) -> dict[str, Values]:
    """The numbers of finished records by the cell's id."""
    return {record["id"]: values_of(record) for record in records if record["status"] == "done"}


def values_of(record: Record) -> Values:
    """The numbers of a record by what is shown as one."""
    values: Values = {}
    for row in numbers(record):
        values.setdefault(row[KEY], []).append(row[VALUE])
    return values


def average(values: Values | None, metric: str, class_group: str, readout: str) -> dict[str, Any]:
    """Mean and sd (n - 1) over the runs of one cell in which the metric is defined.

    Returns {"iterate", "mean", "sd", "runs"}: mean is None when there is no number, sd when there is one only.
    ``iterate`` is the one met: what has no best epoch (trees; a task without validation rows) stands with its last.
    """
    nothing = {"iterate": readout, "mean": None, "sd": None, "runs": 0}
    if values is None:
        return nothing
    met = readout_met((key[0] for key in values), readout)
    defined = [value for value in values.get((met, class_group, metric), ()) if not math.isnan(value)]
    if not defined:
        return nothing
    sd = float(np.std(defined, ddof=1)) if len(defined) > 1 else None
    return {"iterate": met, "mean": float(np.mean(defined)), "sd": sd, "runs": len(defined)}


def readout_met(found: Iterable[str], readout: str) -> str:
    """The readout that is shown of a record that has some: "last" where there is no "best"."""
    return "last" if readout == "best" and "best" not in found else readout


def numbers(record: Record, part: str = "test") -> list[tuple[Any, ...]]:
    """The rows of one metrics.csv that are of a part, in the order of ``COLUMNS``; read once, kept in the record.

    Raises:
        Damaged: it is missing, or is not the file that the record was written with.
    """
    kept = record.setdefault("numbers", {})
    if part not in kept:
        kept[part] = _numbers(record, part)
    rows: list[tuple[Any, ...]] = kept[part]
    return rows


def _numbers(record: Record, part: str) -> list[tuple[Any, ...]]:
    labels = [record["labels"][label] for label in LABELS]
    hashes = {run["run"]: run["subset_hash"] for run in record["runs"]}
    rows, places = [], {}
    for _, run, fold, repeat, readout, group, metric, value in numbers_of(record, part):
        place = (record["id"], *labels, run, fold, repeat, readout)
        places[place] = run
        rows.append((*place, group, metric, value, hashes[run]))
    if part != "test":
        return rows
    facts = {run["run"]: _generated(run.get("info") or {}) for run in record["runs"]}
    slices = {run["run"]: run.get("slices") or {} for run in record["runs"]}
    for place, run in places.items():
        found = [("minority", name, value) for name, value in facts[run].items()]  # whichever readout is asked for
        rows += [(*place, *fact, hashes[run]) for fact in (*found, *_of_slices(slices[run], place[-1]))]
    return rows


def survey(
    source: Source, filters: Sequence[str], note: Callable[[Record], object] | None = None
) -> tuple[list[Record], list[Damaged]]:
    """The records that match ``filters``, each with whole numbers and one an id (the newest), and why others do not
    count. ``note`` is told of each that is done, once; its numbers are then let go, since there may be many records
    (None: they are kept).
    """
    found, damaged = named_cells(source)
    chosen = select(found, filters, itemgetter(0)) if found else []
    records, more = read((cell for _, cell in chosen), note)
    return records, damaged + more


def named_cells(source: Source) -> tuple[list[tuple[dict[str, str], Cell]], list[Damaged]]:
    """The cells that are done or declined, each after what it is selected by, and why others do not count."""
    if isinstance(source, Collection):
        return [(cell.names, cell) for cell in source.cells() if not cell.error()], []
    entries, damaged = entries_of(source)
    return [(entry.names, entry.cell) for entry in entries], damaged


def _sharing(record: Record, parts: dict[str, Any]) -> Record:
    """A record with those of ``parts`` (by their text) that equal its own, and its own in ``parts``; its keys are those
    of other records, a third of what each would take."""

    def shared(value: Any) -> Any:
        return parts.setdefault(json.dumps(value, sort_keys=True), value)

    record = _interned(record)
    config = {group: shared(options) for group, options in record["config"].items()}
    equal = ("labels", "code", "provenance", "contents", "own_metrics", "data")
    return record | {"config": config} | {key: shared(record[key]) for key in equal if key in record}


def _interned(value: Any) -> Any:
    """The same with keys that are one object each, however many records were read."""
    if isinstance(value, dict):
        return {sys.intern(key): _interned(one) for key, one in value.items()}
    return [_interned(one) for one in value] if isinstance(value, list) else value


def read(cells: Iterable[Cell], note: Callable[[Record], object] | None = None) -> tuple[list[Record], list[Damaged]]:
    """The records of cells as ``survey`` has them; they share what is equal in them."""
    parts: dict[str, Any] = {}
    records: list[Record] = []
    damaged: list[Damaged] = []
    found: dict[str, Record] = {}
    for cell in cells:
        try:
            record = cell.record()
        except Damaged as error:
            damaged.append(error)
        else:
            records += [_sharing(record, parts)] if record is not None else []
    for record in sorted(records, key=date, reverse=True):
        found.setdefault(record["id"], record)
    for record in records:  # in their order: a collected one's numbers are read with those beside it
        kept = found[record["id"]]
        try:
            if kept is not record:
                raise Damaged(
                    record["path"], f"is a second record of cell {record['id']}", f"{kept['path']} is counted", "double"
                )
            if record["status"] == "done":
                numbers(record)
                if note is not None:
                    note(record)
                    del record["numbers"]
        except Damaged as error:
            damaged.append(error)
    broken = {error.folder for error in damaged}
    return [r for r in records if found.get(r["id"]) is r and r["path"] not in broken], damaged


def left_out(damaged: Iterable[Damaged]) -> list[str]:
    """A note for each record that does not count."""
    return [f"Left out, {error.state}: {error}." for error in damaged]


def date(record: Record) -> str:
    """When a record was written, in an order that sorts."""
    return str(record["provenance"].get("date"))


def _generated(info: dict[str, Any]) -> dict[str, float]:
    """Facts that a method records about the rows it generates (``info["generator"]``: class → facts), each number as
    its mean over the classes; of <name>_before and <name>_after, <name>_change is how much it rose."""
    classes = list(info.get("generator", {}).values())
    numbers = [{k for k, v in facts.items() if isinstance(v, (int, float))} for facts in classes]
    shared = sorted(set.intersection(*numbers)) if numbers else []
    means = {name: sum(facts[name] for facts in classes) / len(classes) for name in shared}
    for name in [name.removesuffix("_before") for name in means if name.endswith("_before")]:
        if f"{name}_after" in means:
            means[f"{name}_change"] = means[f"{name}_after"] - means[f"{name}_before"]
    return means


def _of_slices(slices: dict[str, dict[str, Any]], readout: str) -> Iterator[tuple[str, str, float]]:
    """Class group, metric and value of the facts about slices of a readout (``slices.Slice``)."""
    for name, facts in slices.items():
        for metric, value in (facts | facts.get(readout, {})).items():
            if not isinstance(value, dict):
                yield f"minority_{name}", metric, float(value)


@dataclass(frozen=True)
class CellState:
    """One cell of a preset and how far it has come. ``state``: "not run" or as in ``store.CellFolder.state``; of a data
    set to be counted: done | absent."""

    cell: PlannedCell
    state: str
    record: Record | None
    reason: str = ""

    @property
    def labels(self) -> dict[str, str]:
        return self.cell.labels

    @property
    def in_words(self) -> str:
        """The state as tables have it, which outlive a run in progress."""
        return "not finished" if self.state in ("running", "started") else self.state


def cell_states(cells: Iterable[PlannedCell], store: Source) -> list[CellState]:
    """Looks every cell of a grid up in the store, in the grid's order."""
    cells = list(cells)
    ids = {cell.id for cell in cells}
    records, damaged = read(cell for cell in store.cells() if cell.path.name in ids)
    whole = {record["id"]: record for record in records}
    broken = {error.folder.name: error for error in damaged}
    return [_state(cell, whole.get(cell.id), broken.get(cell.id), store) for cell in cells]


def _state(cell: PlannedCell, record: Record | None, damaged: Damaged | None, store: Source) -> CellState:
    if record is not None:
        return CellState(cell, record["status"], record, record.get("reason") or "")
    if damaged is not None:
        return CellState(cell, damaged.state, None, str(damaged))
    place = store.cell(cell.labels, cell.id)
    if place is None or (isinstance(place, CellFolder) and not place.path.is_dir()):
        return CellState(cell, "not run", None)
    reason = place.error().strip().splitlines()
    return CellState(cell, place.state(), None, reason[0] if reason else "")


def done(results: Iterable[CellState]) -> list[Record]:
    """The records of the cells that have numbers."""
    return [r.record for r in results if r.state == "done" and r.record is not None]


def damage_notes(results: Iterable[CellState]) -> list[str]:
    """A note for each cell whose record does not count."""
    return [f"Left out, {r.state}: {r.reason}." for r in results if r.state in ("damaged", "outdated")]


def without(results: Iterable[CellState], damaged: Damaged) -> list[CellState]:
    """The states, with the cell whose folder was found damaged marked so."""
    return [
        replace(r, state=damaged.state, record=None, reason=str(damaged))
        if r.record is not None and r.record["path"] == damaged.folder
        else r
        for r in results
    ]


def provenance_lines(records: Iterable[Record], command: str) -> list[str]:
    """The header of a generated file: hardware, dates, versions, total time, and the command that makes the file.

    Taken from the records alone, so that the same records give the same file.
    """
    records = list(records)
    sources = [record["provenance"] for record in records]

    def listed(values: Iterable[Any]) -> str:
        return ", ".join(sorted({str(v) for v in values if v})) or "not recorded"

    packages = sorted({(name, v) for p in sources for name, v in p.get("packages", {}).items() if v})
    versions = [f"{name} {v}" for name, v in packages]
    versions += sorted({f"Python {p['python']}" for p in sources if p.get("python")})
    dates = sorted(str(p["date"])[:10] for p in sources if p.get("date"))
    files = sorted({str(record["path"].parent) for record in records if "collected" in record})
    seconds = sum(record["seconds"] for record in records)
    runs = sum(len(record["runs"]) for record in records)
    return [
        f"command: {command}",
        *(f"records: {file}" for file in files),
        f"hardware: {listed(p.get('hardware') for p in sources)}",
        f"device: {listed(r.get('device') for r in records)}",
        f"dates of the runs: {' to '.join(dict.fromkeys((dates[0], dates[-1]))) if dates else 'not recorded'}",
        f"versions: {', '.join(versions) or 'not recorded'}; git {listed(p.get('git') for p in sources)}",
        f"total time: {duration(seconds)} for {runs} runs in {len(records)} cells",
    ]


def code_notes(records: Iterable[Record]) -> list[str]:
    """Notes where records that stand side by side were made by different code, or some do not say by which."""
    hashes: dict[str, set[str]] = {}
    records = list(records)
    for record in records:
        for module, content in record.get("code", {}).items():
            hashes.setdefault(module, set()).add(content)
    unnamed = sum("code" not in record for record in records)
    notes = []
    if 0 < unnamed < len(records):
        notes.append(
            f"{unnamed} of {len(records)} records do not name the code that made them, which was an earlier version's: "
            "train them again with cache=overwrite to compare like with like."
        )
    differing = sorted(module for module, found in hashes.items() if len(found) > 1)
    if not differing:
        return notes
    methods = {r["labels"]["method"] for r in records if set(differing) & r.get("code", {}).keys()}
    return [
        *notes,
        f"Records of different code stand side by side ({origin.named(differing)}; methods {', '.join(sorted(methods))}"
        "): train the older ones again with cache=overwrite to compare like with like.",
    ]


def duration(seconds: float) -> str:
    """Seconds for people: ``42 s``, ``12 min``, ``3 h 05 min``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
