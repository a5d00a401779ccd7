"""The tally of a sweep: how its jobs have ended so far, whichever processes run them.

It is a file, ``<sweep dir>/outcomes.jsonl``: first {"total": n, "time": t}, then a line where a job begins and one
where it ends. Each process reads what was added since it last looked; a line that cannot be read, or a file that is
gone, costs the count of other processes' jobs and nothing else.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Collection, Sequence
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
        self.total, self.begun_at = 0, time.time()
        self.remedy = ""
        self.costs: list[float] = []
        self.differing: set[str] = set()
        self.left = self.trained = 0.0  # what the jobs cost that have not ended, and those that were trained
        self.running: dict[int, str] = {}
        self.widest = 0  # places of the longest name
        self.ended: list[dict[str, Any]] = []
        self._read = 0

    @classmethod
    def start(
        cls, folder: Path, total: int, remedy: str, costs: Sequence[float] = (), differing: Collection[str] = ()
    ) -> Tally:
        """``remedy``: the command that shows why cells failed; ``costs``: seconds of each job (none: alike);
        ``differing``: as the function of that name says."""
        tally = cls(folder.absolute() / "outcomes.jsonl")
        tally.remedy = remedy
        tally.path.parent.mkdir(parents=True, exist_ok=True)
        tally.path.write_text("")
        said = {"costs": [round(cost, 3) for cost in costs], "differing": sorted(differing)}
        tally._enter({"total": total, "time": time.time(), **said})
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
        self._enter({"job": job, "name": name})

    def end(self, job: int, status: str, seconds: float, failed: bool, unrecorded: str = "", line: str = "") -> str:
        """Enters what became of a job and returns the progress that precedes its ``line``, e.g. ``[3/26, 0:40 left] ``.
        ``unrecorded``: the line of a failure that no cell records."""
        outcome = {"status": status, "seconds": seconds, "failed": failed, "unrecorded": unrecorded, "line": line}
        self._enter({"job": job, **outcome})
        if not self.total:
            return ""
        if not self.trained or len(self.ended) >= self.total:
            return f"[{len(self.ended)}/{self.total}] "
        # Jobs that were done before cost nothing: the pace is that of the trained ones, over all processes.
        pace = (time.time() - self.begun_at) / self.trained
        return f"[{len(self.ended)}/{self.total}, {clock(pace * max(0.0, self.left))} left] "

    def cost(self, job: int) -> float:
        """What a job may cost, in seconds where any is known."""
        return self.costs[job] if job < len(self.costs) else 1.0

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
        return sum(job["failed"] for job in self.ended)

    def summary(self) -> str:
        """The last lines of a sweep."""
        self._update()
        count = Counter(job["status"] for job in self.ended)
        parts = [f"{count.pop('done', 0)} done", f"{count.pop('skipped', 0)} skipped (done before)"]
        parts += [f"{n} {word}" for word, n in sorted({"failed": 0, **count}.items())]
        text = f"{len(self.ended)} of {self.total} cells: {', '.join(parts)}; {clock(time.time() - self.begun_at)}"
        unrecorded = Counter(job["unrecorded"] for job in self.ended if job["unrecorded"])
        if self.failures > unrecorded.total():
            text += f"; {self.remedy} shows why"
        # No cell has these, so status cannot show them.
        return text + "".join(f"\n  {line}" for line in unrecorded)

    def _enter(self, line: dict[str, Any]) -> None:
        try:
            with os.fdopen(os.open(self.path, os.O_WRONLY | os.O_APPEND), "w") as file:
                file.write(json.dumps(line) + "\n")  # one short write: lines of several processes do not mix
        except OSError:
            self._take(line)
        self._update()

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
            self.total, self.begun_at = int(line["total"]), float(line["time"])
            self.costs = [float(cost) for cost in line.get("costs", [])]
            self.left = sum(self.costs) or float(self.total)
            self.differing = set(line.get("differing", []))
        elif "name" in line:
            self.running[line["job"]] = str(line["name"])
            self.widest = max(self.widest, places_of(str(line["name"])))
        else:
            self.running.pop(line["job"], None)
            kinds = {"status": str, "seconds": float, "failed": bool, "unrecorded": str}
            self.ended.append({key: kind(line[key]) for key, kind in kinds.items()})
            cost = self.cost(line["job"])
            self.left -= cost
            self.trained += cost if line["seconds"] else 0.0


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
    minutes, seconds = divmod(int(round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
