"""The user's own images: a folder with one folder a class, or with train/ and test/ inside, each of one folder a
class."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import numpy as np

from imbalance_bench.data.base import Dataset, Source
from imbalance_bench.data.encode import RawPixels
from imbalance_bench.errors import BenchError, suggestion
from imbalance_bench.options import Count, Len
from imbalance_bench.registry import DATASETS

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

PARTS = ("train", "valid", "test")
SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".webp"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".avif", ".tga"),
)


class Held(NamedTuple):
    """Content of the folder of a class: its image files, in the order of their names, and other files."""

    images: list[Path]
    others: list[Path]


NONE = Held([], [])


@DATASETS.register("image_folder")
@dataclass(frozen=True)
class ImageFolderSource(Source):
    """``path``: the folder. Classes are its folders, in the order of their names; of two classes the rarer is class 1,
    the positive one. With ``train`` and ``test`` (and perhaps ``valid``) inside, those are the parts of the data.
    ``size``: [height, width] to resize to; null: all images have one size already. ``channels``: 1 grey, 3 colour.
    The folder is identified by content, not by path."""

    path: str | None
    size: Annotated[Annotated[list[Count], Len(2, 2)] | None, "[height, width]"]
    channels: Annotated[Literal[1, 3], "1: grey, 3: colour"]

    def load(self, folder: Path) -> Dataset:
        found = self._files()
        names = sorted({c for classes in found.values() for c in classes})
        for part, classes in found.items():
            if absent := [c for c in names if c not in classes or not classes[c].images]:
                where = self._root / (part or "") / absent[0]
                beside = f" and {_endings(classes[absent[0]].others)}" if classes.get(absent[0], NONE).others else ""
                raise BenchError(
                    f"{where} holds no image ({', '.join(SUFFIXES)}){beside}: every class needs some in every part; "
                    "add images, or remove the class"
                )
        if len(names) < 2:
            raise BenchError(f"dataset.path={self.path} has one class only ({names[0]!r}): nothing to tell apart")
        counts = [sum(len(classes[c].images) for classes in found.values()) for c in names]
        if len(names) == 2 and counts[0] < counts[1]:
            names.reverse()
        rows = [
            (part, names.index(c), f) for part, classes in found.items() for c in classes for f in classes[c].images
        ]
        others = [f for classes in found.values() for held in classes.values() for f in held.others]
        parts = np.array([part for part, _, _ in rows])
        return Dataset(
            self._root.name,
            self.pixels([file for _, _, file in rows]),
            np.array([c for _, c, _ in rows], np.int64),
            tuple(names),
            RawPixels(),
            modality="image",
            test_rows=np.flatnonzero(parts == "test") if "test" in found else None,
            valid_rows=np.flatnonzero(parts == "valid") if "valid" in found else None,
            info={"left_out": f"{_endings(others)} in the folders of the classes, no images"} if others else {},
        )

    def every_image(self) -> tuple[list[Path], list[str]]:
        """The images anywhere below the folder, and a remark on other files, where there are any. Raises BenchError
        where there is no image."""
        if not self._root.is_dir():
            raise BenchError(f"dataset.path={self.path} is no folder of images (looked for {self._root})")
        held = _held(self._root)
        if not held.images:
            raise BenchError(f"dataset.path={self.path} holds no image ({', '.join(SUFFIXES)})")
        return held.images, [f"{_endings(held.others)}, no images"] if held.others else []

    def fingerprint(self) -> dict[str, Any]:
        total = hashlib.sha256()
        for classes in self._files().values():
            for held in classes.values():
                for file in held.images:
                    total.update(file.relative_to(self._root).as_posix().encode() + b"\0")
                    total.update(hashlib.sha256(_read(file)).digest())
        return {"sha256": total.hexdigest()}

    def paths(self, folder: Path) -> list[Path] | None:
        """Its images; None where the folder is missing."""
        if self.path is None or not self._root.is_dir():
            return None
        return [file for classes in self._files().values() for held in classes.values() for file in held.images]

    @property
    def _root(self) -> Path:
        if self.path is None:
            raise BenchError("dataset=image_folder needs a folder with one folder a class: dataset.path=<folder>")
        return Path(self.path).expanduser().resolve()

    def _files(self) -> dict[str, dict[str, Held]]:
        """part → class → what its folder holds. Without parts there is one, called ""."""
        inside = {p.name: p for p in _folders(self._root, self.path)}
        parts = {part: inside[part] for part in PARTS if part in inside}
        others = sorted(inside.keys() - parts.keys())
        if not {"train", "test"} <= parts.keys() and others:
            return {"": _classes(self._root, self.path)}
        if others or not {"train", "test"} <= parts.keys():
            hint = f"; {others[0]!r}: {suggestion(others[0], PARTS)}" if others else ""
            raise BenchError(
                f"dataset.path={self.path} holds {', '.join(sorted(inside))}: a folder of parts holds train and test, "
                f"perhaps valid, and nothing else{hint}"
            )
        return {part: _classes(folder, self.path) for part, folder in parts.items()}

    def pixels(self, files: list[Path]) -> np.ndarray:
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
                if _deep(opened):
                    raise BenchError(f"{file} has pixels of more than 8 bits: save it with 8 bits a channel")
                image = ImageOps.exif_transpose(opened).convert("L" if self.channels == 1 else "RGB")
            if self.size is not None:
                image = image.resize((self.size[1], self.size[0]), Image.Resampling.BILINEAR)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise BenchError(f"{file} cannot be read as an image ({error}): fix or remove it") from error
        pixels = np.asarray(image)
        return pixels[None] if self.channels == 1 else pixels.transpose(2, 0, 1)


def _deep(image: ImageFile) -> bool:
    """Whether pixels have more than 8 bits a channel: a conversion cuts grey ones off at 255, and of colours Pillow
    reads the upper 8 bits only."""
    raw = [arg for tile in image.tile for arg in (tile.args if isinstance(tile.args, tuple) else (tile.args,))]
    most = 255 if image.format == "PPM" else float("inf")
    return image.mode[0] in "IF" or any(";16" in arg if isinstance(arg, str) else (arg or 0) > most for arg in raw)


def _classes(folder: Path, path: str | None) -> dict[str, Held]:
    return {inside.name: _held(inside) for inside in _folders(folder, path)}


def _held(folder: Path) -> Held:
    """The files anywhere below ``folder``, through links too, but not through one that leads back; hidden files and
    folders do not count."""
    images: list[Path] = []
    others: list[Path] = []
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        folders[:] = [] if real in seen else sorted(name for name in folders if not _hidden(name))
        for name in names if real not in seen else ():
            file = Path(place, name)
            if not _hidden(name):
                (images if file.suffix.lower() in SUFFIXES and file.is_file() else others).append(file)
        seen.add(real)
    return Held(sorted(images), others)


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _endings(files: list[Path]) -> str:
    """Files counted by how their names end, e.g. "8 files .heic, 1 file without an ending"."""
    counts = Counter(file.suffix.lower() or "without an ending" for file in files)
    return ", ".join(f"{n} file{'s' if n > 1 else ''} {ending}" for ending, n in counts.most_common())


def _folders(folder: Path, path: str | None) -> list[Path]:
    try:
        found = sorted(p for p in folder.iterdir() if p.is_dir() and not _hidden(p.name))
    except OSError as error:
        raise BenchError(f"dataset.path={path} cannot be read: {error.strerror} (looked for {folder})") from error
    if not found:
        raise BenchError(f"{folder} holds no folders: dataset.path={path} must hold one folder a class")
    return found


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise BenchError(f"{file} cannot be read: {error.strerror}") from error
