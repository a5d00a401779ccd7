"""Where the cells under an outputs folder stand, without training or changing anything; imports no torch."""

from __future__ import annotations

import json
import platform
import shlex
import sys
import time
from argparse import Namespace, RawDescriptionHelpFormatter
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from imbalance_bench import terminal
from imbalance_bench.errors import BenchError, command, of_outputs
from imbalance_bench.running import progress
from imbalance_bench.settings.conf_files import own_folder
from imbalance_bench.settings.select import select
from imbalance_bench.store import OUTPUTS, CellFolder, Damaged, Store, names_by_folder
from imbalance_bench.store.index import Index
from imbalance_bench.terminal.arguments import ArgumentParser

EVERY = 2.0  # seconds between two looks of --watch
TAIL = 4  # lines of a traceback that --failed shows
TO_DO = ("failed", "damaged", "started", "missing")
EXPLAINED = ("failed", "damaged", "outdated")
HELP = """Shows the cells of an outputs folder: done, declined, running, failed (and why), started (their process died),
damaged, outdated, and stale (done by code that has changed since).

  status.py                                     counts, and every cell with a problem
  status.py +paper=miso/table3 dataset=sms_spam  the cells of a preset, as for train.py -m, missing ones too
  status.py --failed method=dos*                 reasons, and the last lines of each traceback
  status.py --forget method=dos*                 removes what failed cells without a record left behind
  status.py --watch                              repeats until nothing runs
  status.py --papers                             how much of the papers was run, and how near the numbers are
"""


@dataclass(frozen=True)
class Seen:
    """One cell as it stands. ``why``: of a failure or damage; ``progress``: as in progress.json, while it runs;
    ``notes``: what else to know, each with the word that it is listed under."""

    path: str
    labels: dict[str, str]
    id: str
    state: str
    why: str = ""
    trace: list[str] = field(default_factory=list)
    progress: dict[str, Any] | None = None
    notes: list[tuple[str, str]] = field(default_factory=list)
    few_classes: bool = False


def look(index: Index, cell: CellFolder) -> Seen:
    """Where a cell stands."""
    entry, error, why = None, cell.error(), ""
    first = error.partition("\n")[0]
    notes: list[tuple[str, str]] = []
    try:
        entry = index.look(cell, whole=True)
        state = entry.status if entry else cell.unfinished()
    except Damaged as found:
        state, why = found.state, str(found)
    if state == "failed":
        why = first
    if entry and state == "done":
        if modules := index.stale(entry):
            state = "stale"
            why = f"made by other code ({modules}): cache=overwrite trains it again"
        notes += [("kept", f"training it again failed: {first}")] if error else []
        notes += [("note", entry.few)] if entry.few else []
        notes += [("diverged", run) for run in entry.diverged]
    path = index.key(cell)
    labels = names_by_folder(path)
    return Seen(
        path=path,
        id=labels.pop("id"),
        labels=labels,
        state=state,
        why=why,
        trace=[line for line in error.splitlines()[1:] if line.strip()][-TAIL:] if state == "failed" else [],
        progress=progress.read(cell.path) if state == "running" else None,
        notes=notes,
        few_classes=bool(entry and entry.few),
    )


def planned(store: Store, preset: str, overrides: Sequence[str], own: Any) -> list[CellFolder]:
    """The folders of a preset's cells (+paper=<paper>/<name>), narrowed as train.py narrows it."""
    from imbalance_bench.settings.presets import load_preset

    paper, _, name = preset.partition("/")
    if not name:
        raise BenchError(f"+paper={preset} names no preset: +paper=<paper>/<table>, as for {command('train')}")
    return [store.cell(cell.labels, cell.id) for cell in load_preset(paper, name, list(overrides), own).cells]


def survey(index: Index, wanted: Sequence[str], own: Any = None) -> list[Seen]:
    """The cells that the words of the command line are about.

    Raises:
        BenchError: a word matches nothing, or there is no such preset.
    """
    presets, store = [word.removeprefix("+paper=") for word in wanted if word.startswith("+paper=")], index.store
    if not presets:
        found = [
            look(index, cell) for cell in select(index.cells(), wanted, lambda cell: names_by_folder(index.key(cell)))
        ]
        index.save()
        return found
    overrides = [word for word in wanted if not word.startswith("+paper=")]
    cells = {cell.path: cell for preset in presets for cell in planned(store, preset, overrides, own)}
    return [look(index, cell) if cell.path.is_dir() else _missing(index, cell) for cell in cells.values()]


def _missing(index: Index, cell: CellFolder) -> Seen:
    labels = names_by_folder(index.key(cell))
    return Seen(index.key(cell), id=labels.pop("id"), labels=labels, state="missing")


