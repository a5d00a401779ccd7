"""scripts/report.py: makes the requested table, figure or page, and writes it."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from imbalance_bench.arguments import ArgumentParser
from imbalance_bench.conf_files import own_folder
from imbalance_bench.errors import BenchError, command, suggestion
from imbalance_bench.identity import digest
from imbalance_bench.presets import papers, presets, title_of
from imbalance_bench.report import published
from imbalance_bench.report.records.collected import Collection, Source
from imbalance_bench.report.records.records import NothingRun, readout_title
from imbalance_bench.report.sheet import Sheet
from imbalance_bench.report.writing.formats import markdown
from imbalance_bench.report.writing.page import FORMATS, STORED, rendered
from imbalance_bench.store import OUTPUTS, NotCollected, Store, atomic_write

if TYPE_CHECKING:
    from imbalance_bench.presets import Preset
    from imbalance_bench.report.sheet import Drawing

T = TypeVar("T")
LONGEST = 120  # characters of overrides in a file's name, which file systems limit to 255

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


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0, or 1 after one message to stderr."""
    options = parser().parse_intermixed_args(arguments)
    try:
        report = Report(options)
        if options.readout:
            readout_title(options.readout)  # an unknown one is an error before anything else
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
        if options.paper:
            report.paper()
        elif options.table or options.figure or options.all:
            raise BenchError(f"--table, --figure and --all need --paper: {suggestion('', papers())}")
        elif options.advise:
            report.advise()
        elif options.tuned:
            report.tuned()
        else:
            report.summary()
        sys.stdout.flush()
    except NothingRun as error:
        print(f"error: {error.with_folder(options.config_dir) if options.config_dir else error}", file=sys.stderr)
        return 1
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


