"""A sweep that is compared with an undisturbed one after whatever befell it."""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np

from imbalance_bench.store import CellFolder, Damaged, Store, file_of
from tests.commands import Commands

ROOT = Path(__file__).parents[2]
METHODS = ("cross_entropy", "smote", "focal")
CELL = ["trainer.epochs=3", "protocol.folds=2", "device=cpu"]
NUMBERS = ("metrics.csv", "predictions.npz", "history.csv")
PATIENCE = 120.0  # seconds for processes that outlive their command


@dataclass
class Row:
    """A line of the table: what befell sweeps, how often, what it cost, and what it led to."""

    what: str
    faults: int = 0
    lost: int = 0
    wrong: int = 0
    tracebacks: int = 0
    led_to: Counter[str] = field(default_factory=Counter)
    told: list[str] = field(default_factory=list)

    @property
    def bad(self) -> int:
        return self.lost + self.wrong + self.tracebacks + len(self.told)

    def line(self, wide: int = 0) -> str:
        led = "; ".join(f"{what} ({n})" if n > 1 else what for what, n in self.led_to.most_common())
        return f"{self.what:{wide}}  {self.faults:7d} {self.lost:12d} {self.wrong:13d} {self.tracebacks:10d}  {led}"


class Sweep:
    """A sweep in a folder of its own. ``call`` runs a command in it and counts records that are there no longer, or are
    others, and tracebacks."""

    def __init__(self, shell: Commands, folder: Path, row: Row, words: Sequence[str]) -> None:
        self.shell, self.folder, self.row, self.words = shell, folder, row, words
        self.runs = Store(folder / "outputs")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)

    def train(self, *extra: str, fault: Sequence[Any] = ()) -> CompletedProcess[str]:
        """The sweep, or what is left of it."""
        return self.call("train.py", "-m", *self.words, *extra, fault=fault)

    def call(self, script: str, *words: str, fault: Sequence[Any] = ()) -> CompletedProcess[str]:
        self.row.faults += bool(fault)
        before = self.records()
        done = self.shell.call(self.folder, [str(ROOT / "scripts" / script), *words], fault)
        self.compare(before)
        if "Traceback (most recent" in done.stdout + done.stderr:
            self.row.tracebacks += 1
            self.row.told.append(f"{script} {' '.join(words)} {fault}:\n{done.stderr[-3000:]}")
        return done

    def records(self) -> dict[str, dict[str, str]]:
        """The sums of the files of each cell that is done."""
        found = {}
        for cell in self.cells():
            try:
                record = cell.record()
            except Damaged:
                continue
            if record is not None:
                found[cell.path.name] = {name: record["files"][name] for name in NUMBERS}
        return found

    def cells(self) -> list[CellFolder]:
        return self.runs.cells()

    def compare(self, before: dict[str, dict[str, str]]) -> None:
        now = self.records()
        self.row.lost += sum(now.get(name) != sums for name, sums in before.items())

    def scores(self, name: str) -> dict[str, np.ndarray]:
        """The arrays of predictions.npz of a cell."""
        (cell,) = (cell for cell in self.cells() if cell.path.name == name)
        with np.load(cell.path / "predictions.npz", allow_pickle=False) as file:
            return dict(file)

    def wait(self) -> None:
        """Until nobody works on a cell: processes of a queue outlive their command."""
        until = time.monotonic() + PATIENCE
        while any(cell.locked() for cell in self.cells()) and time.monotonic() < until:
            time.sleep(0.05)

    def finish(self, whole: dict[str, dict[str, str]], *extra: str, near: Sweep | None = None) -> CompletedProcess[str]:
        """Runs it to its end, undisturbed, and compares it with the one that always was (``whole``; or up to rounding
        with ``near``)."""
        self.wait()
        done = self.train(*extra)
        if done.returncode:
            self.row.told.append(f"the same command does not go on: {done.stdout[-500:]}{done.stderr[-1500:]}")
        self.check(whole, near)
        status = self.call("status.py", "--json")
        states = {cell["state"] for cell in json.loads(status.stdout)}
        if states != {"done"} or status.returncode:
            self.row.told.append(f"status.py says {states}, exit status {status.returncode}")
        if left := [str(path) for path in self.runs.runs.rglob(".*.[0-9]*")]:
            self.row.told.append(f"left behind: {left}")
        return done

    def check(self, whole: dict[str, dict[str, str]], near: Sweep | None = None) -> None:
        """Counts cells whose numbers, or the files that hold them, are others than those of the undisturbed sweep."""
        found = self.records()
        if near is None:
            self.row.wrong += sum(sums != whole.get(name) for name, sums in found.items())
        else:  # which cells share a program follows from which were done: other programs, other last digits
            self.row.wrong += sum(not _equal(self.scores(name), near.scores(name)) for name in found)
        self.row.lost += len(whole.keys() - found.keys())
        for cell in self.cells():
            try:
                if record := cell.record():
                    for name in NUMBERS:
                        file_of(record, name)
            except Damaged:
                self.row.wrong += 1


def _equal(one: dict[str, np.ndarray], two: dict[str, np.ndarray]) -> bool:
    """Whether the same rows have the same scores, up to the rounding of some epochs in float32."""
    return one.keys() == two.keys() and all(np.allclose(one[key], two[key], rtol=1e-3, atol=1e-3) for key in one)


@dataclass
class World:
    """Where all of it happens: ``first``: an undisturbed sweep; ``whole``: its sums; ``seconds``: what it took."""

    shells: list[Commands]
    folder: Path
    methods: Sequence[str] = METHODS
    first: Sweep | None = None
    whole: dict[str, dict[str, str]] = field(default_factory=dict)
    seconds: float = 0.0
    rows: list[Row] = field(default_factory=list)
    count: int = 0

    def undisturbed(self) -> None:
        sweep = self.sweep(Row("undisturbed"))
        start = time.monotonic()
        done = sweep.train()
        self.seconds = time.monotonic() - start
        self.first, self.whole = sweep, sweep.records()
        assert done.returncode == 0 and len(self.whole) == len(self.methods), done.stdout + done.stderr

    def row(self, what: str) -> Row:
        self.rows.append(Row(what))
        return self.rows[-1]

    def sweep(self, row: Row, extra: Sequence[str] = ()) -> Sweep:
        self.count += 1
        words = [f"method={','.join(self.methods)}", *CELL, *extra]
        return Sweep(self.shells[0], self.folder / str(self.count), row, words)


def table(rows: Sequence[Row], out: Callable[[str], Any] = print) -> None:
    """What was done and what came of it."""
    names = ("faults", "lost", "wrong", "tracebacks")
    wide = max(len(row.what) for row in rows)
    out(f"{'':{wide}}  {'faults':>7} {'records lost':>12} {'wrong numbers':>13} {'tracebacks':>10}  led to")
    total = Row("in all")
    for row in rows:
        for name in names:
            setattr(total, name, getattr(total, name) + getattr(row, name))
    for row in (*rows, total):
        out(row.line(wide))
    for row in rows:
        for told in row.told:
            out(f"\n{row.what}: {told}")
