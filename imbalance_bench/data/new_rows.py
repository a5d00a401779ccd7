"""New rows for a model: read as its training rows were, by what a saved model says of these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from imbalance_bench.data.base import Source
from imbalance_bench.data.columns import numbers_of, words_of
from imbalance_bench.data.encode import FittedTable
from imbalance_bench.data.labels import known_indices
from imbalance_bench.data.sources.csv import CsvSource, Read, check_finite
from imbalance_bench.data.sources.image_folder import ImageFolderSource
from imbalance_bench.data.sources.texts import TextsSource, read_table
from imbalance_bench.errors import BenchError, suggestion
from imbalance_bench.options import check, hints

if TYPE_CHECKING:
    import pandas as pd

# Keys of a data set that say how a file is read, which new files may differ in.
READING = ("separator", "encoding", "decimal", "thousands", "missing", "drop_empty", "size", "text", "target")
LISTED = 5  # columns that are named, of many

T = TypeVar("T", CsvSource, TextsSource, ImageFolderSource)


@dataclass(frozen=True)
class NewRows:
    """``x``: (n, ...) as a fitted preprocessing takes them; ``beside``: what the output keeps of the file, a row each:
    its columns that are no features; ``labels``: (n,) class indices, -1 where a row has none of the classes, None where
    the file does not say; ``remarks``: what to tell of it."""

    x: Any
    beside: pd.DataFrame
    labels: np.ndarray | None = None
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Trained:
    """Origin of a model: the ``source`` of its data; ``modality`` and ``shape`` of its rows, as the source
    gives them; ``class_names``."""

    source: Source
    modality: str
    shape: tuple[int, ...]
    class_names: tuple[str, ...]


def new_rows(path: Path, trained: Trained, fitted: Any, changes: Mapping[str, Any]) -> NewRows:
    """The rows of a file (of images: of a folder) as the source of the training data reads its own; for published data
    a table, text file or folder of images of the same kind. ``fitted``: the preprocessing that they are for;
    ``changes``: keys of ``READING`` with other values than in training.

    Raises:
        BenchError: it cannot be read, is empty, or lacks what the model was trained with.
    """
    try:
        if trained.modality == "image":
            return _images(path, trained, changes)
        if trained.modality == "text":
            return _texts(path, trained, changes)
        return _table(path, trained, fitted, changes)
    except BenchError as error:
        raise BenchError(str(error).replace(f"dataset.path={path}", str(path))) from error


def _table(path: Path, trained: Trained, fitted: Any, changes: Mapping[str, Any]) -> NewRows:
    reader = _reader(PLAIN_TABLE, trained.source, path, changes)
    read = reader.read()
    replace(reader, group=None, time=None).need(read.table)
    target = reader.target if reader.target is not None else read.output or "class"
    own = (target, *(c for c in (reader.group, reader.time) if c is not None), *map(str, reader.drop))
    numeric, categorical = _features(path, trained, fitted, read.table, own)
    _check_columns(path, read.table, [*numeric, *categorical])
    columns = {name: numbers_of(read.table[name], reader.number_format, path) for name in numeric}
    table = read.table[numeric].assign(**columns) if numeric else read.table[[]]
    check_finite(table, str(path))
    remarks = list(read.remarks)
    if isinstance(fitted, FittedTable):
        table = table.assign(**{name: _category(read, name, set(fitted.categories[name])) for name in categorical})
        x: Any = table
    else:
        x = table.to_numpy(np.float64, na_value=np.nan)
        if gaps := int(np.isnan(x).any(axis=1).sum()):
            raise BenchError(f"{path}: {gaps} rows have gaps, and the model was trained on data without any: fill them")
    beside = read.table.drop(columns=[*numeric, *categorical])
    if read.words is not None:  # as they are written: an id of 007 is not 7
        beside = beside.assign(**{name: read.words(name) for name in beside})
    if new := [str(c) for c in beside if c not in own]:
        remarks.append(f"{_some(new)} {'were' if len(new) > 1 else 'was'} not in the training data: kept, not used")
    labels = None
    if target in read.table:
        try:
            labels = _labels(reader.classes(read, target)[0], trained, remarks)
        except BenchError as error:
            remarks.append(f"not scored: {error}")
    return NewRows(x, beside, labels, remarks)


def _features(
    path: Path, trained: Trained, fitted: Any, table: pd.DataFrame, own: Sequence[str]
) -> tuple[list[str], list[str]]:
    """The numeric and the categorical columns that a table must have. Published data without names have x0, x1, ...;
    a table with none of these and as many columns is taken in its order, unless its names look like a row."""
    if isinstance(fitted, FittedTable):
        return list(fitted.numeric), list(fitted.categories)
    if len(trained.shape) != 1:
        raise BenchError(f"rows of the shape {trained.shape} are not read from a table")
    width = trained.shape[0]
    names = [f"x{i}" for i in range(width)]
    header = [str(name) for name in table.attrs.get("header", ())]
    if header and all(map(_number, header)) and header != [str(i) for i in range(len(header))]:
        shown = ", ".join(header[:LISTED]) + (", ..." if len(header) > LISTED else "")
        line = ",".join(names) if width <= LISTED else f"{names[0]},{names[1]},...,{names[-1]}"
        raise BenchError(
            f"{path}: the first line, {shown}, holds numbers only and would be taken for names: put a header line "
            f"above it: {line}"
        )
    others = [str(c) for c in table.columns if c not in own]
    return (others if len(others) == width and not set(others) & set(names) else names), []


def _number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _check_columns(path: Path, table: pd.DataFrame, wanted: Sequence[str]) -> None:
    found = list(map(str, table.columns))
    if missing := [name for name in wanted if name not in found]:
        free = [name for name in found if name not in wanted]
        raise BenchError(
            f"{path} lacks {len(missing)} of the {len(wanted)} columns that the model was trained with: "
            f"{_some(missing)}; it has also {_some(free) if free else 'no other'}: "
            f"rename or add what is missing ({missing[0]}: {suggestion(missing[0], free)})"
        )


def _category(read: Read, name: str, known: set[str]) -> pd.Series:
    """A column of words as training read it: as the parser gives it, without the .0 of whole numbers, or as it is
    written, whichever has more of the known categories."""
    column = read.table[name]
    readings = [column, words_of(column)]
    if read.words is not None:
        written = read.words(name)
        readings.append(written.where(column.notna()))
    return max(readings, key=lambda one: int(one.dropna().astype(str).isin(known).sum()))


def _texts(path: Path, trained: Trained, changes: Mapping[str, Any]) -> NewRows:
    reader = _reader(PLAIN_TEXTS, trained.source, path, changes)
    table = read_table(reader.content(), reader.file, reader.encoding, reader.separator)
    replace(reader, group=None, time=None).need(table, text=[reader.text])
    full, dropped = reader.full(table)
    remarks = [f"{dropped} rows without a text left out"] if dropped else []
    target = reader.target or "class"
    labels = _labels(full[target], trained, remarks) if target in full else None
    return NewRows(np.array(full[reader.text], object), full.drop(columns=[reader.text]), labels, remarks)


def _images(path: Path, trained: Trained, changes: Mapping[str, Any]) -> NewRows:
    import pandas as pd

    channels, height, width = trained.shape
    plain = ImageFolderSource(None, None, 1 if channels == 1 else 3)
    reader = _reader(plain, trained.source, path, changes)
    files, left_out = reader.every_image()
    x = reader.pixels(files)
    if x.shape[1:] != trained.shape:
        raise BenchError(
            f"{path} has images of {x.shape[2]} x {x.shape[3]}, and the model was trained on {height} x {width}: "
            f"resize them, or let them be resized by 'dataset.size=[{height},{width}]'"
        )
    names = [file.relative_to(path.expanduser().resolve()).as_posix() for file in files]
    classes = {name: i for i, name in enumerate(trained.class_names)}
    labels = np.array([next((classes[p] for p in Path(n).parts[:-1] if p in classes), -1) for n in names], np.int64)
    return NewRows(x, pd.DataFrame({"file": names}), labels if (labels >= 0).any() else None, left_out)


def _labels(target: pd.Series, trained: Trained, remarks: list[str]) -> np.ndarray | None:
    """The classes of the rows; a remark on rows of none."""
    if not trained.class_names:
        return None
    labels, strange = known_indices(target, trained.class_names, getattr(trained.source, "positive", None))
    if strange:
        some = _some([f"{word!r} in {n} rows" for word, n in strange.items()], quote=False)
        remarks.append(f"not scored: {some} of {target.name} are none of the classes {', '.join(trained.class_names)}")
    return labels if (labels >= 0).any() else None


def _some(names: Sequence[str], quote: bool = True) -> str:
    shown = [repr(name) if quote else name for name in names[:LISTED]]
    return ", ".join(shown) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")


def _reader(own: T, source: Source, path: Path, changes: Mapping[str, Any]) -> T:
    """Reader of a new file: the source of the training data where that reads such files too, else ``own``; with other
    keys of reading (``changes``)."""
    reader = source if isinstance(source, type(own)) else own
    known = hints(type(reader))
    keys = [key for key in READING if key in known]
    for key in changes:
        if key not in keys:
            raise BenchError(f"dataset.{key} does not say how a new file is read: {suggestion(key, keys)}")
    given = {key: check(known[key], value, f"dataset.{key}") for key, value in changes.items()}
    return replace(reader, path=str(path), **given)  # type: ignore[type-var]


PLAIN_TABLE = CsvSource(
    path=None, target=None, group=None, time=None, positive=None, drop=[], separator=",", encoding=None, decimal=None,
    thousands=None, missing=[], categorical=[], scale="none",
)  # fmt: skip
PLAIN_TEXTS = TextsSource(
    path=None, target=None, group=None, time=None, text="text", positive=None, language="en", encoding="utf-8",
    separator=None, drop_empty=False,
)  # fmt: skip
