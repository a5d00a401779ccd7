"""Reports of a paper: scripts/report.py --paper, its claims, tables, figures and page."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from imbalance_bench.errors import BenchError, command, suggestion
from imbalance_bench.report import published
from imbalance_bench.report.records.records import NothingRun
from imbalance_bench.report.request import Request
from imbalance_bench.report.sheet import Sheet
from imbalance_bench.settings.presets import papers, presets, title_of
from imbalance_bench.store import OUTPUTS, NotCollected
from imbalance_bench.store.files import atomic_write

if TYPE_CHECKING:
    from imbalance_bench.report.sheet import Drawing
    from imbalance_bench.settings.presets import Preset

T = TypeVar("T")


class PaperReport:
    """The report that a command line asks for of its --paper; a preset's grid is composed once."""

    def __init__(self, request: Request) -> None:
        self.request, self.options, self.config_dir = request, request.options, request.config_dir
        self._presets: dict[str, Preset] = {}

    def report(self) -> None:
        """One table, one figure, or claims and all tables; --all also draws all figures and writes the page."""
        options = self.options
        known = papers(self.config_dir)
        if options.paper not in known:
            hint = (
                ""
                if self.config_dir
                else f"\n  one of your own is paper/{options.paper} in the folder that --config-dir names"
            )
            raise BenchError(f"unknown --paper {options.paper}: {suggestion(options.paper, known)}{hint}")
        if options.figure:
            drawing = self._figure(chosen(options.paper, "figure", options.figure, self.config_dir))
            self.request.write(options.paper, [], [drawing])
            return
        if options.table:
            sheets = [self.table(chosen(options.paper, "table", options.table, self.config_dir), options.readout)]
        elif options.overrides:
            raise BenchError(f"{' '.join(options.overrides)} narrows one grid: say which by --table or --figure")
        else:
            sheets = self._tables(options.readout)
            sheets = self.claims() + sheets
        if options.all:
            self._everything(sheets)
        elif options.write:
            self.request.write(options.paper, sheets, [])
        else:
            for sheet in sheets:
                self.request.show(sheet)

    def _everything(self, sheets: list[Sheet]) -> None:
        from imbalance_bench.report.writing.page import page

        paper = self.options.paper
        if self.options.readout is None:
            # left out: presets that show the best epoch by themselves, and those of which no method keeps one
            shown = {sheet.name for sheet in sheets}
            best = [s for s in self._tables("best") if s.name not in shown]
            sheets = sheets + [s for s in best if (s.frame["iterate"] == "best").any()]
        drawings = _those_run(self._figure, presets(paper, "figure", self.config_dir))
        self.request.write(paper, sheets, drawings)
        title = f"{title_of(paper, self.config_dir)}: our runs beside the published numbers"
        lead = "Claims are tested on run records; every table says which readout it shows and what was not run."
        path = self.request.outputs / "tables" / paper / "report.html"
        atomic_write(path, page(title, sheets, drawings, lead))
        print(path)

    def _preset(self, name: str) -> Preset:
        """A preset's grid; composing one takes seconds, so each is composed once."""
        from imbalance_bench.settings.presets import load_preset

        if name not in self._presets:
            self._presets[name] = load_preset(self.options.paper, name, self.options.overrides, self.config_dir)
        return self._presets[name]

    def table(self, name: str, readout: str | None) -> Sheet:
        """A table's preset from records. Raises NothingRun where there is none."""
        from imbalance_bench.report.sheets.examples import examples
        from imbalance_bench.report.sheets.tables import table

        preset, command = self._preset(name), self._command("table", name, readout)
        if "examples" in preset.paper:
            return examples(preset, self.request.store, command)
        return table(preset, self.request.store, readout, command, Path(self.options.data), self.options.plain)

    def _tables(self, readout: str | None) -> list[Sheet]:
        names = presets(self.options.paper, "table", self.config_dir)
        sheets = _those_run(lambda name: self.table(name, readout), names)
        if not sheets:
            raise NothingRun(self.options.paper, names[0])
        return sheets

    def _figure(self, name: str) -> Drawing:
        from imbalance_bench.report.figures import figure

        readout = self.options.readout
        return figure(self._preset(name), self.request.store, readout, self._command("figure", name, readout))

    def claims(self) -> list[Sheet]:
        """The paper's claims, tested on the cells of its tables, or of the presets that claims.yaml names; none where
        none are declared."""
        from imbalance_bench.report.records.records import cell_states, code_notes, damage_notes, done
        from imbalance_bench.report.sheets.claims import presets_tested
        from imbalance_bench.report.sheets.verdicts import verdicts

        paper = self.options.paper
        path = Path(published.__file__).parent / paper / "claims.yaml"
        if not path.exists():
            return []
        names = presets_tested(path) or presets(paper, "table", self.config_dir)
        cells = {cell.id: cell for name in names for cell in self._preset(name).cells}
        title = f"{title_of(paper, self.config_dir)}: claims, tested"
        results = cell_states(cells.values(), self.request.store)
        sheet = verdicts(path, title, done(results), self.request.command_line())
        return [replace(sheet, notes=[*sheet.notes, *code_notes(done(results)), *damage_notes(results)])]

    def _command(self, kind: str, name: str, readout: str | None) -> str:
        """The commands that make a file again, from training on, or from what was collected."""
        if self.options.source:
            return self.request.command_line(f"--{kind}", name, readout)
        place = [f"paths.outputs={self.options.outputs}"] if self.options.outputs != OUTPUTS else []
        own = ["--config-dir", self.options.config_dir] if self.config_dir else []
        train = ["-m", *own, f"+paper={self.options.paper}/{name}", *self.options.overrides, *place]
        return f"{command('train')} {shlex.join(train)}; {self.request.command_line(f'--{kind}', name, readout)}"


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
