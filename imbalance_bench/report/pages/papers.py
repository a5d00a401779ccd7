"""A paper in the index: its claims, its tables from records, from what is stored or as printed, its figures.

A table is made from records where there are as many of its cells as in the stored file, and is else the stored one.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from imbalance_bench.errors import BenchError, command
from imbalance_bench.registry import build
from imbalance_bench.report.arguments import OF_TABLES
from imbalance_bench.report.pages.committed import FOOTNOTE, Stored, of_paper, stored
from imbalance_bench.report.pages.coverage import Coverage, PrintedItem, printed_items
from imbalance_bench.report.pages.html import Grid, td
from imbalance_bench.report.paper import PaperReport
from imbalance_bench.report.published import printed
from imbalance_bench.report.published.printed import PrintedTable
from imbalance_bench.report.records.records import LABELS, NothingRun
from imbalance_bench.report.request import Request
from imbalance_bench.report.sheet import Block, Item, Sheet, number
from imbalance_bench.report.sheets.judgement import NOT_RUN, VERDICTS
from imbalance_bench.report.sheets.scores import Score
from imbalance_bench.report.sheets.summary import scores_in
from imbalance_bench.report.sheets.tables import TableSpec, laid_out
from imbalance_bench.report.sheets.verdicts import HEADER as CLAIM_HEADER
from imbalance_bench.settings.presets import labels_named, node_of, papers, presets, title_of
from imbalance_bench.store import NotCollected

RECORDS, STORED, ABSENT = "records", "stored", "not run here"
OF_SELECTION = ("readout", "calibration", *OF_TABLES)  # options that are not of papers
Labels = tuple[str, ...]  # of a record, in the order of records.LABELS


@dataclass(frozen=True)
class Table:
    """A table of a paper; ``sheet``: None where nothing of it was run or stored; ``source``: one of the three words;
    ``printed``: what the paper prints, where that is all there is; ``train``: the command that runs it; ``readings``:
    of its preset."""

    name: str
    item: str
    title: str
    source: str
    train: str
    coverage: Coverage
    sheet: Sheet | None = None
    printed: Grid | None = None
    readings: tuple[str, ...] = ()

    @property
    def grids(self) -> list[Grid]:
        return [Grid.of(block, self.sheet.prose) for block in self.sheet.blocks] if self.sheet else []

    @property
    def cells(self) -> set[str]:
        """The ids of the cells that it shows."""
        blocks = self.sheet.blocks if self.sheet else []
        return {item.cell for block in blocks for row in block.rows for item in row if item.cell}


@dataclass(frozen=True)
class Figure:
    """A figure that is stored under outputs/figures."""

    title: str
    caption: str
    provenance: list[str]
    svg: bytes


@dataclass(frozen=True)
class Paper:
    name: str
    title: str
    claims: Sheet | None
    tables: list[Table]
    figures: list[Figure]
    absent: list[PrintedItem]  # printed, and without a preset

    @property
    def prints(self) -> bool:
        """Whether it prints tables that are made here: a survey of ours does not."""
        return any(table.item for table in self.tables)

    @property
    def verdicts(self) -> dict[str, int]:
        """Verdict → how many claims have it."""
        rows = [row for block in self.claims.blocks for row in block.rows] if self.claims else []
        return {verdict: sum(row[1].text == verdict for row in rows) for verdict in VERDICTS}

    @property
    def claim_grids(self) -> list[Grid]:
        if self.claims is None:
            return []
        return [
            Grid(b.header, b.rows, 1, texts=range(1, len(b.header)), heading=b.heading, prose=True)
            for b in self.claims.blocks
        ]


def all_papers(request: Request, run: Counter[Labels]) -> list[Paper]:
    """Every paper that prints a table, or of which something was run; ``run``: how many records
    there are of the same labels."""
    found = [_paper(name, request, run) for name in papers(request.config_dir)]
    printing = {item.paper for item in printed_items()}
    return [p for p in found if p.name in printing or p.claims or any(t.sheet for t in p.tables) or p.figures]


def _paper(name: str, request: Request, run: Counter[Labels]) -> Paper:
    asked = copy.copy(request)
    said = vars(request.options) | dict.fromkeys(OF_SELECTION) | {"paper": name, "overrides": []}
    asked.options = argparse.Namespace(**said)
    report = PaperReport(asked)
    folder = request.outputs / "tables" / name
    items = [item for item in printed_items() if item.paper == name]
    known = presets(name, "table", request.config_dir)
    files = of_paper(folder, known)
    tables = [_table(preset, report, files.get(preset), items, run) for preset in _in_order(known, items)]
    here = any(table.source == RECORDS for table in tables)
    return Paper(
        name,
        title_of(name, request.config_dir),
        _claims(report if here else None, folder / "claims.csv"),
        tables,
        [_figure(path) for path in sorted((request.outputs / "figures" / name).glob("*.svg")) if "," not in path.stem],
        [item for item in items if not item.presets],
    )


def _in_order(known: Sequence[str], items: Sequence[PrintedItem]) -> list[str]:
    """Presets in the order in which the paper prints what they make."""
    places = {name: place for place, item in enumerate(items) for name in reversed(item.presets)}
    return sorted(known, key=lambda name: (places.get(name, len(items)), name))


def _table(
    name: str, report: PaperReport, path: Path | None, items: Sequence[PrintedItem], run: Counter[Labels]
) -> Table:
    paper, own = report.options.paper, report.config_dir
    node = node_of(paper, name, own)
    file = stored(path) if path else None
    kept = file.scores if file else []
    sheet = _from_records(name, report, node, run, at_least=max(1, Coverage.of(kept).run))
    scores = scores_of_table(sheet)
    source = RECORDS
    if file and (sheet is None or Coverage.of(scores).run < Coverage.of(kept).run):
        sheet, scores, source = _from_file(name, node, file, kept), kept, STORED
    item = next((item for item in items if name in item.presets), None)
    table = item.item.lower().replace(" ", "_") if item else ""
    return Table(
        name,
        item.item if item else "",
        str(node["title"]),
        source if sheet else ABSENT,
        f"{command('train')} -m {f'--config-dir {report.options.config_dir} ' if own else ''}+paper={paper}/{name}",
        Coverage.of(scores),
        sheet,
        _as_printed(paper, table) if sheet is None and table in printed.tables(paper) else None,
        tuple(node.get("readings") or ()),
    )


def _from_records(
    name: str, report: PaperReport, node: dict[str, Any], run: Counter[Labels], at_least: int
) -> Sheet | None:
    """None where fewer than ``at_least`` records have labels of the preset, since composing its grid takes seconds, or
    none is one of its cells."""
    if node.get("counted") or not run:
        return None  # counting reads the data sets: report.py --paper does, and stores the table
    named = labels_named(report.options.paper, name, report.config_dir)
    axes = [(LABELS.index(axis), labels) for axis, labels in named.items()]
    if sum(n for labels, n in run.items() if all(labels[i] in known for i, known in axes)) < at_least:
        return None
    try:
        return report.table(name, None)
    except (NothingRun, NotCollected):
        return None
    except BenchError as error:  # of this table, such as records of different rows: the others are shown
        print(f"left out: {name}: {error}", file=sys.stderr)
        return None


def scores_of_table(sheet: Sheet | None) -> list[Score]:
    """The scores of a sheet that has some, without mean rows."""
    if sheet is None or not {"id", "state"} <= set(sheet.frame.columns):
        return []
    return scores_in(replace(sheet, frame=sheet.frame[sheet.frame["id"].notna()]))


def _from_file(name: str, node: dict[str, Any], file: Stored, scores: list[Score]) -> Sheet:
    """The stored table, laid out as its preset says; as it stands where it is of another kind."""
    import pandas as pd

    known = {field.name for field in fields(TableSpec)}
    blocks, notes = [file.block], file.notes
    if scores:
        spec = build(TableSpec, {key: value for key, value in node.items() if key in known}, "paper")
        prints = PrintedTable(spec.name, spec.published, spec.published_as) if spec.published else None
        found = laid_out(spec, scores, spec.iterate, prints)
        blocks = found.blocks
        notes = [*(note for note in file.notes if not FOOTNOTE.match(note)), *found.footnotes]
    return Sheet(name, file.title, blocks, notes, file.provenance, pd.DataFrame(), prose=not scores)


def _as_printed(paper: str, table: str) -> Grid:
    """The numbers of a printed table, a row each."""
    columns = ["row_method", "dataset", "setting", "class_group", "metric"]
    rows = printed.read(paper, table)
    shown = [column for column in columns if any(row[column] for row in rows)]
    words = {"row_method": "method", "class_group": "classes"}
    made = [
        [
            *(td(row[c]) for c in shown),
            td(row["value"] + (f" ± {row['std']}" if row["std"] else ""), _float(row["value"])),
        ]
        for row in rows
    ]
    return Grid([*(words.get(c, c) for c in shown), "printed"], made, keys=len(shown))


def _float(text: str) -> float | None:
    return float(text) if text else None


def _claims(report: PaperReport | None, path: Path) -> Sheet | None:
    """From records, unless the stored file decides more."""
    live = next(iter(report.claims()), None) if report else None
    file = _stored_claims(path) if path.is_file() else None
    return max(filter(None, [file, live]), key=_decided, default=None)


def _decided(sheet: Sheet) -> int:
    return sum(row[1].text != NOT_RUN for block in sheet.blocks for row in block.rows)


def _stored_claims(path: Path) -> Sheet:
    import pandas as pd

    file = stored(path)
    by_claim: dict[str, list[dict[str, str]]] = {}
    for row in file.rows:
        named = dict(zip(file.header, row))
        by_claim.setdefault(named["id"], []).append(named)
    blocks = []
    for source, heading in (
        ("paper", "What the paper claims"),
        ("control", "Controls: what a gain may be ascribed to"),
    ):
        rows = [_claim(first, others) for first, *others in by_claim.values() if first["source"] == source]
        blocks += [Block(heading, CLAIM_HEADER, 1, rows)] if rows else []
    return Sheet("claims", file.title, blocks, file.notes, file.provenance, pd.DataFrame(), prose=True)


def _claim(first: dict[str, str], others: Iterable[dict[str, str]]) -> list[Item]:
    won = "/".join(str(int(float(first[key]))) for key in ("wins", "ties", "losses")) if first["wins"] else "–"
    return [
        td(f"{first['text']} ({first['where']})"),
        td(first["verdict"], muted=first["verdict"] == NOT_RUN),
        td(first["detail"]),
        td("; ".join(map(_gain, others)) or "–"),
        td(won),
        td(f"{first['cells']} of {first['needed']}"),
        td(first["verdict_on_printed"] if first["verdict_on_printed"] != NOT_RUN else "–", muted=True),
    ]


def _gain(row: dict[str, str]) -> str:
    if not row["mean"]:
        return row["against"]
    ends = [number(float(row[end]), signed=True) for end in ("low", "high") if row[end]]
    return f"{row['against']} {number(float(row['mean']), signed=True)}" + (f" [{', '.join(ends)}]" if ends else "")


def _figure(path: Path) -> Figure:
    """Title, caption and provenance lie beside a picture (``sheet.Drawing.write``)."""
    beside = path.with_suffix(".txt")
    text = beside.read_text(encoding="utf-8") if beside.is_file() else path.stem
    title, caption, rest = (text + "\n\n\n\n").split("\n\n", 2)
    return Figure(title.strip(), caption.strip(), rest.strip().splitlines(), path.read_bytes())
