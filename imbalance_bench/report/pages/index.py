"""``report.py --all``: the index of all papers and of the records chosen, and a page for each of their cells."""

from __future__ import annotations

import base64
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any

from imbalance_bench.errors import BenchError, command
from imbalance_bench.report.any_records import asked_test
from imbalance_bench.report.pages.cells import cell_page, diverged
from imbalance_bench.report.pages.failures import failure_page
from imbalance_bench.report.pages.html import Grid, rendered, td
from imbalance_bench.report.pages.making import TableLink
from imbalance_bench.report.pages.papers import Paper, Table, all_papers
from imbalance_bench.report.records import records as frames
from imbalance_bench.report.records.failures import CELL, FAILED, Failure, failures, of_damaged
from imbalance_bench.report.records.records import LABELS, Cell, Record, date, named_cells
from imbalance_bench.report.records.selection import Asked, selection, shown_labels
from imbalance_bench.report.request import Request
from imbalance_bench.report.sheet import Item, Sheet, commented_csv, mean_sd
from imbalance_bench.report.sheets.differences import differences
from imbalance_bench.report.sheets.judgement import VERDICTS
from imbalance_bench.report.sheets.scores import class_title, metric_title
from imbalance_bench.report.sheets.summary import summaries
from imbalance_bench.settings.select import select
from imbalance_bench.store import Damaged
from imbalance_bench.store.files import atomic_write

# Of these, what failed has half at most where other cells fill the rest (``_newest``).
PAGES = 500  # cells that get a page at once
LISTED = 2000  # cells that the index lists
SHOWN = 5000  # cells of one's own that stand in tables of the index
CSV = ("id", *LABELS, "metric", "class_group", "mean", "sd", "runs", "seconds", "date", "state", "reason")


def write_pages(request: Request) -> Path:
    """Writes the index, a page for each cell of the selection, the newest and ``PAGES`` at most, and the list of all
    cells as ``cells.csv``; removes the pages of cells that are no longer among them. Returns the index."""
    folder = request.outputs / "report"
    found, damaged = named_cells(request.store)
    failed = failures(request.store, (cell.path for _, cell in found), damaged)
    records, failed, notes = _chosen(request, found, failed, damaged)
    papers = all_papers(request, Counter(tuple(names[axis] for axis in LABELS) for names, _ in found))
    sheets, said = _own(request, records)
    paged = _write_cells(folder / "cells", records, failed, _shown_in(papers))
    cells = len(records) + len(failed)
    which = "the newest that failed and the newest others" if records and failed else "the newest"
    if len(paged) < cells:
        notes.append(
            f"{len(paged):,} of {cells:,} cells have a page, {which}: `{command('report')} --all dataset=...` "
            "writes those of a selection."
        )
    if cells:
        atomic_write(folder / "cells.csv", _list_csv(records, failed))
    if cells > LISTED:
        said.append(f"{LISTED:,} of {cells:,} cells are listed here, {which}; cells.csv beside this page has all.")
    for note in [*notes, *said]:
        print(note, file=sys.stderr)
    index = folder / "index.html"
    atomic_write(index, _index(papers, records, failed, sheets, [*notes, *said], paged, request))
    return index


def _chosen(
    request: Request,
    found: Sequence[tuple[dict[str, str], Cell]],
    failed: Sequence[Failure],
    damaged: Sequence[Damaged],
) -> tuple[list[Record], list[Failure], list[str]]:
    """The records and failures of the selection, newest first, and why other records do not count."""
    cells: list[tuple[dict[str, str], Cell | Failure]] = [*found, *((failure.names, failure) for failure in failed)]
    chosen = [cell for _, cell in select(cells, request.options.overrides, itemgetter(0))] if cells else []
    records, more = frames.read((cell for cell in chosen if not isinstance(cell, Failure)), lambda record: None)
    left = [cell for cell in chosen if isinstance(cell, Failure)] + of_damaged(request.store, more)
    told = {failure.folder for failure in [*failed, *left]}
    notes = frames.left_out(error for error in [*damaged, *more] if error.folder not in told)
    return sorted(records, key=date, reverse=True), sorted(left, key=attrgetter("date"), reverse=True), notes


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


def _shown_in(papers: Sequence[Paper]) -> dict[str, list[TableLink]]:
    """Cell → the tables that show it."""
    found: dict[str, list[TableLink]] = {}
    for paper in papers:
        for table in paper.tables:
            place = TableLink(table.title, f"../index.html#{anchor(paper, table)}", table.readings)
            for cell in table.cells:
                found.setdefault(cell, []).append(place)
    return found


def anchor(paper: Paper, table: Table) -> str:
    """The id of a table's section; labels are those of files, so they are plain."""
    return f"{paper.name}--{table.name}"


