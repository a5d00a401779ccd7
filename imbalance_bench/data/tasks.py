"""From a data set to the runs of a cell: ratio, split and preprocessing, in that order."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from imbalance_bench.data.base import Dataset, Part, Task
from imbalance_bench.data.splits import RowsToSplit
from imbalance_bench.errors import BenchError
from imbalance_bench.seeds import derived

if TYPE_CHECKING:
    from imbalance_bench.data.ratio import Ratio
    from imbalance_bench.data.splits import Protocol, Split


@dataclass(frozen=True)
class Run:
    """One training: ``task`` is all that a method sees, ``test`` is for scoring only."""

    task: Task
    test: Part


def make_runs(dataset: Dataset, ratio: Ratio, protocol: Protocol, seed: int) -> list[Run]:
    """One run for each split and repeat (``protocol.seeds``), fold by fold.

    Parts of equal rows are the same object wherever the rows are encoded alike (repeats of a split; the test part of
    trials), so that they need to lie on a device once.
    Raises BenchError where a class is left without rows in a part, rows of one group are in two parts, or a feature is
    not a finite number.
    """
    if isinstance(dataset.x, np.ndarray) and dataset.modality != "text":  # an encoder fills the gaps of a table
        _check_finite(dataset.x, dataset.name)
    splits, withdrawn = _split(dataset, ratio, protocol)
    runs = []
    known: dict[bytes, Part] = {}
    encoded = dataset.x
    vocabulary = getattr(dataset.encode, "vocabulary", lambda *_: None)
    for fold, (split, out) in enumerate(zip(splits, withdrawn)):
        x = dataset.encode(dataset.x, split.train)
        if x is not encoded:
            _check_finite(x, f"{dataset.name} (encoded)", getattr(dataset.encode, "columns", ()))
            known.clear()  # each fold is scaled by its own training rows
            encoded = x

        def part(rows: np.ndarray, x: np.ndarray = x) -> Part:
            key = rows.tobytes()
            if key not in known:
                known[key] = Part(x[rows], dataset.y[rows], rows)
            return known[key]

        train, valid, test, pool = (part(rows) for rows in (*split, out))
        minority: tuple[int, ...] = ()
        if dataset.kind == "classification":
            counts = np.bincount(train.y, minlength=dataset.classes)
            minority = ratio.minority_classes(counts, ratio.trial_seed(fold))
        for repeat in range(protocol.seeds):
            task = Task(
                train=train,
                valid=valid,
                withdrawn=pool if len(pool) else None,
                classes=dataset.classes,
                kind=dataset.kind,
                fold=fold,
                repeat=repeat,
                seed=run_seed(seed, fold, repeat),
                synthetic=dataset.synthetic,
                minority_classes=minority,
                vocabulary=vocabulary(dataset.x, split.train),
                categories=getattr(dataset.encode, "blocks", ()),
            )
            runs.append(Run(task, test))
    return runs


def run_seed(seed: int, fold: int, repeat: int) -> int:
    """A 32-bit seed that depends on these three numbers only, not on which other runs a cell has."""
    return derived(seed, fold, repeat)


def subset_hash(ids: np.ndarray) -> str:
    """16 hex digits of a set of row numbers, in whatever order."""
    return hashlib.sha256(np.sort(ids).astype("<i8").tobytes()).hexdigest()[:16]


def _split(dataset: Dataset, ratio: Ratio, protocol: Protocol) -> tuple[list[Split], list[np.ndarray]]:
    """The splits as rows of the data set, and for each the rows that the ratio took out."""
    every = np.arange(len(dataset.y))
    if dataset.kind == "regression":
        if ratio.name != "native":
            raise BenchError(f"ratio.name={ratio.name}: {dataset.name} has no classes to thin; set ratio=native")
        kept = every
    else:
        kept = _kept(dataset, ratio, every, ratio.seed) if ratio.apply_to == "all" else every

    found = protocol.splits(_rows(dataset, kept, None if len(kept) == len(every) else every))
    splits = [type(s)(*(kept[part] for part in s)) for s in found]
    _check_groups(dataset, protocol, splits)
    if ratio.apply_to == "all" or dataset.kind == "regression":
        out = np.setdiff1d(every, kept)
        return splits, [_unseen(dataset, protocol, out, s) for s in splits]
    thinned = [
        s._replace(train=_kept(dataset, ratio, s.train, ratio.trial_seed(fold))) for fold, s in enumerate(splits)
    ]
    return thinned, [np.setdiff1d(s.train, t.train) for s, t in zip(splits, thinned)]


def _kept(dataset: Dataset, ratio: Ratio, rows: np.ndarray, seed: int) -> np.ndarray:
    """Those of ``rows`` that a ratio keeps. It knows classes by their numbers; an error says what these are called."""
    try:
        return rows[ratio.indices(dataset.y[rows], seed)]
    except BenchError as error:
        named = {str(c): name for c, name in enumerate(dataset.class_names) if name != str(c)}
        numbers = [c for c in dict.fromkeys(re.findall(r"\bclass (\d+)\b", str(error))) if c in named]
        if not numbers:
            raise
        raise BenchError(f"{error} ({', '.join(f'class {c} is {named[c]!r}' for c in numbers)})") from error


def _rows(dataset: Dataset, kept: np.ndarray, every: np.ndarray | None) -> RowsToSplit:
    """The rows ``kept`` as a protocol sees them; ``every``: all rows, where these are not all."""

    def of(values: np.ndarray | None) -> np.ndarray | None:
        return None if values is None else values[kept]

    def within(rows: np.ndarray | None) -> np.ndarray | None:
        """Rows of the data set as positions among those kept."""
        return None if rows is None else np.flatnonzero(np.isin(kept, rows))

    return RowsToSplit(
        dataset.y[kept],
        dataset.class_names,
        dataset.kind,
        within(dataset.test_rows),
        within(dataset.valid_rows),
        of(dataset.groups),
        of(dataset.times),
        None if every is None else _rows(dataset, every, None),
    )


def _unseen(dataset: Dataset, protocol: Protocol, out: np.ndarray, split: Split) -> np.ndarray:
    """Of the rows ``out`` that a ratio took before the split those that a training part may know of: of no group that
    is validated or tested on, and of its past only."""
    held = np.concatenate([split.valid, split.test])
    if dataset.groups is not None:
        out = out[~np.isin(dataset.groups[out], dataset.groups[held])]
    if protocol.in_time and dataset.times is not None:
        out = out[dataset.times[out] < dataset.times[held].min()]
    return out


def _check_groups(dataset: Dataset, protocol: Protocol, splits: list[Split]) -> None:
    if dataset.groups is None:
        return
    for split in splits:
        groups = {part: dataset.groups[rows] for part, rows in split._asdict().items()}
        for one, other in combinations(groups, 2):
            if np.isin(groups[one], groups[other]).any():
                raise BenchError(
                    f"protocol={protocol.name} puts {dataset.grouped_by} of {dataset.name} into the {one} and the "
                    f"{other} part: set protocol=stratified_kfold, which keeps them in one part"
                )


def _check_finite(x: np.ndarray, name: str, columns: tuple[str, ...] = ()) -> None:
    if np.issubdtype(x.dtype, np.integer):
        return
    bad = ~np.isfinite(x.reshape(len(x), -1))
    if bad.any():
        row, column = np.argwhere(bad)[0]
        called = repr(columns[column]) if columns else f"{column} (from 0)"
        raise BenchError(
            f"dataset {name}: {int(bad.sum())} feature values are not finite numbers, the first in row {row} (from 0), "
            f"column {called}: too large for float32 once scaled, or no number; fix the data, or leave the column out"
        )
