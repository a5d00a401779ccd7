"""What befalls sweeps while they run."""

from __future__ import annotations

import copy
import errno
import random
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.faults.sweeps import Row, Sweep, World

LAUNCHERS = {
    "basic": [],
    "processes": ["hydra/launcher=processes", "hydra.launcher.n_jobs=2"],
    "together": ["hydra/launcher=together"],
    "submitit_local": ["hydra/launcher=submitit_local", "hydra.launcher.n_jobs=2", "hydra.launcher.cells_per_job=2"],
}
SLOW = {"submitit_local": 6.0}  # seconds that its jobs take to start, in which kills are spread too
LONG = ["trainer.epochs=2000", "method=cross_entropy", "checkpoint_minutes=0"]  # seconds, and checkpoints begin after 2
LONGER = [*LONG, "trainer.epochs=6000"]  # for kills and signals in the middle of it
KEPT = "checkpoint_minutes=1e-9"  # then one after each turn
OFTEN = "checkpoint_minutes=0.01"
WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "hung up"}


def killed(world: World, launcher: str, times: int) -> None:
    """kill -9 at random moments, of the command alone or with all its processes; then the same command again, until it
    is through."""
    row, draw = world.row(f"kill -9, {launcher}"), random.Random(launcher)
    while row.faults < times:
        sweep = world.sweep(row, LAUNCHERS[launcher])
        span = world.seconds + SLOW.get(launcher, 0.0)
        for _ in range(draw.randrange(1, 6)):
            group = draw.random() < 0.5
            begun = time.monotonic()
            done = sweep.train(fault=["kill_after", draw.uniform(0.0, span), group])
            if done.returncode != -signal.SIGKILL:  # a machine that is less busy than it was
                span = min(span, time.monotonic() - begun)
            row.led_to["went on" if done.returncode == -signal.SIGKILL else "was through before"] += 1
            if row.faults == times:
                break
        sweep.finish(world.whole, near=world.first if launcher == "together" else None)


def long_sweep(world: World, words: Sequence[str] = LONG) -> tuple[dict[str, dict[str, str]], float]:
    """What an undisturbed one gives, and how long it takes."""
    whole, begun = world.sweep(Row(""), words), time.monotonic()
    whole.train()
    return whole.records(), time.monotonic() - begun


def how_it_went_on(sweep: Sweep) -> str:
    (log,) = sweep.runs.runs.rglob("train.log")
    return "went on from a checkpoint" if "goes on from" in log.read_text() else "began anew"


def killed_within(world: World, times: int) -> None:
    """kill -9 at random moments of cells that are long enough to have checkpoints."""
    row, draw = world.row("kill -9, long cells"), random.Random(2)
    whole, seconds = long_sweep(world, LONGER)
    for _ in range(times):
        launcher = draw.choice(("basic", "processes", "submitit_local"))
        sweep = world.sweep(row, [*LONGER, *LAUNCHERS[launcher]])
        moment = draw.uniform(0.4 * seconds, seconds) + SLOW.get(launcher, 0.0)
        sweep.train(OFTEN, fault=["kill_after", moment, draw.random() < 0.5])
        sweep.finish(whole)
        row.led_to[how_it_went_on(sweep)] += 1


def killed_at_changes(world: World, every: int = 1, at: Sequence[Any] = ()) -> None:
    """kill -9 before the changes of files: each (``every``-th), or that of a number among those of a name (``at``)."""
    row = world.row("kill -9 at a file's change")
    moments = [at]
    if not at:
        counted = world.sweep(Row(""))
        counted.train(fault=["count_changes", str(counted.folder), str(world.folder / "changes")])
        moments = [[number] for number in range(0, int((world.folder / "changes").read_text()), every)]
    for moment in moments:
        sweep = world.sweep(row)
        done = sweep.train(fault=["kill_at", str(sweep.folder), *moment])
        row.led_to["went on" if done.returncode == -signal.SIGKILL else "was through before"] += 1
        sweep.finish(world.whole)


def killed_at_checkpoints(world: World, times: int) -> None:
    """kill -9 of a cell that keeps a checkpoint after each turn, while it writes one, and goes on from the last."""
    row, draw = world.row("kill -9, checkpoints"), random.Random(0)
    whole, _ = long_sweep(world)
    for _ in range(times):
        sweep = world.sweep(row, LONG)
        sweep.train(KEPT, fault=["kill_at", str(sweep.folder), draw.randrange(10, 200), "/checkpoint/"])
        sweep.finish(whole)
        row.led_to[how_it_went_on(sweep)] += 1


