"""A sheet as Markdown and CSV."""

from __future__ import annotations

import re

from imbalance_bench.report.sheet import Item, Sheet, commented_csv, one_line


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


def tidy_csv(sheet: Sheet) -> str:
    """The tidy numbers under a header of ``#`` lines (``pandas.read_csv(..., comment="#")``)."""
    return commented_csv([sheet.title, *sheet.provenance, *sheet.notes], sheet.frame)
