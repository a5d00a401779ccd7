"""SemEval-2017 task 4, subtask A (Rosenthal, Farra and Nakov, 2017): the sentiment of tweets, 2013 to 2017."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from imbalance_bench.data.base import Dataset, Facts, Source
from imbalance_bench.data.text.corpus import Corpus, Published, Row, opened, readable
from imbalance_bench.errors import BenchError, suggestion
from imbalance_bench.registry import DATASETS

FOLDER = "semeval2017_task4a"
SENTIMENTS = ("negative", "neutral", "positive")
# Task → its classes, each of one sentiment or several.
TASKS = {
    "negative_vs_rest": (("rest", ("neutral", "positive")), ("negative", ("negative",))),
    "positive_vs_rest": (("rest", ("negative", "neutral")), ("positive", ("positive",))),
    "negative_vs_positive": (("positive", ("positive",)), ("negative", ("negative",))),
    "three": tuple((s, (s,)) for s in SENTIMENTS),
}
PARTS = {
    **{
        part: f"twitter-{part}-A"
        for part in (
            *("2013train", "2013dev", "2013test", "2014test", "2014sarcasm", "2015train", "2015test"),
            *("2016train", "2016dev", "2016devtest", "2016test"),
        )
    },
    "2017test": "SemEval2017-task4-test.subtask-A.english",
}
# Of these parts, each tweet once.
COUNTED = {*("2013train", "2013dev", "2013test", "2015train", "2015test", "2016train", "2016dev", "2016test")}
COUNTS = (38_489, 7165)
PRINTED = (39_123, 7273)  # SetConv, Table 2
NOT_HAD = "Not Available"  # what the organisers' script writes for a tweet that is gone
ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")


@DATASETS.register("semeval")
@dataclass(frozen=True)
class SemEvalSource(Source):
    """``task``: which sentiments make which class (``TASKS``). ``parts``: the organisers' files that are read: tweet
    id, sentiment, text, parted by tabs. ``duplicates``: what becomes of a tweet that comes again (by its id): ``drop``
    keeps the first; ``keep`` keeps all, so that a tweet may be in the training and in the test part. Escapes such as
    ``\\u2019`` are undone; lines that are not whole and tweets that are gone are left out; all are counted in the
    record."""

    task: Literal["negative_vs_rest", "positive_vs_rest", "negative_vs_positive", "three"]
    parts: list[str]
    duplicates: Literal["drop", "keep"]

    def __post_init__(self) -> None:
        for part in self.parts:
            if part not in PARTS:
                raise BenchError(f"dataset.parts: {part!r} is none: {suggestion(part, PARTS)}")
        if not self.parts or len(set(self.parts)) < len(self.parts):
            raise BenchError(f"dataset.parts={self.parts} must name one part or more, each once")

    def load(self, folder: Path) -> Dataset:
        files = self.paths(folder)
        if files is None:
            absent = next(part for part in self.parts if _find(folder, part) is None)
            raise BenchError(
                f"dataset=semeval needs {PARTS[absent]}.tsv (or .txt) in {folder / FOLDER} or below it: tweet id, "
                "sentiment and text, parted by tabs. The organisers have it: SemEval-2017 task 4, "
                "http://alt.qcri.org/semeval2017/task4/ (docs/datasets.md); or leave it out of dataset.parts"
            )
        corpus = self._read(files)
        names = tuple(name for name, _ in TASKS[self.task])
        return Published("semeval", names, info={"printed": PRINTED}).dataset(corpus)

    @property
    def by_hand(self) -> bool:
        return True

    def facts(self) -> Facts | None:
        whole = (self.task, self.duplicates) == ("negative_vs_rest", "drop") and set(self.parts) == COUNTED
        return Facts.counted(COUNTS, "by hand") if whole else None

    def paths(self, folder: Path) -> list[Path] | None:
        """Its files; None where one is missing."""
        found = [_find(folder, part) for part in self.parts]
        return None if None in found else found  # type: ignore[return-value]

    def _read(self, files: list[Path]) -> Corpus:
        classes = {sentiment: i for i, (_, group) in enumerate(TASKS[self.task]) for sentiment in group}
        facts = {"duplicates": 0, "duplicates_of_another_sentiment": 0, "broken_lines": 0, "tweets_gone": 0}
        first: dict[str, str] = {}  # tweet id → sentiment
        rows = []
        for path in files:
            whole = 0
            with readable(path, "put a whole one there"), opened(path) as file:
                for line in file:
                    tweet, sentiment, text = [*line.strip("\r\n").split("\t"), "", ""][:3]
                    if sentiment not in SENTIMENTS or not text:
                        facts["broken_lines"] += bool(line.strip())
                        continue
                    whole += 1
                    if text == NOT_HAD:
                        facts["tweets_gone"] += 1
                        continue
                    if tweet in first:
                        facts["duplicates"] += 1
                        facts["duplicates_of_another_sentiment"] += first[tweet] != sentiment
                        if self.duplicates == "drop":
                            continue
                    first.setdefault(tweet, sentiment)
                    if sentiment in classes:
                        rows.append(Row(ESCAPE.sub(lambda m: chr(int(m.group(1), 16)), text), classes[sentiment]))
            if not whole:
                raise BenchError(
                    f"{path} has no line of tweet id, sentiment and text, parted by tabs: put a whole one there, or "
                    "leave it out of dataset.parts"
                )
        return Corpus.of(rows, facts)


def _find(folder: Path, part: str) -> Path | None:
    found = sorted(p for suffix in (".tsv", ".txt") for p in (folder / FOLDER).rglob(f"{PARTS[part]}{suffix}"))
    return found[0] if found else None
