"""One self-contained HTML page: claims, tables, figures, notes. It loads nothing from anywhere."""

from __future__ import annotations

import base64
import itertools
import re
from collections.abc import Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

from imbalance_bench.report.sheet import Sheet
from imbalance_bench.report.sheets.judgement import VERDICTS
from imbalance_bench.report.writing.formats import markdown, tidy_csv
from imbalance_bench.report.writing.latex import latex

if TYPE_CHECKING:
    from imbalance_bench.report.sheet import Drawing


def page(title: str, sheets: Sequence[Sheet], drawings: Sequence[Drawing] = (), lead: str = "") -> str:
    """The page as text: ``sheets`` in order (claims first), then figures; ``lead``: a sentence below the title."""
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["spoken"] = _spoken
    environment.filters["embedded"] = _embedded
    environment.filters["verdict"] = lambda text: text.replace(" ", "-") if text in VERDICTS else ""
    ids = _ids([*(sheet.name for sheet in sheets), *(f"drawing-{drawing.name}" for drawing in drawings)])
    template = (resources.files("imbalance_bench.report.writing") / "page.html.j2").read_text(encoding="utf-8")
    content = {"sheets": list(zip(ids, sheets)), "drawings": list(zip(ids[len(sheets) :], drawings))}
    return environment.from_string(template).render(title=title, lead=lead, **content)


def _ids(names: Sequence[str]) -> list[str]:
    """An id for each, no two alike."""
    made: list[str] = []
    for name in names:
        plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "part"
        numbered = (f"{plain}-{i}" for i in itertools.count(2))
        made.append(plain if plain not in made else next(other for other in numbered if other not in made))
    return made


def _spoken(name: str) -> str:
    """A preset's name for people: table1_best → Table 1 best."""
    return re.sub(r"(?<=[a-z])(?=\d)", " ", name).replace("_", " ").capitalize()


def _embedded(drawing: Drawing) -> str:
    """The figure as a data URI: inline SVGs of one page would share their ids."""
    return "data:image/svg+xml;base64," + base64.b64encode(drawing.svg).decode("ascii")


FORMATS = ("md", "csv", "tex", "html")
STORED = FORMATS[:3]  # of each sheet; as HTML a paper is one page


def rendered(sheet: Sheet, form: str) -> str:
    """The sheet as a file of one of ``FORMATS``."""
    if form == "html":
        return page(title=sheet.title, sheets=[sheet])
    writers: dict[str, Any] = {"md": markdown, "csv": tidy_csv, "tex": latex}
    return writers[form](sheet)
