"""Tables and templates of the pages: everything that comes from data is escaped, none is markup."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from html import escape
from importlib import resources
from typing import Any

from markupsafe import Markup

from imbalance_bench.report.records.failures import FAILED
from imbalance_bench.report.sheet import Block, Item, number
from imbalance_bench.report.sheets.judgement import VERDICTS

NEAR, OFF = 1.0, 2.0  # spreads up to which a difference counts as within, and as beyond it by little
PLAIN = re.compile(r"-?\d+(\.\d+)?")  # what tables.js reads as a number by itself
UNRUN = ("not run", "not finished")


@dataclass(frozen=True)
class Grid:
    """A table of a page: ``keys`` leading columns name the row; ``texts``: columns after them that hold words;
    ``summary``: rows below a rule, which stay below; ``prose``: cells hold sentences."""

    header: Sequence[str]
    rows: Sequence[Sequence[Item]]
    keys: int = 1
    summary: Sequence[Sequence[Item]] = ()
    texts: Sequence[int] = ()
    heading: str = ""
    prose: bool = False

    @classmethod
    def of(cls, block: Block, prose: bool = False) -> Grid:
        return cls(block.header, block.rows, block.keys, block.summary, (), block.heading, prose)

    @property
    def lines(self) -> list[Row]:
        """The rows with what a page does with them. Where hardly any key is that of the row above, none is grouped."""
        shared = []
        for before, row in zip([[], *self.rows], self.rows):
            same = 0
            while same < self.keys - 1 and before and before[same].text == row[same].text:
                same += 1
            shared.append(same)
        if 2 * sum(map(bool, shared)) < len(shared):
            shared = [0] * len(shared)
        grouped, none = any(shared), self.unrun
        return [
            Row(row, grouped and i > 0 and same == 0, same, not none and _unrun(row[self.keys :]))
            for i, (row, same) in enumerate(zip(self.rows, shared))
        ]

    @property
    def unrun(self) -> bool:
        """Whether nothing of it was run."""
        return bool(self.rows) and all(_unrun(row[self.keys :]) for row in self.rows)

    @property
    def width(self) -> str:
        """A class by the number of columns, for print."""
        return next(f"to{most}" for most in (8, 14, 24, 1000) if len(self.header) <= most)


@dataclass(frozen=True)
class Row:
    """``starts``: it begins a group of rows that share their first key; ``same``: how many of its keys are those of the
    row above; ``unrun``: nothing of it was run, unlike of other rows."""

    items: Sequence[Item]
    starts: bool
    same: int
    unrun: bool


def _unrun(items: Sequence[Item]) -> bool:
    said = [_word(item) for item in items if item.text != "–"]
    return bool(said) and all(text in UNRUN for text in said)


def _word(item: Item) -> str:
    """The text without the mark of a footnote."""
    return item.text.partition(" [")[0]


def td(text: str, value: float | None = None, **more: Any) -> Item:
    return Item(text, value=value, **more)


def number_cell(value: float) -> Item:
    """A number to four decimals; a dash where it is not defined."""
    return td("–", muted=True) if math.isnan(value) else td(number(value, 4), value)


def shade(item: Item) -> str:
    """The classes that colour a difference: how many spreads it is, and which way."""
    if item.spreads is None:
        return ""
    size = abs(item.spreads)
    by = "near" if size <= NEAR else "off" if size <= OFF else "far"
    return f"{by} {'above' if item.spreads > 0 else 'below'}"


Link = Callable[[str], str]  # a cell's id, or #<id> of a part of the page → the address, "" where it has none


def table(grid: Grid, label: str, name: str, link: Link) -> Markup:
    """A table with its field to filter by; ``label``: what it is called, ``name``: its id. Written here, since in a
    template, ten thousand cells take four times as long."""
    lines = grid.lines
    unrun = sum(line.unrun for line in lines)
    label, place = escape(label), f'id="{escape(name)}"'
    fold = (
        f'<button type="button" class="fold" aria-expanded="false" aria-controls="{escape(name)}">'
        f"{unrun} row{'s' if unrun > 1 else ''} not run</button>"
    )
    lost = Counter(word for row in grid.rows for item in row[grid.keys :] if (word := _word(item)) in FAILED)
    told = ", ".join(f"{lost[word]} {word}" for word in FAILED if lost[word])
    beside = (fold if unrun else "") + (f'<span class="bad">{told}</span>' if told else "")
    parts = [
        '<div class="tools" hidden><label>Filter <input type="search" '
        f'aria-label="Filter the rows of {label}" aria-controls="{escape(name)}"></label>{beside}'
        f'<output></output></div>\n<div class="scroll" tabindex="0" role="region" aria-label="{label}">'
        f'<table class="live {grid.width}{" prose" if grid.prose else ""}" {place} data-keys="{grid.keys}">'
        f"<thead><tr>{''.join(_head(grid, i, head) for i, head in enumerate(grid.header))}</tr></thead>\n<tbody>\n"
    ]
    for row in lines:
        kind = " ".join(filter(None, ["starts" if row.starts else "", "unrun" if row.unrun else ""]))
        parts.append(f"<tr{_classes(kind)}>{_cells(grid, row.items, row.same, link)}</tr>\n")
    if grid.summary:
        rows = "".join(f"<tr>{_cells(grid, row, 0, link)}</tr>\n" for row in grid.summary)
        parts.append(f'</tbody>\n<tbody class="rule">\n{rows}')
    parts.append("</tbody></table></div>\n")
    return Markup("".join(parts))


def _head(grid: Grid, i: int, head: str) -> str:
    text = i < grid.keys or grid.prose or i in grid.texts
    kind = " ".join(filter(None, ["text" if text else "", f"k{i}" if i < grid.keys else ""]))
    return f'<th scope="col"{_classes(kind)}>{_breakable(head)}</th>'


def _cells(grid: Grid, items: Sequence[Item], same: int, link: Link) -> str:
    made = []
    for i, item in enumerate(items):
        text = _breakable(item.text) if i < grid.keys else escape(item.text)
        shown = f"<b>{text}</b>" if item.bold else text
        if address := link(item.cell) if item.cell else "":
            shown = f'<a href="{escape(address)}">{shown}</a>'
        if i < grid.keys:
            kind = f"text k{i} same" if i < same else f"text k{i}"
            made.append(f'<th scope="row" class="{kind}"{_sorted_by(item)}>{shown}</th>')
            continue
        if item.aside:
            shown += f'<span class="aside">{escape(item.aside)}</span>'
        verdict = f"verdict {item.text.replace(' ', '-')}" if item.text in VERDICTS else ""
        text_class = "text" if grid.prose or i in grid.texts else ""
        kind = " ".join(filter(None, [text_class, "muted" if item.muted else "", shade(item), verdict]))
        title = f' title="{item.spreads:+.1f} spreads"' if item.spreads is not None else ""
        made.append(f"<td{_classes(kind)}{_sorted_by(item)}{title}>{shown}</td>")
    return "".join(made)


def _breakable(text: str) -> str:
    """A name that may go on in another line after an underscore."""
    return escape(text).replace("_", "_<wbr>")


def _classes(names: str) -> str:
    return f' class="{names}"' if names else ""


def _sorted_by(item: Item) -> str:
    """The attribute that a table is sorted by, where the text alone is no number."""
    return "" if item.value is None or PLAIN.fullmatch(item.text) else f' data-v="{item.value:.6g}"'


@dataclass
class Ids:
    """Ids of one page, no two alike."""

    taken: set[str] = field(default_factory=set)

    def __call__(self, name: str) -> str:
        plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "part"
        numbered = itertools.chain([plain], (f"{plain}-{i}" for i in itertools.count(2)))
        made = next(one for one in numbered if one not in self.taken)
        self.taken.add(made)
        return made


def rendered(name: str, content: dict[str, Any], scripts: Iterable[str], link: Link = lambda cell: "") -> str:
    """A template of this folder as text."""
    template = _environment().get_template(name)
    script = "\n".join(_read(script) for script in scripts)
    return template.render(style=_read("page.css"), script=script, new_id=Ids(), link=link, **content)


@cache
def _environment() -> Any:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    made = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, loader=FunctionLoader(_read), undefined=StrictUndefined
    )
    made.globals["tabled"] = table
    made.filters["coded"] = _coded
    return made


def _coded(text: str) -> Markup:
    """A message, what stands in it between backticks as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", escape(text)))


def _read(name: str) -> str:
    return (resources.files("imbalance_bench.report.pages") / name).read_text(encoding="utf-8")
