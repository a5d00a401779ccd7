"""The command line of scripts/report.py: its words, and which of them go together."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Sequence
from numbers import Real
from typing import Any

from imbalance_bench.errors import BenchError, command, suggestion
from imbalance_bench.metrics import calibration
from imbalance_bench.report.records.records import LABELS, readout_title
from imbalance_bench.report.records.selection import OF_NUMBERS
from imbalance_bench.report.sheets.differences import ROPE, TESTS
from imbalance_bench.report.writing.page import FORMATS
from imbalance_bench.settings.presets import papers
from imbalance_bench.store import OUTPUTS
from imbalance_bench.terminal.arguments import ArgumentParser

PARTS = ("test", "valid")
SEVERAL = ("metric", "rows", "columns")  # options that are lists of names
# The figures of any records (``figures.any_figure``).
KINDS = ("pr", "roc", "reliability", "curve", "cd", "profile", "bars", "scatter", "confusion")

DESCRIPTION = """\
Tables, figures and pages from the records under outputs/runs; nothing is trained.

  report.py                                       a summary of everything that was run
  report.py method=focal,smote dataset='e*'       ... of some of it
  report.py --metric f1                           ... by another metric, also your own
  report.py --metric f1_tuned,brier --group minority
                                                  ... by several metrics, one table each, for a group of classes
  report.py --metric f1,g_mean,recall --rows dataset --columns method,metric
                                                  ... by several in one table; rows and columns are any axis or option
  report.py --per-class --metric recall --rows method --columns class dataset=ecoli
                                                  ... class by class
  report.py --metric f1 --test wilcoxon           which methods differ, over data sets or over the runs on one
  report.py --metric f1 --versus cross_entropy    ... each against one: difference, interval, wins, p, n
  report.py --tuned                               each run with the option that is best on its validation rows
  report.py --advise dataset=ecoli                which method to use for these data, in ten lines
  report.py --figure pr dataset=ecoli             a figure of the records: precision-recall; also roc, reliability,
                                                  curve, cd, profile, bars, scatter, confusion
  report.py --paper explicit_gradient             the paper's claims, tested, and its tables
  report.py --paper explicit_gradient --table 2   ours, the paper's, and the difference
  report.py --paper explicit_gradient --table 2 dataset=ecoli --write
                                                  stores a part of it, table2,dataset=ecoli, beside the whole table
  report.py --paper explicit_gradient --figure 3  draws a figure (PNG and SVG)
  report.py --paper explicit_gradient --all       writes everything, also as one page
  report.py --all                                 writes outputs/report/index.html: all papers and runs, a page per cell
  report.py --from outputs/records/mine.parquet   ... from a file of scripts/collect.py, without run folders
