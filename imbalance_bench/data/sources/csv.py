"""The user's own table: a text file of rows, Parquet or ARFF, one column of which is the class."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from imbalance_bench.data.arff import is_arff, read_arff
from imbalance_bench.data.base import Dataset
from imbalance_bench.data.columns import NumberFormat, numeric_columns, remarks
from imbalance_bench.data.delimited import TABBED, decoded, parse, separator_of, unique, unpacked
from imbalance_bench.data.encode import Scale, TableEncoder
from imbalance_bench.data.labels import class_indices
from imbalance_bench.data.overrides import override
from imbalance_bench.data.own import OwnFile
from imbalance_bench.data.together import belonging
from imbalance_bench.errors import BenchError
from imbalance_bench.registry import DATASETS

if TYPE_CHECKING:
    import pandas as pd

PARQUET = (".parquet", ".pq")


@dataclass(frozen=True)
class Read:
    """A table as the file has it. ``words``: the values of a column as they are written, where words such as None were
    taken for gaps; ``nominal``: columns that the file declares to be categories; ``output``: the class that it
    declares; ``remarks``: what to tell of it."""

    table: pd.DataFrame
    words: Callable[[str], pd.Series] | None = None
    nominal: list[str] = field(default_factory=list)
    output: str | None = None
    remarks: list[str] = field(default_factory=list)


@DATASETS.register("csv")
@dataclass(frozen=True)
class CsvSource(OwnFile):
    """``path``: a file with a header line (.parquet, .pq: Parquet; .arff, and .dat of KEEL: what their header declares;
    anything else: text in ``encoding``, null: UTF-8, fields parted by ``separator``), perhaps packed.
    ``target``: the column of the class. ``positive``: the value that is class 1, against all others; null: the rarer
    of two, or every class for itself. ``drop``: columns to leave out. ``decimal`` and ``thousands``: the marks in
    numbers; null: a point, none. ``missing``: words for a gap, beside the usual ones. ``categorical``: columns that
    are categories though they look like numbers. ``scale`` of numeric columns; the others are one-hot coded."""

    positive: Any
    drop: list[Any]
    separator: str
    encoding: str | None
    decimal: Literal[".", ","] | None
    thousands: Literal[",", ".", "'", "_", " "] | None
    missing: list[Any]
    categorical: list[Any]
    scale: Scale

    def __post_init__(self) -> None:
        if self.thousands is not None and self.thousands == (self.decimal or "."):
            raise BenchError(
                f"dataset.thousands={self.thousands!r} is the decimal mark too: set dataset.decimal to the other one"
            )

    def load(self, folder: Path) -> Dataset:
        read = self.read()
        drop, categorical = list(map(str, self.drop)), list(map(str, self.categorical))
        target = self.target if self.target is not None else read.output
        self.need(read.table, target=[target], drop=drop, categorical=categorical)
        assert target is not None
        classes, told = self.classes(read, target)
        y, names = class_indices(classes, self.positive)
        together = belonging(read.table, **self.beside)
        table = read.table.drop(columns=[target, *self.beside.values(), *drop])
        if table.shape[1] == 0:
            raise BenchError(f"{self.path} has no columns beside the target: nothing to learn from")
        table = numeric_columns(table, self.number_format, [*categorical, *read.nominal], self.path)
        check_finite(table, self.path)
        encoder = TableEncoder.of(table, self.scale)
        info: dict[str, Any] = {"one_hot_width": encoder.width, "categorical": list(encoder.categories)}
        if warnings := [*read.remarks, *told, *remarks(table, y, target)]:
            info["warnings"] = warnings
        return Dataset(self.file.stem, table, y, names, encoder, info=info, **together)

    def fingerprint(self) -> dict[str, Any]:
        """The content, and what the name of the file says of it beside."""
        tabs = {"separator": "tab"} if self.separator == "," and self.file.suffix.lower() in TABBED else {}
        return super().fingerprint() | tabs

    @property
    def number_format(self) -> NumberFormat:
        return NumberFormat(self.decimal or ".", self.thousands)

    def read(self) -> Read:
        """The table as its file has it."""
        content, file = unpacked(self.content(), self.file)
        if file.suffix.lower() in PARQUET or content[:4] == b"PAR1":
            return self._parquet(content)
        text = decoded(content, self.file, self.encoding or "utf-8")
        if file.suffix.lower() == ".arff" or is_arff(text):
            declared = read_arff(text, self.file)
            return Read(self._with_gaps(declared.table), nominal=declared.nominal, output=declared.output)
        return self._delimited(text, file)

    def _parquet(self, content: bytes) -> Read:
        import pandas as pd

        try:
            table = pd.read_parquet(io.BytesIO(content))
        except (ValueError, OSError) as error:  # Arrow's errors are among these
            raise BenchError(f"dataset.path={self.path} cannot be read as Parquet ({str(error).strip()})") from error
        table.columns = table.columns.map(str)
        table.attrs["header"] = list(table.columns)
        unique(table, self.file, [])
        index = [str(n) for n in table.index.names if n is not None]
        told = [f"the index of the table, {', '.join(index)}, is left out"] if index else []
        return Read(self._with_gaps(table.reset_index(drop=True)), remarks=told)

    def _with_gaps(self, table: pd.DataFrame) -> pd.DataFrame:
        """A table whose format tells gaps from words, and the words of ``missing`` are gaps too."""
        if not self.missing:
            return table
        words = set(map(str, self.missing))
        numbers = {self.number_format.number(w) for w in words if self.number_format.fits([w]).all()}

        def gap(value: Any) -> bool:
            return value in words if isinstance(value, str) else isinstance(value, Real) and float(value) in numbers

        return table.mask(table.map(gap))

    def _delimited(self, text: str, file: Path) -> Read:
        separator = separator_of(self.separator, file)
        gaps = list(map(str, self.missing))
        options: dict[str, Any] = {"skipinitialspace": True, "decimal": self.decimal or ".", "na_values": gaps}
        table = parse(text, file, separator, options)
        unique(table, self.path or "", list(map(str, self.drop)))
        places = {name: i for i, name in enumerate(table.columns)}

        def words(name: str) -> pd.Series:
            as_text = {"dtype": str, "keep_default_na": False, "na_values": ["", *gaps], "usecols": [places[name]]}
            return parse(text, file, separator, options | as_text).iloc[:, 0]

        return Read(table, words)

    def classes(self, read: Read, target: str) -> tuple[pd.Series, list[str]]:
        """The column of the class, and what to tell of it: a word that stands for a gap elsewhere is a class here,
        unless it stands among numbers."""
        from pandas.api.types import is_numeric_dtype

        column = read.table[target]
        gaps = column.isna()
        if read.words is None or not gaps.any():
            return column, []
        words = read.words(target).where(gaps).dropna().str.strip()
        words = words[words != ""]
        if not len(words):
            return column, []
        counts = words.value_counts()
        first = str(counts.index[0])
        rest = column[~gaps]
        if len(rest) and (is_numeric_dtype(rest) or rest.map(type).eq(bool).all()):
            raise BenchError(
                f"dataset.target={target}: the word {first!r} stands among numbers in {counts.iloc[0]} of "
                f"{len(column)} rows, the first is row {words.index[0]} (from 0): take rows without a class out of the "
                "file; if it is a class, write it as another word there"
            )
        column = column.astype(object)
        column[words.index] = words
        told = [
            f"{word!r} in {n} rows is a class of {target}: where it means a gap, take these rows out of the file"
            for word, n in counts.items()
        ]
        return column, told


def check_finite(table: pd.DataFrame, path: str | None) -> None:
    """Missing values are filled later; infinite ones are mistakes."""
    numbers = table.select_dtypes("number")
    infinite = np.isinf(numbers.to_numpy(np.float64, na_value=np.nan))
    if infinite.any():
        row, column = np.argwhere(infinite)[0]
        name = str(numbers.columns[column])
        raise BenchError(
            f"dataset.path={path}: {int(infinite.sum())} infinite values, the first in column {name!r}, row {row} "
            f"(from 0): fix them, or leave the column out with {override('drop', name)}"
        )
