"""AG's News and Yelp Polarity, as Zhang, Zhao and LeCun (2015) made them: CSV files of a class number, counted from 1,
and texts; and short Yelp sentences that stand for the latter."""

from __future__ import annotations

import csv
import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TextIO

from imbalance_bench.data.base import Dataset, Facts
from imbalance_bench.data.fetch import SITES, fetch_file
from imbalance_bench.data.text.corpus import (
    ClassChoice,
    Corpus,
    Published,
    Row,
    cached_corpus,
    expect_rows,
    opened,
    readable,
    refetch_hint,
)
from imbalance_bench.errors import BenchError
from imbalance_bench.registry import DATASETS

TOPICS = ("World", "Sports", "Business", "Sci/Tech")
POLARITIES = ("negative", "positive")

AG_NEWS = "ag_news"
# File → md5, as torchtext publishes them; the subset cannot be downloaded.
AG_SUMS = {"train.csv": "b1a00f826fdfbd249f79597b59e1dc12", "test.csv": "d52ea96a97a2d943681189a97654912d"}
AG_FILES = {
    "whole": ("train.csv", "test.csv"),
    "train": ("train.csv",),
    "test": ("test.csv",),
    "subset": ("train_subset.csv", "test.csv"),
}
AG_ROWS = {"train.csv": 120_000, "test.csv": 7600}
AG_COUNTS = {
    "whole": (31_900,) * 4,
    "train": (30_000,) * 4,
    "test": (1900,) * 4,
    "subset": (6550, 4725, 4723, 6783),
}
AG_STAND_INS = {
    "test": "the 7,600 texts of AG's test file alone",
    "subset": "a part of AG's 120,000 training texts, with all 7,600 of the test file",
}

YELP = "yelp_polarity/yelp_review_polarity_csv.tgz"
YELP_SUM = "sha256:528f22e286cad085948acbc3bea7e58188416546b0e364d0ae4ca0ce666abe35"  # as fast.ai publishes it
YELP_ROWS = {"train.csv": 560_000, "test.csv": 38_000}
YELP_COUNTS = (299_000, 299_000)

SENTENCES = ("yelp_sentences/yelp_sentences_dev.tsv.xz", "yelp_sentences/yelp_sentences_test.tsv.xz")
SENTENCES_COUNTS = (75_556, 114_597)
SENTENCES_STAND_IN = "short tokenised sentences with the polarity of their review, not the reviews of Yelp Polarity"


@DATASETS.register("ag_news")
@dataclass(frozen=True)
class AgNewsSource(ClassChoice):
    """Title and description of a news item are its text. ``part``: ``whole``, 120,000 to train and 7,600 as test rows;
    ``train`` or ``test``: one file alone, with no test rows; ``subset``: those training rows that
    ``train_subset.csv`` (a class, a text) has, and the test rows."""

    part: Literal["whole", "train", "test", "subset"]

    def load(self, folder: Path) -> Dataset:
        files = [self._file(folder, name) for name in AG_FILES[self.part]]
        name = "ag_news" if self.part == "whole" else f"ag_news_{self.part}"
        corpus = cached_corpus(folder, name, files, lambda: self._read(files))
        info = {"stand_in": AG_STAND_INS[self.part]} if self.part in AG_STAND_INS else {}
        return Published(name, TOPICS, info=info).dataset(corpus, self)

    def paths(self, folder: Path) -> list[Path] | None:
        """Its files; None where one is missing."""
        found = [folder / AG_NEWS / name for name in AG_FILES[self.part]]
        return found if all(p.exists() for p in found) else None

    def sums(self) -> dict[str, str]:
        return {name: f"md5:{digest}" for name, digest in AG_SUMS.items()}

    @property
    def by_hand(self) -> bool:
        return self.part == "subset"

    def facts(self) -> Facts | None:
        counts = self.counts(TOPICS, AG_COUNTS[self.part])
        return Facts.counted(counts, "by hand (a part)" if self.by_hand else "GitHub") if counts else None

    @staticmethod
    def _file(folder: Path, name: str) -> Path:
        place = f"{AG_NEWS}/{name}"
        if name in AG_SUMS:
            url = f"{SITES['github']}/mhjabreel/CharCnn_Keras/raw/master/data/ag_news_csv/{name}"
            try:
                return fetch_file(url, folder, place, f"md5:{AG_SUMS[name]}")
            except BenchError as error:
                if name == "test.csv":
                    raise
                raise BenchError(
                    f"{error}. dataset=ag_news_test needs test.csv alone, dataset=ag_news_subset a part of train.csv"
                ) from error
        if not (folder / place).exists():
            raise BenchError(
                f"dataset=ag_news_subset needs {folder / place} (a line a text: class 1 to 4, text; "
                "docs/datasets.md), which cannot be downloaded; set dataset=ag_news or ag_news_test"
            )
        return folder / place

    def _read(self, files: list[Path]) -> Corpus:
        both = len(files) == 2
        rows: list[Row] = []
        for path in files:
            with readable(path, refetch_hint(path)), opened(path) as file:
                found = list(_rows(file, path, TOPICS, both and path.name == "test.csv"))
            if path.name in AG_ROWS:
                expect_rows(path, len(found), AG_ROWS[path.name])
            # A backslash is where the source had a line break.
            rows += [r._replace(text=r.text.replace("\\", " ")) for r in found]
        return Corpus.of(rows)


