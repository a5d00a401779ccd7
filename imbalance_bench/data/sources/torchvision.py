"""SVHN, CIFAR-10, CIFAR-100 and STL-10: the upstream files that torchvision knows, by its addresses and sums.

The archives are read as they are, without unpacking; what torchvision has unpacked already is read too. Every file is
held to its sum before it is opened.
"""

from __future__ import annotations

import pickle
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from imbalance_bench.data.base import Dataset, Facts, Source
from imbalance_bench.data.encode import RawPixels
from imbalance_bench.data.fetch import cached, check_sum, fetch_checked
from imbalance_bench.errors import BenchError
from imbalance_bench.registry import DATASETS

Arrays = dict[str, np.ndarray]


class Place(NamedTuple):
    """Where a set lies under the data folder: its upstream ``files``, or what one of them holds, in ``folder``."""

    files: tuple[str, ...]
    folder: str | None
    members: tuple[str, ...]


CIFAR10_BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta")
STL10_MEMBERS = ("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin")
STL10_CLASSES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
PLACES = {
    "svhn": Place(("train_32x32.mat", "test_32x32.mat"), None, ()),
    "cifar10": Place(("cifar-10-python.tar.gz",), "cifar-10-batches-py", CIFAR10_BATCHES),
    "cifar100": Place(("cifar-100-python.tar.gz",), "cifar-100-python", ("train", "test", "meta")),
    "stl10": Place(("stl10_binary.tar.gz",), "stl10_binary", STL10_MEMBERS),
}

# Rows a class, size of an image, where from.
HELD = {
    "svhn": Facts.counted((6692, 18_960, 14_734, 11_379, 9981, 9266, 7704, 7614, 6705, 6254), "Stanford", (3, 32, 32)),
    "cifar10": Facts.counted((6000,) * 10, "Toronto", (3, 32, 32)),
    "cifar100": Facts.counted((600,) * 100, "Toronto", (3, 32, 32)),
    "stl10": Facts.counted((1300,) * 10, "Stanford", (3, 96, 96)),
}


@DATASETS.register("torchvision")
@dataclass(frozen=True)
class TorchvisionSource(Source):
    """``set``: ``svhn`` 73,257 + 26,032 images, ``cifar10`` and ``cifar100`` 50,000 + 10,000, all of 3 × 32 × 32, and
    ``stl10`` 5,000 + 8,000 of 3 × 96 × 96. The second number is the official test set."""

    set: Literal["svhn", "cifar10", "cifar100", "stl10"]

    def load(self, folder: Path) -> Dataset:
        arrays = READERS[self.set](folder)
        n = len(arrays["train_y"])
        x, y = (np.concatenate([arrays[f"train_{k}"], arrays[f"test_{k}"]]) for k in "xy")
        return Dataset(
            self.set,
            x,
            y.astype(np.int64),
            tuple(arrays["names"].tolist()),
            RawPixels(),
            modality="image",
            test_rows=np.arange(n, len(y)),
        )

    def paths(self, folder: Path) -> list[Path] | None:
        return paths(folder, self.set)

    def facts(self) -> Facts:
        return HELD[self.set]

    def sums(self) -> dict[str, str]:
        """The sum of each file, packed or not, that there may be."""
        from torchvision import datasets

        if self.set == "svhn":
            return {name: f"md5:{md5}" for _, name, md5 in datasets.SVHN.split_list.values()}
        known = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100, "stl10": datasets.STL10}[self.set]
        return {name: f"md5:{md5}" for name, md5 in _sums(known).items()}


def paths(folder: Path, set: str) -> list[Path] | None:
    """The files of a set that would be read; None where one is missing."""
    place = PLACES[set]
    unpacked = [folder / place.folder / m for m in place.members] if place.folder else []
    packed = [folder / name for name in place.files]
    for found in (unpacked, packed):
        if found and all(p.exists() for p in found):
            return found
    return None


def _sums(known: Any) -> dict[str, str]:
    """md5 of the archive of a torchvision data set and of what it holds."""
    meta = {known.meta["filename"]: known.meta["md5"]} if hasattr(known, "meta") else {}
    return {**dict(known.train_list), **dict(known.test_list), **meta, known.filename: known.tgz_md5}


