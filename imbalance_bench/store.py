"""Run directories: who works on a cell, what is done, and records as one table. Imports no torch."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from imbalance_bench.errors import BenchError
from imbalance_bench.locks import lock_file


def atomic_write(path: Path, content: bytes | str) -> None:
    """Writes a file whole or not at all: to a temporary name beside it, to the disk, then renamed."""
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):  # where it was never made
            temporary.unlink()
        raise BenchError(_why(path, error)) from error


def _why(path: Path, error: OSError) -> str:
    reason = {
        errno.ENOSPC: "the disk is full",
        errno.EDQUOT: "the disk quota is used up",
        errno.EACCES: "no permission",
        errno.EROFS: "the file system is read-only",
        errno.EEXIST: "a file stands where a folder should be",
        errno.ENOTDIR: "a file stands where a folder should be",
    }.get(error.errno or 0, error.strerror)
    return f"cannot write {path}: {reason}; free it or set paths.outputs=<another folder>"


class Store:
    """The runs under one outputs folder: ``outputs/runs/<dataset>/<ratio>/<backbone>/<method>/<id>/``."""

    def __init__(self, outputs: str | Path) -> None:
        self.runs = Path(outputs) / "runs"

    def cell(self, labels: dict[str, str], cell_id: str) -> Cell:
        # A label may be anything that a user wrote; a folder lies below the one before it.
        parts = [re.sub(r"^\.|[^\w.-]", "_", str(labels[g])) for g in ("dataset", "ratio", "backbone", "method")]
        return Cell(self.runs.joinpath(*parts, cell_id))

    def cells(self) -> list[Cell]:
        """Every cell that was ever started."""
        return [Cell(p) for p in sorted(self.runs.glob("*/*/*/*/*")) if p.is_dir()]

    def records(self) -> list[dict[str, Any]]:
        """The record of every finished (or declined) cell, each with its folder under "path"."""
        return [record for cell in self.cells() if (record := cell.record()) is not None]

    def find(self, cell_id: str) -> dict[str, Any] | None:
        """The record of a finished cell by its id, or None."""
        for path in self.runs.glob(f"*/*/*/*/{cell_id}"):
            record = Cell(path).record()
            if record is not None:
                return record
        return None


class Cell:
    """One run directory. ``record.json``, written last, is the only sign of "done"; ``error.txt`` of "failed"."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def record(self) -> dict[str, Any] | None:
        path = self.path / "record.json"
        try:
            record = json.loads(path.read_bytes())
            if not isinstance(record, dict):
                raise ValueError("not an object")
        except FileNotFoundError:
            return None
        except ValueError as error:  # text that is no JSON or no UTF-8 is one too
            raise BenchError(f"{path} is damaged ({error}): delete its folder and run again") from error
        return record | {"path": self.path}

    def state(self) -> str:
        """done | declined | failed | damaged | running | started (begun and never finished: its process died)."""
        try:
            record = self.record()
        except BenchError:
            return "damaged"
        if record is not None:
            return record["status"]
        if self.locked():
            return "running"
        return "failed" if (self.path / "error.txt").exists() else "started"

    def error(self) -> str:
        path = self.path / "error.txt"
        return path.read_text() if path.exists() else ""

    def fail(self, message: str, trace: str) -> None:
        atomic_write(self.path / "error.txt", f"{message}\n\n{trace}")

    def finish(self, record: dict[str, Any]) -> None:
        """Marks the cell as done: every other file must be there already."""
        atomic_write(self.path / "record.json", json.dumps(record, indent=1) + "\n")
        (self.path / "error.txt").unlink(missing_ok=True)

    def reset(self) -> None:
        """Takes the mark of "done" away before the cell is trained again."""
        (self.path / "record.json").unlink(missing_ok=True)

    @contextmanager
    def lock(self) -> Iterator[bool]:
        """True for the one process that may work on this cell. The kernel frees the lock however a process ends."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            file = lock_file(self.path / ".lock")
        except OSError as error:
            raise BenchError(_why(self.path, error)) from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True

    def locked(self) -> bool:
        path = self.path / ".lock"
        if not path.exists():
            return False
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False
