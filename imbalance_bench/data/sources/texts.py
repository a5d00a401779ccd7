"""The user's own texts: a CSV, TSV or JSON-lines file, one column of which is the text and one the class."""

from __future__ import annotations

import gzip
import io
import json
import lzma
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imbalance_bench.data.base import Dataset, Language
from imbalance_bench.data.labels import class_indices
from imbalance_bench.data.own import OwnFile
from imbalance_bench.data.text import RawTexts
from imbalance_bench.data.together import belonging
from imbalance_bench.errors import BenchError
from imbalance_bench.registry import DATASETS

if TYPE_CHECKING:
    import pandas as pd

UNPACK = {".gz": gzip.decompress, ".xz": lzma.decompress}
FORMATS = (".csv", ".tsv", ".jsonl")


@DATASETS.register("texts")
@dataclass(frozen=True)
class TextsSource(OwnFile):
    """``path``: a file with a header line, .csv or .tsv, or of one JSON object a line, .jsonl; perhaps packed, .gz or
    .xz. ``text``: the column of the text. ``target``: that of the class. ``positive``: the value that is class 1,
    against all others; null: the rarer of two, or every class for itself. ``language``: in which words are told apart.
    ``encoding`` of the file. ``drop_empty``: leave rows without a text out."""

    text: str | None
    positive: Any
    language: Language
    encoding: str
    drop_empty: bool

    def load(self, folder: Path) -> Dataset:
        table = read_table(self.content(), self.file, self.encoding)
        self.need(table, text=[self.text], target=[self.target])
        if self.text == self.target:
            raise BenchError(
                f"dataset.text={self.text} is the class too: choose another dataset.text or dataset.target"
            )
        table, dropped = self._full(table)
        y, names = class_indices(table[self.target], self.positive)
        x = np.array(table[self.text], object)
        info = {"empty_texts_skipped": dropped} if dropped else {}
        name = self.file.name.partition(".")[0]
        together = belonging(table, **self.beside)
        return Dataset(name, x, y, names, RawTexts(), modality="text", language=self.language, info=info, **together)

    def _full(self, table: pd.DataFrame) -> tuple[pd.DataFrame, int]:
        """The rows that have a text, and how many have none. Raises BenchError where these are not to be dropped."""
        texts = table[self.text]
        if len(wrong := np.flatnonzero(texts.notna() & ~texts.map(lambda t: isinstance(t, str)).astype(bool))):
            raise BenchError(f"dataset.text={self.text}: row {wrong[0]} (from 0) of {self.path} is no text")
        empty = (texts.isna() | (texts.str.strip() == "")).to_numpy()
        if not empty.any():
            return table, 0
        rows = np.flatnonzero(empty)
        if not self.drop_empty:
            some = ", ".join(map(str, rows[:5].tolist())) + (", ..." if len(rows) > 5 else "")
            raise BenchError(
                f"dataset.text={self.text}: {len(rows)} of {len(table)} rows of {self.path} have no text (rows {some}, "
                "from 0): mend them, or leave them out with dataset.drop_empty=true"
            )
        if empty.all():
            raise BenchError(f"dataset.text={self.text}: no row of {self.path} has a text; choose another column")
        return table[~empty], len(rows)  # under the numbers that they have in the file


def read_table(content: bytes, file: Path, encoding: str) -> pd.DataFrame:
    """The table that ``content`` of ``file`` is: .csv with quotes, .tsv without them, .jsonl; .gz and .xz are unpacked.
    Cells are strings (of JSON: whatever they are); empty ones are missing."""
    import pandas as pd

    suffixes = [s.lower() for s in file.suffixes]
    if suffixes and (unpack := UNPACK.get(suffixes[-1])):
        suffixes.pop()
        try:
            content = unpack(content)
        except (OSError, EOFError, lzma.LZMAError, ValueError) as error:
            raise BenchError(f"{file} cannot be unpacked ({error}): it is cut short or damaged") from error
    kind = suffixes[-1] if suffixes else ""
    if kind not in FORMATS:
        raise BenchError(f"{file} must be one of {', '.join(FORMATS)}, perhaps with .gz or .xz after it; rename it")
    text = _decoded(content, file, encoding)
    if kind == ".jsonl":
        return _json_table(text, file)
    try:
        table = pd.read_csv(
            io.StringIO(text, newline=""),
            sep="," if kind == ".csv" else "\t",
            quoting=0 if kind == ".csv" else 3,  # in .tsv a quotation mark is one
            dtype=str,
            keep_default_na=False,
            na_values=[""],
        )
    except pd.errors.EmptyDataError as error:
        raise BenchError(f"{file} is empty") from error
    except ValueError as error:  # parser errors are among these
        raise BenchError(f"{file} cannot be read as a table with a header line ({str(error).strip()})") from error
    if not isinstance(table.index, pd.RangeIndex):
        raise BenchError(f"{file}: rows have more fields than the header line has names; mend the file")
    table.columns = table.columns.map(str)
    return table


def _decoded(content: bytes, file: Path, encoding: str) -> str:
    try:
        return content.decode(encoding).removeprefix("\ufeff")
    except LookupError as error:
        raise BenchError(f"dataset.encoding={encoding} is unknown: utf-8, latin-1, gbk, ...") from error
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        likely = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin-1 (western), gbk (Chinese)"
        raise BenchError(
            f"{file}, line {line}: byte {content[error.start]:#04x} (number {error.start + 1} of the file) is no "
            f"{encoding}: set dataset.encoding, e.g. {likely}"
        ) from error
    except UnicodeError as error:
        raise BenchError(f"{file} is no {encoding} ({error}): set dataset.encoding, e.g. utf-8") from error


def _json_table(text: str, file: Path) -> pd.DataFrame:
    import pandas as pd

    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise BenchError(f"{file}, line {number} is no JSON ({error})") from error
        if not isinstance(row, dict):
            raise BenchError(f"{file}, line {number} is {type(row).__name__}, not an object {{...}}")
        rows.append(row)
    return pd.DataFrame(rows, dtype=object).replace({"": None})
