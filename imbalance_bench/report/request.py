"""A command of scripts/report.py: what was asked for, where records and results lie, and how results are stored."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from imbalance_bench.errors import command
from imbalance_bench.report.arguments import default_data, listed, metrics_of
from imbalance_bench.report.records.collected import Collection, Source
from imbalance_bench.report.records.selection import EACH_CLASS, Asked
from imbalance_bench.report.sheet import Sheet
from imbalance_bench.report.writing.page import STORED, rendered
from imbalance_bench.settings.conf_files import own_folder
from imbalance_bench.settings.identity import digest
from imbalance_bench.store import OUTPUTS, Store
from imbalance_bench.store.files import atomic_write

if TYPE_CHECKING:
    from imbalance_bench.report.sheet import Drawing

LONGEST = 120  # characters of overrides in a file's name, which file systems limit to 255


class Request:
    """``options``: the parsed command line; ``store``: where its records are; ``config_dir``: the user's folder of
    configurations."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.outputs = Path(options.outputs)
        self.store: Source = Collection(options.source) if options.source else Store(self.outputs)
        self.config_dir = own_folder(options.config_dir)

    def asked(self) -> Asked:
        """The part of the command line that chooses numbers of records and their axes."""
        options = self.options
        groups: tuple[str | None, ...] = (EACH_CLASS,) if options.per_class else (options.group,)
        rows, columns = listed(options.rows) or Asked.rows, listed(options.columns) or Asked.columns
        if options.per_class and "class" not in (*rows, *columns):
            rows = (*rows, "class")
        metrics, readout, part = tuple(metrics_of(options)), options.readout or "last", options.part or "test"
        return Asked(metrics, groups, readout, part, tuple(rows), tuple(columns))

    def command_line(self, kind: str = "", name: str = "", readout: str | None = None) -> str:
        """The command line that shows a sheet or, where it is being stored, stores it again; ``kind``: of the one asked
        for (a table of --all is one), else all that this command line asks for."""
        options = self.options
        data = options.data if options.data != default_data() else None
        said = {
            "--paper": options.paper, kind: name, "--metric": options.metric, "--group": options.group,
            "--by": options.by, "--part": options.part, "--rows": options.rows, "--columns": options.columns,
            "--test": options.test, "--versus": options.versus,
            "--rope": None if options.rope is None else f"{options.rope:g}", "--calibration": options.calibration,
            "--readout": readout if kind else options.readout,
            "--format": options.format, "--outputs": options.outputs if options.outputs != OUTPUTS else None,
            "--from": options.source, "--data": data, "--config-dir": options.config_dir,
        }  # fmt: skip
        words = [word for key, value in said.items() if value for word in (key, value)]
        words += [f"--{name.replace('_', '-')}" for name in ("tuned", "per_class", "plain") if getattr(options, name)]
        store = ["--write"] if (options.write or options.all) and kind != "--figure" else []
        return f"{command('report')} {shlex.join([*words, *store, *options.overrides])}".rstrip()

    def write(self, folder: str, sheets: Sequence[Sheet], drawings: Sequence[Drawing]) -> None:
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

    def show(self, sheet: Sheet) -> None:
        print(rendered(sheet, self.options.format or "md"))
