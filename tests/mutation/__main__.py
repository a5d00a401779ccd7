"""``python -m tests.mutation [FUNCTION ...] [--quick] [--minutes M]``: which mutants does no test notice?

The tests of the table (``targets.py``) are collected once, in one process that has imported all that they need. Each
mutant lives in a forked child of it, in memory: the child puts the changed code in the place of the function's and runs
the tests that call the function, those that have noticed most so far first, until one fails. The working tree is never
written to.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import select
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

from tests.mutation.mutants import TOLD, Mutant, function, mutants, telling
from tests.mutation.targets import EQUIVALENT, QUICK, TARGETS

TESTS = Path(__file__).parents[1]
GIB = 2**30
COUNTS = ("functions", "mutants", "killed", "equivalent", "survivors", "not begun")
PATIENCE = 3  # times as long as the tests take by themselves, and some seconds: then a mutant loops, which is noticed


class Check:
    """A pytest plugin: in place of running the tests that it collected, it runs them against each mutant."""

    def __init__(self, wanted: list[str], minutes: float) -> None:
        self.wanted, self.until = wanted, time.monotonic() + 60 * minutes
        self.survivors: list[str] = []
        self.stale: list[str] = []
        self.failing: list[str] = []
        self.totals: Counter[str] = Counter()

    def pytest_collection(self) -> None:
        """A failure is enough: no smaller example of it is looked for."""
        import hypothesis

        phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
        project = hypothesis.settings.get_profile("project")
        hypothesis.settings.register_profile("mutation", project, phases=phases, database=None)
        hypothesis.settings.load_profile("mutation")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        out = os.fdopen(os.dup(1), "w", buffering=1)  # pytest captures the usual one
        calls = json.loads(forked(lambda: calling(session.items, self.wanted), 3600))
        self.failing = [session.items[i].nodeid for i in calls["failed"]]
        for where in self.wanted:
            if time.monotonic() > self.until:
                out.write(f"{where}: not begun, the time is over\n")
                self.totals["not begun"] += 1
                continue
            files = {TESTS / name for name in TARGETS[where]}
            mine = {session.items[i]: seconds for i, seconds in calls[where] if session.items[i].path in files}
            self.check(where, mine, out.write)
        return True

    def check(self, where: str, taken: dict[pytest.Item, float], say: Callable[[str], Any]) -> None:
        """``taken``: the tests that call the function, with their seconds."""
        began = time.monotonic()
        noticed: Counter[pytest.Item] = Counter()
        equivalent = {change for place, change, _ in EQUIVALENT if place == where}
        found = mutants(where)
        counts, survivors = Counter(mutants=len(found)), []
        self.stale += [f"{where}: {change}" for change in equivalent - {m.change for m in found}]
        for mutant in found:
            if mutant.change in equivalent:
                counts["equivalent"] += 1
                continue
            order = sorted(taken, key=lambda item: (-noticed[item], taken[item]))
            wait = 10 + PATIENCE * sum(taken.values())
            answer = forked(partial(noticing, order, where, mutant), wait)
            if answer == b"None":
                survivors.append(f"{relative(mutant)}: {mutant.change}")
                continue
            counts["killed"] += 1
            if answer:
                noticed[order[int(answer)]] += 1
        self.totals += counts + Counter(functions=1)
        self.survivors += survivors
        say(
            f"{where}: {counts['mutants']} mutants, {counts['killed']} killed, {counts['equivalent']} equivalent, "
            f"{len(survivors)} survive ({len(taken)} tests, {time.monotonic() - began:.0f} s)\n"
            + "".join(f"    {line}\n" for line in survivors)
        )


def relative(mutant: Mutant) -> str:
    return f"{Path(mutant.code.co_filename).relative_to(TESTS.parent)}:{mutant.line}"


def forked(work: Callable[[], bytes], seconds: float) -> bytes:
    """What ``work`` returns in a child of this process; nothing where it dies or takes longer."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_DATA, (3 * GIB, 3 * GIB))
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, 1), os.dup2(nothing, 2)
            os.write(writing, work())
        finally:
            os._exit(0)
    os.close(writing)
    said = b""
    while select.select([reading], [], [], seconds)[0]:
        if not (part := os.read(reading, 65536)):
            break
        said += part
    os.close(reading)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return said


def first_failure(items: list[pytest.Item], after: pytest.Item | None = None) -> int | None:
    """Which of the tests is the first that fails."""
    for i, item in enumerate(items):
        following = items[i + 1] if i + 1 < len(items) else after
        if any(report.failed for report in runtestprotocol(item, log=False, nextitem=following)):
            return i
    return None


def noticing(items: list[pytest.Item], where: str, mutant: Mutant) -> bytes:
    function(where).__code__ = mutant.code
    return str(first_failure(items)).encode()


def calling(items: list[pytest.Item], wanted: list[str]) -> bytes:
    """Which tests call which of the functions, with their seconds; "failed": those that fail as it is, which are left
    out."""
    seen: set[str] = set()
    for where in wanted:
        called = function(where)
        called.__globals__[TOLD] = seen.add
        called.__code__ = telling(where)
    calls: dict[str, list[Any]] = {name: [] for name in ("failed", *wanted)}
    for i, item in enumerate(items):
        seen.clear()
        began = time.monotonic()
        failed = first_failure([item], items[i + 1] if i + 1 < len(items) else None) is not None
        for name in ["failed"] if failed else seen:
            calls[name].append(i if failed else (i, time.monotonic() - began))
    return json.dumps(calls).encode()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("functions", nargs="*", metavar="FUNCTION", help="part of a module:name; none: all there are")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} alone")
    parser.add_argument("--minutes", type=float, default=60, help="no function is begun after so many (60)")
    options = parser.parse_args(arguments)
    asked = [QUICK] if options.quick else options.functions
    wanted = [where for where in TARGETS if not asked or any(part in where for part in asked)]
    if not wanted:
        parser.error(f"no function of the table has {' or '.join(asked)} in its name")
    check = Check(wanted, options.minutes)
    files = sorted({str(TESTS / name) for where in wanted for name in TARGETS[where]})
    import torch  # what most tests import, before the first child

    torch.set_num_threads(1)
    quiet = ("-q", "--tb=native", "--assert=plain", "-p", "no:cacheprovider", "-p", "no:xdist")
    with tempfile.TemporaryDirectory() as folder:
        status = pytest.main([*quiet, f"--basetemp={folder}/tests", *files], plugins=[check])
    check.totals["survivors"] = len(check.survivors)
    print("  ".join(f"{name}: {check.totals[name]}" for name in COUNTS))
    wrong = {"named as equivalent, and no mutant": check.stale, "fails without any change": check.failing}
    for what, lines in wrong.items():
        for line in lines:
            print(f"{what}: {line}")
    return int(status != 0 or any((check.survivors, check.totals["not begun"], *wrong.values())))


if __name__ == "__main__":
    sys.exit(main())
