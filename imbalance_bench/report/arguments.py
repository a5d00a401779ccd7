"""The command line of scripts/report.py: its words, and which of them go together."""

from __future__ import annotations

import argparse
import os

from imbalance_bench.arguments import ArgumentParser
from imbalance_bench.errors import BenchError, command, suggestion
from imbalance_bench.presets import papers
from imbalance_bench.report.records.records import readout_title
from imbalance_bench.report.writing.page import FORMATS
from imbalance_bench.store import OUTPUTS

DESCRIPTION = """\
Tables, figures and pages from the records under outputs/runs; nothing is trained.

  report.py                                       a summary of everything that was run
  report.py method=focal,smote dataset='e*'       ... of some of it
  report.py --metric f1                           ... by another metric, one of your own too
  report.py --metric f1_tuned,brier --group minority
                                                  ... by several, a table each, of a group of classes
  report.py --tuned                               each run with the option that is best on its validation rows
  report.py --advise dataset=ecoli                which method for these data, in ten lines
  report.py --paper explicit_gradient             the paper's claims, tested, and its tables
  report.py --paper explicit_gradient --table 2   ours, the paper's, and the difference
  report.py --paper explicit_gradient --table 2 dataset=ecoli --write
                                                  stores a part of it, table2,dataset=ecoli, beside the whole
  report.py --paper explicit_gradient --figure 3  draws a figure (PNG and SVG)
  report.py --paper explicit_gradient --all       writes all of it, and one page that holds it
  report.py --from outputs/records/mine.parquet   ... of what scripts/collect.py collected, without run folders
"""


def parser() -> argparse.ArgumentParser:
    made = ArgumentParser("report.py", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--paper", help="a folder of conf/paper, or of FOLDER/paper")
    what = made.add_mutually_exclusive_group()
    what.add_argument("--table", help="a number, or the name of a preset (table1_balanced_first)")
    what.add_argument("--figure", help="a number, or the name of a preset (convergence)")
    what.add_argument("--all", action="store_true", help="write every table, figure and the page of the paper")
    made.add_argument("--format", choices=FORMATS, help="md on the terminal; md, csv and tex with --write")
    made.add_argument(
        "--readout", "--iterate", help="last, best, knn, lr or post_<rows> (default: the preset's own, which is last)"
    )
    made.add_argument(
        "--metric",
        metavar="NAME[,NAME]",
        help="of the summary, a table each, in place of the one that heads each row, e.g. f1 or your own",
    )
    made.add_argument("--group", help="of classes: positive, macro, minority, class:<name> (default: the headline's)")
    made.add_argument(
        "--tuned", action="store_true", help="of cells that differ in swept options, each run's own choice"
    )
    made.add_argument("--advise", action="store_true", help="which method for one data set, by what was run on it")
    made.add_argument("--by", metavar="METRIC", help="of validation rows, which --tuned chooses by (default: as shown)")
    made.add_argument("--outputs", default=OUTPUTS, help="paths.outputs of the runs (default: outputs)")
    made.add_argument(
        "--from", dest="source", metavar="FILE", help=f"of {command('collect')}, in place of outputs/runs"
    )
    made.add_argument(
        "--data",
        default=default_data(),
        help="paths.data, for tables that count data sets (IMBALANCE_BENCH_DATA, else ./data)",
    )
    made.add_argument("--config-dir", metavar="FOLDER", help="presets and options of your own, as for train.py")
    made.add_argument("--write", action="store_true", help="store under outputs/tables and outputs/figures")
    made.add_argument("overrides", nargs="*", metavar="axis=values", help="narrow the grid, e.g. dataset=ecoli,oil")
    return made


def default_data() -> str:
    return os.environ.get("IMBALANCE_BENCH_DATA", "data")


def check(options: argparse.Namespace) -> None:
    """Raises BenchError where words do not go together, or a readout is unknown, before anything is read."""
    if options.readout:
        readout_title(options.readout)
    if options.paper and (options.metric or options.group):
        what = "--metric" if options.metric else "--group"
        raise BenchError(f"{what} is for the summary; what a paper's table shows is paper.metrics of its preset")
    chooses = "--advise" if options.advise else "--tuned"
    if options.advise or options.tuned:
        if options.group:
            raise BenchError(f"{chooses} shows the class group of the headline: leave out --group")
        if options.paper:
            raise BenchError(f"{chooses} is over all records: leave out --paper, and say which by dataset=...")
    elif options.by:
        raise BenchError(f"--by {options.by} says what --tuned chooses by: add --tuned")
    if not options.paper and (options.table or options.figure or options.all):
        raise BenchError(f"--table, --figure and --all need --paper: {suggestion('', papers())}")
