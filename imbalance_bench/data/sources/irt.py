"""Incident-Related Tweets of ten cities (SetConv, Table 1), which only their collectors can give."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from imbalance_bench.data.base import Dataset, Facts, Source
from imbalance_bench.data.sources.texts import read_table
from imbalance_bench.data.text.corpus import Corpus, Published, Row
from imbalance_bench.errors import BenchError, suggestion
from imbalance_bench.registry import DATASETS

CLASSES = {
    2: ("not_incident_related", "incident_related"),
    4: ("not_incident_related", "crash", "fire", "shooting"),
}
# SetConv, Table 1, in the order of the classes.
PRINTED: dict[str, dict[int, tuple[int, ...]]] = {
    "boston": {2: (2216, 604), 4: (2257, 347, 188, 28)},
    "sydney": {2: (1991, 852), 4: (2208, 587, 189, 39)},
    "brisbane": {2: (1898, 689), 4: (1915, 497, 164, 12)},
    "chicago": {2: (1270, 214), 4: (1270, 129, 81, 4)},
    "dublin": {2: (2616, 199), 4: (2630, 131, 33, 21)},
    "london": {2: (2444, 552), 4: (2475, 283, 95, 29)},
    "memphis": {2: (721, 361), 4: (721, 23, 30, 27)},
    "nyc": {2: (1446, 413), 4: (1446, 129, 239, 45)},
    "sf": {2: (1176, 304), 4: (1176, 161, 82, 61)},
    "seattle": {2: (1404, 800), 4: (390, 204, 153, 139)},
}
City = Literal["boston", "sydney", "brisbane", "chicago", "dublin", "london", "memphis", "nyc", "sf", "seattle"]


@DATASETS.register("irt")
@dataclass(frozen=True)
class IrtSource(Source):
    """``city``; ``classes``: 2 (incident related or not) or 4 (crash, fire, shooting, none of them). A table with
    columns ``text`` and ``label`` (``CLASSES``): ``irt/<city>_<classes>.csv`` or .tsv, else ``irt/<city>.csv`` or
    .tsv. Where there are two classes, crash, fire and shooting count as incident related. Half of the printed pairs of
    counts do not add up to the same number of tweets: then the two tasks need two files. Where the counts are not those
    printed, a warning says so, and so does the record."""

    city: City
    classes: Literal[2, 4]

    def load(self, folder: Path) -> Dataset:
        files = self.paths(folder)
        if files is None:
            raise BenchError(
                f"dataset=irt_{self.city} needs {folder / 'irt' / self.city}.csv (or .tsv): columns text and label "
                f"({', '.join(CLASSES[4])}; or {CLASSES[2][1]}). The tweets may not be passed on: ask the authors of "
                "SetConv (Gao et al., EMNLP 2020) for them; docs/datasets.md has the format"
            )
        names = CLASSES[self.classes]
        corpus = self._read(files[0])
        counts = tuple((corpus.labels == c).sum().item() for c in range(self.classes))
        if 0 in counts:
            raise BenchError(
                f"{files[0]} has no {names[counts.index(0)]} tweet, which dataset.classes={self.classes} needs"
            )
        printed = PRINTED[self.city][self.classes]
        if counts != printed:
            print(
                f"warning: {files[0]} has {dict(zip(names, counts))}; SetConv prints {dict(zip(names, printed))}: "
                "results are not on the same tweets",
                file=sys.stderr,
            )
        info = {"printed": dict(zip(names, printed)), "as_printed": counts == printed}
        return Published(f"irt_{self.city}", names, info=info).dataset(corpus)

    @property
    def by_hand(self) -> bool:
        return True

    def facts(self) -> Facts:
        return Facts.counted(PRINTED[self.city][self.classes], "by hand")

    def paths(self, folder: Path) -> list[Path] | None:
        """Its file; None where it is missing."""
        names = [
            f"{stem}{suffix}" for stem in (f"{self.city}_{self.classes}", self.city) for suffix in (".csv", ".tsv")
        ]
        return next(([p] for name in names if (p := folder / "irt" / name).exists()), None)

    def _read(self, path: Path) -> Corpus:
        table = read_table(path.read_bytes(), path, "utf-8")
        if absent := {"text", "label"} - set(table.columns):
            raise BenchError(f"{path} has no column {sorted(absent)[0]!r}: it needs text and label")
        known = {label: i for i, label in enumerate(CLASSES[self.classes])}
        if self.classes == 2:
            known |= dict.fromkeys(CLASSES[4][1:], 1)
        rows = []
        for number, (text, label) in enumerate(zip(table["text"], table["label"])):
            if label not in known:
                raise BenchError(f"{path}, row {number} (from 0): label {label!r}: {suggestion(str(label), known)}")
            rows.append(Row("" if text != text else text, known[label]))
        return Corpus.of(rows)
