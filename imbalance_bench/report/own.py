"""Reports of any selection of records: scripts/report.py without --paper."""

from __future__ import annotations

from dataclasses import replace

from imbalance_bench.report.request import Request
from imbalance_bench.report.writing.formats import markdown


def own(request: Request) -> None:
    """What the command line asks for of the records that its filters choose."""
    if request.options.advise:
        advise(request)
    elif request.options.tuned:
        tuned(request)
    else:
        summary(request)


def summary(request: Request) -> None:
    """The table over everything; with --write also its bar chart."""
    from imbalance_bench.report.figures import bars
    from imbalance_bench.report.sheets.summary import scores_of, summary

    options, command = request.options, request.command_line()
    for metric in metrics(request):
        sheet = summary(request.store, options.overrides, options.readout, command, metric, options.group)
        if options.write:
            drawing = bars(scores_of(sheet), sheet.title, sheet.provenance)
            print(markdown(sheet))
            request.write("summary", [sheet], [replace(drawing, name=sheet.name)])
        else:
            request.show(sheet)


def metrics(request: Request) -> list[str | None]:
    """Those of --metric; None: the one that heads each row."""
    named = [name.strip() for name in (request.options.metric or "").split(",")]
    return list(dict.fromkeys(filter(None, named))) or [None]


def tuned(request: Request) -> None:
    """The table of tuned methods; with --write its csv is the list of what each run chose."""
    from imbalance_bench.report.sheets.tuned import tuned_table

    options, command = request.options, request.command_line()
    for metric in metrics(request):
        sheet = tuned_table(request.store, options.overrides, options.readout, command, metric, options.by)
        if options.write:
            print(markdown(sheet))
            request.write("summary", [sheet], [])
        else:
            request.show(sheet)


def advise(request: Request) -> None:
    """Lines on which method to take."""
    from imbalance_bench.report.sheets.advice import advice

    options = request.options
    for metric in metrics(request):
        print(advice(request.store, options.overrides, options.readout, metric, options.by), end="")