class Report:
    """One command: what was asked for, and where records and results lie."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.outputs = Path(options.outputs)
        self.store: Source = Collection(options.source) if options.source else Store(self.outputs)
        self.own = own_folder(options.config_dir)
        self._presets: dict[str, Preset] = {}

    def summary(self) -> None:
        """The table over everything; with --write also its bar chart."""
        from imbalance_bench.report.figures import bars
        from imbalance_bench.report.sheets.summary import scores_of, summary

        options, command = self.options, self._report_command()
        for metric in self._metrics():
            sheet = summary(self.store, options.overrides, options.readout, command, metric, options.group)
            if options.write:
                drawing = bars(scores_of(sheet), sheet.title, sheet.provenance)
                print(markdown(sheet))
                self._write("summary", [sheet], [replace(drawing, name=sheet.name)])
            else:
                print(rendered(sheet, options.format or "md"))

    def _metrics(self) -> list[str | None]:
        """Those of --metric; None: the one that heads each row."""
        named = [name.strip() for name in (self.options.metric or "").split(",")]
        return list(dict.fromkeys(filter(None, named))) or [None]

    def tuned(self) -> None:
        """The table of tuned methods; with --write its csv is the list of what each run chose."""
        from imbalance_bench.report.sheets.tuned import tuned_table

        options, command = self.options, self._report_command()
        for metric in self._metrics():
            sheet = tuned_table(self.store, options.overrides, options.readout, command, metric, options.by)
            if options.write:
                print(markdown(sheet))
                self._write("summary", [sheet], [])
            else:
                print(rendered(sheet, options.format or "md"))

    def advise(self) -> None:
        """Lines on which method to take."""
        from imbalance_bench.report.sheets.advice import advice

        options = self.options
        for metric in self._metrics():
            print(advice(self.store, options.overrides, options.readout, metric, options.by), end="")

    def paper(self) -> None:
        """One table, one figure, or claims and all tables; --all also draws all figures and writes the page."""
        options = self.options
        known = papers(self.own)
        if options.paper not in known:
            hint = (
                ""
                if self.own
                else f"\n  one of your own is paper/{options.paper} in the folder that --config-dir names"
            )
            raise BenchError(f"unknown --paper {options.paper}: {suggestion(options.paper, known)}{hint}")
        if options.figure:
            self._write(options.paper, [], [self._figure(chosen(options.paper, "figure", options.figure, self.own))])
            return
        if options.table:
            sheets = [self._table(chosen(options.paper, "table", options.table, self.own), options.readout)]
        elif options.overrides:
            raise BenchError(f"{' '.join(options.overrides)} narrows one grid: say which by --table or --figure")
        else:
            sheets = self._tables(options.readout)
            sheets = self._claims() + sheets
        if options.all:
            self._everything(sheets)
        elif options.write:
            self._write(options.paper, sheets, [])
        else:
            for sheet in sheets:
                print(rendered(sheet, options.format or "md"))

    def _everything(self, sheets: list[Sheet]) -> None:
        from imbalance_bench.report.writing.page import page

        paper = self.options.paper
        if self.options.readout is None:
            # left out: presets that show the best epoch by themselves, and those of which no method keeps one
            shown = {sheet.name for sheet in sheets}
            best = [s for s in self._tables("best") if s.name not in shown]
            sheets = sheets + [s for s in best if (s.frame["iterate"] == "best").any()]
        drawings = _those_run(self._figure, presets(paper, "figure", self.own))
        self._write(paper, sheets, drawings)
        title = f"{title_of(paper, self.own)}: our runs beside the published numbers"
        lead = "Claims are tested on run records; every table says which readout it shows and what was not run."
        path = self.outputs / "tables" / paper / "report.html"
        atomic_write(path, page(title, sheets, drawings, lead))
        print(path)

    def _preset(self, name: str) -> Preset:
        """A preset's grid; composing one takes seconds, so each is composed once."""
        from imbalance_bench.presets import load_preset

        if name not in self._presets:
            self._presets[name] = load_preset(self.options.paper, name, self.options.overrides, self.own)
        return self._presets[name]

    def _table(self, name: str, readout: str | None) -> Sheet:
        from imbalance_bench.report.sheets.examples import examples
        from imbalance_bench.report.sheets.tables import table

        preset, command = self._preset(name), self._command("table", name, readout)
        if "examples" in preset.paper:
            return examples(preset, self.store, command)
        return table(preset, self.store, readout, command, Path(self.options.data))

    def _tables(self, readout: str | None) -> list[Sheet]:
        names = presets(self.options.paper, "table", self.own)
        sheets = _those_run(lambda name: self._table(name, readout), names)
        if not sheets:
            raise NothingRun(self.options.paper, names[0])
        return sheets

    def _figure(self, name: str) -> Drawing:
        from imbalance_bench.report.figures import figure

        readout = self.options.readout
        return figure(self._preset(name), self.store, readout, self._command("figure", name, readout))

    def _claims(self) -> list[Sheet]:
        """The paper's claims, tested on the cells of its tables, or of the presets that claims.yaml names; none where
        none are declared."""
        from imbalance_bench.report.records.records import cell_states, code_notes, damage_notes, done
        from imbalance_bench.report.sheets.claims import presets_tested
        from imbalance_bench.report.sheets.verdicts import verdicts

        paper = self.options.paper
        path = Path(published.__file__).parent / paper / "claims.yaml"
        if not path.exists():
            return []
        names = presets_tested(path) or presets(paper, "table", self.own)
        cells = {cell.id: cell for name in names for cell in self._preset(name).cells}
        title = f"{title_of(paper, self.own)}: claims, tested"
        results = cell_states(cells.values(), self.store)
        sheet = verdicts(path, title, done(results), self._report_command())
        return [replace(sheet, notes=[*sheet.notes, *code_notes(done(results)), *damage_notes(results)])]

    def _command(self, kind: str, name: str, readout: str | None) -> str:
        """The commands that make a file again, from training on, or from what was collected."""
        if self.options.source:
            return self._report_command(f"--{kind}", name, readout)
        place = [f"paths.outputs={self.options.outputs}"] if self.options.outputs != OUTPUTS else []
        own = ["--config-dir", self.options.config_dir] if self.own else []
        train = ["-m", *own, f"+paper={self.options.paper}/{name}", *self.options.overrides, *place]
        return f"{command('train')} {shlex.join(train)}; {self._report_command(f'--{kind}', name, readout)}"

    def _report_command(self, kind: str = "", name: str = "", readout: str | None = None) -> str:
        """The command line that shows a sheet or, where it is being stored, stores it again; ``kind``: of the one asked
        for (a table of --all is one), else all that this command line asks for."""
        options = self.options
        data = options.data if options.data != default_data() else None
        said = {
            "--paper": options.paper, kind: name, "--metric": options.metric, "--group": options.group,
            "--by": options.by,
            "--readout": readout if kind else options.readout,
            "--format": options.format, "--outputs": options.outputs if options.outputs != OUTPUTS else None,
            "--from": options.source, "--data": data, "--config-dir": options.config_dir,
        }  # fmt: skip
        words = [word for key, value in said.items() if value for word in (key, value)]
        words += ["--tuned"] if options.tuned else []
        store = ["--write"] if (options.write or options.all) and kind != "--figure" else []
        return f"{command('report')} {shlex.join([*words, *store, *options.overrides])}".rstrip()

    def _write(self, folder: str, sheets: Sequence[Sheet], drawings: Sequence[Drawing]) -> None:
        """Stores sheets in the format asked for (or all), figures in theirs; prints where they lie."""
        for sheet in sheets:
            for form in [self.options.format] if self.options.format else STORED:
                path = self.outputs / "tables" / folder / f"{self._file(sheet.name)}.{form}"
                atomic_write(path, rendered(sheet, form))
                print(path)
        for drawing in drawings:
            for path in replace(drawing, name=self._file(drawing.name)).write(self.outputs / "figures" / folder):
                print(path)

    def _file(self, name: str) -> str:
        """Where the overrides narrow a grid, a name of its own: the file of the whole grid stays."""
        said = re.sub(r"[^\w=,.-]", "_", ",".join(sorted(self.options.overrides)))
        if len(said) > LONGEST:
            said = digest(said)
        return f"{name},{said}" if said else name


def _those_run(make: Callable[[str], T], names: Sequence[str]) -> list[T]:
    """Makes what has records, and the files beside them that it needs; what lacks them is named on stderr and left
    out."""
    made = []
    for name in names:
        try:
            made.append(make(name))
        except (NothingRun, NotCollected) as error:
            print(f"left out: {error}", file=sys.stderr)
    return made


def chosen(paper: str, kind: str, asked: str, own: Path | None = None) -> str:
    """``2`` → ``table2``; a preset's full name as it is.

    Raises:
        BenchError: there is no such preset; says which there are.
    """
    known = presets(paper, kind, own)
    for name in (asked, f"{kind}{asked}"):
        if name in known:
            return name
        other = "figure" if kind == "table" else "table"
        if name in presets(paper, other, own):
            raise BenchError(f"{name} of {paper} is drawn as a {other}: --{other} {name}")
    near = suggestion(f"{kind}{asked}" if asked.isdigit() else asked, known)
    raise BenchError(f"unknown --{kind} {asked} of {paper}: {near}")
