"""The user's own texts: a CSV, TSV or JSON-lines file, one column of which is the text and one the class."""

from __future__ import annotations

import csv
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imbalance_bench.data.base import Dataset, Language
from imbalance_bench.data.delimited import TABBED, decoded, parse, separator_of, unique, unpacked
from imbalance_bench.data.labels import class_indices
from imbalance_bench.data.own import OwnFile
from imbalance_bench.data.text.reading import RawTexts
from imbalance_bench.data.together import belonging
from imbalance_bench.errors import BenchError
from imbalance_bench.registry import DATASETS

if TYPE_CHECKING:
    import pandas as pd

FORMATS = (".csv", *TABBED, ".jsonl")


@DATASETS.register("texts")
@dataclass(frozen=True)
class TextsSource(OwnFile):
    """``path``: a file with a header line, .csv or .tsv, or of one JSON object a line, .jsonl; perhaps packed.
    ``text``: the column of the text. ``target``: that of the class. ``positive``: the value that is class 1, against
    all others; null: the rarer of two, or every class for itself. ``language``: in which words are told apart.
    ``encoding`` of the file. ``separator`` of its fields; null: a tab in .tsv, a comma elsewhere. ``drop_empty``: leave
    rows without a text out."""

    text: str | None
    positive: Any
    language: Language
    encoding: str
    separator: str | None
    drop_empty: bool

    def load(self, folder: Path) -> Dataset:
        table = read_table(self.content(), self.file, self.encoding, self.separator)
        self.need(table, text=[self.text], target=[self.target])
        if self.text == self.target:
            raise BenchError(
                f"dataset.text={self.text} is the class too: choose another dataset.text or dataset.target"
            )
        table, dropped = self.full(table)
        y, names = class_indices(table[self.target], self.positive)
        x = np.array(table[self.text], object)
        info = {"empty_texts_skipped": dropped} if dropped else {}
        name = self.file.name.partition(".")[0]
        together = belonging(table, **self.beside)
        return Dataset(name, x, y, names, RawTexts(), modality="text", language=self.language, info=info, **together)

    def full(self, table: pd.DataFrame) -> tuple[pd.DataFrame, int]:
        """The rows that have a text, and how many have none. Raises BenchError where these are not to be dropped."""
        texts = table[self.text]
        if len(wrong := np.flatnonzero(texts.notna() & ~texts.map(lambda t: isinstance(t, str)).astype(bool))):
            raise BenchError(
                f"dataset.text={self.text}: row {wrong[0]} (from 0) of {self.path} is not text: choose another "
                "column, or write it as a string"
            )
        empty = (texts.isna() | (texts.str.strip() == "")).to_numpy()
        if not empty.any():
            return table, 0
        rows = np.flatnonzero(empty)
        if not self.drop_empty:
            some = ", ".join(map(str, rows[:5].tolist())) + (", ..." if len(rows) > 5 else "")
            raise BenchError(
                f"dataset.text={self.text}: {len(rows)} of {len(table)} rows of {self.path} have no text (rows {some}, "
                "from 0): fix them, or leave them out with dataset.drop_empty=true"
            )
        if empty.all():
            raise BenchError(f"dataset.text={self.text}: no row of {self.path} has a text; choose another column")
        return table[~empty], len(rows)  # under the numbers that they have in the file


def read_table(content: bytes, file: Path, encoding: str, separator: str | None = None) -> pd.DataFrame:
    """The table that ``content`` of ``file`` is: .csv with quotes, .tsv without them, .jsonl; perhaps packed.
    Cells are strings (of JSON: whatever they are); empty ones are missing."""
    content, inner = unpacked(content, file)
    kind = inner.suffix.lower()
    if kind not in FORMATS:
        raise BenchError(
            f"{file} must be one of {', '.join(FORMATS)}, perhaps with .gz, .bz2, .xz or .zip after it; rename it"
        )
    text = decoded(content, file, encoding)
    if kind == ".jsonl":
        return _json_table(text, file)
    quoting = csv.QUOTE_MINIMAL if kind == ".csv" else csv.QUOTE_NONE  # in .tsv a quotation mark is one
    as_words = {"dtype": str, "keep_default_na": False, "na_values": [""]}
    table = parse(text, inner, separator_of(separator or ",", inner), as_words, quoting)
    unique(table, file)
    return table


def _json_table(text: str, file: Path) -> pd.DataFrame:
    import pandas as pd

    def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if twice := [k for k, n in Counter(k for k, _ in pairs).items() if n > 1]:
            raise ValueError(f"two values are called {twice[0]!r}")
        return dict(pairs)

    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=_once)
        except ValueError as error:
            raise BenchError(f"{file}, line {number} is not JSON ({error})") from error
        if not isinstance(row, dict):
            raise BenchError(f"{file}, line {number} is {type(row).__name__}, not an object {{...}}")
        rows.append(row)
    return pd.DataFrame(rows, dtype=object).replace({"": None})
