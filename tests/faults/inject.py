"""What befalls a command: called in its process before its script begins. Audit hooks see each file that it opens,
renames or removes before that happens, so that a fault can strike at any of them."""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def _at_changes(folder: str, then: Callable[[int, str], None], of: str = "") -> None:
    """Calls ``then`` with the number and the path of each file or folder in ``folder`` that is about to be opened for
    writing, made, renamed or removed, and whose path holds ``of``."""
    count = itertools.count()

    def hook(event: str, arguments: tuple) -> None:
        if event == "open":
            path, mode, flags = arguments
            changes = (isinstance(mode, str) and set(mode) & set("wax+")) or (isinstance(flags, int) and flags & WRITES)
        else:
            path, changes = arguments[0] if arguments else "", event in ("os.rename", "os.remove", "os.mkdir")
        if not changes or not isinstance(path, (str, os.PathLike)) or of not in str(path):
            return
        if os.path.abspath(path).startswith(folder):  # noqa: PTH100
            then(next(count), str(path))

    sys.addaudithook(hook)


def count_changes(folder: str, to: str) -> None:
    """Writes to ``to`` how many there were."""
    file = os.open(to, os.O_WRONLY | os.O_CREAT)
    _at_changes(folder, lambda number, _: os.pwrite(file, str(number + 1).encode(), 0) and None)


def kill_at(folder: str, number: int, of: str = "") -> None:
    """As kill -9 does, just before the change of that number."""

    def kill(n: int, _: str) -> None:
        if n == number:
            os.kill(os.getpid(), signal.SIGKILL)

    _at_changes(folder, kill, of)


def kill_after(seconds: float, group: bool, sign: int = signal.SIGKILL) -> None:
    """A signal to this process, or to all that it starts too (``group``), after that time."""
    until = time.monotonic() + seconds
    _beside(lambda: time.monotonic() >= until, sign, group)


def kill_when(folder: str, name: str, seconds: float, sign: int) -> None:
    """A signal to this process, so many seconds after there is a file of that name in ``folder``."""
    _beside(lambda: any(name in files for _, _, files in os.walk(folder)), sign, seconds=seconds)


def _beside(due: Callable[[], bool], sign: int, group: bool = False, seconds: float = 0.0) -> None:
    """Another process looks whether it is time."""
    me = os.getpid()
    if not os.fork():
        for file in (1, 2):
            os.close(file)
        while not due() and os.getppid() == me:
            time.sleep(0.005)
        time.sleep(seconds)
        if os.getppid() == me:
            (os.killpg if group else os.kill)(me, sign)
        os._exit(0)


def full_disk(folder: str, number: int, of: str = "") -> None:
    """From the change of that number on, nothing can be written in ``folder``."""
    full = False

    def fill(n: int, path: str) -> None:
        nonlocal full
        full |= n == number

    def refuse(n: int, path: str) -> None:
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    _at_changes(folder, fill, of)
    _at_changes(folder, refuse)


def small_files(most: int) -> None:
    """No file grows beyond ``most`` bytes: a write fails in its middle."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def unreadable(path: str, kind: int = errno.ESTALE) -> None:
    """A file of a network that is away."""

    def hook(event: str, arguments: tuple) -> None:
        if event == "open" and str(arguments[0]) == path:
            raise OSError(kind, os.strerror(kind), path)

    sys.addaudithook(hook)


def vanishing(folder: str, number: int) -> None:
    """The folder is gone at the change of that number, as when a disk is taken away."""

    def away(n: int, _: str) -> None:
        if n == number:
            shutil.move(folder, f"{folder}.away")

    _at_changes(folder, away)


def jumping_clock() -> None:
    """Each look at the clock is a day before or after the last one."""
    look, days = time.time, itertools.cycle((0, 86_400, -86_400, 3 * 86_400))
    time.time = lambda: look() + next(days)


def permissions_count() -> None:
    """For root too: without its capabilities it may write no more than the modes of its files say."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    if ctypes.CDLL(None, use_errno=True).capset(header, (ctypes.c_uint32 * 6)()):
        raise OSError(ctypes.get_errno(), "capset")


def kill_worker(marker: str) -> None:
    """As the kernel does for lack of memory: the first process of a sweep that is about to write a cell's predictions,
    once."""
    parent = os.getpid()

    def hook(event: str, arguments: tuple) -> None:
        if event == "open" and ".predictions.npz." in str(arguments[0]) and os.getpid() != parent:
            with suppress(FileExistsError):
                os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def nothing() -> None:
    """An undisturbed command."""
