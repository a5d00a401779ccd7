"""Reviews of Amazon, positive or negative by their stars: the 5-core sets of 2014 (McAuley et al., 2015) that SetConv
samples, and the smaller sets of Blitzer et al. (2007)."""

from __future__ import annotations

import gzip
import heapq
import json
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from imbalance_bench.data.base import Dataset, Facts, Source
from imbalance_bench.data.fetch import SITES, fetch_file
from imbalance_bench.data.text.corpus import Corpus, Published, Row, cached_corpus, json_lines, readable, refetch_hint
from imbalance_bench.errors import BenchError
from imbalance_bench.options import Count, Interval, Len, Seed
from imbalance_bench.registry import DATASETS

FILES = {
    "books": "reviews_Books_5.json.gz",
    "electronics": "reviews_Electronics_5.json.gz",
    "movies": "reviews_Movies_and_TV_5.json.gz",
}
PRINTED = {"books": (72_039, 7389), "electronics": (13_560, 1908), "movies": (12_896, 2066)}  # SetConv, Table 2
POLARITIES = ("negative", "positive")

MULTIDOMAIN = "amazon_multidomain_sentiment/reviews.jsonl.xz"
STAND_IN = "Blitzer et al. (2007), 1,000 reviews of each class, not the 5-core reviews of 2014"


@DATASETS.register("amazon")
@dataclass(frozen=True)
class AmazonSource(Source):
    """A JSON object a line with ``overall`` (stars) and ``reviewText``: more than three stars are positive, fewer are
    negative, three are left out. The rarer class is class 1 (negative reviews, as they are everywhere; SetConv's Table
    2 has the heads of its columns the other way round). ``sample``: how many reviews of the larger and of the smaller
    class are drawn by ``seed``; or the share of all reviews that stays, each with this probability."""

    category: Literal["books", "electronics", "movies"]
    sample: Annotated[
        Annotated[list[Count], Len(2, 2)] | Annotated[float, Interval(gt=0, le=1)],
        "reviews of the larger class and of the smaller, or a share",
    ]
    seed: Seed

    def load(self, folder: Path) -> Dataset:
        name = FILES[self.category]
        plain = folder / "amazon" / Path(name).stem
        # No sum is published: that of the first download is recorded.
        url = f"{SITES['snap']}/{name}"
        path = plain if plain.exists() else fetch_file(url, folder, f"amazon/{name}", None, _check_reviews)
        corpus = cached_corpus(
            folder, f"amazon_{self.category}", [path], lambda: self._sampled(path), self.sample, self.seed
        )
        majority, minority = PRINTED[self.category]
        info = {"printed": {"majority": majority, "minority": minority}}
        return Published(f"amazon_{self.category}", POLARITIES, info=info).dataset(corpus)

    def facts(self) -> Facts | None:
        return Facts.counted(tuple(self.sample), "SNAP") if isinstance(self.sample, list) else None

    def paths(self, folder: Path) -> list[Path] | None:
        """Its file; None where it is missing."""
        name = FILES[self.category]
        found = [p for p in (folder / "amazon" / Path(name).stem, folder / "amazon" / name) if p.exists()]
        return found[:1] or None

    def _sampled(self, path: Path) -> Corpus:
        """One pass: each review draws a number, and those with the lowest stay; memory holds no more than these."""
        rng = np.random.default_rng(self.seed)
        room = max(self.sample) if isinstance(self.sample, list) else None
        below = self.sample if isinstance(self.sample, float) else 1.0
        lowest: tuple[list[Any], list[Any]] = ([], [])  # heaps of (-number, -place in the file, text)
        seen: Counter[Any] = Counter()
        with readable(path, refetch_hint(path)):
            for place, row in enumerate(json_lines(path)):
                number, stars, text = rng.random(), float(row["overall"]), row.get("reviewText") or ""
                label = None if stars == 3 else int(stars > 3)
                if label is not None and not text.strip():
                    label = -1
                seen[label] += 1
                if label not in (0, 1) or number >= below:
                    continue
                if room is not None and len(lowest[label]) == room:
                    heapq.heappushpop(lowest[label], (-number, -place, text))
                else:
                    heapq.heappush(lowest[label], (-number, -place, text))
        larger = int(seen[1] >= seen[0])
        chosen = []
        for label, wanted in ((larger, 0), (1 - larger, 1)):
            rows = sorted(lowest[label], reverse=True)
            if isinstance(self.sample, list):
                if len(rows) < self.sample[wanted]:
                    raise BenchError(
                        f"dataset.sample={self.sample} asks for {self.sample[wanted]} {POLARITIES[label]} reviews, and "
                        f"{path} has {seen[label]}: set a lower one, or a share"
                    )
                rows = rows[: self.sample[wanted]]
            chosen += [(-place, text, label) for _, place, text in rows]
        facts = {
            "pool": {POLARITIES[label]: seen[label] for label in (0, 1)},
            "three_stars_left_out": seen[None],
            "empty_texts_skipped": seen[-1],
        }
        return Corpus.of((Row(text, label) for _, text, label in sorted(chosen)), facts)


def _check_reviews(path: Path) -> None:
    """Raises BenchError where the first lines of a download are no reviews."""
    with readable(path, "it was removed; try again"), gzip.open(path, "rt", encoding="utf-8") as file:
        for line in islice(file, 100):
            float(json.loads(line)["overall"])


@DATASETS.register("amazon_multidomain")
@dataclass(frozen=True)
class AmazonMultidomainSource(Source):
    """``domain``: 1,000 positive and 1,000 negative reviews, one file of JSON lines for all domains. Negative is class
    1, the one that a ratio thins, being the rarer one wherever reviews are not balanced by hand."""

    domain: Literal["books", "dvd", "electronics", "kitchen"]

    def load(self, folder: Path) -> Dataset:
        path = folder / MULTIDOMAIN
        if not path.exists():
            raise BenchError(
                f"dataset=amazon_multidomain needs {path}: a JSON object a line with domain, label (positive or "
                "negative) and text (docs/datasets.md); it cannot be downloaded"
            )
        classes = POLARITIES[::-1]
        with readable(path, "put a whole one there"):
            rows = [r for r in json_lines(path) if r["domain"] == self.domain]
            corpus = Corpus.of(Row(r["text"], classes.index(r["label"])) for r in rows)
        if len(set(corpus.labels.tolist())) < 2:
            raise BenchError(f"{path} has not both classes of dataset.domain={self.domain}: put a whole one there")
        return Published(f"amazon_{self.domain}_2007", classes, info={"stand_in": STAND_IN}).dataset(corpus)

    @property
    def by_hand(self) -> bool:
        return True

    def facts(self) -> Facts:
        return Facts.counted((1000, 1000), "by hand (a stand-in)")

    def paths(self, folder: Path) -> list[Path] | None:
        return [folder / MULTIDOMAIN] if (folder / MULTIDOMAIN).exists() else None