def two_at_once(world: World, times: int) -> None:
    """Two sweeps of one grid in one folder, of which one is killed."""
    row, draw = world.row("two sweeps of one grid, kill -9"), random.Random(1)
    for _ in range(times):
        first = world.sweep(row, LAUNCHERS[draw.choice(("basic", "processes"))])
        second = copy.copy(first)
        second.shell = world.shells[1]
        moment = draw.uniform(0.0, world.seconds)
        other = threading.Thread(target=second.train)
        other.start()
        first.train(fault=["kill_after", moment, True])
        other.join()
        row.led_to["the other went on"] += 1
        first.finish(world.whole)


def worker_killed(world: World) -> None:
    """For lack of memory the kernel kills a process that trains: its cell fails, the others do not."""
    row = world.row("out of memory: a worker is killed")
    for launcher in ("processes", "together"):
        sweep = world.sweep(row, LAUNCHERS[launcher])
        done = sweep.train(fault=["kill_worker", str(sweep.folder / "killed")])
        failed = sum("failed: its process was killed (SIGKILL)" in line for line in done.stderr.splitlines())
        one_by_one = "they are trained one by one" in done.stderr
        if not (failed >= 1 or one_by_one) or done.returncode not in (0, 1):
            row.told.append(f"{launcher}: {done.stdout}{done.stderr}")
        row.led_to["named, the others trained" if failed else "the cells trained one by one"] += 1
        sweep.finish(world.whole)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[bool]:
    """A file system of that size; False where this user may not mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)], capture_output=True)
    try:
        yield mounted.returncode == 0
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", "-l", str(folder)], capture_output=True)


def fails_with_a_line(sweep: Sweep, done: subprocess.CompletedProcess[str], *words: str) -> None:
    """A command that could not do its work says so in lines that hold one of these words."""
    text = done.stdout + done.stderr
    if done.returncode != 1 or not any(word in text for word in words):
        sweep.row.told.append(f"exit status {done.returncode}: {text[-1500:]}")
    sweep.row.led_to[next((word for word in words if word in text), "?")] += 1


def disk_full(world: World, moments: Sequence[Sequence[Any]]) -> None:
    """Nothing can be written from some moment on (as for ``killed_at_changes``); then it can."""
    row = world.row("disk full while it trains")
    for moment in moments:
        sweep = world.sweep(row)
        done = sweep.train(fault=["full_disk", str(sweep.folder), *moment])
        fails_with_a_line(sweep, done, "the disk is full", "No space left")
        sweep.finish(world.whole)


def disk_full_for_real(world: World) -> None:
    """A small file system, and files that may not grow: a write ends in its middle."""
    row = world.row("writes that end in their middle")
    for most in (200, 2000, 8000):
        sweep = world.sweep(row)
        done = sweep.train(fault=["small_files", most])
        fails_with_a_line(sweep, done, "File too large")
        sweep.finish(world.whole)
    for size in ("20k", "64k"):
        sweep = world.sweep(row)
        with small_disk(sweep.folder / "outputs", size) as mounted:
            if mounted:
                fails_with_a_line(sweep, sweep.train(fault=["nothing"]), "the disk is full", "No space left")
        sweep.finish(world.whole)


def commands_with_a_full_disk(world: World) -> None:
    """Those that read records write tables, an index, records, and one file of them all, which stays as it was."""
    row = world.row("disk full in report, rescore, status, collect")
    sweep = world.sweep(row)
    sweep.train()
    for script, *words in (["report.py", "--write"], ["rescore.py"], ["status.py"], ["collect.py", "--name", "mine"]):
        earlier = collected(sweep) if script == "collect.py" else {}
        for number in (0, 1, 3):
            done = sweep.call(script, *words, fault=["full_disk", str(sweep.folder), number])
            row.led_to[f"{script} {'says so' if done.returncode else 'does without'}"] += 1
            if done.returncode and "No space left" not in done.stderr and "disk is full" not in done.stderr:
                row.told.append(f"{script}: {done.stdout}{done.stderr}")
            if done.returncode and script == "collect.py" and collected(sweep, again=False) != earlier:
                row.told.append("collect.py: another file than before, though it failed")
    sweep.finish(world.whole)


def collected(sweep: Sweep, again: bool = True) -> dict[str, bytes]:
    """The files that collect.py made, by name."""
    if again:
        sweep.call("collect.py", "--name", "mine")
    return {path.name: path.read_bytes() for path in (sweep.folder / "outputs" / "records").glob("*")}


def clock(world: World) -> None:
    row = world.row("a clock that jumps by days")
    for words in LAUNCHERS["basic"], LAUNCHERS["processes"]:
        sweep = world.sweep(row, words)
        done = sweep.train(fault=["jumping_clock"])
        row.led_to["nothing" if done.returncode == 0 else "failed"] += 1
        if re.search(r"-\d|\d\d:\d\d:\d\d", done.stdout):  # a time that is negative, or of days
            row.told.append(done.stdout)
        sweep.finish(world.whole)


def read_only(world: World) -> None:
    """Folders that may not be written to."""
    row = world.row("outputs or data for reading only")
    fault = ["permissions_count"]
    sweep = world.sweep(row)
    outputs = sweep.folder / "outputs"
    outputs.mkdir()
    outputs.chmod(0o555)
    fails_with_a_line(sweep, sweep.train(fault=fault), "no permission", "Permission denied")
    outputs.chmod(0o755)
    sweep.finish(world.whole)
    folders = [outputs, *(path for path in outputs.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    for script, *words in (["status.py"], ["report.py", "--write"], ["rescore.py"], ["train.py", "-m", *sweep.words]):
        done = sweep.call(script, *words, fault=fault)
        if done.returncode and "ermission" not in done.stderr:
            row.told.append(f"{script}: {done.stdout}{done.stderr}")
        row.led_to[f"{script} {'says so' if done.returncode else 'does without'}"] += 1
    for folder in folders:
        folder.chmod(0o755)


def network(world: World) -> None:
    """A file of the user's on a network that is away, or comes and goes; outputs on one."""
    row = world.row("a network file that vanished")
    table = "a,b,y\n" + "".join(f"{i % 7},{i % 11},{int(i % 9 == 0)}\n" for i in range(200))
    sweep = world.sweep(row, ["dataset=csv", "dataset.path=t.csv", "dataset.target=y", "trainer.batch_size=32"])
    path = sweep.folder / "t.csv"
    path.write_text(table)
    for kind in (errno.ESTALE, errno.EIO, errno.ENOENT):
        done = sweep.train(fault=["unreadable", "t.csv", kind])
        fails_with_a_line(sweep, done, "t.csv")
    if (again := sweep.train()).returncode:
        row.told.append(f"{again.stdout}{again.stderr}")
    for number in (4, 9, 14):
        sweep = world.sweep(row)
        done = sweep.train(fault=["vanishing", str(sweep.folder / "outputs"), number])
        shutil.rmtree(sweep.folder / "outputs.away", ignore_errors=True)
        row.led_to["outputs: said so" if done.returncode else "outputs: made again"] += 1
        sweep.finish(world.whole)


def signals(world: World, numbers: Sequence[signal.Signals] = tuple(WORDS)) -> None:
    """Signals end a sweep with one line, under every launcher; its cell has a checkpoint, from which it goes on."""
    row = world.row(", ".join(number.name for number in numbers))
    whole, _ = long_sweep(world, LONGER)
    for launcher, words in LAUNCHERS.items():
        for number in numbers:
            sweep = world.sweep(row, [*LONGER, *words])
            done = sweep.train(fault=["kill_when", str(sweep.folder), "progress.json", 3.0, int(number)])
            lines = [line for line in done.stderr.splitlines() if line.startswith(WORDS[number])]
            if done.returncode != 128 + number or len(lines) != 1:
                row.told.append(f"{launcher}: exit status {done.returncode}: {done.stderr[-1500:]}")
            if not list(sweep.runs.runs.rglob("checkpoint.json")):
                row.told.append(f"{launcher}, {number.name}: no checkpoint; {done.stderr[-1500:]}")
            for log in (sweep.folder / "outputs").rglob("*_log.err"):
                if "Traceback" in log.read_text():
                    row.tracebacks += 1
            sweep.finish(whole)
            row.led_to[how_it_went_on(sweep)] += 1
