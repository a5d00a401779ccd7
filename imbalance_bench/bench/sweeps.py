"""Sweeps of small cells: what each launcher takes; and what composing many jobs takes, which are not trained."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from imbalance_bench.settings.conf_files import CONF

LAUNCHERS = {
    "basic": ["hydra/launcher=basic"],
    "processes": ["hydra/launcher=processes"],
    "together": ["hydra/launcher=together"],
    "together, a process a core": ["hydra/launcher=together", "hydra.launcher.n_jobs=-1"],
}
# Of the data sets of Explicit Gradient's Table 2, those of the fewest rows.
SMALLEST = ("ecoli", "libras_move", "arrhythmia", "spectrometer", "oil", "solar_flare_m0")
METHODS = ("cross_entropy", "random_oversampling", "smote", "adasyn", "borderline_smote", "explicit_gradient/short")
SHORT = "defaults: [explicit_gradient, _self_]\nlabel: explicit_gradient_short\nmeta_epochs: {epochs}\n"
GRID = ["dataset=ecoli", "method=focal", "method.gamma=0,0.25,0.5,1,1.5,2,3,5"]
RATES = "trainer.lr=1e-4,2e-4,3e-4,5e-4,1e-3,2e-3,3e-3,5e-3"

# scripts/train.py -m, but each job is composed and typed and not trained; prints seconds and megabytes.
COMPOSED = """
import json, runpy, sys, time
from hydra.core.utils import JobReturn, JobStatus
from imbalance_bench.sweep.launchers import Basic, cell_of

made = 0

def start(self, number):
    global made
    cell_of(self.composed(number))
    made += 1
    return JobReturn(status=JobStatus.COMPLETED)

Basic.start = start
before, sys.argv = time.process_time(), sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as error:
    if not made:
        raise  # else: no cell has said how it ended, since none was trained
