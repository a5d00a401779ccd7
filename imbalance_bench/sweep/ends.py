"""The line of a job that has ended, whichever process ran it."""

from __future__ import annotations

import sys
from typing import TextIO

from imbalance_bench import terminal
from imbalance_bench.running.tally import Tally


def stream_of(status: str) -> TextIO:
    return sys.stderr if status == "failed" else sys.stdout


def job_ended(
    tally: Tally, job: int, status: str, seconds: float, failed: bool, unrecorded: str = "", line: str = ""
) -> None:
    """Enters what became of a job into the tally of its sweep, as ``Tally.end``, and prints its ``line``."""
    name = tally.name(job)
    progress = tally.end(job, status, seconds, failed, unrecorded, line)
    terminal.tell_end(line, name, status, stream_of(status), progress, tally.total, tally.widest)