@DATASETS.register("yelp_polarity")
@dataclass(frozen=True)
class YelpPolaritySource(ClassChoice):
    """Whole reviews; few stars are negative, many positive. ``part``: ``whole``, 560,000 to train
    and 38,000 as test rows; ``train`` or ``test``: one file alone, with no test rows."""

    part: Literal["whole", "train", "test"]

    def load(self, folder: Path) -> Dataset:
        path = fetch_file(f"{SITES['fastai']}/{Path(YELP).name}", folder, YELP, YELP_SUM)
        name = "yelp_polarity" if self.part == "whole" else f"yelp_polarity_{self.part}"
        corpus = cached_corpus(folder, name, [path], lambda: self._read(path))
        return Published(name, POLARITIES).dataset(corpus, self)

    def paths(self, folder: Path) -> list[Path] | None:
        return [folder / YELP] if (folder / YELP).exists() else None

    def sums(self) -> dict[str, str]:
        return {Path(YELP).name: YELP_SUM}

    def facts(self) -> Facts | None:
        counts = self.counts(POLARITIES, YELP_COUNTS) if self.part == "whole" else None
        return Facts.counted(counts, "fast.ai") if counts else None

    def _read(self, path: Path) -> Corpus:
        wanted = {"whole": ("train.csv", "test.csv"), "train": ("train.csv",), "test": ("test.csv",)}[self.part]
        parts: dict[str, list[Row]] = {}
        with readable(path, refetch_hint(path)), tarfile.open(path) as archive:
            for member in archive:
                name = Path(member.name).name
                if name in wanted and (file := archive.extractfile(member)):
                    text = io.TextIOWrapper(file, "utf-8", newline="\n")
                    found = _rows(text, path, POLARITIES, len(wanted) == 2 and name == "test.csv")
                    parts[name] = [r._replace(text=r.text.replace("\\n", "\n").replace('\\"', '"')) for r in found]
        for name in wanted:
            expect_rows(path / name, len(parts.get(name, [])), YELP_ROWS[name])
        return Corpus.of(row for name in wanted for row in parts[name])


@DATASETS.register("yelp_sentences")
@dataclass(frozen=True)
class YelpSentencesSource(ClassChoice):
    """Two files, a sentence a line: 0 (negative) or 1, a tab, the sentence (Shen et al., 2017)."""

    def load(self, folder: Path) -> Dataset:
        files = self.paths(folder)
        if files is None:
            raise BenchError(
                f"dataset=yelp_sentences needs {' and '.join(SENTENCES)} in {folder} (docs/datasets.md), which cannot "
                "be downloaded; whole reviews: dataset=yelp_polarity"
            )
        corpus = cached_corpus(folder, "yelp_sentences", files, lambda: Corpus.of(_sentences(files)))
        return Published("yelp_sentences", POLARITIES, info={"stand_in": SENTENCES_STAND_IN}).dataset(corpus, self)

    def paths(self, folder: Path) -> list[Path] | None:
        found = [folder / place for place in SENTENCES]
        return found if all(p.exists() for p in found) else None

    @property
    def by_hand(self) -> bool:
        return True

    def facts(self) -> Facts | None:
        counts = self.counts(POLARITIES, SENTENCES_COUNTS)
        return Facts.counted(counts, "by hand (a stand-in)") if counts else None


def _sentences(files: list[Path]) -> Iterator[Row]:
    for path in files:
        with readable(path, "put a whole one there"), opened(path) as file:
            for line in file:
                label, _, text = line.rstrip("\n").partition("\t")
                yield Row(text, int(label))


def _rows(file: TextIO, path: Path, classes: tuple[str, ...], test: bool) -> Iterator[Row]:
    """Rows of a class number and one text or several, which are joined by blanks."""
    for number, (label, *texts) in enumerate(csv.reader(file), 1):
        if not label.isdecimal() or not 1 <= int(label) <= len(classes) or not texts:
            raise BenchError(
                f"{path}, row {number}: {label[:40]!r} and {len(texts)} texts, not a class 1 to {len(classes)} and at "
                f"least one text: {refetch_hint(path)}"
            )
        yield Row(" ".join(texts), int(label) - 1, test)
