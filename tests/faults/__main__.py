"""``python -m tests.faults [--quick] [--kills N] [--only WORD]``: faults injected into sweeps, and what they cost.

Prints a line for each kind: faults, records lost (0), numbers other than those of an undisturbed sweep (0), tracebacks
(0), and what it led to. The exit status is 1 where one of them is not 0.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from tests.commands import Commands, commands
from tests.faults import damage, scenarios
from tests.faults.sweeps import METHODS, World, table

Scenario = Callable[[World], None]


def whole(kills: int) -> dict[str, Scenario]:
    """All of it. ``kills``: at random moments, in all."""
    return {
        "basic": partial(scenarios.killed, launcher="basic", times=kills // 2 - kills // 15),
        "long": partial(scenarios.killed_within, times=kills // 15),
        "processes": partial(scenarios.killed, launcher="processes", times=kills * 3 // 10),
        "together": partial(scenarios.killed, launcher="together", times=kills // 10),
        "submitit": partial(scenarios.killed, launcher="submitit_local", times=kills // 10),
        "changes": partial(scenarios.killed_at_changes, every=2),
        "checkpoints": partial(scenarios.killed_at_checkpoints, times=max(1, kills // 30)),
        "two": partial(scenarios.two_at_once, times=max(1, kills // 10)),
        "worker": scenarios.worker_killed,
        "full": partial(scenarios.disk_full, moments=[[number] for number in range(0, 60, 2)]),
        "middle": scenarios.disk_full_for_real,
        "commands": scenarios.commands_with_a_full_disk,
        "clock": scenarios.clock,
        "read_only": scenarios.read_only,
        "network": scenarios.network,
        "signals": scenarios.signals,
        "records": partial(damage.records, kinds=4),
        "while": damage.while_it_trains,
        "tally": damage.tally_and_index,
        "caches": damage.caches,
        "downloads": damage.downloads,
    }


def quick() -> dict[str, Scenario]:
    """One fault."""
    return {"changes": partial(scenarios.killed_at_changes, at=[1, ".predictions.npz."])}  # its second is to be renamed


def run(chosen: dict[str, Scenario], shells: list[Commands], folder: Path, methods: Sequence[str] = METHODS) -> int:
    """The exit status."""
    world = World(shells, folder, methods)
    world.undisturbed()
    for scenario in chosen.values():
        known = len(world.rows)
        try:
            scenario(world)
        except Exception as error:
            world.row("not finished").told.append(f"{type(error).__name__}: {error}")
        for row in world.rows[known:]:  # an hour before the table
            print(row.line(), *row.told, sep="\n  ", file=sys.stderr, flush=True)
    table(world.rows)
    return int(any(row.bad for row in world.rows))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--kills", type=int, default=300, help="at random moments (default: 300)")
    parser.add_argument("--only", help=f"some of {', '.join(whole(0))}")
    arguments = parser.parse_args(argv)
    chosen = quick() if arguments.quick else whole(arguments.kills)
    if arguments.only:
        chosen = {name: chosen[name] for name in arguments.only.split(",")}
    # Of a shell's background job all processes ignore SIGINT, and under nohup SIGHUP.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    environment.pop("IMBALANCE_BENCH_DATA", None)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        Path(folder).chmod(0o755)
        shells = [stack.enter_context(commands(environment)) for _ in range(1 if arguments.quick else 2)]
        return run(chosen, shells, Path(folder))


if __name__ == "__main__":
    sys.exit(main())
