"""CIFAR-10 as JPEG: all 60,000 images, but lossy. It is a data set of its own: results on it are not on CIFAR-10."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imbalance_bench.data.base import Dataset, Facts, Source
from imbalance_bench.data.encode import RawPixels
from imbalance_bench.data.fetch import cached
from imbalance_bench.errors import BenchError
from imbalance_bench.registry import DATASETS

FOLDER = "cifar10_jpeg"
FILES = ("cifar10_jpeg_train.npz", "cifar10_jpeg_test.npz")
LOSSY = "JPEG of quality 75 with 4:2:0 chroma, about 30.6 dB from the originals: not CIFAR-10"


@DATASETS.register("cifar10_jpeg")
@dataclass(frozen=True)
class Cifar10JpegSource(Source):
    """Two .npz files of 50,000 training and 10,000 test images: ``jpeg`` (the bytes of all images in a row, uint8),
    ``offsets`` (n + 1,) where each begins, ``labels`` (n,), ``class_names`` (10,). Decoded once, then kept."""

    def load(self, folder: Path) -> Dataset:
        files = self.paths(folder)
        if files is None:
            raise BenchError(
                f"dataset=cifar10_jpeg needs {' and '.join(FILES)} in {folder / FOLDER} (docs/datasets.md says what "
                "they hold); it cannot be downloaded. For images in folders, one a class, set dataset=image_folder"
            )
        content = [p.read_bytes() for p in files]
        key = hashlib.sha256(b"".join(hashlib.sha256(c).digest() for c in content)).hexdigest()[:16]
        made = cached(folder, f"cifar10_jpeg-{key}", lambda: _decode(content, files))
        n, y = int(made["train"]), made["y"]
        return Dataset(
            "cifar10_jpeg",
            made["x"],
            y,
            tuple(made["class_names"].tolist()),
            RawPixels(),
            modality="image",
            test_rows=np.arange(n, len(y)),
            info={"lossy": LOSSY},
        )

    @property
    def by_hand(self) -> bool:
        return True

    def facts(self) -> Facts:
        return Facts.counted((6000,) * 10, "by hand (lossy)", (3, 32, 32))

    def paths(self, folder: Path) -> list[Path] | None:
        """Its files; None where one is missing."""
        found = [folder / FOLDER / name for name in FILES]
        return found if all(p.exists() for p in found) else None


def _decode(content: list[bytes], files: list[Path]) -> dict[str, np.ndarray]:
    """x (n, 3, 32, 32) uint8, y (n,) int64, class_names, and how many of them are for training."""
    from PIL import Image

    x, y, names = [], [], np.array([])
    for raw, path in zip(content, files):
        try:
            with np.load(io.BytesIO(raw), allow_pickle=False) as file:
                jpeg, offsets, labels, names = (file[k] for k in ("jpeg", "offsets", "labels", "class_names"))
            ends = zip(offsets[:-1].tolist(), offsets[1:].tolist())
            images = [np.asarray(Image.open(io.BytesIO(jpeg[a:b].tobytes())).convert("RGB")) for a, b in ends]
            x.append(np.stack(images).transpose(0, 3, 1, 2))
            y.append(labels.astype(np.int64))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise BenchError(f"{path} is cut short or damaged ({error}): put a whole one there") from error
    return {
        "x": np.ascontiguousarray(np.concatenate(x)),
        "y": np.concatenate(y),
        "class_names": names,
        "train": np.array(len(y[0])),
    }
