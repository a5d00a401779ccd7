"""MNIST-back-rotation (Larochelle et al. 2007): rotated digits over patches of photographs, 28 × 28 grey, 12,000 to
train and 50,000 for testing. Its upstream archive, and a stand-in for it that is made from MNIST."""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Any, ClassVar

import numpy as np

from imbalance_bench.data.base import Dataset, Facts, Source
from imbalance_bench.data.encode import RawPixels
from imbalance_bench.data.fetch import CHECKSUMS, SITES, cached, check_sum, fetch_file, recorded
from imbalance_bench.data.sources import mnist
from imbalance_bench.errors import BenchError
from imbalance_bench.options import Count, Seed
from imbalance_bench.registry import DATASETS

TRAIN, TEST = 12_000, 50_000

ARCHIVE = "mnist_rotation_back_image_new.zip"
PLACE = f"mnist_back_rotation/{ARCHIVE}"
SUM = "sha1:902bb7e96136dd76e9f2924d7fdb9eb832f7bc33"  # as scikit-data pins it: upstream serves plain http alone
MEMBERS = {
    "mnist_all_background_images_rotation_normalized_train_valid.amat": TRAIN,
    "mnist_all_background_images_rotation_normalized_test.amat": TEST,
}

# The stand-in. A change of what it makes is a change of RECIPE: it names the kept copy.
RECIPE = (
    "MNIST digits, rotated by uniform angles (bilinear), over 28 x 28 patches of scikit-learn's two sample photographs "
    "in grey, at full and half size, patches of a standard deviation below 0.1 left out; pixel = d + (1 - d) b"
)
COUNTS = (6139, 6933, 6187, 6341, 6035, 5600, 6116, 6453, 6030, 6166)  # by seed 0
TEXTURE = 0.1  # least standard deviation of a patch; white is 1
SCALES = (1, 2)


@dataclass(frozen=True)
class _BackRotation(Source):
    """``copies``: how many copies of each training image there are: 1, or an even number, half of them mirrored, each
    half rotated by equal steps of the full circle (DOS, Section 4.2: 10). All copies are training rows."""

    makes_copies: ClassVar[bool] = True

    copies: Annotated[Count, "1 or an even number: half are mirrored"]

    def __post_init__(self) -> None:
        if self.copies % 2 and self.copies != 1:
            raise BenchError(f"dataset.copies={self.copies} must be 1 or an even number: half are mirrored")

    def _dataset(self, folder: Path, key: str, make: Callable[[], dict[str, np.ndarray]], **info: Any) -> Dataset:
        """Of what ``make`` makes, x (62,000, 28, 28) uint8 and y (62,000,), the first 12,000 are for training. ``key``:
        what it was made of."""
        name: str = self.name  # type: ignore[attr-defined]
        arrays = cached(folder, f"{name}-{key}", make)
        x, y, groups = arrays["x"], arrays["y"].astype(np.int64), None
        if self.copies > 1:
            info |= {"copies": self.copies}
            train = x[:TRAIN]
            more = cached(folder, f"{name}-{key}-x{self.copies}", lambda: {"x": enlarged(train, self.copies)})["x"]
            groups = np.concatenate([np.tile(np.arange(TRAIN), self.copies), np.arange(TRAIN, len(y))])
            x, y = np.concatenate([more, x[TRAIN:]]), y[groups]
        return Dataset(
            name,
            x[:, None],
            y,
            mnist.DIGITS,
            RawPixels(),
            modality="image",
            test_rows=np.arange(TRAIN * self.copies, len(y)),
            groups=groups,
            info=info,
        )


