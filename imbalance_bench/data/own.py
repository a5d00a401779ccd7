"""Shared by the user's own files: read whole, and identified by content."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imbalance_bench.data.base import Source
from imbalance_bench.errors import BenchError, suggestion

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class OwnFile(Source):
    """``path``: the file. It is identified by content, not by path. ``target``: the column of
    the class. ``group``: the column whose equal values belong together; ``time``: the one that orders rows in time."""

    path: str | None
    target: str | None
    group: str | None
    time: str | None

    def fingerprint(self) -> dict[str, Any]:
        return {"sha256": hashlib.sha256(self.content()).hexdigest()}

    def paths(self, folder: Path) -> list[Path] | None:
        """Its file; None where it is missing."""
        return [self.file] if self.path is not None and self.file.exists() else None

    @property
    def file(self) -> Path:
        if self.path is None:
            raise BenchError(f"dataset={self.name} needs a file: dataset.path=<file> dataset.target=<column>")
        return Path(self.path).expanduser()

    def content(self) -> bytes:
        try:
            return self.file.read_bytes()
        except OSError as error:
            why = f"{error.strerror} (looked for {self.file.absolute()})"
            raise BenchError(f"dataset.path={self.path} cannot be read: {why}") from error

    @property
    def beside(self) -> dict[str, str]:
        """Keys of the YAML → the columns that they name which are neither class nor feature."""
        found = {key: column for key in ("group", "time") if (column := getattr(self, key)) is not None}
        for key, column in found.items():
            if column == self.target:
                raise BenchError(
                    f"dataset.{key}={column} is the class (dataset.target): choose another column, or null"
                )
        return found

    def need(self, table: pd.DataFrame, **columns: Sequence[str | None]) -> None:
        """Raises BenchError unless ``table`` has rows and the ``columns``: key of the YAML → those that it names."""
        columns |= {key: [column] for key, column in self.beside.items()}
        found = list(map(str, table.columns))
        if not found:
            raise BenchError(f"dataset.path={self.path} is empty")
        for key, wanted in columns.items():
            for column in wanted:
                if column is None:
                    raise BenchError(f"dataset={self.name} needs dataset.{key}=<column>: one of {', '.join(found)}")
                if column not in found:
                    numbers = all(re.fullmatch(r"[-+]?[\d.,]+(e[-+]?\d+)?", n, re.IGNORECASE) for n in found)
                    headless = "; its first line must name the columns, and has numbers" if numbers else ""
                    raise BenchError(
                        f"dataset.{key}: {self.path} has no column {column!r}: {suggestion(column, found)}{headless}"
                    )
        if not len(table):
            raise BenchError(f"dataset.path={self.path} is empty: it has a header and no rows")
