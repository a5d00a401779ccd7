"""Tables as ``report.py --paper ... --all`` stored them, read back from their CSV: what is shown where there are no
records of them."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from imbalance_bench.report.sheet import Block, Item
from imbalance_bench.report.sheets.scores import Score

PROVENANCE = re.compile(r"(command|records|hardware|device|dates of the runs|versions|total time): |counted on loading")
FOOTNOTE = re.compile(r"\[\d+\] ")
NUMBERS = {"mean", "sd", "difference"}
COUNTS = {"runs", "of"}
TRUTHS = {"best", "stand_in"}


@dataclass(frozen=True)
class Stored:
    """A CSV file of a table: the lines of its header and its rows as texts."""

    title: str
    provenance: list[str]
    notes: list[str]
    header: list[str]
    rows: list[list[str]]

    @property
    def scores(self) -> list[Score]:
        """The numbers of a table of scores; none where it is of another kind. Mean rows are left out."""
        known = {field.name for field in fields(Score)}
        if not {"method", "dataset", "metric", "state", "id"} <= set(self.header):
            return []
        named = ({"trainer": ""} | dict(zip(self.header, row)) for row in self.rows)  # earlier files have no trainer
        return [Score(**{k: _value(k, v) for k, v in row.items() if k in known}) for row in named if row["id"]]

    @property
    def block(self) -> Block:
        """The rows as they stand."""
        rows = [[Item(text, value=_number(text)) for text in row] for row in self.rows]
        return Block("", self.header, 1, rows)


def stored(path: Path) -> Stored:
    """Reads a file that ``formats.tidy_csv`` wrote."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    start = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    title, *said = [line[1:].strip() for line in lines[:start]] or [path.stem]
    header, *rows = list(csv.reader(lines[start:])) or [[]]
    return Stored(
        title,
        [line for line in said if PROVENANCE.match(line)],
        [line for line in said if not PROVENANCE.match(line)],
        header,
        [[_plain(text) for text in row] for row in rows if row],
    )


def of_paper(folder: Path, presets: Sequence[str]) -> dict[str, Path]:
    """The stored tables of whole presets in a paper's folder, by preset; parts and other readouts are left out."""
    found = {name: folder / f"{name}.csv" for name in presets}
    return {name: path for name, path in found.items() if path.is_file()}


def _plain(text: str) -> str:
    """A text without the apostrophe that keeps a spreadsheet from computing it."""
    return text[1:] if re.match(r"'[=+\-@\t\r]", text) else text


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _value(name: str, text: str) -> Any:
    if name in NUMBERS:
        return _number(text)
    if name in COUNTS:
        return int(float(text or 0))
    return text == "True" if name in TRUTHS else text
