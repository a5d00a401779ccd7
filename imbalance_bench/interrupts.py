"""Ctrl-C and SIGTERM: one line that says what was running and how to go on, and the exit status that shells expect.

Scripts install this before they import anything slow. Imports nothing of the package.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

AGAIN = "start it again with the same command"

_doing: Callable[[], str] = str
_resume = AGAIN


def install(resume: str = AGAIN) -> None:
    """From here on both signals end the process with one line. ``resume``: how to go on."""
    global _resume
    _resume = resume
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, or a job that a shell put into the background
            signal.signal(number, _stop)


def describe(doing: Callable[[], str]) -> None:
    """``doing`` names what is running at the moment of a signal, e.g. "training focal on wine"; "" where nothing is."""
    global _doing
    _doing = doing


def leave_to_parent() -> None:
    """For worker processes: Ctrl-C reaches them too, and their parent says all there is to say."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _stop(number: int, _: FrameType | None) -> None:
    for again in (signal.SIGINT, signal.SIGTERM):
        signal.signal(again, lambda number, _: os._exit(128 + number))  # the second one waits for nothing
    word = "interrupted" if number == signal.SIGINT else "terminated"
    doing = _doing()
    print(f"{word}{f' while {doing}' if doing else ''}: {_resume}", file=sys.stderr, flush=True)
    sys.exit(128 + number)
