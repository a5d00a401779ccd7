"""How far a cell is, said while it trains: at the terminal, and in ``progress.json`` beside its record for status.py.

Code that takes long calls ``report`` whenever it has come a step further, whatever it is and however often: this module
decides what is worth showing. What calls a library that takes long says so by ``doing``. Whatever was reported last is
shown again while nothing new is. Outside a cell (``following``) a report goes nowhere.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from imbalance_bench import terminal
from imbalance_bench.running.tally import clock

NAME = "progress.json"
SHOW = 1.0  # seconds between two looks of the line at a terminal
PLAIN = 60.0  # ... and between two lines where the output is a file, or shared with other processes
WRITE = 2.0  # ... and between two writes of progress.json
SHARED = "IMBALANCE_BENCH_SHARED"  # set where several processes write to one terminal: no line is written over
WARM = 2.0  # a cell that is done sooner shows nothing
TICK = 1.0  # seconds after which a report is shown again where none has followed it
_STAGE = ("stage", "stage_begun", "first", "at", "numbers", "known", "size")  # what a Progress knows of one

Numbers = Mapping[str, float] | Callable[[], Mapping[str, float]]
"""What a stage gave; a function is asked only when something is shown."""
Runs = Callable[[], Sequence[tuple[Any, Mapping[str, float]]]]
"""What it gave each run, with the run's task; asked only when somebody listens."""
Listener = Callable[[str, float, Numbers, Runs | None], None]
"""Is told of a stage, how much of it is done, and what it gave."""


@dataclass
class Progress:
    """Of one cell, or of several that are trained together. ``name``: what the line begins with; ``paths``: the
    progress.json of each; ``listeners`` are told whatever comes with numbers."""

    name: str
    paths: Sequence[Path] = ()
    stream: TextIO = field(default_factory=lambda: sys.stderr)
    now: Callable[[], float] = time.monotonic
    listeners: Sequence[Listener] = ()

    def __post_init__(self) -> None:
        self.rewrites = SHARED not in os.environ and self.stream.isatty()
        self.begun = self.shown = self.written = self.now()
        self.reported = self.begun
        self.within: list[str] = []
        self.runs: tuple[int, int, int] | None = None  # that are through, that are trained now, and all
        self.runs_begun, self.each = self.begun, 0.0  # ... and what one has taken so far, at most
        self.stage, self.stage_begun, self.first = "", self.begun, 0.0
        self.at: tuple[float, float, str] | None = None  # the last report: done, total, unit
        self.numbers: Numbers = {}
        self.known: dict[str, float] = {}  # the numbers that were shown last
        self.size = ""
        self.width = 0
        self.lock = threading.Lock()  # a thread shows reports again

    def report(self, stage: str, done: float, total: float, unit: str, numbers: Numbers, size: str = "") -> None:
        """``done`` of ``total`` (0: not known) ``unit``s (empty: it has none) of a stage, what they gave, and what one
        costs (empty: as said last)."""
        with self.lock:
            now = self.reported = self.now()
            if stage != self.stage or done < self.first:
                self.stage, self.stage_begun, self.first = stage, now, done
                self.numbers, self.known, self.size = {}, {}, ""
            self.numbers, self.size = numbers or self.numbers, size or self.size
            self.at = done, total, unit
            self._tell(now)

    def tick(self) -> None:
        """Shows the last report again, where none has followed it for a while."""
        with self.lock:
            now = self.now()
            if now - self.reported >= TICK:
                self._tell(now, again=True)

    def _tell(self, now: float, again: bool = False) -> None:
        if now - self.begun < WARM or self.at is None:
            return
        write = now - self.written >= WRITE
        show = now - self.shown >= (SHOW if self.rewrites else PLAIN)
        if not (write or show):  # as nearly always: it is called after each step
            return
        if not again:  # what it asks is at work otherwise
            numbers = self.numbers() if callable(self.numbers) else self.numbers
            self.known = {name: float(value) for name, value in numbers.items()}
        state = self.state(*self.at, now)
        if write:
            self.written = now
            self._write(state)
        if show:
            self.shown = now
            line = f"{self.name}: {described(state)}"
            if self.rewrites:
                self._rewrite(line)
            else:
                with suppress(OSError, ValueError):  # a terminal that is gone
                    print(line, file=self.stream, flush=True)

    def state(self, done: float, total: float, unit: str, now: float) -> dict[str, Any]:
        """What progress.json holds."""
        spent = now - self.stage_begun
        pace = (done - self.first) / spent if spent > 0 else 0.0
        return {
            "within": list(self.within),
            "stage": self.stage,
            "done": done,
            "total": total,
            "unit": unit,
            "size": self.size,
            "numbers": self.known,
            "pace": pace,
            "left": self._left(done, total, pace, now),
            "spent": spent,
            "seconds": now - self.begun,
            "time": time.time(),
            "host": platform.node(),
            "process": os.getpid(),
        }

    def _left(self, done: float, total: float, pace: float, now: float) -> float | None:
        """Seconds to the end of the stage and, of runs that are trained in turn, of those after it; None: not known."""
        left = (total - done) / pace if total and pace > 0 else None
        if self.runs is None:
            return left
        through, present, of = self.runs
        if left is None and self.each:
            left = max(0.0, self.each * present - (now - self.runs_begun))
        if left is None:
            return None
        return left + (of - through - present) * max(self.each, total / pace / present if pace > 0 else 0.0)

    def _write(self, state: dict[str, Any]) -> None:
        """A reader sees the earlier state or this one, never half of one. A full disk costs the progress only."""
        for path in self.paths:
            new = path.with_name(f".{NAME}.{os.getpid()}")
            with suppress(OSError):
                new.write_text(json.dumps(state))
                new.replace(path)

    def _rewrite(self, line: str) -> None:
        with suppress(OSError, ValueError):
            self.width = terminal.rewrite(self.stream, line, self.name, self.width)

    def clear(self) -> None:
        """Takes the line away, before another is printed."""
        if self.width:
            with suppress(OSError, ValueError):
                self.stream.write("\r" + " " * self.width + "\r")
                self.stream.flush()
            self.width = 0


