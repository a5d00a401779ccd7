"""Tables and templates of the pages: everything that comes from data is escaped by the templates, none is markup."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from imbalance_bench.report.sheet import Block, Item
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
        """The rows with what a page does with them."""
        made = []
        for before, row in zip([[], *self.rows], self.rows):
            same = 0
            while same < self.keys - 1 and before and before[same].text == row[same].text:
                same += 1
            made.append(Row(row, bool(before) and self.keys > 1 and same == 0, same, _unrun(row[self.keys :])))
        return made

    @property
    def unrun(self) -> int:
        """How many rows have nothing that was run."""
        return sum(line.unrun for line in self.lines)

    @property
    def width(self) -> str:
        """A class by the number of columns, for print."""
        return next(f"to{most}" for most in (8, 14, 24, 1000) if len(self.header) <= most)


@dataclass(frozen=True)
class Row:
    """``starts``: it begins a group of rows that share their first key; ``same``: how many of its keys are those of the
    row above; ``unrun``: nothing of it was run."""

    items: Sequence[Item]
    starts: bool
    same: int
    unrun: bool


def _unrun(items: Sequence[Item]) -> bool:
    said = [item.text.partition(" [")[0] for item in items if item.text != "–"]
    return bool(said) and all(text in UNRUN for text in said)


def td(text: str, value: float | None = None, **more: Any) -> Item:
    return Item(text, value=value, **more)


def shade(item: Item) -> str:
    """The classes that colour a difference: how many spreads it is, and which way."""
    if item.spreads is None:
        return ""
    size = abs(item.spreads)
    by = "near" if size <= NEAR else "off" if size <= OFF else "far"
    return f"{by} {'above' if item.spreads > 0 else 'below'}"


def sorted_by(item: Item) -> Any:
    """The attribute that a table is sorted by, where the text alone is no number."""
    from markupsafe import Markup

    if item.value is None or PLAIN.fullmatch(item.text):
        return ""
    return Markup(f' data-v="{item.value:.6g}"')


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


def rendered(
    name: str, content: dict[str, Any], scripts: Iterable[str], link: Callable[[str], str] = lambda cell: ""
) -> str:
    """A template of this folder as text; ``link``: the address of a cell's page, "" where it has none."""
    template = _environment().get_template(name)
    script = "\n".join(_read(script) for script in scripts)
    return template.render(style=_read("page.css"), script=script, new_id=Ids(), link=link, **content)


@cache
def _environment() -> Any:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    made = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, loader=FunctionLoader(_read), undefined=StrictUndefined
    )
    made.filters["shade"] = shade
    made.filters["sorted_by"] = sorted_by
    made.filters["verdict"] = lambda text: text.replace(" ", "-") if text in VERDICTS else ""
    return made


def _read(name: str) -> str:
    return (resources.files("imbalance_bench.report.pages") / name).read_text(encoding="utf-8")
