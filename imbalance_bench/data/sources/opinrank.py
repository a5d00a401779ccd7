"""OpinRank (Ganesan and Zhai, 2012): reviews of hotels (TripAdvisor) and of cars (Edmunds). Which of the two is a
review of? Cars are the rarer class."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imbalance_bench.data.base import Dataset, Facts, Source
from imbalance_bench.data.fetch import SITES, fetch_file
from imbalance_bench.data.text.corpus import (
    Corpus,
    Published,
    Row,
    cached_corpus,
    json_lines,
    readable,
    refetch_hint,
    whole_zip,
)
from imbalance_bench.errors import BenchError
from imbalance_bench.registry import DATASETS

ARCHIVE = "opinrank/OpinRankDatasetWithJudgments.zip"
LINES = tuple(f"opinrank/{name}.jsonl.xz" for name in ("cars", "hotels_part1", "hotels_part2", "hotels_part3"))
CLASSES = ("hotels", "cars")
COUNTS = (228_991, 42_288)
PRINTED = {"hotels": 259_000, "cars": 42_230}  # MISO, Table 2
MEMBER = re.compile(r"(?:^|/)(hotels|cars)/data/[^/]+/[^/.][^/]*$")
DOCUMENT = re.compile(r"<DOC>(.*?)</DOC>", re.DOTALL)
TEXT = re.compile(r"<TEXT>(.*?)</TEXT>", re.DOTALL)


@DATASETS.register("opinrank")
@dataclass(frozen=True)
class OpinRankSource(Source):
    """The archive of the authors' repository, or four files of JSON lines with ``text``. Reviews without a text are
    left out: the hotels have 26,411, which only have a title, if that."""

    def load(self, folder: Path) -> Dataset:
        # The repository states no sum: that of the first download is recorded.
        url = f"{SITES['github']}/kavgan/OpinRank/raw/master/{Path(ARCHIVE).name}"
        files = self.paths(folder) or [fetch_file(url, folder, ARCHIVE, None, whole_zip)]
        corpus = cached_corpus(folder, "opinrank", files, lambda: Corpus.of(_reviews(files)))
        return Published("opinrank", CLASSES, info={"printed": PRINTED}).dataset(corpus)

    def facts(self) -> Facts:
        return Facts.counted(COUNTS, "GitHub")

    def paths(self, folder: Path) -> list[Path] | None:
        """Its files; None where one is missing."""
        for places in ((ARCHIVE,), LINES):
            found = [folder / place for place in places]
            if all(path.exists() for path in found):
                return found
        return None


def _reviews(files: list[Path]) -> Iterator[Row]:
    for path in files:
        with readable(path, refetch_hint(path)):
            if path.suffix == ".zip":
                yield from _archived(path)
            else:
                kind = path.name.split("_")[0].split(".")[0]
                yield from (Row(row["text"], CLASSES.index(kind)) for row in json_lines(path))


def _archived(path: Path) -> Iterator[Row]:
    """``cars/data/<year>/<car>``: <DOC> elements with a <TEXT>, or with nothing but the text;
    ``hotels/data/<city>/<hotel>``: a line a review, date, title and text parted by tabs."""
    with zipfile.ZipFile(path) as archive:
        members = sorted((m.group(1), name) for name in archive.namelist() if (m := MEMBER.search(name)))
        if {kind for kind, _ in members} != set(CLASSES):
            raise BenchError(
                f"{path} holds no cars/data/<year>/<car> and hotels/data/<city>/<hotel>: {refetch_hint(path)}"
            )
        for kind, name in members:
            content = _decoded(archive.read(name))
            if kind == "cars":
                documents = DOCUMENT.findall(content)
                texts = [found.group(1) if (found := TEXT.search(d)) else d for d in documents]
            else:
                texts = [(line.split("\t") + ["", ""])[2] for line in content.split("\n") if line.strip()]
            yield from (Row(text.strip(), CLASSES.index(kind)) for text in texts)


def _decoded(raw: bytes) -> str:
    """UTF-8, or where it is not, the encoding of old Windows pages."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")
