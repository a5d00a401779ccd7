"""``report.py --all``: the index of all papers and of the records chosen, and a page for each of their cells."""

from __future__ import annotations

import base64
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imbalance_bench.errors import BenchError, command
from imbalance_bench.report.own import asked_test
from imbalance_bench.report.pages.cells import Place, cell_page
from imbalance_bench.report.pages.html import Grid, rendered, td
from imbalance_bench.report.pages.papers import Paper, Table, all_papers
from imbalance_bench.report.records import records as frames
from imbalance_bench.report.records.records import LABELS, Record, date, names_of
from imbalance_bench.report.records.selection import Asked, selection
from imbalance_bench.report.request import Request
from imbalance_bench.report.sheet import Sheet, commented_csv, mean_sd
from imbalance_bench.report.sheets.differences import differences
from imbalance_bench.report.sheets.judgement import VERDICTS
from imbalance_bench.report.sheets.scores import class_title, metric_title
from imbalance_bench.report.sheets.summary import summaries
from imbalance_bench.store import Damaged, atomic_write

PAGES = 500  # cells that get a page at once
LISTED = 2000  # cells that the index lists
SHOWN = 5000  # cells of one's own that stand in tables of the index
PAGE = re.compile(r"[0-9a-f]{12}\.html")


def write_pages(request: Request) -> Path:
    """Writes the index, a page for each cell of the selection, newest first and ``PAGES`` at most, and the list of all
    cells as ``cells.csv``; removes the pages of cells that are no longer among them. Returns the index."""
    folder = request.outputs / "report"
    records, notes = _records(request)
    run = Counter(tuple(names[axis] for axis in LABELS) for names, _ in names_of(request.store)[0])
    papers = all_papers(request, run)
    sheets, said = _own(request, records)
    shown = _shown_in(papers)
    paged = _write_cells(folder / "cells", records, shown)
    if len(paged) < len(records):
        notes.append(
            f"{len(paged)} of {len(records)} cells have a page, the newest: `{command('report')} --all dataset=...` "
            "writes those of a selection."
        )
    rows = [_row(record) for record in records]
    if records:
        atomic_write(folder / "cells.csv", _list_csv(records))
    if len(records) > LISTED:
        said.append(f"{len(records)} cells are too many to list here: all of them stand in cells.csv beside this page.")
        rows = []
    for note in [*notes, *said]:
        print(note, file=sys.stderr)
    index = folder / "index.html"
    atomic_write(index, _index(papers, records, sheets, rows, [*notes, *said], paged, request))
    return index


def _records(request: Request) -> tuple[list[Record], list[str]]:
    """The records of the selection, newest first; of nothing run, none, but where a selection was asked for."""
    names, broken = names_of(request.store)
    if not names and not request.options.overrides:
        return [], frames.left_out(broken)
    records, damaged = frames.survey(request.store, request.options.overrides, lambda record: None)
    return sorted(records, key=date, reverse=True), frames.left_out(damaged)


def _own(request: Request, records: Sequence[Record]) -> tuple[list[Sheet], list[str]]:
    """The tables that the command line asks for, and why there is none."""
    if not records:
        return [], []
    if len(records) > SHOWN:
        return [], [
            f"{len(records)} cells are too many for the tables of a page, which hold {SHOWN}: choose some "
            "(dataset=..., method=...), or take cells.csv."
        ]
    asked, line, test = request.asked(), request.command_line(), asked_test(request.options)
    try:
        found = selection(request.store, request.options.overrides, asked)
    except BenchError as error:
        if request.options.overrides or asked != Asked():
            raise
        return [], [f"No table of all of these runs: {' '.join(str(error).split())}"]
    return [*([differences(found, test, line)] if test else []), *summaries(found, line)], []


def _shown_in(papers: Sequence[Paper]) -> dict[str, list[Place]]:
    """Cell → the tables that show it."""
    found: dict[str, list[Place]] = {}
    for paper in papers:
        for table in paper.tables:
            place = Place(table.title, f"../index.html#{anchor(paper, table)}", table.readings)
            for cell in table.cells:
                found.setdefault(cell, []).append(place)
    return found


def anchor(paper: Paper, table: Table) -> str:
    """The id of a table's section; labels are those of files, so they are plain."""
    return f"{paper.name}--{table.name}"


