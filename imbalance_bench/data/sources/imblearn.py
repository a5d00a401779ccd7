"""The 27 binary benchmark sets of imbalanced-learn (Zenodo record 61452, compiled by Ding, 2011)."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from imbalance_bench.data.base import Dataset, Facts, Source
from imbalance_bench.data.encode import ArrayEncoder, Scale, one_hot_blocks
from imbalance_bench.data.fetch import fetch_archive
from imbalance_bench.errors import BenchError, suggestion
from imbalance_bench.registry import DATASETS

RECORD, ARCHIVE = "61452", "benchmark-imbalanced-learn.tar.gz"
FOLDER = "imblearn_benchmark/zenodo"  # where downloads go; a plain zenodo/ is read too


class Contents(NamedTuple):
    """Facts that a set must agree with; ``number`` is the i of its file x<i>data.npz."""

    number: int
    rows: int
    features: int
    positives: int


SETS = {
    "ecoli": Contents(1, 336, 7, 35),
    "optical_digits": Contents(2, 5620, 64, 554),
    "satimage": Contents(3, 6435, 36, 626),
    "pen_digits": Contents(4, 10992, 16, 1055),
    "abalone": Contents(5, 4177, 10, 391),
    "sick_euthyroid": Contents(6, 3163, 42, 293),
    "spectrometer": Contents(7, 531, 93, 45),
    "car_eval_34": Contents(8, 1728, 21, 134),
    "isolet": Contents(9, 7797, 617, 600),
    "us_crime": Contents(10, 1994, 100, 150),
    "yeast_ml8": Contents(11, 2417, 103, 178),
    "scene": Contents(12, 2407, 294, 177),
    "libras_move": Contents(13, 360, 90, 24),
    "thyroid_sick": Contents(14, 3772, 52, 231),
    "coil_2000": Contents(15, 9822, 85, 586),
    "arrhythmia": Contents(16, 452, 278, 25),
    "solar_flare_m0": Contents(17, 1389, 32, 68),
    "oil": Contents(18, 937, 49, 41),
    "car_eval_4": Contents(19, 1728, 21, 65),
    "wine_quality": Contents(20, 4898, 11, 183),
    "letter_img": Contents(21, 20000, 16, 734),
    "yeast_me2": Contents(22, 1484, 8, 51),
    "webpage": Contents(23, 34780, 300, 981),
    "ozone_level": Contents(24, 2536, 72, 73),
    "mammography": Contents(25, 11183, 6, 260),
    "protein_homo": Contents(26, 145751, 74, 1296),
    "abalone_19": Contents(27, 4177, 10, 32),
}


@DATASETS.register("imblearn")
@dataclass(frozen=True)
class ImblearnSource(Source):
    """``set``: imbalanced-learn's name of it. All features are numeric, some of them one-hot codes of categories;
    label -1 is the majority, 1 the minority."""

    set: str
    scale: Scale

    def __post_init__(self) -> None:
        if self.set not in SETS:
            raise BenchError(f"unknown dataset.set={self.set!r}: {suggestion(self.set, SETS)}")

    @property
    def file(self) -> str:
        return f"x{SETS[self.set].number}data.npz"

    def find(self, folder: Path) -> Path | None:
        """The file of this set under ``folder``, or None."""
        places = (folder / FOLDER / self.file, folder / "zenodo" / self.file)
        return next((p for p in places if p.exists()), None)

    def load(self, folder: Path) -> Dataset:
        path = self.find(folder)
        if path is None:
            members = [f"x{held.number}data.npz" for held in SETS.values()]
            path = fetch_archive(RECORD, ARCHIVE, folder, FOLDER, members, self.file)
        x, label = _read(path)
        expected = SETS[self.set]
        features = x.shape[1] if x.ndim == 2 else 0
        found = Contents(expected.number, len(x), features, int((label == 1).sum()))
        if found != expected or not np.isin(label, (-1, 1)).all() or label.shape != (expected.rows,):
            raise BenchError(
                f"{path} is not {self.set}: found {found.rows} rows, {found.features} features, {found.positives} "
                f"positives, expected {expected.rows}, {expected.features}, {expected.positives}: remove it, and it "
                "will be fetched again"
            )
        y = (label == 1).astype(np.int64)
        return Dataset(self.set, x, y, ("majority", "minority"), ArrayEncoder(self.scale, one_hot_blocks(x)))

    def paths(self, folder: Path) -> list[Path] | None:
        path = self.find(folder)
        return None if path is None else [path]

    def facts(self) -> Facts:
        number, rows, features, positives = SETS[self.set]
        return Facts.counted((rows - positives, positives), "Zenodo", (features,), number)


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return file["data"], file["label"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise BenchError(f"{path} cannot be read ({error}): remove it, and it will be fetched again") from error
