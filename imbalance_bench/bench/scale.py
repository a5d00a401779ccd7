"""Commands over many records: seconds and memory of status.py, report.py, collect.py and rescore.py by the size of the
folder."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from imbalance_bench.settings.conf_files import CONF
from imbalance_bench.settings.identity import digest
from imbalance_bench.store import Record, Store
from imbalance_bench.store.index import NAME, SETTLED

SIZES = (1_000, 10_000, 100_000)
TRAINED = [
    "method=cross_entropy,focal",
    "protocol.folds=2",
    "trainer.epochs=2",
    "device=cpu",
    "hydra/launcher=together",
]
DATASETS, RATIOS, METHODS = 20, 5, 20  # labels that the copies have; what is left differs in a rate


def called(script: str, *arguments: str, status: int = 0) -> tuple[float, float, float]:
    """Seconds of a command on the clock and of processors, and the megabytes that it held at most."""
    # in a process of its own, whose only child it is: the kernel keeps one maximum for all children that ended
    code = "import resource as r,subprocess as s,sys,time;t=time.time();p=s.run(sys.argv[2:],stdout=-3,stderr=-3);"
    code += "assert p.returncode==int(sys.argv[1]),p;u=r.getrusage(r.RUSAGE_CHILDREN);"
    code += "print(time.time()-t,u.ru_utime+u.ru_stime,u.ru_maxrss/1024)"
    command = [sys.executable, str(CONF.parent / f"scripts/{script}.py"), *arguments]
    done = subprocess.run([sys.executable, "-c", code, str(status), *command], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    clock, spent, most = map(float, done.stdout.split())
    return clock, spent, most


def trained(outputs: Path) -> list[tuple[Record, dict[str, bytes]]]:
    """Two small cells, trained: what the others are copies of."""
    command = [sys.executable, str(CONF.parent / "scripts/train.py"), "-m", *TRAINED, f"paths.outputs={outputs}"]
    subprocess.run(command, check=True, capture_output=True)
    found = Store(outputs).records()
    return [(record, {name: (record["path"] / name).read_bytes() for name in record["files"]}) for record in found]


def copies(of: Sequence[tuple[Record, dict[str, bytes]]], start: int) -> Iterator[tuple[Record, dict[str, bytes]]]:
    """Endless other cells with the same numbers, from the ``start``-th on: labels, a rate and an id of their own."""
    number = start
    while True:
        record, files = of[number % len(of)]
        place, rate = number % (DATASETS * RATIOS * METHODS), number // (DATASETS * RATIOS * METHODS)
        labels = record["labels"] | {
            "dataset": f"set_{place % DATASETS}",
            "ratio": f"ir_{place // DATASETS % RATIOS}",
            "method": f"method_{place // (DATASETS * RATIOS)}",
        }
        config: dict[str, Any] = {group: dict(record["config"][group]) for group in labels} | {"seed": 0}
        for group, label in labels.items():
            config[group]["label"] = label
        config["trainer"]["lr"] = 1e-3 + 1e-6 * rate
        made = {key: value for key, value in record.items() if key not in ("path", "files")}
        yield made | {"labels": labels, "config": config, "id": digest(config)}, files
        number += 1


def grow(outputs: Path, of: Sequence[tuple[Record, dict[str, bytes]]], start: int, size: int) -> None:
    """Adds cells to a folder until it has ``size``. Nothing waits for the disk: a machine that stops costs a rerun."""
    wait, os.fsync = os.fsync, lambda fd: None
    try:
        store = Store(outputs)
        for record, files in islice(copies(of, start), size - start):
            cell = store.cell(record["labels"], record["id"])
            cell.path.mkdir(parents=True)
            cell.finish(record, files)
    finally:
        os.fsync = wait


def show(what: str, found: tuple[float, float, float]) -> None:
    clock, spent, most = found
    print(f"  {what:48s}{clock:10.1f} s{spent:10.1f} s{most:10.0f} MB", flush=True)


def measure(outputs: Path) -> None:
    """Prints what the commands take over a folder."""
    place = ["--outputs", str(outputs)]
    some = ["dataset=set_1", "ratio=ir_1"]
    (outputs / "runs" / NAME).unlink(missing_ok=True)
    show("status.py, no index yet", called("status", *place))
    show("status.py", called("status", *place))
    show(f"status.py {' '.join(some)}", called("status", *place, *some))
    show(f"report.py {' '.join(some)}", called("report", *place, *some))
    everything = ["--format", "csv"]  # nobody reads so large a table, and report.py says so
    show("report.py --format csv", called("report", *place, *everything))
    file = outputs / "records/all.parquet"
    file.unlink(missing_ok=True)
    show("collect.py --name all", called("collect", *place, "--name", "all"))
    show("collect.py --name all, again", called("collect", *place, "--name", "all"))
    show(f"report.py --from all.parquet {' '.join(some)}", called("report", "--from", str(file), *some))
    show("report.py --from all.parquet --format csv", called("report", "--from", str(file), *everything))
    show(f"rescore.py {' '.join(some)}", called("rescore", *place, *some))
    show("rescore.py", called("rescore", *place))


def main(_: int, records: int) -> None:
    """Prints a block a size, up to ``records``. Files are in the memory of the machine or not, as it comes."""
    print(f"Commands over many records of 2 runs\n  {'':48s}{'clock':>12s}{'processor':>12s}{'memory':>13s}")
    with tempfile.TemporaryDirectory() as folder:
        of, outputs, start = trained(Path(folder, "trained")), Path(folder, "outputs"), 0
        for size in [size for size in SIZES if size <= records]:
            begun = time.perf_counter()
            grow(outputs, of, start, size)
            start = size
            print(f"{size:,} records ({time.perf_counter() - begun:.0f} s to write)")
            time.sleep(SETTLED)  # younger ones would be read again
            measure(outputs)
