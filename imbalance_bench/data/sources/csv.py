"""The user's own table: CSV or Parquet, one column of which is the class."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imbalance_bench.data.base import Dataset
from imbalance_bench.data.encode import Scale, TableEncoder
from imbalance_bench.errors import BenchError
from imbalance_bench.registry import DATASETS, nearest

if TYPE_CHECKING:
    import pandas as pd

MAX_CLASSES = 50  # a target with more is a number to predict, or an identifier


@DATASETS.register("csv")
@dataclass(frozen=True)
class CsvSource:
    """``path``: a file with a header line (.parquet: Parquet, anything else: text, fields parted by ``separator``).
    ``target``: the column of the class. ``positive``: the value that is class 1, against all others; null: the rarer
    of two, or every class for itself. ``drop``: columns to leave out. ``scale`` of numeric columns; the others are
    one-hot coded. Where the file lies is no part of a result's identity, what it holds is."""

    path: str | None
    target: str | None
    positive: Any
    drop: list[str]
    separator: str
    scale: Scale

    def load(self, folder: Path) -> Dataset:
        table = self._read()
        y, names = self._classes(table)
        table = table.drop(columns=[self.target, *self.drop])
        if table.shape[1] == 0:
            raise BenchError(f"{self.path} has no columns beside the target: nothing to learn from")
        _check_finite(table, self.path)
        encoder = TableEncoder.of(table, self.scale)
        info = {"one_hot_width": encoder.width, "categorical": list(encoder.categories)}
        return Dataset(self._file.stem, table, y, names, encoder, info=info)

    def fingerprint(self) -> dict[str, Any]:
        return {"sha256": hashlib.sha256(self._bytes()).hexdigest()}

    @property
    def _file(self) -> Path:
        if self.path is None:
            raise BenchError("dataset=csv needs a file: dataset.path=<table.csv> dataset.target=<column>")
        return Path(self.path).expanduser()

    def _bytes(self) -> bytes:
        try:
            return self._file.read_bytes()
        except OSError as error:
            raise BenchError(f"dataset.path={self.path} cannot be read: {error.strerror}") from error

    def _read(self) -> pd.DataFrame:
        """The table, with the columns that ``target`` and ``drop`` name."""
        import io

        import pandas as pd

        content = io.BytesIO(self._bytes())
        try:
            if self._file.suffix == ".parquet":
                table = pd.read_parquet(content)
            else:
                table = pd.read_csv(content, sep=self.separator, skipinitialspace=True, low_memory=False)
        except pd.errors.EmptyDataError as error:
            raise BenchError(f"dataset.path={self.path} is empty") from error
        except (ValueError, OSError) as error:  # parser, decoding and Arrow errors are among these
            raise BenchError(
                f"dataset.path={self.path} cannot be read as a table ({str(error).strip()}); a text file needs a "
                f"header line, UTF-8 and fields parted by dataset.separator={self.separator!r}"
            ) from error
        table.columns = table.columns.map(str)
        if not len(table):
            raise BenchError(f"dataset.path={self.path} is empty: it has a header and no rows")
        if self.target is None:
            raise BenchError(f"dataset=csv needs dataset.target=<column>: one of {', '.join(table.columns)}")
        for key, columns in (("target", [self.target]), ("drop", self.drop)):
            for column in columns:
                if column not in table.columns:
                    raise BenchError(
                        f"dataset.{key}: {self.path} has no column {column!r}: {nearest(column, table.columns)}"
                    )
        return table

    def _classes(self, table: pd.DataFrame) -> tuple[np.ndarray, tuple[str, ...]]:
        """Class indices (n,) and class names."""
        import pandas as pd

        target = table[self.target]
        if target.isna().any():
            raise BenchError(
                f"dataset.target={self.target}: {int(target.isna().sum())} of {len(target)} rows have no class, the "
                f"first is row {int(target.isna().to_numpy().argmax())} (from 0): fill or remove them"
            )
        codes, values = pd.factorize(target, sort=True)
        if values.dtype.kind == "f" and (values == np.floor(values)).all():
            values = values.astype(np.int64)  # 0.0 and 1.0 are called 0 and 1
        names = [str(v) for v in values]
        if len(names) < 2:
            raise BenchError(f"dataset.target={self.target} has one class only ({names[0]!r}): nothing to tell apart")
        if len(names) > MAX_CLASSES and self.positive is None:
            raise BenchError(
                f"dataset.target={self.target} has {len(names)} different values (at most {MAX_CLASSES}): is it a "
                "class? Choose another dataset.target, or one value against the rest with dataset.positive=<value>"
            )
        if self.positive is None:
            if len(names) == 2 and (codes == 0).sum() < (codes == 1).sum():
                return (1 - codes).astype(np.int64), (names[1], names[0])
            return codes.astype(np.int64), tuple(names)
        if str(self.positive) not in names:
            raise BenchError(
                f"dataset.positive={self.positive!r} is no value of {self.target}: {nearest(str(self.positive), names)}"
            )
        chosen = names.index(str(self.positive))
        other = names[1 - chosen] if len(names) == 2 else "rest"
        return (codes == chosen).astype(np.int64), (other, names[chosen])


def _check_finite(table: pd.DataFrame, path: str | None) -> None:
    """Missing values are filled later; infinite ones are mistakes."""
    numbers = table.select_dtypes("number")
    infinite = np.isinf(numbers.to_numpy(np.float64, na_value=np.nan))
    if infinite.any():
        row, column = np.argwhere(infinite)[0]
        raise BenchError(
            f"dataset.path={path}: {int(infinite.sum())} infinite values, the first in column "
            f"{numbers.columns[column]!r}, row {row} (from 0): mend them, or leave the column out with "
            f"'dataset.drop=[{numbers.columns[column]}]'"
        )