def _write_cells(
    folder: Path, records: Sequence[Record], failed: Sequence[Failure], shown: dict[str, list[TableLink]]
) -> set[str]:
    """Returns the ids of the cells that have a page now."""
    records, failed = _newest(records, failed, PAGES)
    pages: dict[str, Callable[[Sequence[TableLink]], str]] = {}
    for failure in failed:
        pages[failure.names["id"]] = partial(failure_page, failure)
    for record in records:
        pages[record["id"]] = partial(cell_page, record)
    paged = set(pages)
    for old in folder.glob("*.html") if folder.is_dir() else ():
        if CELL.fullmatch(old.stem) and old.stem not in paged:
            old.unlink()
    for cell, page in pages.items():
        try:
            text = page(shown.get(cell, ()))
        except Damaged as error:
            print(f"no page of {cell}: {error}", file=sys.stderr)
            paged.remove(cell)
            continue
        atomic_write(folder / f"{cell}.html", text)
    return paged


def _newest(
    records: Sequence[Record], failed: Sequence[Failure], most: int
) -> tuple[Sequence[Record], Sequence[Failure]]:
    """The first of both, ``most`` in sum: neither has more than half unless the other leaves it."""
    kept = min(len(failed), max(most // 2, most - len(records)))
    return records[: most - kept], failed[:kept]


HEADER = (
    "method", "data set", "state", "mean ± sd", "metric", "ratio", "backbone", "trainer", "runs", "seconds", "date"
)  # fmt: skip


def _row(record: Record) -> list[Item]:
    """A row of ``HEADER``."""
    labels, head, runs = shown_labels(record), record.get("headline"), len(record.get("runs", ()))
    lost = diverged(record)
    return [
        td(labels["method"], cell=record["id"]),
        td(labels["dataset"]),
        td(f"{lost} of {runs} runs diverged", bold=True) if lost else td(record["status"]),
        td(mean_sd(head["mean"], head["sd"] if runs > 1 else None), head["mean"]) if head else td("–", muted=True),
        td(f"{metric_title(head['metric'])}, {class_title(head['class_group'])}" if head else "–"),
        *(td(labels[axis]) for axis in ("ratio", "backbone", "trainer")),
        _count(runs),
        td(f"{record['seconds']:.1f}", record["seconds"]),
        td(_minute(date(record))),
    ]


def _failed_row(failure: Failure) -> list[Item]:
    names = failure.names
    return [
        td(names["method"], cell=names["id"]),
        td(names["dataset"]),
        td(failure.state, bold=True),
        *(td("–", muted=True) for _ in range(2)),
        *(td(names[axis] or "–", muted=not names[axis]) for axis in ("ratio", "backbone", "trainer")),
        *(td("–", muted=True) for _ in range(2)),
        td(_minute(failure.date)),
    ]


def _minute(date: str) -> str:
    return date[:16].replace("T", " ")


def _list_csv(records: Sequence[Record], failed: Sequence[Failure]) -> str:
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for failure in failed:
        names = {key: failure.names[key] for key in ("id", *LABELS)}
        rows.append(names | {"date": failure.date, "state": failure.state, "reason": failure.reason})
    for record in records:
        head = record.get("headline") or {}
        row = {"id": record["id"], **shown_labels(record)}
        row |= {key: head.get(key) for key in ("metric", "class_group", "mean", "sd")}
        row |= {"runs": len(record.get("runs", [])), "seconds": record["seconds"]}
        rows.append(row | {"date": date(record), "state": record["status"], "reason": record.get("reason", "")})
    return commented_csv(["Cells of the report"], pd.DataFrame(rows, columns=CSV))


def _index(
    papers: Sequence[Paper],
    records: Sequence[Record],
    failed: Sequence[Failure],
    sheets: Sequence[Sheet],
    notes: list[str],
    paged: set[str],
    request: Request,
) -> str:
    listed, listed_failed = _newest(records, failed, LISTED)
    rows = [*map(_failed_row, listed_failed), *map(_row, listed)]
    content = {
        "title": "Runs and published numbers",
        "papers": papers,
        "verdicts": _verdicts(papers),
        "overview": _overview(papers),
        "count": len(records) + len(failed),
        "failed": _by_state(failed),
        "selection": " ".join(request.options.overrides),
        "own": [(sheet, [Grid.of(block) for block in sheet.blocks]) for sheet in sheets],
        "cells": Grid(HEADER, rows, keys=2, texts=(2, 4, 5, 6, 7)),
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
        "paper", "table", "shown", "cells", "cells run", "cells failed", "numbers printed", "numbers run",
        "within the spread", "above", "below", "median difference, in spreads",
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
                    *(_count(n) for n in (c.cells, c.run, c.failed, prints, c.compared)),
                    td(share, c.within / c.compared if c.compared else None),
                    *(_count(n) for n in (c.above, c.below)),
                    td(f"{c.median:+.1f}", c.median, spreads=c.median) if c.median is not None else td("–", muted=True),
                ]
            )  # fmt: skip
    return Grid(header, rows, keys=2, texts=(2,))


def _short(title: str, paper: str) -> str:
    return title.removeprefix(f"{paper}, ")


def _by_state(failed: Sequence[Failure]) -> str:
    """ "3 failed, 1 outdated"."""
    count = Counter(failure.state for failure in failed)
    return ", ".join(f"{count[state]} {state}" for state in FAILED if count[state])


def _count(n: int) -> Item:
    return td(str(n), n) if n else td("–", muted=True)
