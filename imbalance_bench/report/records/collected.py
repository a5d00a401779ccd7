"""Records and their numbers in one Parquet file, ``outputs/records/<name>.parquet``, from which tables are made without
run folders; imports no torch.

A row is a cell: its id, labels and date, its ``record`` (the JSON of record.json) and its ``numbers``, a list of the
rows of metrics.csv, of test and validation rows, values as float64. A cell that failed has no record but its
``failure``, the reason, and is dated by it. Cells are in the order of their run folders. The 32 bytes before Parquet's
footer, which its readers skip, are the SHA-256 of all others.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from imbalance_bench.errors import BenchError, command
from imbalance_bench.registry import GROUPS
from imbalance_bench.store import Damaged, Record, Store, counted, file_of, remedy
from imbalance_bench.store.files import replacement

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = "2"  # under "imbalance_bench" in the file's metadata
FORMATS = ("1", FORMAT)  # that are read; 1 has no failures
CHUNK = 1 << 20  # bytes
TOGETHER = 128  # cells that are read as one
TEXTS = ("id", *GROUPS, "date", "failure", "record")
FIELDS = ("part", "run", "fold", "repeat", "iterate", "class_group", "metric", "value")
INTEGERS = ("run", "fold", "repeat")
Row = tuple[str, int, int, int, str, str, str, float]  # in the order of FIELDS


@dataclass(frozen=True)
class Collected:
    """A cell of such a file; ``texts``: its id, labels, date and failure ("" where it has a record); ``place``: its row
    group and row."""

    source: Collection
    texts: dict[str, str]
    place: tuple[int, int]

    @property
    def names(self) -> dict[str, str]:
        """The names that it is selected by."""
        return {key: value for key, value in self.texts.items() if key not in ("date", "failure")}

    @property
    def path(self) -> Path:
        """Stands for its folder in messages."""
        return self.source.runs / self.texts["id"]

    def text(self) -> str:
        """The JSON of its record; "" where it failed."""
        return self.source.text(*self.place)

    def state(self) -> str:
        """As of ``store.CellFolder``."""
        record = self.record()
        return "failed" if record is None else str(record["status"])

    def error(self) -> str:
        """Why it failed, as of ``store.CellFolder``."""
        return self.texts["failure"]

    def record(self) -> Record | None:
        """As of ``store.CellFolder``, with this cell under "collected". Raises Damaged where its schema is another."""
        if self.texts["failure"]:
            return None
        with _reading(self.source.runs):
            record = json.loads(self.text())
        return counted(record, self.path / "record.json", "run and collect the cell again") | {"collected": self}

    def rows(self) -> list[Row]:
        """Its numbers, of all parts."""
        return self.source.rows(*self.place)


class Collection:
    """The cells of a file, in the place of a ``store.Store``; ``runs`` is the file. Only what is asked for is read.

    Raises:
        BenchError: there is no such file, it is damaged, or is another one; so do the methods.
    """

    def __init__(self, path: str | Path) -> None:
        self.runs = Path(path)
        if not self.runs.is_file():
            raise BenchError(f"{path}: there is no such file of collected records; {command('collect')} writes one")
        with _reading(self.runs):
            import pyarrow.parquet as pq

            self._file = pq.ParquetFile(self.runs)
            found = (self._file.metadata.metadata or {}).get(b"imbalance_bench", b"").decode()
        if found not in FORMATS:
            what = (
                f"is of format {found}, which newer code reads" if found else f"was not written by {command('collect')}"
            )
            raise BenchError(f"{path} {what}")
        with _reading(self.runs), self.runs.open("rb") as file:
            start = _footer(file) - hashlib.sha256().digest_size
            if _sum(file, start) != _at(file, start, _footer(file)):
                raise ValueError("it is not what was written")
        self._numbers: tuple[int, pa.Array | None] = (-1, None)  # of the row group that was read last
        self._texts: tuple[int, list[str]] = (-1, [])
        self._cells: dict[str, Collected] | None = None

    def cells(self) -> list[Collected]:
        """All cells, in the file's order."""
        return list(self._by_id().values())

    def cell(self, _: dict[str, str], cell_id: str) -> Collected | None:
        """A cell by its id; None where the file has it not."""
        return self._by_id().get(cell_id)

    def _by_id(self) -> dict[str, Collected]:
        if self._cells is None:
            self._cells = {}
            with _reading(self.runs):
                wanted = [name for name in TEXTS if name != "record" and name in self._file.schema_arrow.names]
                for group in range(self._file.num_row_groups):
                    rows = self._file.read_row_group(group, columns=wanted).to_pylist()
                    for number, row in enumerate(rows):
                        self._cells[row["id"]] = Collected(self, {"failure": ""} | row, (group, number))
        return self._cells

    def text(self, group: int, row: int) -> str:
        if self._texts[0] != group:
            with _reading(self.runs):
                table = self._file.read_row_group(group, columns=["record"])
                self._texts = (group, table.column(0).to_pylist())
        return self._texts[1][row]

    def rows(self, group: int, row: int) -> list[Row]:
        with _reading(self.runs):
            if self._numbers[0] != group:
                table = self._file.read_row_group(group, columns=["numbers"])
                self._numbers = (group, table.column(0).combine_chunks())
            found = self._numbers[1][row].values  # type: ignore[index]
            return list(zip(*map(_values, found.flatten())))