def _write_cells(folder: Path, records: Sequence[Record], shown: dict[str, list[Place]]) -> set[str]:
    """Returns the ids of the cells that have a page now."""
    paged = {record["id"] for record in records[:PAGES]}
    for old in folder.glob("*.html") if folder.is_dir() else ():
        if PAGE.fullmatch(old.name) and old.stem not in paged:
            old.unlink()
    for record in records[:PAGES]:
        try:
            text = cell_page(record, shown.get(record["id"], ()))
        except Damaged as error:
            print(f"no page of {record['id']}: {error}", file=sys.stderr)
            paged.remove(record["id"])
            continue
        atomic_write(folder / f"{record['id']}.html", text)
    return paged


HEADER = (
    "method",
    "data set",
    "ratio",
    "backbone",
    "trainer",
    "metric",
    "mean ± sd",
    "runs",
    "seconds",
    "date",
    "state",
)


def _row(record: Record) -> list[Any]:
    labels, head = record["labels"], record.get("headline")
    return [
        td(labels["method"], cell=record["id"]),
        *(td(labels[axis]) for axis in ("dataset", "ratio", "backbone", "trainer")),
        td(f"{metric_title(head['metric'])}, {class_title(head['class_group'])}" if head else "–"),
        td(mean_sd(head["mean"], head["sd"] if len(record["runs"]) > 1 else None), head["mean"]) if head else td("–"),
        td(str(len(record.get("runs", []))), len(record.get("runs", []))),
        td(f"{record['seconds']:.1f}", record["seconds"]),
        td(date(record)[:16].replace("T", " ")),
        td(record["status"]),
    ]


def _list_csv(records: Sequence[Record]) -> str:
    import pandas as pd

    rows = []
    for record in records:
        head = record.get("headline") or {}
        row = {"id": record["id"], **record["labels"]}
        row |= {key: head.get(key) for key in ("metric", "class_group", "mean", "sd")}
        row |= {"runs": len(record.get("runs", [])), "seconds": record["seconds"]}
        rows.append(row | {"date": date(record), "state": record["status"]})
    return commented_csv(["Cells of the report"], pd.DataFrame(rows))


def _index(
    papers: Sequence[Paper],
    records: Sequence[Record],
    sheets: Sequence[Sheet],
    rows: list[list[Any]],
    notes: list[str],
    paged: set[str],
    request: Request,
) -> str:
    content = {
        "title": "Runs and published numbers",
        "papers": papers,
        "verdicts": _verdicts(papers),
        "overview": _overview(papers),
        "records": len(records),
        "selection": " ".join(request.options.overrides),
        "own": [(sheet, [Grid.of(block) for block in sheet.blocks]) for sheet in sheets],
        "cells": Grid(HEADER, rows, keys=2, texts=(2, 3, 4, 5, 10)) if rows else None,
        "listed_csv": bool(records),
        "notes": notes,
        "anchor": anchor,
        "embedded": lambda svg: "data:image/svg+xml;base64," + base64.b64encode(svg).decode("ascii"),
    }

    def link(cell: str) -> str:
        return cell if cell.startswith("#") else f"cells/{cell}.html" if cell in paged else ""

    return rendered("index.html.j2", content, ["tables.js"], link)


def _verdicts(papers: Sequence[Paper]) -> Grid:
    rows = [
        [td(paper.title, cell=f"#{paper.name}"), *(td(str(n), n) for n in paper.verdicts.values())]
        for paper in papers
        if paper.claims
    ]
    return Grid(["paper", *VERDICTS], rows)


def _overview(papers: Sequence[Paper]) -> Grid:
    header = [
        "paper", "table", "shown", "cells", "run", "numbers printed", "run", "within the spread", "above", "below",
        "median difference, in spreads",
    ]  # fmt: skip
    rows = []
    for paper in papers:
        for table in paper.tables:
            c = table.coverage
            prints = c.printed or len(table.printed.rows if table.printed else ())
            share = f"{c.within} ({100 * c.within / c.compared:.0f} %)" if c.compared else "–"
            rows.append(
                [
                    td(paper.title), td(_short(table.title, paper.title), cell=f"#{anchor(paper, table)}"),
                    td(table.source, muted=table.sheet is None),
                    *(_count(n) for n in (c.cells, c.run, prints, c.compared)),
                    td(share, c.within / c.compared if c.compared else None),
                    *(_count(n) for n in (c.above, c.below)),
                    td(f"{c.median:+.1f}", c.median, spreads=c.median) if c.median is not None else td("–", muted=True),
                ]
            )  # fmt: skip
    return Grid(header, rows, keys=2, texts=(2,))


def _short(title: str, paper: str) -> str:
    return title.removeprefix(f"{paper}, ")


def _count(n: int) -> Any:
    return td(str(n), n) if n else td("–", muted=True)
