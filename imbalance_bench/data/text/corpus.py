"""Published corpora: files of texts, parsed once, kept as arrays, and made a data set, of one class against the rest
where that is asked for."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np

from imbalance_bench.data.base import Dataset, Language, Source
from imbalance_bench.data.fetch import cached
from imbalance_bench.data.labels import against_rest
from imbalance_bench.data.text.reading import RawTexts
from imbalance_bench.errors import BenchError
from imbalance_bench.options import Count, Seed

FORMAT = 1  # raised when other texts are read from the same files: the cache is then rebuilt

UNREADABLE = (
    *(OSError, ValueError, KeyError, EOFError, csv.Error),
    *(zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile),
)


class Row(NamedTuple):
    """One text of a file, its class, and whether it is of the official test set."""

    text: str
    label: int
    test: bool = False


@dataclass(frozen=True)
class Corpus:
    """``texts``: (n,) strings; ``labels``: (n,) class indices; ``test``: (n,) bool, the official test rows. ``facts``:
    what a record should say of how they were read."""

    texts: np.ndarray
    labels: np.ndarray
    test: np.ndarray
    facts: dict[str, Any]

    @classmethod
    def of(cls, rows: Iterable[Row], facts: dict[str, Any] | None = None) -> Corpus:
        """Texts of nothing but blanks are left out, and counted. ``facts`` may be filled while ``rows`` is read."""
        facts = {} if facts is None else facts
        every = list(rows)
        full = [row for row in every if row.text and not row.text.isspace()]
        if len(full) < len(every):
            facts["empty_texts_skipped"] = len(every) - len(full)
        return cls(
            _objects([row.text for row in full]),
            np.array([row.label for row in full], np.int64),
            np.array([row.test for row in full], bool),
            facts,
        )

    def without_repeats(self) -> Corpus:
        """The first of each text, in the order of the file; how many came again is among the facts."""
        first = np.sort(np.unique(self.texts, return_index=True)[1])
        facts = self.facts | {"duplicates_dropped": len(self.texts) - len(first)}
        return Corpus(self.texts[first], self.labels[first], self.test[first], facts)


def cached_corpus(folder: Path, name: str, files: list[Path], make: Callable[[], Corpus], *settings: Any) -> Corpus:
    """Returns what ``make`` reads from ``files``: from the cache of ``folder``, where these files were read with these
    ``settings`` before."""
    key = hashlib.sha256(repr((FORMAT, settings)).encode())
    for path in files:
        with path.open("rb") as file:
            key.update(hashlib.file_digest(file, "sha256").digest())
    arrays = cached(folder, f"{name}-{key.hexdigest()[:16]}", lambda: _packed(make()))
    return Corpus(
        _objects(_unpacked(arrays["bytes"].tobytes(), arrays["ends"])),
        arrays["labels"],
        arrays["test"],
        json.loads(str(arrays["facts"])),
    )


def _packed(corpus: Corpus) -> dict[str, np.ndarray]:
    """Arrays that need no pickle: UTF-8 in a row, and where each text ends."""
    raw = [text.encode("utf-8", "surrogatepass") for text in corpus.texts]
    return {
        "bytes": np.frombuffer(b"".join(raw), np.uint8),
        "ends": np.cumsum([len(r) for r in raw], dtype=np.int64),
        "labels": corpus.labels,
        "test": corpus.test,
        "facts": np.array(json.dumps(corpus.facts)),
    }


def _unpacked(raw: bytes, ends: np.ndarray) -> list[str]:
    begins = [0, *ends[:-1].tolist()]
    return [raw[a:b].decode("utf-8", "surrogatepass") for a, b in zip(begins, ends.tolist())]


def _objects(texts: list[str]) -> np.ndarray:
    out = np.empty(len(texts), object)
    out[:] = texts
    return out


@dataclass(frozen=True)
class ClassChoice(Source):
    """Of a corpus of several classes: ``positive``: the class that is class 1, against all others; null: the rarer of
    two, or every class for itself. ``majority``: how many texts of the others stay, drawn by ``seed``, each class in
    its share; null: all."""

    positive: str | None
    majority: Count | None
    seed: Seed

    def __post_init__(self) -> None:
        if self.majority is not None and self.positive is None:
            raise BenchError(
                f"dataset.majority={self.majority} draws so many of the classes that are not the positive one: set "
                "dataset.positive=<class> with it"
            )

    def counts(self, classes: tuple[str, ...], every: tuple[int, ...]) -> tuple[int, ...] | None:
        """Rows a class of a corpus that has ``every`` of its ``classes``; None where the choice makes another set."""
        if self.positive is None:
            return every if len(every) > 2 else tuple(sorted(every, reverse=True))
        if len(every) > 2 or self.majority is not None or self.positive not in classes:
            return None
        return every if self.positive == classes[1] else every[::-1]

    def rows(self, labels: np.ndarray, binary: np.ndarray) -> np.ndarray:
        """Rows that stay, of ``labels`` (n,) which ``positive`` made ``binary`` (n,)."""
        if self.majority is None:
            return np.arange(len(labels))
        others = np.flatnonzero(binary == 0)
        if self.majority > len(others):
            raise BenchError(
                f"dataset.majority={self.majority}: there are {len(others)} texts of the classes that are not "
                f"{self.positive}; set a lower one, or null"
            )
        # Systematic sampling: in the order of the classes, at random within each, then every k-th one.
        order = np.random.default_rng(self.seed).permutation(others)
        order = order[np.argsort(labels[order], kind="stable")]
        drawn = order[np.arange(self.majority) * len(order) // self.majority]
        return np.sort(np.concatenate([drawn, np.flatnonzero(binary == 1)]))


ALL_CLASSES = ClassChoice(positive=None, majority=None, seed=0)


@dataclass(frozen=True)
class Published:
    """Name of a published corpus, and its ``classes`` in the order of their indices. ``info``: for the record,
    e.g. ``stand_in``: what it is not."""

    name: str
    classes: tuple[str, ...]
    language: Language = "en"
    info: dict[str, Any] = field(default_factory=dict)

    def dataset(self, corpus: Corpus, choice: ClassChoice = ALL_CLASSES) -> Dataset:
        y, names = against_rest(corpus.labels, self.classes, choice.positive, f"class of {self.name}")
        rows = choice.rows(corpus.labels, y)
        test = np.flatnonzero(corpus.test[rows])
        return Dataset(
            self.name,
            corpus.texts[rows],
            y[rows],
            names,
            RawTexts(),
            modality="text",
            language=self.language,
            test_rows=test if len(test) else None,
            info={**self.info, **corpus.facts},
        )


@contextmanager
def readable(path: Path, remedy: str) -> Iterator[None]:
    """Whatever goes wrong while ``path`` is read is a BenchError that names it."""
    try:
        yield
    except UNREADABLE as error:
        why = str(error) or type(error).__name__
        raise BenchError(f"{path} is cut short, damaged or another file ({why}): {remedy}") from error


def refetch_hint(path: Path) -> str:
    """The remedy for a file that upstream serves."""
    return f"remove {path}, and it will be fetched again"


def opened(path: Path) -> TextIO:
    """A file of UTF-8, plain, .gz or .xz; its lines end at line feeds and nowhere else."""
    openers: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".xz": lzma.open}
    return openers.get(path.suffix, open)(path, "rt", encoding="utf-8", newline="\n")


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file of one JSON object a line. Raises ValueError that names the line."""
    with opened(path) as file:
        for number, line in enumerate(file, 1):
            try:
                yield json.loads(line)
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from error


def whole_zip(path: Path) -> None:
    """Raises BenchError where a download is not a whole zip archive: what has no published sum is checked so."""
    remedy = "it was removed; try again"
    with readable(path, remedy), zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged:
        raise BenchError(f"{damaged} in the download of {path.name} is damaged: {remedy}")


def expect_rows(path: Path, found: int, expected: int) -> None:
    if found != expected:
        raise BenchError(f"{path} has {found} texts, expected {expected}: {refetch_hint(path)}")
