"""Large Movie Review Dataset (Maas et al., 2011): 25,000 reviews to train and 25,000 for testing, half of each
negative."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imbalance_bench.data.base import Dataset, Facts
from imbalance_bench.data.fetch import SITES, fetch_file
from imbalance_bench.data.text.corpus import (
    ClassChoice,
    Corpus,
    Published,
    Row,
    cached_corpus,
    expect_rows,
    json_lines,
    readable,
    refetch_hint,
)
from imbalance_bench.registry import DATASETS

ARCHIVE = "imdb/aclImdb_v1.tar.gz"
SUM = "sha256:c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe"  # TensorFlow Datasets pins it too
LINES = ("imdb/imdb_train.jsonl.xz", "imdb/imdb_test.jsonl.xz")
ROWS = 25_000  # in each part
COUNTS = (25_000, 25_000)
CLASSES = ("negative", "positive")
SHORT = ("neg", "pos")
REVIEW = re.compile(r"(train|test)/(neg|pos)/(\d+)_\d+\.txt$")


@DATASETS.register("imdb")
@dataclass(frozen=True)
class ImdbSource(ClassChoice):
    """All 50,000 reviews, those of the test set as test rows, in the order part, class, number. Stanford's archive, or
    two files of JSON lines (``label``: neg or pos, ``id``, ``text``)."""

    def load(self, folder: Path) -> Dataset:
        files = self.paths(folder) or [fetch_file(f"{SITES['stanford']}/{Path(ARCHIVE).name}", folder, ARCHIVE, SUM)]
        corpus = cached_corpus(folder, "imdb", files, lambda: _read(files))
        return Published("imdb", CLASSES).dataset(corpus, self)

    def paths(self, folder: Path) -> list[Path] | None:
        """Its files; None where one is missing."""
        for places in ((ARCHIVE,), LINES):
            found = [folder / place for place in places]
            if all(path.exists() for path in found):
                return found
        return None

    def sums(self) -> dict[str, str]:
        return {Path(ARCHIVE).name: SUM}

    def facts(self) -> Facts | None:
        counts = self.counts(CLASSES, COUNTS)
        return Facts.counted(counts, "Stanford") if counts else None


def _read(files: list[Path]) -> Corpus:
    found: list[tuple[bool, int, int, str]] = []  # (of the test set, class, number, text)
    for path in files:
        with readable(path, refetch_hint(path)):
            found += _archived(path) if path.suffix == ".gz" else _lines(path)
    corpus = Corpus.of(Row(text, label, test) for test, label, _, text in sorted(found))
    for path, part in zip((files[0], files[-1]), (~corpus.test, corpus.test)):
        expect_rows(path, int(part.sum()), ROWS)
    return corpus


def _archived(path: Path) -> Iterator[tuple[bool, int, int, str]]:
    with tarfile.open(path) as archive:
        for member in archive:
            if (match := REVIEW.search(member.name)) and (file := archive.extractfile(member)):
                part, label, number = match.groups()
                yield part == "test", SHORT.index(label), int(number), file.read().decode("utf-8")


def _lines(path: Path) -> Iterator[tuple[bool, int, int, str]]:
    for row in json_lines(path):
        yield "test" in path.name, SHORT.index(row["label"]), int(row["id"]), row["text"]
