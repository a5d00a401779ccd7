"""What commands ask of every record, kept from one to the next in ``outputs/runs/.index.json``; imports no torch.

An entry counts only while size, time of writing and time of change of the files behind it are those it was made at, and
numbers are never taken from it: a command reads the records that it prints. Any version of the file may be deleted: the
next command reads all records, and writes it anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imbalance_bench import origin, store
from imbalance_bench.errors import BenchError
from imbalance_bench.metrics import scoring
from imbalance_bench.store import CellFolder, Damaged, Record, Store, shape
from imbalance_bench.store.files import atomic_write

NAME = ".index.json"
FEW = 100  # records that are read as quickly as an index of them
MANY = 1000  # of which it is worth a word that they will be read again
SETTLED = 2.0  # seconds: a file younger than this may be written again within one tick of its file system's clock


@dataclass(frozen=True, slots=True)
class Entry:
    """What a record says of a cell that is done or declined (``status``), as far as a command asks it of all:
    ``code`` as in the record; ``few``: ``scoring.few_classes``; ``diverged``: a line for each run that has no numbers.
    """

    cell: CellFolder
    status: str
    labels: dict[str, str]
    code: dict[str, str]
    files: list[str]
    few: str
    diverged: list[str]

    @property
    def names(self) -> dict[str, str]:
        """What it is selected by."""
        return self.labels | {"id": self.cell.path.name}


# A row of the file: signature of record.json; status; numbers of its labels, code and files in their tables; few;
# diverged; what is wrong with it and the remedy (of an outdated record); signature of the files when they were whole.
RECORD, STATUS, LABELS, CODE, FILES, FEW_CLASSES, DIVERGED, WHY, WHOLE = range(9)


class Index:
    """The entries of one outputs folder. Only ``save`` writes, and it may be called by any number of processes."""

    def __init__(self, of: Store) -> None:
        self.path = of.runs / NAME
        self._above = len(str(of.runs)) + 1
        self.store = of
        self._version = _version()  # as it is now, whatever becomes of the files meanwhile
        self._rows: dict[str, list[Any]] = {}
        self._tables: dict[int, list[Any]] = {LABELS: [], CODE: [], FILES: []}
        self._read()
        self._numbers = {
            column: {_text(value): number for number, value in enumerate(values)}
            for column, values in self._tables.items()
        }
        self._stale: dict[int, str] = {}
        self._keys: set[str] = set()
        self._renewed: set[str] = set()

    def cells(self) -> list[CellFolder]:
        """Every cell of the folder as it is now."""
        found = self.store.cells()
        self._keys = {self.key(cell) for cell in found}
        return found

    def look(self, cell: CellFolder, whole: bool = False) -> Entry | None:
        """The entry of a cell, None until it is done; ``whole``: the files beside its record are looked at, too.

        Raises:
            Damaged: its record does not count, or (``whole``) a file beside it is not what was written.
        """
        key, record = self.key(cell), None
        seen, age = _signature(cell, ["record.json"])
        row = self._rows.get(key)
        if row is None or row[RECORD] != seen:
            try:
                record = cell.record()
            except Damaged as error:
                if error.state == "outdated":
                    self._keep(key, [seen, error.state, 0, 0, 0, "", [], [error.what, error.remedy], ""], age)
                raise
            if record is None:
                return None
            row = [seen, record["status"], *(self._number(*of) for of in _tabled(record)), *_said(record), [], ""]
            self._keep(key, row, age)
        if row[WHY]:
            what, remedy = row[WHY]
            raise Damaged(cell.path / "record.json", what, remedy, state=row[STATUS])
        files = self._tables[FILES][row[FILES]]
        if whole and files:
            seen, age = _signature(cell, files)
            if row[WHOLE] != seen:
                cell.check(record)
                self._keep(key, [*row[:WHOLE], seen], age)
        labels, code = (self._tables[column][row[column]] for column in (LABELS, CODE))
        return Entry(cell, row[STATUS], labels, code, files, row[FEW_CLASSES], row[DIVERGED])

    def stale(self, entry: Entry) -> str:
        """The modules behind an entry that have changed since, as a reader knows them; "" where none has."""
        if id(entry.code) not in self._stale:  # a table's, which all cells of this code share
            self._stale[id(entry.code)] = origin.named(origin.changed(entry.code))
        return self._stale[id(entry.code)]

    def save(self) -> None:
        """Writes what was read since, where that is worth it. An outputs folder that cannot be written has no index."""
        if len(self._keys) < FEW or len(self._renewed) <= len(self._keys) // 100:
            return
        rows = {key: row for key, row in self._rows.items() if key in self._keys}
        body = json.dumps({"tables": list(self._tables.values()), "rows": rows}, separators=(",", ":")).encode()
        try:
            atomic_write(self.path, f"{self._version} {hashlib.sha256(body).hexdigest()}\n".encode() + body)
        except BenchError as error:
            reason = getattr(error.__cause__, "strerror", "")
            if len(self._renewed) >= MANY:
                print(f"note: cannot write {self.path} ({reason}): each command reads all records", file=sys.stderr)
        self._renewed.clear()

    def _read(self) -> None:
        """Takes what the file holds, where it is whole and of this code."""
        try:
            head, _, body = self.path.read_bytes().partition(b"\n")
        except OSError:
            return
        if head.decode(errors="replace") == f"{self._version} {hashlib.sha256(body).hexdigest()}":
            content = json.loads(body)
            self._tables = dict(zip(self._tables, content["tables"]))
            self._rows = content["rows"]

    def key(self, cell: CellFolder) -> str:
        """The folder of a cell below ``runs``."""
        return str(cell.path)[self._above :]

    def _keep(self, key: str, row: list[Any], age: float) -> None:
        self._renewed.add(key)
        if age > SETTLED:
            self._rows[key] = row
        else:
            self._rows.pop(key, None)

    def _number(self, column: int, value: Any) -> int:
        number = self._numbers[column].setdefault(_text(value), len(self._tables[column]))
        if number == len(self._tables[column]):
            self._tables[column].append(value)
        return number


def entries_of(of: Store) -> tuple[list[Entry], list[Damaged]]:
    """The entries of all finished (and declined) cells, and why records of others do not count."""
    index = Index(of)
    entries, damaged = [], []
    for cell in index.cells():
        try:
            entry = index.look(cell)
        except Damaged as error:
            damaged.append(error)
        else:
            entries += [entry] if entry is not None else []
    index.save()
    return entries, damaged


def _tabled(record: Record) -> list[tuple[int, Any]]:
    return [(LABELS, record["labels"]), (CODE, record.get("code", {})), (FILES, list(record.get("files", ())))]


def _said(record: Record) -> tuple[str, list[str]]:
    failures = [(run["fold"], run["repeat"], run["failure"]) for run in record.get("runs", ()) if run["failure"]]
    return scoring.few_classes(record), [f"fold {fold} repeat {repeat}: {why}" for fold, repeat, why in failures]


def _signature(cell: CellFolder, names: Iterable[str]) -> tuple[str, float]:
    """A hash of the sizes and times of files, and the seconds since the youngest was changed."""
    folder, found, changed = str(cell.path), [], 0
    for name in names:
        try:
            stat = os.stat(f"{folder}/{name}")  # noqa: PTH116  (of every file there is: a Path each takes longer)
        except OSError as error:
            found.append(f"{name} {error.errno}")
        else:
            found.append(f"{name} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}")
            changed = max(changed, stat.st_mtime_ns, stat.st_ctime_ns)
    return hashlib.blake2b("\n".join(found).encode(), digest_size=12).hexdigest(), time.time() - changed / 1e9


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _version() -> str:
    """A hash of the code that makes entries: those of other code do not count."""
    files = (__file__, shape.__file__, store.__file__, scoring.__file__)
    return hashlib.sha256(b"".join(Path(str(file)).read_bytes() for file in files)).hexdigest()