spent = time.process_time() - before
# not ru_maxrss, which counts what the process that started this one held
most = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({"jobs": made, "seconds": round(spent, 1), "megabytes": most // 1024}), flush=True)
"""
# scripts/train.py -m, which says after every so many cells what they took: milliseconds of a processor a cell, those of
# its job alone (all but Hydra's part), and the megabytes held.
LONG = """
import itertools, json, os, resource, runpy, sys, time
from imbalance_bench.sweep import Sweep
from imbalance_bench.sweep.launchers import Basic

every, (run, start) = int(sys.argv[1]), (Sweep.job, Basic.start)
ended, last, spent = itertools.count(1), [0.0], [0.0]

def job(self, cfg):
    before = time.process_time()
    try:
        return run(self, cfg)
    finally:
        spent[0] += time.process_time() - before

def started(self, number):
    last[0] = last[0] or time.process_time()
    returned = start(self, number)
    if next(ended) % every == 0:
        now, pages = time.process_time(), int(open("/proc/self/statm").read().split()[1])
        took = {"cell": (now - last[0]) * 1e3 / every, "job": spent[0] * 1e3 / every}
        print(json.dumps({**took, "megabytes": pages * resource.getpagesize() >> 20}), flush=True)
        last[0], spent[0] = now, 0.0
    return returned

Sweep.job, Basic.start, sys.argv = job, started, sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
# Jobs of a grid of values, and of options.
VALUES = ["dataset=ecoli", "method=focal", "method.gamma=range(50)", "trainer.lr=1e-4,1e-3"]
OPTIONS = [
    f"dataset={','.join(SMALLEST[:5])}",
    f"method={','.join(METHODS[:5])}",
    "ratio=native,ir_20",
    "trainer=adam,sgd",
]


def sweep(launcher: Sequence[str], overrides: Sequence[str], epochs: int) -> tuple[float, float, int]:
    """Seconds on the clock and of processors, all of the command counted, and the cells that it trained."""
    with tempfile.TemporaryDirectory() as folder:
        short = Path(folder, "conf/method/explicit_gradient/short.yaml")
        short.parent.mkdir(parents=True)
        short.write_text(SHORT.format(epochs=epochs))
        command = [sys.executable, str(CONF.parent / "scripts/train.py"), "-m", "--config-dir", f"{folder}/conf"]
        command += [*launcher, *overrides, f"trainer.epochs={epochs}", f"paths.outputs={folder}/outputs", "device=cpu"]
        start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = sum(getattr(after, part) - getattr(before, part) for part in ("ru_utime", "ru_stime"))
        done = len(list(Path(folder, "outputs/runs").rglob("record.json")))
        return time.perf_counter() - start, spent, done


def show(title: str, overrides: Sequence[str], epochs: int, rounds: int) -> None:
    found: dict[str, list[tuple[float, float, int]]] = {name: [] for name in LAUNCHERS}
    for _ in range(rounds):
        for name, launcher in LAUNCHERS.items():
            found[name].append(sweep(launcher, overrides, epochs))
    cells = found["basic"][0][2]
    print(f"\n{title}: {cells} cells of 4 runs, {epochs} epochs")
    print(f"{'':28s}{'cells/s':>18s}{'processor s a cell':>24s}")
    clocks, spents = (
        {name: statistics.median(of[i] for of in values) for name, values in found.items()} for i in (0, 1)
    )
    for name in LAUNCHERS:
        pace = f"{cells / clocks[name]:.2f} ({clocks['basic'] / clocks[name]:.2f}x)"
        spent = f"{spents[name] / cells:.2f} ({spents['basic'] / spents[name]:.2f}x)"
        print(f"{name:28s}{pace:>18s}{spent:>24s}")


def composed(overrides: Sequence[str]) -> str:
    """Seconds of a processor and megabytes that the jobs of a sweep take to be composed and typed."""
    with tempfile.TemporaryDirectory() as folder:
        train = [str(CONF.parent / "scripts/train.py"), "-m", *overrides, f"paths.outputs={folder}"]
        command = [sys.executable, "-c", COMPOSED, *train]
        said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=CONF.parent).stdout
    took = next(json.loads(line) for line in said.splitlines() if line.startswith("{"))
    return f"{took['seconds']} s, {took['megabytes']} MB"


def composing(sizes: Sequence[int] = (1000, 10_000)) -> None:
    """Prints what composing sweeps of such sizes takes."""
    print(f"\nComposing the jobs of a sweep, nothing trained\n{'jobs':>10s}{'of values':>24s}{'of options':>24s}")
    for jobs in sizes:
        found = [composed([*grid, f"seed=range({jobs // 100})"]) for grid in (VALUES, OPTIONS)]
        print(f"{jobs:>10,d}" + "".join(f"{took:>24s}" for took in found), flush=True)


def long(_: int, cells: int) -> None:
    """Prints what the cells of a long sweep of one epoch each cost, and the memory of its process, as it goes on."""
    every = max(1, cells // 20)
    grid = ["dataset=ecoli", "method=focal", "method.gamma=range(20)", f"seed=range({-(-cells // 20)})"]
    print(f"A sweep of {cells:,} cells of one epoch, hydra/launcher=basic: processor ms a cell, and MB held")
    print(f"{'cells':>10s}{'in all':>12s}{'of its job':>12s}{'memory':>12s}")
    with tempfile.TemporaryDirectory() as folder:
        train = [str(CONF.parent / "scripts/train.py"), "-m", *grid, "trainer.epochs=1", "device=cpu"]
        command = [sys.executable, "-c", LONG, str(every), *train, f"paths.outputs={folder}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=CONF.parent) as process:
            assert process.stdout is not None
            took = (json.loads(line) for line in process.stdout if line.startswith("{"))
            for done, found in enumerate(took, 1):
                costs = f"{found['cell']:12.1f}{found['job']:12.1f}{found['megabytes']:9d} MB"
                print(f"{done * every:10,d}{costs}", flush=True)
    if process.returncode:
        raise RuntimeError(f"the sweep ended with exit status {process.returncode}")


def main(rounds: int, epochs: int = 50) -> None:
    """Prints every comparison; starting the command, composing and recording count."""
    rounds = min(rounds, 3)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(f"Sweeps on {cores} cores, medians of {rounds} interleaved rounds")
    composing()
    table = [f"dataset={','.join(SMALLEST)}", f"method={','.join(METHODS)}"]
    plain = [table[0], f"method={','.join(METHODS[:-1])}"]
    show("focal loss, gamma x rate on ecoli", [*GRID, RATES], epochs, rounds)
    show("Table 2, the paper's plain methods x its six smallest data sets", plain, epochs, rounds)
    show("and with Explicit Gradient", table, epochs, rounds)
