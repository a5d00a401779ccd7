"""Downloads, verified by checksum, whole or not at all; and a cache of arrays made from files.

Pinned sums are in the sources. Where upstream has none to pin, a download must come encrypted and its content is
checked; then its sum is written to ``<data>/checksums.json``, and a later download of the same file must have it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from imbalance_bench.errors import BenchError
from imbalance_bench.running import progress
from imbalance_bench.store.locks import lock_file

SITES = {
    "zenodo": "https://zenodo.org",
    "uci": "https://archive.ics.uci.edu",
    "github_raw": "https://raw.githubusercontent.com",
    "lisa": "http://www.iro.umontreal.ca/~lisa/icml2007data",
    "stanford": "https://ai.stanford.edu/~amaas/data/sentiment",
    "snap": "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles",
    "fastai": "https://s3.amazonaws.com/fast-ai-nlp",
    "github": "https://github.com",
}
CHECKSUMS = "checksums.json"
SUM = re.compile(r"(md5|sha1|sha256|sha512):[0-9a-f]{32,128}")
HERE = ("127.0.0.1", "::1", "localhost")  # what goes there passes no network
MB = 10**6
STALE = 86_400  # seconds after which what is half written to a cache is a leftover


def fetch_file(
    url: str, folder: Path, name: str, expected: str | None, check: Callable[[Path], object] | None = None
) -> Path:
    """``folder/name``, downloaded from ``url`` unless it lies there. ``expected``: the pinned sum, "sha256:..." or
    "md5:..."; where there is none there must be a ``check``, which raises BenchError for a download that is another
    file."""
    if not expected and check is None:
        raise ValueError(f"{name} has neither a pinned sum nor a check of its content")
    path = folder / name
    with _one_at_a_time(folder, path) as missing:
        if missing:
            if not expected and (known := recorded(folder).get(name)):
                expected = f"sha256:{known['sha256']}"
            with _downloaded(url, folder, path, expected) as part:
                if check is not None:
                    check(part)
                _keep(folder, {name: part}, url)
    return path


def fetch_checked(url: str, folder: Path, name: str, expected: str) -> Path:
    """``fetch_file``, and a file that lies there already is held to the pinned sum too."""
    path = fetch_file(url, folder, name, expected)
    check_sum(path, expected, f"{path} is cut short, damaged or another file: remove it, and it will be fetched again")
    return path


def fetch_archive(record: str, archive: str, folder: Path, into: str, members: Iterable[str], wanted: str) -> Path:
    """``folder/into/wanted``; where it is missing the ``members`` of a tar archive of a Zenodo record are unpacked
    to ``folder/into``, after the archive was held to the sum that the record publishes."""
    path = folder / into / wanted
    with _one_at_a_time(folder, path) as missing:
        if missing:
            url = f"{SITES['zenodo']}/records/{record}/files/{archive}"
            published = _published_sum(record, archive, path)
            with _downloaded(url, folder, path, published) as part:
                _unpack(part, folder, into, set(members), url)
            if not path.exists():
                raise BenchError(f"{url} holds no {wanted}: get it elsewhere and put it at {path}")
    return path


def recorded(folder: Path) -> dict[str, dict[str, Any]]:
    """Downloads recorded in ``folder``: file name → sha256 and url."""
    path = folder / CHECKSUMS
    try:
        sums = json.loads(path.read_text())
        for name, entry in sums.items():
            if not SUM.fullmatch(f"sha256:{entry['sha256']}"):
                raise ValueError(f"the sum of {name} is {entry['sha256']!r}")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError, KeyError) as error:
        raise BenchError(
            f"{path} is damaged ({type(error).__name__}: {error}): fix it, or remove it, and sums are recorded anew"
        ) from error
    return sums


def check_sum(path: Path, expected: str, remedy: str) -> None:
    """Raises BenchError naming both sums where the file's is not ``expected`` ("sha256:..." or "md5:...")."""
    import pooch

    if not SUM.fullmatch(expected):
        raise BenchError(
            f"{path.name} cannot be held to {expected!r}: a sum is md5, sha1, sha256 or sha512, then hex digits"
        )
    algorithm, _, digest = expected.partition(":")
    found = pooch.file_hash(str(path), alg=algorithm)
    if found != digest:
        raise BenchError(f"{path.name}: {algorithm} {found} is not the expected {digest}: {remedy}")


