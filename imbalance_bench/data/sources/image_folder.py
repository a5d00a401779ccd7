"""The user's own images: a folder with one folder a class, or with train/ and test/ inside, each of one folder a
class."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from imbalance_bench.data.base import Dataset
from imbalance_bench.data.encode import RawPixels
from imbalance_bench.errors import BenchError
from imbalance_bench.options import Count, Len
from imbalance_bench.registry import DATASETS, nearest

PARTS = ("train", "valid", "test")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")


@DATASETS.register("image_folder")
@dataclass(frozen=True)
class ImageFolderSource:
    """``path``: the folder. Classes are its folders, in the order of their names; of two classes the rarer is class 1,
    the positive one. With ``train`` and ``test`` (and perhaps ``valid``) inside, those are the parts of the data.
    ``size``: [height, width] to resize to; null: all images have one size already. ``channels``: 1 grey, 3 colour.
    Where the folder lies is no part of a result's identity, what it holds is."""

    path: str | None
    size: Annotated[Annotated[list[Count], Len(2, 2)] | None, "[height, width]"]
    channels: Annotated[Literal[1, 3], "1: grey, 3: colour"]

    def load(self, folder: Path) -> Dataset:
        found = self._files()
        names = sorted({c for classes in found.values() for c in classes})
        for part, classes in found.items():
            if absent := [c for c in names if not classes.get(c)]:
                where = self._root / (part or "") / absent[0]
                raise BenchError(
                    f"{where} holds no image ({', '.join(SUFFIXES)}): every class needs some in every part; add "
                    "images, or remove the class"
                )
        if len(names) < 2:
            raise BenchError(f"dataset.path={self.path} has one class only ({names[0]!r}): nothing to tell apart")
        counts = [sum(len(classes[c]) for classes in found.values()) for c in names]
        if len(names) == 2 and counts[0] < counts[1]:
            names.reverse()
        rows = [(part, names.index(c), f) for part, classes in found.items() for c in classes for f in classes[c]]
        parts = np.array([part for part, _, _ in rows])
        return Dataset(
            self._root.name,
            self._pixels([file for _, _, file in rows]),
            np.array([c for _, c, _ in rows], np.int64),
            tuple(names),
            RawPixels(),
            modality="image",
            test_rows=np.flatnonzero(parts == "test") if "test" in found else None,
            valid_rows=np.flatnonzero(parts == "valid") if "valid" in found else None,
        )

    def fingerprint(self) -> dict[str, Any]:
        total = hashlib.sha256()
        for classes in self._files().values():
            for files in classes.values():
                for file in files:
                    total.update(file.relative_to(self._root).as_posix().encode() + b"\0")
                    total.update(hashlib.sha256(_read(file)).digest())
        return {"sha256": total.hexdigest()}

    @property
    def _root(self) -> Path:
        if self.path is None:
            raise BenchError("dataset=image_folder needs a folder with one folder a class: dataset.path=<folder>")
        return Path(self.path).expanduser().resolve()

    def _files(self) -> dict[str, dict[str, list[Path]]]:
        """part → class → its image files, in the order of their names. Without parts there is one, called ""."""
        inside = {p.name: p for p in _folders(self._root, self.path)}
        parts = {part: inside[part] for part in PARTS if part in inside}
        others = sorted(inside.keys() - parts.keys())
        if not {"train", "test"} <= parts.keys() and others:
            return {"": _classes(self._root, self.path)}
        if others or not {"train", "test"} <= parts.keys():
            hint = f"; {others[0]!r}: {nearest(others[0], PARTS)}" if others else ""
            raise BenchError(
                f"dataset.path={self.path} holds {', '.join(sorted(inside))}: a folder of parts holds train and test, "
                f"perhaps valid, and nothing else{hint}"
            )
        return {part: _classes(folder, self.path) for part, folder in parts.items()}

    def _pixels(self, files: list[Path]) -> np.ndarray:
        """(n, channels, height, width) uint8."""
        first = self._image(files[0])
        x = np.empty((len(files), *first.shape), np.uint8)
        for i, file in enumerate(files):
            image = self._image(file)
            if image.shape != first.shape:
                sizes = " and ".join(
                    f"{a.shape[1]} x {a.shape[2]} ({f})" for a, f in ((first, files[0]), (image, file))
                )
                raise BenchError(f"images differ in size: {sizes}: set 'dataset.size=[height, width]'")
            x[i] = image
        return x

    def _image(self, file: Path) -> np.ndarray:
        """(channels, height, width) uint8, upright."""
        import io

        from PIL import Image, ImageOps

        try:
            with Image.open(io.BytesIO(_read(file))) as opened:
                if opened.mode[0] in "IF":  # a conversion would cut such values off at 255
                    raise BenchError(f"{file} has pixels of more than 8 bits: save it with 8 bits a channel")
                image = ImageOps.exif_transpose(opened).convert("L" if self.channels == 1 else "RGB")
            if self.size is not None:
                image = image.resize((self.size[1], self.size[0]), Image.Resampling.BILINEAR)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise BenchError(f"{file} cannot be read as an image ({error}): mend or remove it") from error
        pixels = np.asarray(image)
        return pixels[None] if self.channels == 1 else pixels.transpose(2, 0, 1)


def _classes(folder: Path, path: str | None) -> dict[str, list[Path]]:
    """class → image files anywhere below its folder."""
    classes = {}
    for inside in _folders(folder, path):
        files = [f for f in inside.rglob("*") if f.suffix.lower() in SUFFIXES and not f.name.startswith(".")]
        classes[inside.name] = sorted(f for f in files if f.is_file())
    return classes


def _folders(folder: Path, path: str | None) -> list[Path]:
    try:
        found = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    except OSError as error:
        raise BenchError(f"dataset.path={path} cannot be read: {error.strerror}") from error
    if not found:
        raise BenchError(f"{folder} holds no folders: dataset.path={path} must hold one folder a class")
    return found


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise BenchError(f"{file} cannot be read: {error.strerror}") from error
