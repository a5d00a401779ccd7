"""Toutiao: titles of Chinese news in 15 classes, 382,688 of them, collected in 2018."""

from __future__ import annotations

import io
import zipfile
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
    whole_zip,
)
from imbalance_bench.errors import BenchError
from imbalance_bench.registry import DATASETS

ROWS = 382_688
MEMBER = "toutiao_cat_data.txt"
PLAIN, ARCHIVE, SUBSET = (f"toutiao/{n}" for n in (MEMBER, f"{MEMBER}.zip", "toutiao_cat_data_subset.txt.xz"))
REPOSITORY = "aceimnorstuvwxz/toutiao-text-classfication-dataset"
STAND_IN = "a part of the 382,688 titles of Toutiao"
CODES = {
    "100": "news_story",
    "101": "news_culture",
    "102": "news_entertainment",
    "103": "news_sports",
    "104": "news_finance",
    "106": "news_house",
    "107": "news_car",
    "108": "news_edu",
    "109": "news_tech",
    "110": "news_military",
    "112": "news_travel",
    "113": "news_world",
    "114": "stock",
    "115": "news_agriculture",
    "116": "news_game",
}

# Titles a class, in the order of the codes.
COUNTS = {
    "whole": (
        *(6273, 28_031, 39_396, 37_568, 27_085, 17_672, 35_785, 27_058, 41_543, 24_984, 21_422, 26_909),
        *(340, 19_322, 29_300),
    ),
    "subset": (978, 3468, 6148, 5585, 4239, 2561, 5481, 3942, 6051, 3526, 3441, 3516, 59, 3063, 4529),
}


@DATASETS.register("toutiao")
@dataclass(frozen=True)
class ToutiaoSource(ClassChoice):
    """A line a title: id, code of the class, its name, title, keywords, parted by ``_!_``; the title alone is the text.
    ``part``: ``whole``, or ``subset``: those rows that ``toutiao_cat_data_subset.txt.xz`` has."""

    part: Literal["whole", "subset"]

    def load(self, folder: Path) -> Dataset:
        path = self._file(folder)
        name, info = ("toutiao_subset", {"stand_in": STAND_IN}) if self.by_hand else ("toutiao", {})
        corpus = cached_corpus(folder, name, [path], lambda: self._read(path))
        return Published(name, tuple(CODES.values()), "zh", info).dataset(corpus, self)

    def paths(self, folder: Path) -> list[Path] | None:
        """Its file; None where it is missing."""
        places = (SUBSET,) if self.by_hand else (PLAIN, ARCHIVE)
        found = [folder / place for place in places if (folder / place).exists()]
        return found[:1] or None

    @property
    def by_hand(self) -> bool:
        return self.part == "subset"

    def facts(self) -> Facts | None:
        counts = self.counts(tuple(CODES.values()), COUNTS[self.part])
        return Facts.counted(counts, "by hand (a part)" if self.by_hand else "GitHub") if counts else None

    def _file(self, folder: Path) -> Path:
        if found := self.paths(folder):
            return found[0]
        if self.by_hand:
            raise BenchError(
                f"dataset=toutiao_subset needs {folder / SUBSET} (docs/datasets.md), which cannot be downloaded; "
                "set dataset=toutiao for the whole"
            )
        # The repository states no sum: that of the first download is recorded.
        url = f"{SITES['github']}/{REPOSITORY}/raw/master/{Path(ARCHIVE).name}"
        return fetch_file(url, folder, ARCHIVE, None, whole_zip)

    def _read(self, path: Path) -> Corpus:
        with readable(path, refetch_hint(path)):
            if path.suffix == ".zip":
                with zipfile.ZipFile(path) as archive:
                    inside = next((n for n in archive.namelist() if Path(n).name == MEMBER), MEMBER)
                    with archive.open(inside) as raw, io.TextIOWrapper(raw, "utf-8", newline="\n") as file:
                        corpus = Corpus.of(_titles(file, path))
            else:
                with opened(path) as file:
                    corpus = Corpus.of(_titles(file, path))
        if not self.by_hand:
            expect_rows(path, len(corpus.texts) + corpus.facts.get("empty_texts_skipped", 0), ROWS)
        return corpus


def _titles(file: TextIO, path: Path) -> Iterator[Row]:
    classes = {code: i for i, code in enumerate(CODES)}
    for number, line in enumerate(file, 1):
        parts = line.rstrip("\r\n").split("_!_")
        if len(parts) < 4 or parts[1] not in classes:
            raise BenchError(
                f"{path}, line {number}: {line[:60]!r} is not id_!_code_!_class_!_title_!_keywords with a code of "
                f"{', '.join(CODES)}: {refetch_hint(path)}"
            )
        yield Row(parts[3], classes[parts[1]])
