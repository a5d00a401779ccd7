"""scripts/report.py: makes the requested table, figure or page, and writes it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from imbalance_bench.errors import BenchError
from imbalance_bench.report.any_records import show
from imbalance_bench.report.arguments import check, parser
from imbalance_bench.report.paper import PaperReport
from imbalance_bench.report.records.records import NothingRun
from imbalance_bench.report.request import Request
from imbalance_bench.terminal import tell


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0, or 1 after one message to stderr."""
    options = parser().parse_intermixed_args(arguments)
    try:
        check(options)
        request = Request(options)
        if options.paper:
            PaperReport(request).report()
        elif options.all:
            from imbalance_bench.report.pages.index import write_pages

            print(write_pages(request))
        else:
            show(request)
    except NothingRun as error:
        tell(f"error: {error.told(options.config_dir)}", sys.stderr)
        return 1
    except BenchError as error:
        tell(f"error: {error}", sys.stderr)
        return 1
    return 0