"""


def parser() -> argparse.ArgumentParser:
    made = ArgumentParser("report.py", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--paper", help="a folder of conf/paper, or of FOLDER/paper")
    what = made.add_mutually_exclusive_group()
    what.add_argument("--table", help="a number, or the name of a preset (table1_balanced_first)")
    what.add_argument(
        "--figure",
        metavar="KIND",
        help=f"for any records: {', '.join(KINDS)}; with --paper: a number, or the name of a preset (convergence)",
    )
    what.add_argument(
        "--all",
        action="store_true",
        help="write all tables and figures of the paper, and its page; without --paper, outputs/report/index.html: all "
        "papers, the chosen records, and a page for each of their cells",
    )
    made.add_argument("--format", choices=FORMATS, help="md on the terminal; md, csv and tex with --write")
    made.add_argument(
        "--readout", "--iterate", help="last, best, knn, lr or post_<rows> (default: the preset's own, which is last)"
    )
    made.add_argument(
        "--metric",
        metavar="NAME[,NAME]",
        help="metrics of the summary, one table each, e.g. f1 or your own (default: the headline of each record)",
    )
    made.add_argument(
        "--group", help="group of classes: positive, macro, minority, majority, <class> (default: the headline's)"
    )
    made.add_argument("--per-class", action="store_true", help="a number for each class")
    made.add_argument("--part", choices=PARTS, help="which rows of the data are scored (default: test)")
    made.add_argument(
        "--rows",
        metavar="AXIS[,AXIS]",
        help=f"axes of the summary: {', '.join((*LABELS, *OF_NUMBERS))}, or an option such as method.gamma "
        "(default: dataset)",
    )
    made.add_argument("--columns", metavar="AXIS[,AXIS]", help="likewise (default: method)")
    made.add_argument(
        "--test",
        choices=TESTS,
        help="which methods differ: over data sets by nemenyi, wilcoxon or bayes; over the runs on each by corrected_t "
        "(Nadeau and Bengio) or permutation",
    )
    made.add_argument(
        "--versus",
        metavar="METHOD",
        help="compare every other method with this one (by wilcoxon; on one data set by corrected_t)",
    )
    made.add_argument(
        "--rope",
        type=float,
        metavar="X",
        help=f"for --test bayes: the largest difference that does not matter (default: {ROPE})",
    )
    made.add_argument(
        "--tuned",
        action="store_true",
        help="among cells that differ in swept options, let each run choose on its validation rows",
    )
    made.add_argument("--advise", action="store_true", help="which method the records favour for one data set")
    made.add_argument(
        "--by", metavar="METRIC", help="the metric that --tuned chooses by, on validation rows (default: the one shown)"
    )
    made.add_argument("--calibration", choices=calibration.KINDS, help="for --figure reliability (default: platt)")
    made.add_argument("--plain", action="store_true", help="a paper's tables without the printed values")
    made.add_argument("--outputs", default=OUTPUTS, help="paths.outputs of the runs (default: outputs)")
    made.add_argument(
        "--from", dest="source", metavar="FILE", help=f"read a file of {command('collect')} instead of outputs/runs"
    )
    made.add_argument(
        "--data",
        default=default_data(),
        help="paths.data, for tables that count data sets (IMBALANCE_BENCH_DATA, else ./data)",
    )
    made.add_argument("--config-dir", metavar="FOLDER", help="presets and options of your own, as for train.py")
    made.add_argument("--write", action="store_true", help="store under outputs/tables and outputs/figures")
    made.add_argument("overrides", nargs="*", metavar="axis=values", help="narrow the records, e.g. dataset=ecoli,oil")
    return made


def options_of(wanted: Sequence[str], **said: Any) -> argparse.Namespace:
    """The options of a call from Python: ``said`` by the names of the command line, several names a list or "a,b".
    Raises BenchError as the command line does."""
    options = parser().parse_args([])
    for word in wanted:
        if not isinstance(word, str):
            raise BenchError(f"{word!r} must be text, such as dataset=ecoli")
    options.overrides = list(wanted)
    for name, value in said.items():
        setattr(options, name, _as_said(name, value))
    for name, known in (("test", TESTS), ("part", PARTS)):
        if (value := getattr(options, name)) is not None and value not in known:
            raise BenchError(f"unknown --{name} {value}: {suggestion(str(value), known)}")
    check(options)
    return options


def _as_said(name: str, value: Any) -> Any:
    """A value as the command line gives it. Raises BenchError where it cannot be one of the option ``name``."""
    if name in SEVERAL and isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        return ",".join(value)
    kinds: dict[str, tuple[type, str]] = {"per_class": (bool, "True or False"), "rope": (Real, "a number")}
    kind, known = kinds.get(name, (str, "text, or a list of texts" if name in SEVERAL else "text"))
    if value is None or (isinstance(value, kind) and (kind is bool or not isinstance(value, bool))):
        return value
    raise BenchError(f"{name}={value!r} must be {known}")


def default_data() -> str:
    return os.environ.get("IMBALANCE_BENCH_DATA", "data")


def listed(text: str | None) -> list[str]:
    """The names of "a,b", each once."""
    return list(dict.fromkeys(filter(None, (name.strip() for name in (text or "").split(",")))))


def metrics_of(options: argparse.Namespace) -> list[str | None]:
    """The metrics of --metric; None: the one that heads each row."""
    return [*listed(options.metric)] or [None]


# Words about what is shown of any records.
OF_TABLES = ("metric", "group", "per_class", "part", "rows", "columns", "test", "versus", "rope")


def check(options: argparse.Namespace) -> None:
    """Raises BenchError where words do not go together, or a readout is unknown, before anything is read."""
    if options.readout:
        readout_title(options.readout)
    said = [f"--{name.replace('_', '-')}" for name in OF_TABLES if getattr(options, name) not in (None, False, "")]
    if options.paper and said:
        raise BenchError(f"{said[0]} is for the summary; what a paper's table shows is paper.metrics of its preset")
    if options.plain and not options.paper:
        raise BenchError("--plain needs --paper, whose printed values it leaves out")
    if options.plain and (options.all or options.figure):
        raise BenchError("--plain applies to tables only: leave out --all and --figure")
    chooses = "--advise" if options.advise else "--tuned"
    if options.advise or options.tuned:
        if options.figure or (options.all and not options.paper):
            raise BenchError(f"{chooses} is a table: leave out {'--figure' if options.figure else '--all'}")
        if options.paper:
            raise BenchError(f"{chooses} takes records of any paper: leave out --paper, and say which by dataset=...")
        if "--group" in said:
            raise BenchError(f"{chooses} shows the class group of the headline: leave out --group")
        if said not in ([], ["--metric"]):
            raise BenchError(f"{chooses} has rows and columns of its own: leave out {said[-1]}")
    elif options.by:
        raise BenchError(f"--by {options.by} says what --tuned chooses by: add --tuned")
    if options.rope is not None and options.test != "bayes":
        raise BenchError("--rope needs --test bayes")
    if options.rope is not None and not 0 <= options.rope < math.inf:
        raise BenchError(
            f"--rope {options.rope:g} must be finite and 0 or more: the largest difference that does "
            f"not matter, such as {ROPE}"
        )
    if options.group and options.per_class:
        raise BenchError(f"--group {options.group} is one group, and --per-class each class: leave out one")
    placed = [*(listed(options.rows) or ["dataset"]), *(listed(options.columns) or ["method"])]
    for axis in placed:
        if placed.count(axis) > 1:
            other = "--columns" if axis in listed(options.rows) else "--rows"
            raise BenchError(f"{axis} is both down and across: say what is across by {other}")
    if not options.paper and options.table:
        raise BenchError(f"--table needs --paper: {suggestion('', papers())}")
    if options.figure and options.per_class:
        raise BenchError("--per-class is a table: leave out --figure, or say which class by --group")
    if not options.paper and options.figure and options.figure not in KINDS:
        near = suggestion(options.figure, KINDS)
        raise BenchError(f"unknown --figure {options.figure}: {near}\n  one of a paper needs --paper")
    if options.calibration and (options.paper or options.figure != "reliability"):
        raise BenchError(f"--calibration {options.calibration} applies to --figure reliability only: leave it out")
