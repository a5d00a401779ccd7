"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from imbalance_bench.errors import BenchError

# What says where most files go: an override of train.py and search.py, an option of the other commands.
OUTPUTS_KEYS = "paths.outputs=<another folder> (report.py and others: --outputs)"


def atomic_write(path: Path, content: bytes | str, elsewhere: str = OUTPUTS_KEYS) -> None:
    """Writes a file whole or not at all: to a temporary name beside it, to the disk, then renamed. ``elsewhere``: what
    the user may change for it to be written to another place.

    Raises:
        BenchError: the disk does not take it; what was there before is whole.
    """
    replace_files({path: content}, elsewhere=elsewhere)


def replace_files(files: Mapping[Path, bytes | str], before: Path | None = None, elsewhere: str = OUTPUTS_KEYS) -> None:
    """Writes several files of one folder, each whole or not at all: all of them to temporary names and to the disk, and
    only then renamed, in their order. ``before``: a file that is removed just before the first one is renamed;
    ``elsewhere``: as for ``atomic_write``.

    Raises:
        BenchError: the disk does not take them; what was there before is whole.
    """
    staged: dict[Path, Path] = {}
    path = next(iter(files))
    try:
        for path, content in files.items():
            temporary = path.with_name(f".{path.name}.{os.getpid()}")
            path.parent.mkdir(parents=True, exist_ok=True)
            staged[path] = temporary
            with temporary.open("wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
        if before is not None:
            before.unlink(missing_ok=True)
        for path, temporary in staged.items():
            temporary.replace(path)
    except OSError as error:
        for temporary in staged.values():
            with suppress(OSError):  # where it was never made, or is renamed already
                temporary.unlink()
        raise not_written(path, error, elsewhere) from error


@contextmanager
def replacement(path: Path) -> Iterator[BinaryIO]:
    """A file that is written piece by piece and takes the place of ``path`` when all of it is on the disk; raises as
    ``replace_files`` does."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise not_written(path, error) from error
    finally:
        with suppress(OSError):  # where it is renamed, or was never made
            temporary.unlink()


def refusal(folder: Path) -> str:
    """Why no file can be written there; "" where one can."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b" " * 4096)
    except OSError as error:
        return _reason(error)
    return ""


def not_written(path: Path, error: OSError, elsewhere: str = OUTPUTS_KEYS) -> BenchError:
    """What to raise where the disk does not take a file."""
    return BenchError(f"cannot write {path}: {_reason(error)}; free it or set {elsewhere}")


def _reason(error: OSError) -> str:
    return {
        errno.ENOSPC: "the disk is full",
        errno.EDQUOT: "the disk quota is used up",
        errno.EACCES: "no permission",
        errno.EROFS: "the file system is read-only",
        errno.EEXIST: "a file stands where a folder should be",
        errno.ENOTDIR: "a file stands where a folder should be",
    }.get(error.errno or 0, error.strerror or str(error))
