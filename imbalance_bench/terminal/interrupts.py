"""Ctrl-C and SIGTERM: one line that says what was running and how to go on, and the exit status that shells expect.

Scripts install this before they import anything slow. Imports nothing of the package.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

AGAIN = "start it again with the same command"
GRACE = 1.0  # seconds that code ``at_safe_points`` has to come to one

_doing: Callable[[], str] = str
_resume = AGAIN
_safe_points = 0
asked: int | None = None  # the signal that code at safe points is to heed
_status = 0  # of a process that a signal has ended


def install(resume: str = AGAIN) -> None:
    """From here on both signals end the process with one line. ``resume``: how to go on."""
    global _resume
    _resume = resume
    atexit.register(_leave)  # the first to register is the last to be called
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, or a job that a shell put into the background
            signal.signal(number, _stop)


def describe(doing: Callable[[], str]) -> None:
    """``doing`` names what is running at the moment of a signal, e.g. "training focal on wine"; "" where nothing is."""
    global _doing
    _doing = doing


def leave_to_parent() -> None:
    """For worker processes: Ctrl-C reaches them too, and their parent says all there is to say. SIGTERM, which is how
    it ends them, ends them at a safe point where there will be one."""

    def end(number: int, _: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # one sent to the whole group comes twice
        stop(number)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, end)


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


def stop(number: int) -> None:
    """Ends the process as a signal asks for it: at the next safe point where there will be one."""
    global asked
    if not _safe_points:
        sys.exit(128 + number)
    asked = number
    signal.signal(signal.SIGALRM, lambda *_: heed())
    signal.setitimer(signal.ITIMER_REAL, GRACE)


def _leave() -> None:
    """Spares a process that was told to end the taking apart of its modules, a second or more of torch's."""
    if _status:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(_status)


def _stop(number: int, _: FrameType | None) -> None:
    global _status
    for again in (signal.SIGINT, signal.SIGTERM):
        signal.signal(again, lambda number, _: os._exit(128 + number))  # the second one waits for nothing
    word = "interrupted" if number == signal.SIGINT else "terminated"
    doing = _doing()
    print(f"{word}{f' while {doing}' if doing else ''}: {_resume}", file=sys.stderr, flush=True)
    _status = 128 + number
    stop(number)
