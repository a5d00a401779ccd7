"""Reports of any selection of records: scripts/report.py without --paper."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from imbalance_bench.errors import BenchError
from imbalance_bench.report.arguments import metrics_of
from imbalance_bench.report.records.selection import Asked, selection
from imbalance_bench.report.request import Request
from imbalance_bench.report.sheet import Drawing, Sheet
from imbalance_bench.report.sheets.differences import ROPE, AskedTest, differences
from imbalance_bench.report.sheets.summary import summaries
from imbalance_bench.report.writing.formats import markdown

if TYPE_CHECKING:
    import pandas as pd

MOST_CELLS = 10_000  # of a table that people read


def show(request: Request) -> None:
    """Shows or stores what the command line asks for of the records that its filters choose."""
    if request.options.figure:
        figure(request)
    elif request.options.advise:
        advise(request)
    elif request.options.tuned:
        tuned(request)
    else:
        summary(request)


def summary(request: Request) -> None:
    """Tables of the records; with --write also their bar chart."""
    from imbalance_bench.report.figures import bars
    from imbalance_bench.report.sheets.summary import scores_in

    options, asked = request.options, request.asked()
    found, command = selection(request.store, options.overrides, asked), request.command_line()
    tested = [differences(found, test, command)] if (test := asked_test(options)) else []
    sheets = [] if tested and options.format == "csv" else summaries(found, command)
    for sheet in sheets:
        refuse_large(sheet, options.format)
        drawings = []
        if (
            options.write
            and (asked.rows, asked.columns) == (Asked.rows, Asked.columns)
            and sheet.frame["mean"].notna().any()
        ):
            drawings = [replace(bars(scores_in(sheet), sheet.title, sheet.provenance), name=sheet.name)]
        shown_or_stored(request, sheet, drawings)
    for sheet in tested:
        shown_or_stored(request, sheet)


def numbers(options: argparse.Namespace) -> pd.DataFrame:
    """The tidy numbers behind ``summary``: of a test the pairs, else the cells, of all metrics in one."""
    import pandas as pd

    request = Request(options)
    found = selection(request.store, options.overrides, request.asked())
    if test := asked_test(options):
        return differences(found, test).frame
    return pd.concat([sheet.frame for sheet in summaries(found)], ignore_index=True)


def shown_or_stored(request: Request, sheet: Sheet, drawings: Sequence[Drawing] = ()) -> None:
    """On the terminal, in the format asked for; with --write as Markdown there, and stored with its ``drawings``."""
    if request.options.write:
        print(markdown(sheet))
        request.write("summary", [sheet], drawings)
    else:
        request.show(sheet)


def asked_test(options: argparse.Namespace) -> AskedTest | None:
    """The test that the command line asks for."""
    if not options.test and not options.versus:
        return None
    return AskedTest(options.test, options.versus, ROPE if options.rope is None else options.rope)


def figure(request: Request) -> None:
    """A picture of the records, stored."""
    from imbalance_bench.report.figures.any_figure import figure_of_records
    from imbalance_bench.report.figures.shown import Wanted

    options, asked = request.options, request.asked()
    given = {name: value for name in ("group", "versus", "calibration", "test") if (value := getattr(options, name))}
    same = {name: getattr(asked, name) for name in ("readout", "part", "rows", "columns")}
    wanted = Wanted(tuple(filter(None, asked.metrics)), **same, **given)
    command = request.command_line("--figure", options.figure, options.readout)
    request.write("summary", [], [figure_of_records(options.figure, request.store, options.overrides, wanted, command)])


def refuse_large(sheet: Sheet, form: str | None) -> None:
    """Raises BenchError where a table is too large to be read; its numbers as CSV may be any number."""
    for block in sheet.blocks:
        rows, columns = len(block.rows), len(block.header) - block.keys
        if rows * columns > MOST_CELLS and form != "csv":
            raise BenchError(
                f"this table has {rows:,} rows x {columns:,} columns, which is {rows * columns:,} cells: "
                f"--format csv gives the numbers, and method=... dataset=... a part of it to read"
            )


def tuned(request: Request) -> None:
    """The table of tuned methods; with --write its csv is the list of what each run chose."""
    from imbalance_bench.report.sheets.tuned import tuned_table

    options, command = request.options, request.command_line()
    for metric in metrics_of(request.options):
        sheet = tuned_table(request.store, options.overrides, options.readout, command, metric, options.by)
        shown_or_stored(request, sheet)


def advise(request: Request) -> None:
    """Lines on which method to take."""
    from imbalance_bench.report.sheets.advice import advice

    options = request.options
    for metric in metrics_of(request.options):
        told = advice(request.store, options.overrides, options.readout, metric, options.by, request.config_dir)
        print(told, end="")
