"""Files that hold a lock."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import IO, Any

from imbalance_bench.errors import BenchError


def lock_file(path: Path) -> IO[str]:
    """``path`` opened to be locked, made where it is missing; never what a link there leads to."""
    try:
        return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "r+")
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise BenchError(f"{path} is a link, and a lock file must not be one: remove it") from error
        raise


def taken(file: IO[Any], kind: int) -> bool:
    """Locks a file (``fcntl.LOCK_EX`` or ``LOCK_SH``), unless another process's lock is in the way."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
