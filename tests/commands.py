"""Runs the scripts as commands, in processes forked off one that has imported what they import: seconds less each."""

from __future__ import annotations

import atexit
import importlib
import json
import os
import runpy
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any


class Commands:
    """``call`` runs a Python file in a folder, with the environment as it is then."""

    def __init__(self, process: subprocess.Popen[str], environment: Mapping[str, str]) -> None:
        self.process, self.environment = process, environment

    def call(
        self,
        folder: Path,
        arguments: Sequence[str],
        fault: Sequence[Any] = (),
        meanwhile: Callable[[int], None] = lambda pid: None,
    ) -> subprocess.CompletedProcess[str]:
        """``fault``: a function of tests/faults/inject.py and its arguments, called in the command's process first.
        ``meanwhile`` is called with the number of that process, once it has begun."""
        assert self.process.stdin and self.process.stdout
        with tempfile.TemporaryDirectory() as place:
            print(
                json.dumps([str(folder), list(arguments), place, dict(self.environment), list(fault)]),
                file=self.process.stdin,
                flush=True,
            )
            pid = int(self.process.stdout.readline())
            try:
                meanwhile(pid)
            finally:
                status = int(self.process.stdout.readline())
            out, error = ((Path(place) / name).read_text(errors="replace") for name in ("out", "error"))
        return subprocess.CompletedProcess(list(arguments), status, out, error)


@contextmanager
def commands(environment: Mapping[str, str]) -> Iterator[Commands]:
    process = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(environment)
    )
    try:
        yield Commands(process, environment)
    finally:
        process.communicate(timeout=60)  # the end of its input ends it


def shared(environment: Mapping[str, str] | None = None) -> Commands:
    """One for all tests of this process: those that want another environment too, since it takes seconds to start."""
    return Commands(_process(), os.environ if environment is None else environment)


@cache
def _process() -> subprocess.Popen[str]:
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(commands(os.environ)).process


def _serve() -> None:
    sys.path[0] = ""  # the folder of the command, as its script has its own
    import imblearn.over_sampling  # noqa: F401
    import sklearn.datasets  # noqa: F401
    import torch._inductor  # noqa: F401

    import imbalance_bench.report.figures
    import imbalance_bench.report.sheets.summary
    import imbalance_bench.sweep  # noqa: F401
    from imbalance_bench.settings.config import REGISTRIES

    for registry in REGISTRIES.values():
        registry.names()
    sys.path.append(str(Path(__file__).parents[1]))
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _run(*json.loads(line))
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _run(folder: str, arguments: list[str], place: str, environment: dict[str, str], fault: list[Any]) -> Any:
    os.environ.clear()
    os.environ.update(environment)
    for number, name in ((1, "out"), (2, "error")):
        os.dup2(os.open(f"{place}/{name}", os.O_WRONLY | os.O_CREAT), number)
    os.chdir(folder)
    sys.argv = arguments
    sys.path[0] = str(Path(arguments[0]).absolute().parent)
    status: Any = 1
    try:
        if fault:
            os.setsid()
            name, *words = fault
            getattr(importlib.import_module("tests.faults.inject"), name)(*words)
        runpy.run_path(arguments[0], run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status if isinstance(status, int) else 1)


if __name__ == "__main__":
    _serve()