def _svhn(folder: Path) -> Arrays:
    """Two MATLAB files: X (32, 32, 3, n) and y (n, 1), in which the digit 0 is called 10."""
    from scipy.io import loadmat
    from torchvision.datasets import SVHN

    arrays = {"names": np.array(list("0123456789"))}
    for part in ("train", "test"):
        url, name, md5 = SVHN.split_list[part]
        path = fetch_checked(url, folder, name, f"md5:{md5}")
        with _readable(path):
            held = loadmat(path, variable_names=["X", "y"])
            arrays[f"{part}_x"] = np.ascontiguousarray(held["X"].transpose(3, 2, 0, 1))
            arrays[f"{part}_y"] = held["y"].reshape(-1) % 10
    return arrays


def _cifar10(folder: Path) -> Arrays:
    from torchvision.datasets import CIFAR10

    return _cifar(folder, "cifar10", CIFAR10, "labels")


def _cifar100(folder: Path) -> Arrays:
    from torchvision.datasets import CIFAR100

    return _cifar(folder, "cifar100", CIFAR100, "fine_labels")


def _cifar(folder: Path, set: str, known: Any, key: str) -> Arrays:
    """Pickles of data (n, 3072), channel by channel, and a list of labels. They are opened after their sums agreed."""
    content = _members(folder, set, known)
    arrays = {}
    for part, files in (("train", known.train_list), ("test", known.test_list)):
        batches = [pickle.loads(content[name], encoding="latin1") for name, _ in files]
        arrays[f"{part}_x"] = np.concatenate([b["data"] for b in batches]).reshape(-1, 3, 32, 32)
        arrays[f"{part}_y"] = np.concatenate([b[key] for b in batches])
    names = pickle.loads(content[known.meta["filename"]], encoding="latin1")[known.meta["key"]]
    return arrays | {"names": np.array(names)}


def _stl10(folder: Path) -> Arrays:
    """Bytes: images channel by channel, column by column; labels from 1. The archive is large, half of it images
    without labels: what is needed of it is kept."""
    from torchvision.datasets import STL10

    def read() -> Arrays:
        content = _members(folder, "stl10", STL10)
        arrays = {"names": np.array(STL10_CLASSES)}
        for part in ("train", "test"):
            images = np.frombuffer(content[f"{part}_X.bin"], np.uint8).reshape(-1, 3, 96, 96)
            arrays[f"{part}_x"] = np.ascontiguousarray(images.transpose(0, 1, 3, 2))
            arrays[f"{part}_y"] = np.frombuffer(content[f"{part}_y.bin"], np.uint8) - 1
        return arrays

    return cached(folder, f"stl10-{STL10.tgz_md5[:16]}", read)


READERS = {"svhn": _svhn, "cifar10": _cifar10, "cifar100": _cifar100, "stl10": _stl10}


def _members(folder: Path, set: str, known: Any) -> dict[str, bytes]:
    """Contents of members of an archive: read unpacked where all of them lie so, else from the archive, which is
    fetched where it is missing."""
    wanted, sums = PLACES[set].members, _sums(known)
    found = paths(folder, set)
    if found and found[0].name in wanted:
        for path in found:
            check_sum(path, f"md5:{sums[path.name]}", f"{path} is cut short or damaged: remove the folder it lies in")
        return {path.name: path.read_bytes() for path in found}
    path = fetch_checked(known.url, folder, known.filename, f"md5:{known.tgz_md5}")
    content = {}
    with _readable(path), tarfile.open(path) as tar:
        for member in tar:
            name = Path(member.name).name
            if name in wanted and (file := tar.extractfile(member)):
                content[name] = file.read()
            if len(content) == len(wanted):
                break
    if missing := [name for name in wanted if name not in content]:
        raise BenchError(f"{path} holds no {missing[0]}: remove it, and it will be fetched again")
    return content


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, EOFError, tarfile.TarError) as error:
        raise BenchError(f"{path} cannot be read ({error}): remove it, and it will be fetched again") from error