_CURRENT: ContextVar[Progress | None] = ContextVar("progress", default=None)


@contextmanager
def following(progress: Progress) -> Iterator[Progress]:
    """Within it, what is reported is of this cell. Its line and its file are gone afterwards."""
    token = _CURRENT.set(progress)
    over = threading.Event()

    def show_again() -> None:
        while not over.wait(TICK):
            progress.tick()

    threading.Thread(target=show_again, daemon=True).start()
    try:
        yield progress
    finally:
        over.set()
        _CURRENT.reset(token)
        with progress.lock:
            progress.at = None  # the thread may be about to show it
            progress.clear()
            progress.numbers = {}  # a function of a training would keep its networks
        for path in progress.paths:
            forget(path.parent)


def forget(folder: Path) -> None:
    """Removes what the process that last worked on a cell has reported."""
    with suppress(OSError):
        (folder / NAME).unlink(missing_ok=True)


def report(
    stage: str,
    done: float,
    total: float = 0,
    unit: str = "epochs",
    numbers: Numbers | None = None,
    runs: Runs | None = None,
    size: str = "",
) -> None:
    """Says that ``done`` of ``total`` (0: not known) ``unit``s of a stage are behind, and the numbers that they gave:
    ``report("training", 3, 200, numbers={"loss": 0.31})``; ``runs``: those of each run; ``size``: what a unit costs,
    e.g. "4 runs × 3 steps"."""
    progress = _CURRENT.get()
    if progress is not None:
        progress.report(stage, done, total, unit, numbers or {}, size)
        if numbers:
            for listener in progress.listeners:
                listener(stage, done, numbers, runs)


@contextmanager
def doing(stage: str) -> Iterator[None]:
    """Names a stage that says no more of itself, such as a call of a library; then the stage before goes on."""
    progress = _CURRENT.get()
    if progress is None:
        yield
        return
    before = {name: getattr(progress, name) for name in _STAGE}
    report(stage, 0, unit="")
    try:
        yield
    finally:
        with progress.lock:
            vars(progress).update(before)


@contextmanager
def within(part: str, runs: tuple[int, int, int] | None = None) -> Iterator[None]:
    """Names the part of a cell that is at work, e.g. "run 3 of 5", for what is reported meanwhile ("": all of it).
    ``runs``: how many are through, how many it trains, and all."""
    progress = _CURRENT.get()
    if progress is None or not part:
        yield
        return
    with progress.lock:
        progress.within.append(part)
        # The next report begins a stage, though it may be called as the last one was.
        progress.stage = ""
        progress.at = None
        progress.runs, progress.runs_begun = runs, progress.now()
    try:
        yield
        if runs:
            progress.each = max(progress.each, (progress.now() - progress.runs_begun) / runs[1])
    finally:
        with progress.lock:
            progress.within.pop()
            progress.runs, progress.numbers = None, {}


def clear() -> None:
    """Takes the line of the present cell away, before something is printed."""
    progress = _CURRENT.get()
    if progress is not None:
        progress.clear()


def read(folder: Path) -> dict[str, Any] | None:
    """What a cell that is running reported last; None where there is nothing to read."""
    try:
        state = json.loads((folder / NAME).read_text())
        described(state)
        return {**state, "time": float(state["time"])}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def described(state: Mapping[str, Any]) -> str:
    """run 3 of 5, training 12 of 200 epochs of 4 runs × 3 steps, loss 0.31, 3.1 epochs/s, 1:01 left; or, of a stage
    without units: resampling for 0:43"""
    if not state["unit"]:
        left = [f"{clock(state['left'])} left"] if state["left"] is not None else []
        return ", ".join([*state["within"], f"{state['stage']} for {clock(state['spent'])}", *left])
    total = f" of {_count(state['total'])}" if state["total"] else ""
    size = f" of {state['size']}" if state.get("size") else ""
    parts = [*state["within"], f"{state['stage']} {_count(state['done'])}{total} {state['unit']}{size}"]
    parts += [f"{name} {value:.4g}" for name, value in state["numbers"].items()]
    if state["pace"] > 0:
        slow = state["pace"] < 0.1
        parts.append(f"{1 / state['pace']:.0f} s each" if slow else f"{state['pace']:.3g} {state['unit']}/s")
    if state["left"] is not None:
        parts.append(f"{clock(state['left'])} left")
    return ", ".join(parts)


def _count(n: float) -> str:
    return f"{n:,.0f}" if n == round(n) else f"{n:,.1f}"