Source = Store | Collection


def numbers_of(record: Record, part: str | None = None) -> list[Row]:
    """The rows of a record's metrics.csv that are of a part (None: all), from beside it or from the file it is in.

    Raises:
        Damaged: it is missing, or is not the file that the record was written with.
    """
    if "collected" in record:
        return [row for row in record["collected"].rows() if part in (None, row[0])]
    name = "metrics.csv"
    runs = {run["run"] for run in record["runs"]}
    rows: list[Row] = []
    text = file_of(record, name)
    try:
        table = csv.reader(io.StringIO(text.decode(), newline=""))
        header = next(table, [])
        chosen = itemgetter(*map(header.index, FIELDS[1:]))
        of = header.index("part") if "part" in header else None  # earlier records do not say
        for row in filter(None, table):
            found = row[of] if of is not None else "test"
            if part not in (None, found):
                continue
            number, fold, repeat, readout, group, metric, value = chosen(row)
            if (run := int(number)) not in runs:
                raise ValueError(f"the record has no run {run}")
            rows.append((found, run, int(fold), int(repeat), readout, group, metric, float(value or "nan")))
    except (IndexError, ValueError, csv.Error) as error:
        raise Damaged(record["path"] / name, f"is damaged ({error})", remedy(record, name)) from error
    return rows


def text_of(record: Record) -> str:
    """A record as the file keeps it."""
    kept = {key: value for key, value in record.items() if key not in ("path", "collected")}
    return json.dumps(kept, separators=(",", ":"))


def write(path: Path, cells: Iterable[tuple[dict[str, str], list[Row]]]) -> None:
    """Writes a file, whole or not at all, of cells: a value for each of ``TEXTS``, and the numbers. Raises BenchError
    where the disk does not take it."""
    import pyarrow.parquet as pq

    with replacement(path) as file:
        schema, cells = _schema(), iter(cells)
        with pq.ParquetWriter(file, schema, compression="zstd") as to:
            while some := list(islice(cells, TOGETHER)):
                to.write_table(_table(some, schema), row_group_size=TOGETHER)
        start = _footer(file)
        footer = _at(file, start, file.seek(0, os.SEEK_END))
        file.seek(start)
        file.write(bytes(hashlib.sha256().digest_size) + footer)
        digest = _sum(file, start)
        file.seek(start)
        file.write(digest)


def _schema() -> pa.Schema:
    import pyarrow as pa

    word = pa.dictionary(pa.int32(), pa.string())
    types = {**dict.fromkeys(FIELDS, word), **dict.fromkeys(INTEGERS, pa.int32()), "value": pa.float64()}
    number = pa.struct([(name, types[name]) for name in FIELDS])
    columns = [*((name, pa.string()) for name in TEXTS), ("numbers", pa.list_(number))]
    return pa.schema(columns, metadata={"imbalance_bench": FORMAT})


def _table(cells: list[tuple[dict[str, str], list[Row]]], schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    texts = [pa.array([values[name] for values, _ in cells], pa.string()) for name in TEXTS]
    ends = np.cumsum([0, *(len(rows) for _, rows in cells)])
    columns = list(zip(*chain.from_iterable(rows for _, rows in cells))) or [()] * len(FIELDS)
    number = list(schema.field("numbers").type.value_type)
    fields = [
        pa.array(column, pa.string()).dictionary_encode() if pa.types.is_dictionary(field.type)
        else pa.array(column, field.type)
        for field, column in zip(number, columns)
    ]  # fmt: skip
    numbers = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.StructArray.from_arrays(fields, fields=number))
    return pa.Table.from_arrays([*texts, numbers], schema=schema)


def _footer(file: BinaryIO) -> int:
    """Where the footer of a Parquet file starts; it ends with its length and four letters."""
    end = file.seek(-8, os.SEEK_END)
    return end - int.from_bytes(file.read(4), "little")


def _at(file: BinaryIO, start: int, end: int) -> bytes:
    file.seek(start)
    return file.read(end - start)


def _sum(file: BinaryIO, gap: int) -> bytes:
    """SHA-256 of a file without the 32 bytes at ``gap``."""
    made = hashlib.sha256()
    for start in range(0, gap, CHUNK):
        made.update(_at(file, start, min(start + CHUNK, gap)))
    file.seek(gap + made.digest_size)
    made.update(file.read())
    return made.digest()


def _values(column: pa.Array) -> list[Any]:
    """As ``to_pylist``, many times faster."""
    if not hasattr(column, "dictionary"):
        values: list[Any] = column.to_numpy().tolist()
        return values
    words = column.dictionary.to_pylist()
    return [words[number] for number in column.indices.to_numpy().tolist()]


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Says of which file it is that something cannot be read."""
    import pyarrow as pa

    try:
        yield
    except (OSError, ValueError, LookupError, TypeError, AttributeError, MemoryError, pa.ArrowException) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BenchError(
            f"{path} cannot be read ({reason}): where it is damaged, take it from version control or delete it and "
            "collect it again"
        ) from error