def cached(folder: Path, name: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Arrays that are slow to make: read from ``folder/cache/<name>.npz``, or made and stored there. Whatever changes
    the arrays must be part of ``name``. The place of a folder that is not for writing is taken by the user's own cache
    folder; where neither can be written the arrays are made each time."""
    for path in (home / f"{name}.npz" for home in cache_folders(folder, writing=False)):
        try:
            with np.load(path, allow_pickle=False) as file:
                return dict(file)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):
            continue  # not there, or damaged: made anew
    arrays = make()
    for path in (home / f"{name}.npz" for home in cache_folders(folder)):
        part = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _clear(path, older=STALE)
            with part.open("wb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]
            part.replace(path)
            break
        except OSError:
            with suppress(OSError):
                part.unlink(missing_ok=True)
    return arrays


def cache_folders(folder: Path, writing: bool = True) -> list[Path]:
    """Folders for caches, the first choice first: with the data (unless ``writing`` to a folder
    that is not for it), else with the user."""
    own = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "imbalance_bench"
    return [own] if writing and not _for_writing(folder) else [folder / "cache", own]


def _for_writing(folder: Path) -> bool:
    """Whether the mode of ``folder`` lets anyone write: a user whom no mode stops honours it too."""
    try:
        return bool(folder.stat().st_mode & 0o222)
    except FileNotFoundError:
        return True
    except OSError:
        return False


@contextmanager
def _one_at_a_time(folder: Path, path: Path) -> Iterator[bool]:
    """Whether ``path`` is still missing once no other process downloads to ``folder``."""
    if path.exists():
        yield False
        return
    with _writing(folder):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = lock_file(folder / ".lock")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield not path.exists()


@contextmanager
def _downloaded(url: str, folder: Path, path: Path, expected: str | None) -> Iterator[Path]:
    """Downloads the file that ``path`` comes from, under a temporary name beside it, checked; nothing of it stays but
    what the caller keeps."""
    import pooch
    import requests

    def encrypted(response: requests.Response, *_: Any, **__: Any) -> None:
        """Refuses plain http, redirects included, for a file without a checksum."""
        place = urlsplit(response.url)
        if not expected and place.scheme == "http" and place.hostname not in HERE:
            raise BenchError(
                f"{url} leads to {response.url}, which is not encrypted, and no sum of {path.name} is published to "
                f"hold the download to: fetch it in a way that you trust, and put it at {path}"
            )

    _clear(path)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        print(f"downloading {url}", file=sys.stderr)
        with _writing(path):
            try:
                pooch.HTTPDownloader(Arriving(), timeout=60, hooks={"response": encrypted})(url, str(part), None)
            except requests.RequestException as error:
                raise _no_network(url, path, error) from error
        with part.open("rb") as file:
            if re.match(rb"\s*(<!--.*?-->\s*)?<(!doctype\s+)?html", file.read(1024), re.IGNORECASE | re.DOTALL):
                raise BenchError(
                    f"{url} answered with a web page in place of {path.name}: a network that asks you to log in does "
                    "so; log in, or see what the page says, and try again"
                )
        if expected:
            again = f"the download from {url} is corrupt or changed and was removed; try again"
            if str(path.relative_to(folder)) in recorded(folder):
                again += f", or, if upstream did change it, take its entry out of {folder / CHECKSUMS}"
            check_sum(part, expected, again)
        yield part
    finally:
        part.unlink(missing_ok=True)


class Arriving:
    """A download's megabytes, told to ``progress`` as pooch counts them."""

    total = 0  # bytes, which pooch sets; 0 where the server does not say

    def __init__(self) -> None:
        self.bytes = 0

    def update(self, n: int) -> None:
        self.bytes += n
        progress.report("downloading", self.bytes / MB, self.total / MB, "MB")

    def reset(self) -> None:
        self.bytes = 0

    def close(self) -> None:
        """Nothing is left open."""


def _no_network(url: str, path: Path, error: Exception) -> BenchError:
    import requests

    if isinstance(error, requests.HTTPError):
        reason = str(error).partition(" for url")[0]
    elif isinstance(error, requests.Timeout):
        reason = "no answer in time"
    elif isinstance(error, requests.ConnectionError):
        reason = "no connection"
    else:
        reason = f"{type(error).__name__}: {error}"
    return BenchError(
        f"cannot download {url}: {reason}. Without a network, put the file at {path} by hand, or set "
        "IMBALANCE_BENCH_DATA (paths.data) to a folder that holds the data; docs/datasets.md has the layout"
    )


def _published_sum(record: str, archive: str, path: Path) -> str:
    """ "md5:..." of a file of a Zenodo record, as its page states it."""
    import requests

    url = f"{SITES['zenodo']}/api/records/{record}"
    try:
        answer = requests.get(url, timeout=60)
        answer.raise_for_status()
        checksum = next(f["checksum"] for f in answer.json()["files"] if f["key"] == archive)
    except (requests.RequestException, StopIteration, KeyError, TypeError, ValueError) as error:
        raise _no_network(url, path, error) from error
    if not isinstance(checksum, str) or not SUM.fullmatch(checksum):
        raise BenchError(
            f"{url} states no sum of {archive} that a download could be held to (checksum: {checksum!r}): put {path} "
            "there by hand; docs/datasets.md says what it holds"
        )
    return checksum


def _unpack(archive: Path, folder: Path, into: str, members: set[str], url: str) -> None:
    """Unpacks ``members``, wherever in the archive they are, under temporary names, then keeps all of them. Those that
    lie there already stay as they are: results may rest on them."""
    members = {m for m in members if not (folder / into / m).exists()}
    parts: dict[str, Path] = {}
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                name = Path(member.name).name
                source = tar.extractfile(member) if member.isfile() and name in members else None
                if source is None:
                    continue
                with _writing(folder / into):
                    _clear(folder / into / name)
                    parts[f"{into}/{name}"] = part = folder / into / f".{name}.{os.getpid()}"
                    part.write_bytes(source.read())
        for name, part in parts.items():
            if known := recorded(folder).get(name):
                check_sum(part, f"sha256:{known['sha256']}", f"it changed since its first download from {url}")
        _keep(folder, parts, url)
    except (tarfile.TarError, EOFError) as error:
        raise BenchError(f"{url} is not a readable archive ({error}): it was removed; try again") from error
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def _keep(folder: Path, parts: dict[str, Path], url: str) -> None:
    """Records the sums of files, then gives them their names."""
    import pooch

    with _writing(folder):
        sums = recorded(folder)
        sums |= {name: {"sha256": pooch.file_hash(str(part)), "url": url} for name, part in parts.items()}
        _clear(folder / CHECKSUMS)
        temporary = folder / f".{CHECKSUMS}.{os.getpid()}"
        try:
            temporary.write_text(json.dumps(sums, indent=1, sort_keys=True) + "\n")
            temporary.replace(folder / CHECKSUMS)
        finally:
            temporary.unlink(missing_ok=True)
        for name, part in parts.items():
            part.replace(folder / name)


def _clear(path: Path, older: float = 0) -> None:
    """Removes what processes that were killed left half written to get ``path``, ``older`` than so many seconds."""
    for part in path.parent.glob(f".{escape(path.name)}.*"):
        with suppress(OSError):
            if time.time() - part.lstat().st_mtime >= older:
                part.unlink()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror or str(error)
        raise BenchError(
            f"cannot write {path}: {reason}; free space, or set IMBALANCE_BENCH_DATA (paths.data) to another folder"
        ) from error
