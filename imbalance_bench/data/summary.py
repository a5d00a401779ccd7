"""Summary of a data set in one line: classes with their rows, which is positive, features by kind."""

from __future__ import annotations

import numpy as np

from imbalance_bench.data.base import Dataset
from imbalance_bench.data.encode import TableEncoder

LISTED = 10  # classes; of more the line has the smallest and the largest
NAMED = 4  # columns


def summary(dataset: Dataset) -> str:
    """E.g. ``400 rows: 324 of '0', 76 of '1' (positive); 2 numeric features, 5 one-hot of 1 column (city)``."""
    parts = [_rows(dataset), _features(dataset)]
    if skipped := dataset.info.get("empty_texts_skipped"):
        parts.append(f"{skipped:,} rows without a text left out")
    return "; ".join(p for p in parts if p)


def _rows(dataset: Dataset) -> str:
    noun = {"image": "images", "text": "texts"}.get(dataset.modality, "rows")
    text = f"{len(dataset.y):,} {noun}"
    if dataset.test_rows is not None:
        text += f", {len(dataset.test_rows):,} of them for testing"
    if dataset.kind == "regression":
        return f"{text}: numbers from {dataset.y.min():g} to {dataset.y.max():g} to predict"
    counts = np.bincount(dataset.y, minlength=dataset.classes).tolist()
    if dataset.classes > LISTED:
        return f"{text}: {dataset.classes} classes of {min(counts):,} to {max(counts):,}"
    listed = [f"{n:,} of {name!r}" for n, name in zip(counts, dataset.class_names)]
    return f"{text}: {', '.join(listed)}{' (positive)' if dataset.classes == 2 else ''}"


def _features(dataset: Dataset) -> str:
    if dataset.modality == "text":
        return ""
    if dataset.modality == "image":
        return " x ".join(map(str, dataset.x.shape[1:])) + " pixels"
    if not isinstance(dataset.encode, TableEncoder):
        return _counted(int(np.prod(dataset.x.shape[1:])), "numeric feature")
    table = dataset.encode
    parts = [_counted(len(table.numeric), "numeric feature")] if table.numeric else []
    if columns := list(table.categories):
        some = ", ".join(columns[:NAMED]) + (", ..." if len(columns) > NAMED else "")
        width = sum(map(len, table.categories.values()))
        parts.append(f"{width} one-hot of {_counted(len(columns), 'column')} ({some})")
    return ", ".join(parts) + (f", as {table.pca} principal components" if table.pca else "")


def _counted(n: int, noun: str) -> str:
    return f"{n:,} {noun}" + "s" * (n != 1)