def lines(cells: Sequence[Seen], everything: bool = False, failed: bool = False) -> Iterator[str]:
    """What is printed: cells that are not well or at work (``everything``: all), and the counts; ``failed``: only those
    that failed, with the end of their tracebacks."""
    for cell in unwell(cells) if failed else cells:
        notes = [(word, text) for word, text in cell.notes if everything or word != "note"]
        if everything or failed or cell.state in (*EXPLAINED, "running", "started"):
            yield f"{cell.state:9s} {cell.path}"
            if cell.why:
                yield f"          {cell.why}"
            if cell.progress:
                yield f"          {at_work(cell.progress)}"
            yield from (f"          | {line}" for line in (cell.trace if failed else ()))
        yield from (line for word, text in notes for line in (f"{word:9s} {cell.path}", f"          {text}"))
    count = Counter(cell.state for cell in cells)
    few = sum(cell.few_classes for cell in cells)
    summary = ", ".join(f"{n} {state}" for state, n in sorted(count.items())) or f"no cells yet: run {command('train')}"
    yield summary + (f"; few classes predicted in {few} (--all lists them)" if few else "")


def unwell(cells: Sequence[Seen]) -> list[Seen]:
    """Those that --failed shows."""
    return [cell for cell in cells if cell.state in (*TO_DO, "outdated")]


def forget(store: Store, cells: Sequence[Seen]) -> list[Seen]:
    """Removes the folders of failed cells: of ``cells`` those that have no record, and that no process works on by now.

    Raises:
        BenchError: the disk does not let it.
    """
    gone = []
    for seen in cells:
        if seen.state != "failed":
            continue
        cell = CellFolder(store.runs / seen.path)
        with cell.lock() as mine:
            if not mine or (cell.path / "record.json").exists():
                continue
            cell.forget()
        if cell.path.exists():
            raise BenchError(f"cannot remove {cell.path}: its files are another user's, or the disk is read-only")
        gone.append(seen)
    return gone


def at_work(state: dict[str, Any]) -> str:
    """What a running cell does, and who does it."""
    ago = max(0.0, time.time() - state["time"])
    here = f"process {state['process']}" + ("" if state["host"] == platform.node() else f" on {state['host']}")
    return f"{progress.described(state)}; {here}, {ago:.0f} s ago"


def _parser() -> ArgumentParser:
    parser = ArgumentParser(description=HELP, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--outputs", default=OUTPUTS, help="the folder of paths.outputs (default: outputs)")
    parser.add_argument("--all", action="store_true", help="list finished cells too")
    parser.add_argument("--failed", action="store_true", help="list what failed, with the end of each traceback")
    parser.add_argument("--forget", action="store_true", help="remove what failed cells left behind; records stay")
    parser.add_argument("--json", action="store_true", help="everything, for programs")
    parser.add_argument("--watch", action="store_true", help=f"repeat every {EVERY:g} s until nothing runs")
    parser.add_argument("--papers", action="store_true", help="one row per paper, from the stored tables")
    parser.add_argument("--config-dir", metavar="FOLDER", help="presets of your own, as for train.py")
    parser.add_argument("wanted", nargs="*", help="ids, filters such as method=smote,ada* dataset=ecoli, +paper=...")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status is 1 while a cell is failed, damaged, missing or left unfinished."""
    parser = _parser()
    arguments = parser.parse_intermixed_args(argv)
    if arguments.watch and arguments.json:
        parser.error("--watch shows a page, and --json is for programs: choose one")
    if arguments.forget and (arguments.watch or arguments.json):
        parser.error("--forget tells what it removed: leave --watch and --json out")
    others = (arguments.watch, arguments.json, arguments.failed, arguments.all, arguments.forget)
    if arguments.papers and (any(others) or arguments.wanted):
        parser.error("--papers stands alone, but for --outputs")
    try:
        if arguments.papers:
            _show_papers(arguments.outputs)
            return 0
        cells = _shown(arguments)
    except BenchError as error:
        terminal.tell(f"error: {error}", sys.stderr)
        return 1
    return int(any(cell.state in TO_DO for cell in cells))


def _show_papers(outputs: str) -> None:
    from imbalance_bench.report.pages import coverage

    Store.named(outputs)  # raises where there is no such folder
    print(coverage.papers_table(Path(outputs)), coverage.EXPLAINED, sep="\n")


def _shown(arguments: Namespace) -> list[Seen]:
    """Shows where cells stand, with --watch again and again until none runs; returns them as they stood last."""
    index = Index(Store.named(arguments.outputs))
    own = own_folder(arguments.config_dir)
    while True:
        cells = survey(index, arguments.wanted, own)
        if arguments.json:
            shown = unwell(cells) if arguments.failed else cells
            print(json.dumps([asdict(cell) for cell in shown], indent=1))
            return cells
        if arguments.watch:
            terminal.clear_screen(sys.stdout)
        if arguments.forget:
            gone = forget(index.store, cells)
            removed = [f"removed   {seen.path}\n          {seen.why}" for seen in gone]
            terminal.tell("\n".join(removed or ["none failed"]))
            cells = [seen for seen in cells if seen not in gone]
        terminal.tell("\n".join(lines(cells, arguments.all, arguments.failed)))
        if any(cell.state == "failed" for cell in cells) and not arguments.watch:
            remedy = f"{command('status')}{of_outputs(arguments.outputs)}"
            words = shlex.join(["--forget", *arguments.wanted])
            print(f"what is not to be run again: `{remedy} {words}` removes what failed cells left")
        if not arguments.watch or not any(cell.state == "running" for cell in cells):
            return cells
        time.sleep(EVERY)
