"""The user's own table: CSV or Parquet, one column of which is the class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imbalance_bench.data.base import Dataset
from imbalance_bench.data.encode import Scale, TableEncoder
from imbalance_bench.data.labels import class_indices
from imbalance_bench.data.own import OwnFile
from imbalance_bench.data.together import belonging
from imbalance_bench.errors import BenchError
from imbalance_bench.registry import DATASETS

if TYPE_CHECKING:
    import pandas as pd


@DATASETS.register("csv")
@dataclass(frozen=True)
class CsvSource(OwnFile):
    """``path``: a file with a header line (.parquet: Parquet, anything else: text, fields parted by ``separator``).
    ``target``: the column of the class. ``positive``: the value that is class 1, against all others; null: the rarer
    of two, or every class for itself. ``drop``: columns to leave out. ``scale`` of numeric columns; the others are
    one-hot coded."""

    positive: Any
    drop: list[str]
    separator: str
    scale: Scale

    def load(self, folder: Path) -> Dataset:
        table = self._read()
        y, names = class_indices(table[self.target], self.positive)
        together = belonging(table, **self.beside)
        table = table.drop(columns=[self.target, *self.beside.values(), *self.drop])
        if table.shape[1] == 0:
            raise BenchError(f"{self.path} has no columns beside the target: nothing to learn from")
        _check_finite(table, self.path)
        encoder = TableEncoder.of(table, self.scale)
        info = {"one_hot_width": encoder.width, "categorical": list(encoder.categories)}
        return Dataset(self.file.stem, table, y, names, encoder, info=info, **together)

    def _read(self) -> pd.DataFrame:
        """The table, with the columns that ``target`` and ``drop`` name."""
        import io

        import pandas as pd

        content = io.BytesIO(self.content())
        try:
            if self.file.suffix == ".parquet":
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
        self.need(table, target=[self.target], drop=self.drop)
        return table.reset_index(drop=True)  # a Parquet file may have brought another index


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
