"""MNIST (LeCun, Cortes and Burges): 60,000 training and 10,000 test images of handwritten digits, 28 × 28 grey."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from imbalance_bench.data.base import Dataset, Facts, Source
from imbalance_bench.data.encode import RawPixels
from imbalance_bench.data.fetch import fetch_file
from imbalance_bench.errors import BenchError
from imbalance_bench.options import Whole
from imbalance_bench.registry import DATASETS

FOLDER = "MNIST/raw"  # as torchvision has it

# Sums (md5) of the files unpacked: whatever packed them, what they hold is checked.
FILES = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
COUNTS = (6903, 7877, 6990, 7141, 6824, 6313, 6876, 7293, 6825, 6958)
DIGITS = tuple("0123456789")


@DATASETS.register("mnist")
@dataclass(frozen=True)
class MnistSource(Source):
    """``valid``: how many of the last training images are for validation (DOS, Table 4: 50,000 are left to train)."""

    holds_to_sums: ClassVar[bool] = True

    valid: Whole

    def load(self, folder: Path) -> Dataset:
        train, test = read(folder)
        n = len(train[1])
        if self.valid >= n:
            raise BenchError(f"dataset.valid={self.valid} leaves none of {n} training images: set a lower one")
        x, y = (np.concatenate(both) for both in zip(train, test))
        return Dataset(
            "mnist",
            x,
            y,
            DIGITS,
            RawPixels(),
            modality="image",
            valid_rows=np.arange(n - self.valid, n) if self.valid else None,
            test_rows=np.arange(n, len(y)),
        )

    def paths(self, folder: Path) -> list[Path] | None:
        return paths(folder)

    def facts(self) -> Facts:
        return Facts.counted(COUNTS, "MNIST", (1, 28, 28))


def paths(folder: Path) -> list[Path] | None:
    """Its four files, plain or packed; None where one is missing."""
    found = [find(folder, name) for name in FILES]
    return None if None in found else found  # type: ignore[return-value]


def find(folder: Path, name: str) -> Path | None:
    places = (folder / FOLDER / name, folder / FOLDER / f"{name}.gz")
    return next((p for p in places if p.exists()), None)


def read(folder: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Images (n, 1, 28, 28) uint8 and labels (n,) of the training set and of the test set."""
    images_train, labels_train, images_test, labels_test = (_content(folder, name) for name in FILES)
    return [
        (_idx(images)[:, None], _idx(labels).astype(np.int64))
        for images, labels in ((images_train, labels_train), (images_test, labels_test))
    ]


def _content(folder: Path, name: str) -> bytes:
    """One file unpacked, fetched where it is missing, and held to its sum."""
    path = find(folder, name) or _fetch(folder, f"{name}.gz")
    remedy = f"remove {path}, and it will be fetched again"
    try:
        content = path.read_bytes() if path.suffix != ".gz" else gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise BenchError(f"{path} cannot be read ({error}): {remedy}") from error
    found = hashlib.md5(content).hexdigest()
    if found != FILES[name]:
        raise BenchError(f"{path} is cut short, damaged or not MNIST: md5 {found}, expected {FILES[name]}: {remedy}")
    return content


def _fetch(folder: Path, name: str) -> Path:
    from torchvision.datasets import MNIST

    return fetch_file(f"{MNIST.mirrors[0]}{name}", folder, f"{FOLDER}/{name}", f"md5:{dict(MNIST.resources)[name]}")


def _idx(content: bytes) -> np.ndarray:
    """An array of the idx format: two zeros, the type (8: uint8), the number of axes, their lengths (big-endian)."""
    axes = content[3]
    shape = np.frombuffer(content, ">i4", axes, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)
