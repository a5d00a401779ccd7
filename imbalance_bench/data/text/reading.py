"""Texts: how a data set of strings meets the backbone that reads them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from imbalance_bench.data.base import Dataset
from imbalance_bench.errors import BenchError


@dataclass(frozen=True)
class RawTexts:
    """For texts: an object array of strings (n,) stays as it is until a backbone reads it (``as_read_by``)."""

    def __call__(self, x: np.ndarray, fit_rows: np.ndarray) -> np.ndarray:
        return x


def as_read_by(backbone: Any, dataset: Dataset, folder: Path, device: str) -> Dataset:
    """``dataset`` as ``backbone`` reads it (its ``text_encoder``). Raises BenchError where one is of texts and the
    other is not."""
    if dataset.modality == "text":
        if backbone.text_encoder is None:
            raise BenchError(
                f"backbone={backbone.name} reads numbers, and dataset={dataset.name} has texts: set backbone=lsa "
                "(vectors that need no weights), minilm or textcnn (docs/texts.md lists all)"
            )
        return replace(dataset, encode=backbone.text_encoder(dataset.language, folder, device))
    if backbone.text_encoder is not None:
        raise BenchError(
            f"backbone={backbone.name} reads texts, and dataset={dataset.name} has none: set backbone=mlp for tables, "
            "backbone=resnet20 for images"
        )
    return dataset


def texts_hash(texts: Iterable[str], *settings: Any) -> str:
    """16 hex digits of texts in their order and of whatever else determines what is made of them."""
    digest = hashlib.sha256(repr(settings).encode())
    for text in texts:
        raw = text.encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(8, "little") + raw)
    return digest.hexdigest()[:16]