@DATASETS.register("mnist_back_rotation")
@dataclass(frozen=True)
class BackRotationSource(_BackRotation):
    """The upstream archive: text, a line an image of 784 numbers in [0, 1] and the digit. The sum of a download is
    recorded, and what lies there must have it. (Which way round the pixels of a line run does not matter: digits are
    turned by any angle, and all in the same way.)"""

    def load(self, folder: Path) -> Dataset:
        try:
            path = fetch_file(f"{SITES['lisa']}/{ARCHIVE}", folder, PLACE, SUM, _check_whole)
        except BenchError as error:
            raise BenchError(
                f"{error}. A stand-in that needs MNIST alone: dataset=mnist_back_rotation_generated"
            ) from error
        if known := recorded(folder).get(PLACE):
            remedy = f"remove {path}, and it will be fetched again; or, to use it, its entry in {folder / CHECKSUMS}"
            check_sum(path, f"sha256:{known['sha256']}", f"it changed since its download: {remedy}")
        with path.open("rb") as file:
            key = hashlib.file_digest(file, "sha256").hexdigest()[:16]
        return self._dataset(folder, key, lambda: _parse(path))

    def paths(self, folder: Path) -> list[Path] | None:
        return [folder / PLACE] if (folder / PLACE).exists() else None

    def facts(self) -> Facts | None:
        return Facts(TRAIN + TEST, (1, 28, 28), len(mnist.DIGITS), None, "LISA") if self.copies == 1 else None


@DATASETS.register("mnist_back_rotation_generated")
@dataclass(frozen=True)
class GeneratedBackRotationSource(_BackRotation):
    """The stand-in, by ``RECIPE``: 12,000 images of MNIST's training set to train; for testing MNIST's test set and
    40,000 other images of its training set, so that no digit is in both. ``seed``: which, how turned, over what."""

    holds_to_sums: ClassVar[bool] = True

    seed: Seed

    def load(self, folder: Path) -> Dataset:
        train, test = mnist.read(folder)
        key = hashlib.sha256(f"{RECIPE}, seed {self.seed}".encode()).hexdigest()[:16]
        made = self._dataset(folder, key, lambda: generate(train, test, self.seed), generated=True, recipe=RECIPE)
        # Another machine's decoder of the photographs, or its sines, would show here.
        made.info["pixels_sha256"] = hashlib.sha256(made.x).hexdigest()[:16]
        return made

    def paths(self, folder: Path) -> list[Path] | None:
        """Those of MNIST."""
        return mnist.paths(folder)

    def facts(self) -> Facts | None:
        whole = self.copies == 1 and self.seed == 0  # another seed draws others of MNIST's training images
        return Facts.counted(COUNTS, "made from MNIST", (1, 28, 28)) if whole else None


