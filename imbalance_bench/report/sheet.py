"""Tables and pictures of a report, free of any format: ``Sheet`` and ``Drawing``."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Item:
    """One printed cell: ``text`` is ours; ``aside`` is the paper's value and the difference, set small beside it.

    For pages, which sort, colour and link: ``value``: what ``text`` is rounded from; ``spreads``: the difference to the
    paper's value in spreads (``scores.Score.spreads``); ``cell``: the id of the cell that it is of, or #<id> of a part
    of the page.
    """

    text: str
    aside: str = ""
    bold: bool = False
    muted: bool = False
    value: float | None = None
    spreads: float | None = None
    cell: str = ""


@dataclass(frozen=True)
class Block:
    """One grid of a sheet. ``keys``: how many leading columns name the row; ``summary``: rows below a rule."""

    heading: str
    header: list[str]
    keys: int
    rows: list[list[Item]]
    summary: list[list[Item]] = field(default_factory=list)


@dataclass(frozen=True)
class Sheet:
    """A table as it is read: blocks, the notes below them, the header of provenance; ``frame`` is the same, tidy.
    ``prose``: cells hold sentences, which are to be broken into lines."""

    name: str
    title: str
    blocks: list[Block]
    notes: list[str]
    provenance: list[str]
    frame: pd.DataFrame
    prose: bool = False


@dataclass(frozen=True)
class Drawing:
    """A finished figure in both formats, its title, its caption, the header of provenance, and the numbers shown."""

    name: str
    title: str
    caption: str
    provenance: list[str]
    svg: bytes
    png: bytes
    values: pd.DataFrame | None = None

    def write(self, folder: Path) -> list[Path]:
        """Stores ``<name>.svg``, ``<name>.png``, ``<name>.txt`` (caption and provenance) and, where there are values,
        ``<name>.csv``."""
        from imbalance_bench.store.files import atomic_write

        text = "\n".join([self.title, "", self.caption, "", *self.provenance]) + "\n"
        contents: dict[str, bytes | str] = {".png": self.png, ".svg": self.svg, ".txt": text}
        if self.values is not None:
            contents[".csv"] = commented_csv([self.title, *self.provenance, self.caption], self.values)
        for suffix, content in contents.items():
            atomic_write(folder / f"{self.name}{suffix}", content)
        return [folder / f"{self.name}{suffix}" for suffix in contents]


class Footnotes:
    """Numbers reasons that are too long for a cell: equal reasons share a mark."""

    def __init__(self) -> None:
        self._marks: dict[str, int] = {}

    def mark(self, word: str, reason: str) -> str:
        """``word`` with the mark of ``reason``: "n/a [1]"."""
        if not reason:
            return word
        return f"{word} [{self._marks.setdefault(reason, len(self._marks) + 1)}]"

    def lines(self) -> list[str]:
        return [f"[{number}] {reason}" for reason, number in self._marks.items()]


def number(value: float, decimals: int = 3, signed: bool = False) -> str:
    """A rounded number without a negative zero."""
    rounded = round(value, decimals) + 0.0
    return f"{rounded:+.{decimals}f}" if signed else f"{rounded:.{decimals}f}"


def mean_sd(mean: float, sd: float | None, decimals: int = 3) -> str:
    return number(mean, decimals) + (f" ± {number(sd, decimals)}" if sd is not None else "")


def one_line(text: str) -> str:
    return " ".join(text.split())


def commented_csv(lines: Iterable[str], frame: pd.DataFrame) -> str:
    """A text that a spreadsheet would compute (=, +, -, @ in front of what is not a number) stands behind an
    apostrophe; a cell with # is quoted, so that it is not read as a comment."""
    rows = csv.reader(io.StringIO(frame.to_csv(index=False, float_format="%.6g")))
    body = (",".join(map(_csv_cell, row)) for row in rows)
    return "".join(f"# {one_line(line)}\n" for line in lines) + "".join(f"{row}\n" for row in body)


def _csv_cell(text: str) -> str:
    if re.match(r"[=+\-@\t\r]", text) and not re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?|-?inf", text):
        text = f"'{text}"
    return '"' + text.replace('"', '""') + '"' if re.search(r'[,"\r\n#]', text) else text
