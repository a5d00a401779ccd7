"""scripts/collect.py: gathers records and their numbers in one file, which report.py --from reads."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from imbalance_bench.errors import BenchError
from imbalance_bench.report.records.collected import Collection, Row, numbers_of, text_of, write
from imbalance_bench.report.records.failures import failures
from imbalance_bench.report.records.records import Cell, date, left_out, named_cells
from imbalance_bench.settings.conf_files import own_folder
from imbalance_bench.settings.presets import PlannedCell, load_preset, presets
from imbalance_bench.settings.select import select
from imbalance_bench.store import OUTPUTS, CellFolder, Damaged, Store
from imbalance_bench.terminal import tell
from imbalance_bench.terminal.arguments import ArgumentParser

Kept = tuple[dict[str, str], list[Row]]
"""A cell as the file has it."""

DESCRIPTION = """\
Gathers records and every number of their runs in one file, outputs/records/<name>.parquet, small enough to commit.

  collect.py --paper dos                          the cells of all presets of a paper: outputs/records/dos.parquet
  collect.py --name mine                          everything that was run
  collect.py dataset=ecoli,oil --name mine        some of it
  report.py --from outputs/records/dos.parquet --paper dos      the paper's claims and tables from there

An existing file is extended: its cells stay, and a cell that was run or scored again is replaced. A failed cell is
kept with the reason until it has numbers. Predictions, training curves and models stay in the run folders.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0, or 1 after one message to stderr."""
    made = ArgumentParser("collect.py", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--paper", help="a folder of conf/paper, or of FOLDER/paper: the cells of its presets")
    made.add_argument("--name", help="name of the file (default: the paper's)")
    made.add_argument("--outputs", default=OUTPUTS, help="paths.outputs of the runs (default: outputs)")
    made.add_argument("--config-dir", metavar="FOLDER", help="presets of your own, as for train.py")
    made.add_argument("wanted", nargs="*", metavar="group=label|ID", help="cells, e.g. method=smote dataset=ecoli")
    options = made.parse_intermixed_args(arguments)
    try:
        store = Store.named(options.outputs)
        path = _path(options)
        print(collect(store, path, options.wanted, _cells(options)))
    except BenchError as error:
        tell(f"error: {error}", sys.stderr)
        return 1
    return 0


def _path(options: Any) -> Path:
    name = options.name or options.paper
    if not name:
        raise BenchError("say what the file is to be called: --name mine, or --paper for the cells of a paper")
    if not re.fullmatch(r"\w[\w.,=+-]*", name):
        raise BenchError(f"--name {name}: of letters, digits and _ . , = + -; it lies under <outputs>/records")
    return Path(options.outputs, "records", f"{name}.parquet")


def _cells(options: Any) -> list[PlannedCell] | None:
    """The cells of a paper; None where none is asked for."""
    if not options.paper:
        return None
    own = own_folder(options.config_dir)
    return [
        cell for name in presets(options.paper, own=own) for cell in load_preset(options.paper, name, [], own).cells
    ]


def collect(store: Store, path: Path, wanted: Sequence[str] = (), cells: Sequence[PlannedCell] | None = None) -> str:
    """Writes the cells that match ``wanted`` (and are of ``cells``) into a file, beside those that it has; a line that
    says what became of it. Records that do not count are named on stderr, and what the file has of them stays.

    Raises:
        BenchError: there is no such record; the file cannot be read or written.
    """
    found, damaged = named_cells(store)
    failed = [one for one in failures(store, (cell.path for _, cell in found), damaged) if one.state == "failed"]
    planned = {cell.id: cell.labels for cell in cells or ()}
    found += [(one.names | planned.get(one.names["id"], {}), CellFolder(one.folder)) for one in failed]
    if cells is not None:
        ids = set(planned)
        found = [one for one in found if one[0]["id"] in ids]
        damaged = [error for error in damaged if error.folder.name in ids]
    new: dict[str, list[Cell]] = {}
    for names, cell in select(found, wanted, itemgetter(0)) if found else []:
        new.setdefault(names["id"], []).append(cell)
    had = {cell.names["id"]: cell for cell in Collection(path).cells()} if new and path.exists() else {}
    names_by_id = {cell_id: cell.names for cell_id, cell in had.items()} | {
        n["id"]: n for n, _ in found if n["id"] in new
    }
    count = dict.fromkeys(("new", "replaced", "as before", "failed", "numbers"), 0)

    def rows() -> Iterator[tuple[dict[str, str], list[Row]]]:
        for cell_id in sorted(names_by_id, key=lambda one: store.cell(names_by_id[one], one).path.parts):
            old = had.get(cell_id)
            kept = _newest(new.get(cell_id, ()), names_by_id[cell_id], damaged)
            if old is not None and (kept is None or _rank(kept[0]) < _rank(old.texts)):
                kept = old.texts | {"record": old.text()}, old.rows()
            if kept is not None:
                same = old is not None and kept[0]["record"] == old.text()
                failed = bool(kept[0]["failure"])
                count["failed" if failed else "new" if old is None else "as before" if same else "replaced"] += 1
                count["numbers"] += len(kept[1])
                yield kept
        if not count["new"] and not had:
            notes = "".join(f"\n  {note}" for note in left_out(damaged))
            notes += f"\n  {count['failed']} failed: status.py says why" if count["failed"] else ""
            what = "no records of these cells" if cells is not None else "no records"
            raise BenchError(f"{what} under {store.runs}: train.py runs them{notes}")

    write(path, rows())
    for note in left_out(damaged):
        print(note, file=sys.stderr)
    numbers = count.pop("numbers")
    what = ", ".join(f"{many:,} {state}" for state, many in count.items() if many)
    return f"{path}: {what}; {numbers:,} numbers, {path.stat().st_size / 1e3:,.0f} kB"


def _rank(texts: dict[str, str]) -> tuple[bool, str]:
    """Highest for what counts of a cell: a record before a failure, and the later of two."""
    return not texts["failure"], texts["date"]


def _newest(cells: Iterable[Cell], names: dict[str, str], damaged: list[Damaged]) -> Kept | None:
    """The newest of the records of one id as the file has it, or why it failed; why others do not count is added to
    ``damaged``."""
    found: Kept | None = None
    for cell in cells:
        try:
            record = cell.record()
            rows = numbers_of(record) if record is not None and record["status"] == "done" else []
        except Damaged as error:
            damaged.append(error)
            continue
        if record is not None:
            of = record["labels"] | {"date": date(record), "failure": "", "record": text_of(record)}
        elif isinstance(cell, CellFolder) and (reason := cell.error().strip()):
            of = names | {"date": cell.failed_at(), "failure": reason.splitlines()[0], "record": ""}
        else:
            continue
        of["id"] = names["id"]
        if found is None or _rank(found[0]) < _rank(of):
            found = of, rows
    return found