def generate(
    train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray], seed: int
) -> dict[str, np.ndarray]:
    """x (62,000, 28, 28) uint8 and y of the stand-in, from MNIST's training and test set, its training rows first."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(train[1]))[: TRAIN + TEST - len(test[1])]
    digits = np.concatenate([train[0][rows], test[0]])[:, 0]
    y = np.concatenate([train[1][rows], test[1]])
    turned = rotated(digits, rng.uniform(0, 2 * np.pi, len(y))) / 255
    x = turned + (1 - turned) * _patches(len(y), rng)
    return {"x": np.round(255 * x).astype(np.uint8), "y": y.astype(np.uint8)}


def _patches(n: int, rng: np.random.Generator) -> np.ndarray:
    """(n, 28, 28) float32 in [0, 1]: places drawn uniformly among those of all photographs that have texture."""
    from sklearn.datasets import load_sample_images

    windows: list[np.ndarray] = []
    places = []
    for photo in load_sample_images().images:
        grey = photo @ np.array([0.299, 0.587, 0.114]) / 255
        for scale in SCALES:
            h, w = (length // scale * scale for length in grey.shape)
            small = grey[:h, :w].reshape(h // scale, scale, w // scale, scale).mean(axis=(1, 3)).astype(np.float32)
            window = np.lib.stride_tricks.sliding_window_view(small, (28, 28))
            mean, square = _window_mean(small), _window_mean(small**2)
            rough = np.argwhere(square - mean**2 > TEXTURE**2)
            places.append(np.column_stack([np.full(len(rough), len(windows)), rough]))
            windows.append(window)
    chosen = (every := np.concatenate(places))[rng.integers(len(every), size=n)]
    out = np.empty((n, 28, 28), np.float32)
    for i, window in enumerate(windows):
        mine = chosen[:, 0] == i
        out[mine] = window[chosen[mine, 1], chosen[mine, 2]]
    return out


def _window_mean(image: np.ndarray) -> np.ndarray:
    """Mean over each 28 × 28 window."""
    total = np.pad(image.astype(np.float64), ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    return (total[28:, 28:] - total[:-28, 28:] - total[28:, :-28] + total[:-28, :-28]) / 28**2


def enlarged(x: np.ndarray, copies: int) -> np.ndarray:
    """Images (n, h, w) uint8 → (copies · n, h, w): as they are and mirrored, each rotated by multiples of a full circle
    over copies/2; the first n are as they are."""
    angles = 2 * np.pi * np.arange(copies // 2) / (copies // 2)
    turned = [rotated(side, np.full(len(x), angle)) for side in (x, x[:, :, ::-1]) for angle in angles]
    return np.round(np.concatenate(turned)).astype(np.uint8)


def rotated(x: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Images (n, h, w), each turned about its centre by its angle (n,); bilinear, float32. What comes from beyond an
    edge is the pixel at that edge."""
    h, w = x.shape[1:]
    down, right = np.meshgrid(np.arange(h) - (h - 1) / 2, np.arange(w) - (w - 1) / 2, indexing="ij")
    out = np.empty(x.shape, np.float32)
    for first in range(0, len(x), 2000):  # a few megabytes at a time
        part = slice(first, first + 2000)
        image = x[part].astype(np.float32)
        cos, sin = (f(angles[part])[:, None, None] for f in (np.cos, np.sin))
        rows = np.clip((h - 1) / 2 + cos * down + sin * right, 0, h - 1)
        columns = np.clip((w - 1) / 2 - sin * down + cos * right, 0, w - 1)
        r, c = np.minimum(rows.astype(np.intp), h - 2), np.minimum(columns.astype(np.intp), w - 2)
        a, b = (rows - r).astype(np.float32), (columns - c).astype(np.float32)
        i = np.arange(len(image))[:, None, None]
        out[part] = (1 - a) * ((1 - b) * image[i, r, c] + b * image[i, r, c + 1]) + a * (
            (1 - b) * image[i, r + 1, c] + b * image[i, r + 1, c + 1]
        )
    return out


def _check_whole(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        damaged = str(error)
    if damaged:
        raise BenchError(f"the download of {ARCHIVE} is cut short or damaged ({damaged}) and was removed; try again")


def _parse(path: Path) -> dict[str, np.ndarray]:
    """x (62,000, 28, 28) uint8 and y (62,000,) uint8 of the upstream archive."""
    x, y = [], []
    remedy = f"remove {path}, and it will be fetched again"
    try:
        with zipfile.ZipFile(path) as archive:
            for name, rows in MEMBERS.items():
                inside = next((n for n in archive.namelist() if Path(n).name == name), None)
                if inside is None:
                    raise BenchError(f"{path} holds no {name}: {remedy}")
                with archive.open(inside) as file:
                    table = _table(file)
                pixels, digits = table[:, :-1], table[:, -1]
                if table.shape != (rows, 785) or not np.isin(digits, np.arange(10)).all():
                    raise BenchError(
                        f"{name} in {path} has {table.shape[0]} rows of {table.shape[1]} numbers, expected {rows} of "
                        f"785, the last a digit: {remedy}"
                    )
                x.append(np.round(255 * np.clip(pixels, 0, 1)).astype(np.uint8).reshape(-1, 28, 28))
                y.append(digits.astype(np.uint8))
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise BenchError(f"{path} is cut short or damaged ({error}): {remedy}") from error
    return {"x": np.concatenate(x), "y": np.concatenate(y)}


def _table(file: IO[bytes]) -> np.ndarray:
    """Numbers parted by blanks, a line a row, as float32; read some thousand lines at a time."""
    import pandas as pd

    text = io.TextIOWrapper(file, "ascii")
    chunks = pd.read_csv(text, sep=r"\s+", header=None, dtype=np.float32, chunksize=5000)
    return np.concatenate([chunk.to_numpy() for chunk in chunks])
