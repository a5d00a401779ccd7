"""SMS Spam Collection (Almeida, Gómez Hidalgo and Yamakami, 2011): 5,574 text messages, 747 of them spam."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from imbalance_bench.data.base import Dataset, Facts, Source
from imbalance_bench.data.fetch import SITES, fetch_file
from imbalance_bench.data.text.corpus import Corpus, Published, Row, expect_rows, readable, refetch_hint
from imbalance_bench.errors import BenchError
from imbalance_bench.registry import DATASETS

ROWS = 5574
MEMBER = "SMSSpamCollection"
PLAIN, ARCHIVE = f"sms_spam/{MEMBER}", "sms_spam/smsspamcollection.zip"
SUM = "sha256:1587ea43e58e82b14ff1f5425c88e17f8496bfcdb67a583dbff9eefaf9963ce3"
COUNTS = (4827, 747)
CLASSES = ("ham", "spam")


@DATASETS.register("sms_spam")
@dataclass(frozen=True)
class SmsSpamSource(Source):
    """UCI's archive, or the file that is in it: a line a message, its class, a tab, its text. ``duplicates``: whether a
    text that comes again is dropped or kept, so that it may be in two parts of a split."""

    duplicates: Literal["drop", "keep"]

    def load(self, folder: Path) -> Dataset:
        path = self._file(folder)
        with readable(path, refetch_hint(path)):
            if path.suffix == ".zip":
                with zipfile.ZipFile(path) as archive:
                    content = archive.read(MEMBER)
            else:
                content = path.read_bytes()
            corpus = Corpus.of(_messages(content.decode("utf-8"), path))
        expect_rows(path, len(corpus.texts), ROWS)
        return Published("sms_spam", CLASSES).dataset(corpus.without_repeats() if self.duplicates == "drop" else corpus)

    def facts(self) -> Facts | None:
        return Facts.counted(COUNTS, "UCI") if self.duplicates == "keep" else None

    def paths(self, folder: Path) -> list[Path] | None:
        """Its file; None where it is missing."""
        found = [folder / place for place in (PLAIN, ARCHIVE) if (folder / place).exists()]
        return found[:1] or None

    def sums(self) -> dict[str, str]:
        return {Path(ARCHIVE).name: SUM}

    def _file(self, folder: Path) -> Path:
        if found := self.paths(folder):
            return found[0]
        url = f"{SITES['uci']}/ml/machine-learning-databases/00228/{Path(ARCHIVE).name}"
        return fetch_file(url, folder, ARCHIVE, SUM)


def _messages(content: str, path: Path) -> Iterator[Row]:
    for number, line in enumerate(content.rstrip("\n").split("\n"), 1):
        label, tab, text = line.partition("\t")
        if not tab or label not in CLASSES:
            raise BenchError(
                f"{path}, line {number}: {line[:40]!r} is not ham or spam, a tab and a text: {refetch_hint(path)}"
            )
        yield Row(text, CLASSES.index(label))
