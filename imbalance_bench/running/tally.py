"""The tally of a sweep: how its jobs have ended so far, whichever processes run them.

It is a file, ``<sweep dir>/outcomes.jsonl``: first {"total": n, "clock": t}, then a line where a job begins and one
where it ends. Each process reads what was added since it last looked. A process keeps what it entered itself, and tells
the launcher's how its jobs ended (``hear``): a line that cannot be written or read costs others' progress and no count.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from imbalance_bench.terminal import places_of

NAMED = ("method", "dataset", "ratio")  # what the name of a cell says itself
VARIABLE = "IMBALANCE_BENCH_TALLY"  # tells the processes of a sweep where its tally is


class StopSweep(BaseException):
    """Ends a sweep after a failed cell (on_error=stop). No Exception: launchers keep those until the last job."""


class DeviceLost(BaseException):
    """Ends a process that can compute on its GPU no longer."""


class Tally:
    """Jobs by their number. ``current``: that of the sweep that this process belongs to."""

    current: Tally | None = None

    def __init__(self, path: Path) -> None:
        self.path = path
        self.total, self.begun_at = 0, time.monotonic()  # the same clock in all processes of a machine
        self.remedy = ""
        self.costs: list[float] = []
        self.differing: set[str] = set()
        self.left = self.trained = 0.0  # what the jobs cost that have not ended, and those that were trained
        self.running: dict[int, str] = {}
        self.widest = 0  # places of the longest name
        self.ended: dict[int, dict[str, Any]] = {}
        self._read = 0
        self._cut = False  # whether the last line may stand there in part
        self._starter = 0  # the process that started the sweep, where that is known

    @classmethod
    def start(
        cls, folder: Path, total: int, remedy: str, costs: Sequence[float] = (), differing: Collection[str] = ()
    ) -> Tally:
        """``remedy``: the command that shows why cells failed; ``costs``: seconds of each job (none: alike);
        ``differing``: as the function of that name says."""
        tally = cls(_new_file(folder.absolute()))
        tally.remedy, tally._starter = remedy, os.getpid()
        said = {"costs": [round(cost, 3) for cost in costs], "differing": sorted(differing)}
        tally._enter({"total": total, "clock": tally.begun_at, **said})
        os.environ[VARIABLE] = str(tally.path)
        Tally.current = tally
        return tally

    @classmethod
    def find(cls) -> Tally | None:
        """That of the sweep that started this process; None outside of sweeps."""
        if Tally.current is None and VARIABLE in os.environ:
            Tally.current = cls(Path(os.environ[VARIABLE]))
            Tally.current._update()
        return Tally.current

    def named(self, name: str, overrides: Sequence[str]) -> str:
        """The name of a cell, with those of its job's overrides that tell it from others of the sweep."""
        return " ".join([name, *(override for override in overrides if _key(override) in self.differing)])

    def begin(self, job: int, name: str) -> None:
        """Enters that a job is under way, and what it is called."""
        self._enter({"job": job, "name": name})

    def end(self, job: int, status: str, seconds: float, failed: bool, unrecorded: str = "", line: str = "") -> str:
        """Enters what became of a job and returns the progress that precedes its ``line``, e.g. ``[3/26, 0:40 left] ``.
        ``unrecorded``: the line of a failure that no cell records."""
        outcome = {"status": status, "seconds": seconds, "failed": failed, "unrecorded": unrecorded, "line": line}
        written = self._enter({"job": job, **outcome})
        if not self.total or not (written or self._starter == os.getpid()):
            return ""  # one of several processes, which cannot tell each other how far they are
        if not self.trained or len(self.ended) >= self.total:
            return f"[{len(self.ended)}/{self.total}] "
        # Jobs that were done before cost nothing: the pace is that of the trained ones, over all processes.
        pace = self.seconds / self.trained
        return f"[{len(self.ended)}/{self.total}, {clock(pace * max(0.0, self.left))} left] "

    def cost(self, job: int) -> float:
        """What a job may cost, in seconds where any is known."""
        return self.costs[job] if job < len(self.costs) else 1.0

    def begun(self, job: int) -> bool:
        """Whether it runs."""
        self._update()
        return job in self.running

    def name(self, job: int) -> str:
        """The name that a running job has given itself."""
        self._update()
        return self.running.get(job, f"job {job}")

    def at_work(self) -> list[str]:
        """The names of the jobs that run."""
        self._update()
        return list(self.running.values())

    def put_back(self, job: int) -> bool:
        """Takes a job for one that has not begun; whether it had. For the process that deals out the jobs."""
        self._update()
        return self.running.pop(job, None) is not None

    @property
    def failures(self) -> int:
        """How many jobs have failed so far."""
        return sum(job["failed"] for job in self.ended.values())

    @property
    def seconds(self) -> float:
        """Since the sweep began."""
        return time.monotonic() - self.begun_at

    def unheard(self) -> int:
        """How many jobs have not ended, as far as this process knows."""
        self._update()
        return max(0, self.total - len(self.ended))

    def summary(self, unheard: int = 0) -> str:
        """The last lines of a sweep. ``unheard``: jobs that were run, but how they ended is not known."""
        self._update()
        ended = self.ended.values()
        count = Counter(job["status"] for job in ended)
        parts = [f"{count.pop('done', 0)} done", f"{count.pop('skipped', 0)} skipped (done before)"]
        parts += [f"{n} {word}" for word, n in sorted({"failed": 0, **count}.items())]
        text = f"{len(ended)} of {self.total} cells: {', '.join(parts)}; {clock(self.seconds)}"
        unrecorded = Counter(job["unrecorded"] for job in ended if job["unrecorded"])
        if self.failures > unrecorded.total():
            text += f"; {self.remedy} shows why"
        if unheard:
            text += f"; how {unheard} ended is not known, {self.remedy} shows where they stand"
        # No cell has these, so status cannot show them.
        return text + "".join(f"\n  {line}" for line in unrecorded)

    def hear(self, job: int, outcome: Mapping[str, Any]) -> None:
        """Takes what the process that ran a job has in ``ended``; once, whether the file has it too or not."""
        self._update()
        self._take({"job": job, **outcome})

    def _enter(self, line: dict[str, Any]) -> bool:
        """Whether other processes can read it."""
        self._take(line)
        text = "\n" * self._cut + json.dumps(line) + "\n"
        try:
            with os.fdopen(os.open(self.path, os.O_WRONLY | os.O_APPEND), "w") as file:
                file.write(text)  # one short write: lines of several processes do not mix
            self._cut = False
        except OSError:
            self._cut = True
        self._update()
        return not self._cut

    def added(self) -> list[dict[str, Any]]:
        """What was entered since the last look."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._read)
                added = file.read()
        except OSError:
            return []
        whole = added.rpartition(b"\n")[0]
        self._read += len(whole) + bool(whole)
        lines = []
        for line in whole.splitlines():
            with suppress(ValueError):
                lines.append(json.loads(line))
        return [line for line in lines if isinstance(line, dict)]

    def _update(self) -> None:
        for line in self.added():
            with suppress(ValueError, KeyError, TypeError):
                self._take(line)

    def _take(self, line: dict[str, Any]) -> None:
        if "total" in line:
            self.total, self.begun_at = int(line["total"]), float(line["clock"])
            self.costs = [float(cost) for cost in line.get("costs", [])]
            self.left = sum(self.costs) or float(self.total)
            self.differing = set(line.get("differing", []))
        elif line["job"] in self.ended:  # read again, or heard as well
            return
        elif "name" in line:
            self.running[line["job"]] = str(line["name"])
            self.widest = max(self.widest, places_of(str(line["name"])))
        else:
            self.running.pop(line["job"], None)
            kinds = {"status": str, "seconds": float, "failed": bool, "unrecorded": str}
            self.ended[line["job"]] = {key: kind(line[key]) for key, kind in kinds.items()}
            cost = self.cost(line["job"])
            self.left -= cost
            self.trained += cost if line["seconds"] else 0.0


def _new_file(folder: Path) -> Path:
    """An empty file of this command's own: another sweep may be running in the same folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path, number = folder / "outcomes.jsonl", 1
    while True:
        try:
            path.open("x").close()
        except FileExistsError:
            number += 1
            path = folder / f"outcomes.{number}.jsonl"
        else:
            return path


def differing(jobs: Sequence[Sequence[str]]) -> set[str]:
    """The keys of overrides in which the jobs of a sweep differ, but for what the name of a cell says itself."""
    values: dict[str, Counter[str]] = {}
    for job in jobs:
        for override in job:
            values.setdefault(_key(override), Counter())[override] += 1
    return {key for key, found in values.items() if key not in NAMED and (len(found) > 1 or found.total() < len(jobs))}


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]


def clock(seconds: float) -> str:
    """Seconds as minutes and seconds, 2:05, and from an hour on 1:02:05."""
    minutes, seconds = divmod(int(round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
