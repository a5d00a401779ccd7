"""Ctrl-C, SIGTERM and SIGHUP: one line that says what was running and how to go on, and the exit status that shells
expect.

Scripts install this before they import anything slow. Imports nothing of the package.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

AGAIN = "start it again with the same command"
GRACE = 1.0  # seconds that code ``at_safe_points`` has to come to one

# Whether what this process starts ends with it: in a job of SLURM, or as the first process of a container.
LAST_OF_ALL = "SLURM_JOB_ID" in os.environ or os.getpid() == 1
WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "hung up"}

_doing: Callable[[], str] = str
_resume = AGAIN
_safe_points = 0
asked: int | None = None  # the signal that code at safe points is to heed
_due = 0.0  # when GRACE is over
_waiting = 0  # whether what goes on now is not to be ended by that
_said = ""  # the line of a process that a signal has ended, which is its last
_status = 0  # its exit status


def install(resume: str = AGAIN) -> None:
    """From here on these signals end the process with one line. ``resume``: how to go on."""
    global _resume
    _resume = resume
    atexit.register(_leave)  # the first to register is the last to be called
    for number in WORDS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, or a job that a shell put into the background
            signal.signal(number, _stop)


def describe(doing: Callable[[], str]) -> None:
    """``doing`` names what is running at the moment of a signal, e.g. "training focal on wine"; "" where nothing is."""
    global _doing
    _doing = doing


def add(note: str) -> None:
    """What the last line of a process that a signal has ended says too."""
    global _said
    _said += f"; {note}"


def leave_to_parent(*ending: signal.Signals) -> None:
    """For processes whose parent says all there is to say: the signals that end them, at a safe point where there will
    be one. The others reach all processes of a terminal, and mean the parent."""

    def end(number: int, _: FrameType | None) -> None:
        for again in ending:  # one sent to the whole group comes twice
            signal.signal(again, signal.SIG_IGN)
        stop(number)

    for number in WORDS:
        signal.signal(number, end if number in ending else signal.SIG_IGN)


@contextmanager
def at_safe_points() -> Iterator[None]:
    """Within it a signal waits until the code calls ``heed``, for ``GRACE`` seconds: then it ends the process wherever
    that is, as it does at once elsewhere."""
    global _safe_points
    _safe_points += 1
    try:
        yield
    finally:
        _safe_points -= 1
        if asked is not None and not _safe_points:
            heed()


def heed() -> None:
    """Ends the process (SystemExit) where a signal has asked for it."""
    if asked is not None:
        no_hurry()
        sys.exit(128 + asked)


def no_hurry() -> None:
    """What is being written now, on the way to the end, may take its time."""
    signal.setitimer(signal.ITIMER_REAL, 0)


@contextmanager
def unhurried() -> Iterator[None]:
    """Within it the end of ``GRACE`` ends nothing: it is for code that looks at ``overdue`` itself, or is short, and
    heeds the signal afterwards."""
    global _waiting
    _waiting += 1
    try:
        yield
    finally:
        _waiting -= 1


def overdue() -> bool:
    """Whether a signal has asked for an end, and ``GRACE`` is over."""
    return asked is not None and time.monotonic() >= _due


def stop(number: int) -> None:
    """Ends the process as a signal asks for it: at the next safe point where there will be one."""
    global asked, _due
    if not _safe_points:
        sys.exit(128 + number)
    asked, _due = number, time.monotonic() + GRACE
    signal.signal(signal.SIGALRM, lambda *_: None if _waiting else heed())
    signal.setitimer(signal.ITIMER_REAL, GRACE)


def tell() -> None:
    """Says the last line, where a signal has ended the process: when all is over that it tells of."""
    global _said
    if _said:
        with suppress(OSError, ValueError):  # a terminal that is gone
            print(_said, file=sys.stderr, flush=True)
        _said = ""


def _leave() -> None:
    """Spares a process that was told to end the taking apart of its modules, a second or more of torch's."""
    if _status:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        tell()
        os._exit(_status)


def _stop(number: int, _: FrameType | None) -> None:
    global _said, _status
    for again in WORDS:  # the second one waits for nothing; a terminal that is closed sends several
        signal.signal(again, signal.SIG_IGN if again == signal.SIGHUP else lambda *_: _leave())
    doing = _doing()
    _said = f"{WORDS[signal.Signals(number)]}{f' while {doing}' if doing else ''}: {_resume}"
    _status = 128 + number
    stop(number)
