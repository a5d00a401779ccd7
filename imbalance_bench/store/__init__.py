"""Run directories: who works on a cell, what is done, and which records count. Imports no torch."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import re
import shutil
import time
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imbalance_bench.errors import BenchError, command, of_outputs
from imbalance_bench.registry import GROUPS
from imbalance_bench.store import locks
from imbalance_bench.store.files import not_written, replace_files
from imbalance_bench.store.shape import lacking

if TYPE_CHECKING:
    import numpy as np

# Raised when a change of the code changes numbers, so that older records are not taken for newer ones.
SCHEMA = 2

Record = dict[str, Any]

OUTPUTS = "outputs"  # the default of paths.outputs

# The files of a finished cell, beside record.json, which holds their sums.
FILES = (
    *("config.yaml", "metrics.csv", "predictions.npz", "history.csv", "artifacts.npz", "train.log"),
    *("model.json", "model.safetensors", "model.skops", "model.md"),
)
FOLDERS = ("dataset", "ratio", "backbone", "method")  # whose labels a cell lies in
OWN_SUM = "sum"  # the key of a record, its last, that holds the sum of all others
LOOKS = 1.0  # seconds that a cell is waited for while others only look whether a process works on it
NEW_LOG = "train.new.log"  # while a cell that has a record is trained again


class Damaged(BenchError):
    """A record, or a file beside it, that is not what was written; the message says what is wrong and what to do.
    ``state``: "outdated" for a record of another schema, which is whole and not comparable."""

    def __init__(self, path: Path, what: str, remedy: str, state: str = "damaged") -> None:
        super().__init__(f"{path} {what}: {remedy}")
        self.folder = path.parent
        self.what, self.remedy = what, remedy
        self.state = state


class NotCollected(BenchError):
    """A file of a run was asked for where only records and numbers are."""

    def __init__(self, what: str, path: Path) -> None:
        super().__init__(f"this needs {what}, and {path} holds numbers only: leave out --from where the runs are")


class Store:
    """The runs under one outputs folder: ``outputs/runs/<dataset>/<ratio>/<backbone>/<method>/<id>/``."""

    def __init__(self, outputs: str | Path) -> None:
        self.runs = Path(outputs) / "runs"

    @classmethod
    def named(cls, outputs: str) -> Store:
        """The one that a command line names. Raises BenchError where there is none; the default may be yet to come."""
        if outputs != OUTPUTS and not Path(outputs).is_dir():
            raise BenchError(f"--outputs {outputs}: there is no such folder; it is the paths.outputs of the runs")
        return cls(outputs)

    def cell(self, labels: dict[str, str], cell_id: str) -> CellFolder:
        """The folder of a cell, which there may not be yet."""
        # A label may be anything that a user wrote; a folder lies below the one before it.
        parts = [re.sub(r"^\.|[^\w.-]", "_", labels[g]) for g in FOLDERS]
        return CellFolder(self.runs.joinpath(*parts, cell_id))

    def cells(self) -> list[CellFolder]:
        """Every cell that was ever started; also those that an empty label once wrote one level too high."""
        return [CellFolder(Path(place)) for place in _cells(str(self.runs), 5)]

    def records(self) -> list[Record]:
        """The record of every finished (or declined) cell that counts, each with its folder under "path"."""
        records = []
        for cell in self.cells():
            with suppress(Damaged):
                records.append(cell.record())
        return [record for record in records if record is not None]


def date_of(file: Path) -> str:
    """When it was written, as records have dates."""
    return datetime.fromtimestamp(file.stat().st_mtime, UTC).isoformat(timespec="seconds")


def names_by_folder(path: str) -> dict[str, str]:
    """What a cell is selected by: the folders that it lies in below ``runs``, and its id."""
    *labels, name = path.split("/")
    return {"method": "", **dict(zip(FOLDERS, labels)), "id": name}


def _cells(place: str, depth: int) -> Iterator[str]:
    """The folders ``depth`` levels below, in order; of a folder with a record in their place, that folder."""
    try:
        with os.scandir(place) as found:
            entries = list(found)
    except OSError:  # it is gone, or nobody's business
        return
    if depth == 1 and any(entry.name == "record.json" for entry in entries):
        yield place
        return
    for path in sorted(entry.path for entry in entries if entry.is_dir()):
        if depth == 1:
            yield path
        else:
            yield from _cells(path, depth - 1)


class CellFolder:
    """One run directory. ``record.json``, written last, is the only sign of "done"; ``error.txt`` of "failed"."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def record(self, anywhere: bool = False) -> Record | None:
        """None until the cell is done. ``anywhere``: of a folder that may have been copied, renamed too.

        Raises:
            Damaged: the record is cut off, was edited, lacks a key, is a copy of another cell's, or of another schema.
        """
        path = self.path / "record.json"
        try:
            record = json.loads(path.read_bytes())
            other = _of_other_schema(record)
            if not other and (key := lacking(record, GROUPS)):
                raise ValueError(f"no valid {key}")
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:  # text that is not JSON or no UTF-8 is a ValueError too
            raise Damaged(path, f"is damaged ({error})", "delete its folder and run again") from error
        written = record.pop(OWN_SUM, None)
        if not other and written not in (None, _sum(json.dumps(record))):  # records of earlier versions hold none
            raise Damaged(path, "is not what the run wrote", "train the cell again with cache=overwrite")
        if record["id"] != self.path.name and not anywhere:
            raise Damaged(path, f"is that of cell {record['id']}", "a copied folder counts for nothing, delete it")
        return counted(record, path)

    def state(self) -> str:
        """done | declined | failed | damaged | outdated | running | started (begun and never finished: its process
        died)."""
        try:
            record = self.record()
        except Damaged as error:
            return error.state
        if record is not None:
            return "damaged" if self.damage() else record["status"]
        return self.unfinished()

    def forget(self) -> None:
        """Removes what was begun of the cell; an earlier record stays."""
        if (self.path / "record.json").exists():
            (self.path / NEW_LOG).unlink(missing_ok=True)
        else:
            shutil.rmtree(self.path, ignore_errors=True)

    def unfinished(self) -> str:
        """The state of a cell without a record."""
        if self.locked():
            return "running"
        return "failed" if (self.path / "error.txt").exists() else "started"

    def damage(self) -> str:
        """Says what is wrong with the record or the files beside it, and what to do; "" where nothing is."""
        try:
            self.check()
        except Damaged as error:
            return str(error)
        return ""

    def check(self, record: Record | None = None) -> None:
        """Reads every file beside a record (None: the one that lies here).

        Raises:
            Damaged: one of them, or the record, is not what was written.
        """
        record = record or self.record() or {}
        for name in record.get("files", ()):
            file_of(record, name)

    def error(self) -> str:
        """Why the last training failed: a message, an empty line, the traceback; "" where none did."""
        try:
            with open(f"{self.path}/error.txt", errors="replace") as file:  # noqa: PTH123  (status.py asks every cell)
                text = file.read()
        except OSError:
            return ""
        return text if text.strip() else "error.txt is empty: run the cell again"

    def failed_at(self) -> str:
        """When the last training failed, as records have dates."""
        return date_of(self.path / "error.txt")

    def fail(self, message: str, trace: str, config: str = "") -> None:
        """Keeps why a cell failed and, unless that of an earlier record lies there, its config.yaml."""
        files: dict[Path, bytes | str] = {self.path / "error.txt": f"{message}\n\n{trace}"}
        if config and not (self.path / "record.json").exists():
            files = {self.path / "config.yaml": config, **files}
        replace_files(files)

    def finish(self, record: Record, files: Mapping[str, bytes | str] | None = None) -> None:
        """Puts a record and its files in the place of what lies here. An earlier record goes when all of the new one is
        on the disk; a process that is killed between then and the end leaves a cell that is started, not a mixture."""
        files = files or {}
        for left in self.path.glob(".*.[0-9]*"):  # of a process that was killed: nobody else has the lock
            left.unlink()
        done = self.path / "record.json"
        text = _as_text(record | {"files": {name: _sum(content) for name, content in files.items()}})
        replace_files({**{self.path / name: content for name, content in files.items()}, done: text}, before=done)
        for name in {*FILES, NEW_LOG, "error.txt"} - files.keys():
            (self.path / name).unlink(missing_ok=True)

    def amend(self, record: Record, files: Mapping[str, str]) -> None:
        """Rewrites some files of a finished cell, and its record. A process that is killed in between leaves a file
        whose sum does not agree, and amending it again is the remedy."""
        sums = record.get("files")
        kept = {k: v for k, v in record.items() if k != "path"} | (
            {"files": sums | {name: _sum(content) for name, content in files.items()}} if sums is not None else {}
        )
        written = {self.path / name: content for name, content in files.items()}
        replace_files({**written, self.path / "record.json": _as_text(kept)})

    @contextmanager
    def lock(self) -> Iterator[bool]:
        """True for the one process that may work on this cell. The kernel frees the lock however a process ends. Who
        only looks (``locked``) is waited for."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            file = locks.lock_file(self.path / ".lock")
        except OSError as error:
            raise not_written(self.path, error) from error
        with file:
            until = time.monotonic() + LOOKS
            while not (mine := locks.taken(file, fcntl.LOCK_EX)):
                if time.monotonic() > until or self.locked():
                    break
                time.sleep(0.001)
            yield mine

    def locked(self) -> bool:
        """Whether a process works on the cell."""
        try:
            # A lock that can be shared: it keeps nobody else from looking, and a file that is open for reading will do
            # on network file systems too.
            with (self.path / ".lock").open("rb") as file:
                return not locks.taken(file, fcntl.LOCK_SH)
        except OSError:  # there is none, or it is somebody else's
            return False


def counted(record: Record, path: Path, again: str = "delete its folder and run again") -> Record:
    """A record as readers have it, with its folder under "path"; ``path``: of its file; ``again``: how to make an older
    one anew.

    Raises:
        Damaged: it is of another schema.
    """
    if record["schema"] != SCHEMA:
        what = f"has schema {record['schema']}, numbers of this code have {SCHEMA}"
        cure = again if record["schema"] < SCHEMA else "it is of newer code: use that"
        raise Damaged(path, what, cure, state="outdated")
    # Labels that YAML read as numbers were written by earlier versions.
    labels = {group: str(label) for group, label in record["labels"].items()}
    return record | {"labels": labels, "path": path.parent}


def file_of(record: Record, name: str) -> bytes:
    """A file beside a record, as it was when the record was written.

    Raises:
        Damaged: it is missing, or is not what was written (records of earlier versions hold no sums and are believed).
        NotCollected: the record was read from a file of collected ones.
    """
    path = record["path"] / name
    if "collected" in record:
        raise NotCollected(f"{name} of {record['id']}", path.parents[1])
    try:
        found = path.read_bytes()
    except OSError as error:
        what = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise Damaged(path, what, remedy(record, name)) from error
    sums = record.get("files")
    if sums is not None and sums.get(name) != _sum(found):
        raise Damaged(path, "is damaged (not what the run wrote)", remedy(record, name))
    return found


def arrays(record: Record, name: str) -> dict[str, np.ndarray]:
    """What an .npz file beside a record holds; raises as ``file_of`` does."""
    import numpy as np

    try:
        with np.load(io.BytesIO(file_of(record, name)), allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise Damaged(record["path"] / name, f"is damaged ({error})", remedy(record, name)) from error


def has_file(record: Record, name: str) -> bool:
    """Whether the run wrote such a file."""
    return name in record["files"] if "files" in record else (record["path"] / name).exists()


def outputs_of(record: Record) -> str:
    """The words of a command for the folder of outputs that a record lies in, as ``of_outputs``; "" of none."""
    outputs = next((place.parent for place in Path(record.get("path", "")).parents if place.name == "runs"), OUTPUTS)
    return of_outputs(outputs)


def remedy(record: Record, name: str) -> str:
    """The remedy for a damaged file beside a record."""
    if name == "metrics.csv":
        return f"`{command('rescore')} {record['id']}{outputs_of(record)}` computes it from the predictions"
    kept = "save=true " if name.startswith("model.") else ""
    return f"train the cell again with {kept}cache=overwrite"


def _sum(content: bytes | str) -> str:
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def _as_text(record: Record) -> str:
    # A line a key: what indents all of it is written in Python and takes several times as long.
    record = record | {OWN_SUM: _sum(json.dumps(record))}
    lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in record.items())
    return f"{{\n{lines}\n}}\n"


def _of_other_schema(record: Any) -> bool:
    """Whether a record says that its keys may be other ones."""
    if not isinstance(record, dict) or not isinstance(record.get("id"), str):
        return False
    schema = record.get("schema")
    return isinstance(schema, int) and not isinstance(schema, bool) and schema != SCHEMA
