"""A printed table, free of any format, and what turns it into Markdown, CSV and LaTeX (HTML: ``page.py``)."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("md", "csv", "tex", "html")


@dataclass(frozen=True)
class Item:
    """One printed cell: ``text`` is ours; ``aside`` is the paper's value and the difference, set small beside it."""

    text: str
    aside: str = ""
    bold: bool = False
    muted: bool = False


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


def markdown(sheet: Sheet) -> str:
    from tabulate import tabulate

    comments = (re.sub("--(?=!?>)", "-- ", one_line(line)) for line in sheet.provenance)
    parts = ["\n".join(f"<!-- {line} -->" for line in comments), f"## {_markdown_escape(sheet.title)}"]
    for block in sheet.blocks:
        if block.heading:
            parts.append(f"### {_markdown_escape(block.heading)}")
        header = [_markdown_escape(head) for head in block.header]
        rows = [[_markdown_item(item) for item in row] for row in block.rows + block.summary]
        align = ["left"] * block.keys + ["right"] * (len(block.header) - block.keys)
        parts.append(tabulate(rows, header, "pipe", colalign=align, disable_numparse=True))
    parts.append("\n".join(f"- {_markdown_escape(line)}" for line in sheet.notes))
    return "\n\n".join(parts) + "\n"


def _markdown_item(item: Item) -> str:
    text = _markdown_escape(item.text)
    return f"{f'**{text}**' if item.bold else text} {_markdown_escape(item.aside)}".strip()


def _markdown_escape(text: str) -> str:
    """Text that Markdown shows as it stands: no markup, link, entity, formula or cell border comes from data."""
    return re.sub(r"[\\`*<|~$]|(?<!\w)_|_(?!\w)|(?<=\])\(|&(?=#?\w+;)", r"\\\g<0>", one_line(text))


def one_line(text: str) -> str:
    return " ".join(text.split())


def tidy_csv(sheet: Sheet) -> str:
    """The tidy numbers under a header of ``#`` lines (``pandas.read_csv(..., comment="#")``)."""
    return commented_csv([sheet.title, *sheet.provenance, *sheet.notes], sheet.frame)


def commented_csv(lines: Iterable[str], frame: pd.DataFrame) -> str:
    """A text that a spreadsheet would compute (=, +, -, @ in front of what is no number) stands behind an apostrophe; a
    cell with # is quoted, so that it is not read as a comment."""
    rows = csv.reader(io.StringIO(frame.to_csv(index=False, float_format="%.6g")))
    body = (",".join(map(_csv_cell, row)) for row in rows)
    return "".join(f"# {one_line(line)}\n" for line in lines) + "".join(f"{row}\n" for row in body)


def _csv_cell(text: str) -> str:
    if re.match(r"[=+\-@\t\r]", text) and not re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?|-?inf", text):
        text = f"'{text}"
    return '"' + text.replace('"', '""') + '"' if re.search(r'[,"\r\n#]', text) else text


_TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "−": "$-$", "≥": r"$\geq$", "≤": r"$\leq$",
    "Δ": r"$\Delta$", "×": r"$\times$", "–": "--", "†": r"\dag{}", "…": r"\ldots{}", "η": r"$\eta$", "θ": r"$\theta$",
    "χ": r"$\chi$", "²": r"$^2$", "γ": r"$\gamma$", "<": r"$<$", ">": r"$>$", "|": r"$|$", "→": r"$\rightarrow$",
}  # fmt: skip


def tex_escape(text: str) -> str:
    return re.sub("|".join(map(re.escape, _TEX)), lambda match: _TEX[match.group()], one_line(text))


def tex_line(text: str) -> str:
    """A line that may stand below one ended by two backslashes, which would read [ and * as their own."""
    return re.sub(r"^([\[*])", r"{\1}", text) + r" \\"


def latex(sheet: Sheet) -> str:
    """One ``table*`` a block, rules by booktabs, shrunk to the text width where it is wider (graphicx)."""
    lines = [f"% {one_line(line)}" for line in sheet.provenance]
    lines.append(r"% \usepackage{booktabs,graphicx}")
    for index, block in enumerate(sheet.blocks):
        caption = sheet.title + (f": {block.heading}" if block.heading else "")
        key = rf"p{{{0.9 / block.keys:.2f}\textwidth}}" if sheet.prose else "l"
        columns = key * block.keys + "r" * (len(block.header) - block.keys)
        lines += [
            r"\begin{table*}[t]",
            r"\centering\footnotesize",
            rf"\caption{{{tex_escape(caption)}}}",
            r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            tex_line(" & ".join(map(tex_escape, block.header))),
            r"\midrule",
            *(_latex_row(row) for row in block.rows),
            *([r"\midrule", *(_latex_row(row) for row in block.summary)] if block.summary else []),
            r"\bottomrule",
            r"\end{tabular}}",
        ]
        if index == len(sheet.blocks) - 1:
            lines += [
                r"\begin{flushleft}\scriptsize",
                *(tex_line(tex_escape(note)) for note in sheet.notes),
                r"\end{flushleft}",
            ]
        lines += [r"\end{table*}", ""]
    return "\n".join(lines)


def _latex_row(row: list[Item]) -> str:
    return tex_line(" & ".join(map(_latex_item, row)))


def _latex_item(item: Item) -> str:
    text = tex_escape(item.text)
    if item.bold:
        text = rf"\textbf{{{text}}}"
    return text + (rf" {{\scriptsize {tex_escape(item.aside)}}}" if item.aside else "")


def rendered(sheet: Sheet, form: str) -> str:
    """The sheet as a file of one of ``FORMATS``."""
    if form == "html":
        from imbalance_bench.report.page import page

        return page(title=sheet.title, sheets=[sheet])
    writers: dict[str, Any] = {"md": markdown, "csv": tidy_csv, "tex": latex}
    return writers[form](sheet)
