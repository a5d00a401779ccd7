"""Which rows belong together: groups by a column, copies by what they hold; and which came first."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from imbalance_bench.data.base import Dataset
from imbalance_bench.errors import BenchError

if TYPE_CHECKING:
    import pandas as pd

    from imbalance_bench.data.splits import Protocol
    from imbalance_bench.data.tasks import Run


def belonging(table: pd.DataFrame, group: str | None = None, time: str | None = None) -> dict[str, Any]:
    """Fields of a Dataset that the columns of ``table`` give which ``dataset.group`` and ``dataset.time`` name."""
    fields: dict[str, Any] = {}
    if group is not None:
        fields |= {"groups": group_numbers(table[group]), "grouped_by": f"rows of one {group} (dataset.group={group})"}
    if time is not None:
        fields["times"] = time_order(table[time])
    return fields


def group_numbers(column: pd.Series) -> np.ndarray:
    """Equal values of the column that ``dataset.group`` names as equal numbers (n,)."""
    import pandas as pd

    numbers, _ = pd.factorize(column)
    if (numbers < 0).any():
        raise BenchError(
            f"dataset.group={column.name}: {int((numbers < 0).sum())} of {len(column)} rows have no value, the first "
            f"is row {column.index[np.argmin(numbers)]} (from 0): fill them, to say which rows belong together"
        )
    return numbers.astype(np.int64)


def time_order(column: pd.Series) -> np.ndarray:
    """Ranks (n,) in time of the column that ``dataset.time`` names, numbers or ISO dates; equal ones have one rank."""
    import pandas as pd

    dated = pd.api.types.is_datetime64_any_dtype(column)
    values = column if dated else pd.to_numeric(column, errors="coerce")
    if values.isna().any() and not pd.api.types.is_any_real_numeric_dtype(column):
        dates = pd.to_datetime(column.astype(str), format="ISO8601", errors="coerce", utc=True)
        values = min(values, dates, key=lambda read: int(read.isna().sum()))
    if values.isna().any():
        row = values.isna().argmax()
        raise BenchError(
            f"dataset.time={column.name}: {int(values.isna().sum())} of {len(column)} rows have no time that can be "
            f"read, the first is row {column.index[row]} (from 0), {str(column.iloc[row])!r}: write numbers, or dates "
            "as 2024-12-31 or 2024-12-31T23:59"
        )
    return np.unique(values.to_numpy(), return_inverse=True)[1].astype(np.int64)


def copy_numbers(x: Any) -> np.ndarray:
    """Rows of ``x`` (a table, texts, images, any array) that hold the same have the same number (n,)."""
    if hasattr(x, "columns"):  # a table; arrays need no pandas, whose import takes a second
        import pandas as pd

        return pd.factorize(pd.util.hash_pandas_object(x, index=False).to_numpy())[0].astype(np.int64)
    keys = x if x.dtype == object else (blake2b(np.ascontiguousarray(row).data, digest_size=16).digest() for row in x)
    numbers: dict[Any, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


class Numbered:
    """``copy_numbers``, kept for the rows that were asked for last: cells of a sweep have the same."""

    def __init__(self) -> None:
        self.rows: Callable[[], Any] = lambda: None
        self.numbers = np.arange(0)

    def __call__(self, x: Any) -> np.ndarray:
        if self.rows() is not x:
            self.rows, self.numbers = weakref.ref(x), copy_numbers(x)
        return self.numbers


numbered = Numbered()


def copies_together(dataset: Dataset) -> Dataset:
    """``dataset`` with its copies of a row in one group, and the groups that they link."""
    copies, reason = copy_numbers(dataset.x), "copies of one row (dataset.copies=together)"
    if dataset.groups is None:
        return replace(dataset, groups=copies, grouped_by=reason)
    return replace(dataset, groups=_linked(dataset.groups, copies), grouped_by=f"{dataset.grouped_by} or {reason}")


def _linked(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Groups (n,) of rows that either of two groupings puts together, directly or by way of other rows."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    one, other = (np.unique(groups, return_inverse=True)[1] for groups in (one, other))
    first, n = int(one.max()) + 1, int(one.max()) + int(other.max()) + 2
    links = coo_array((np.ones(len(one), np.int8), (one, first + other)), shape=(n, n))
    return connected_components(links, directed=False)[1][one].astype(np.int64)


@dataclass(frozen=True)
class Copies:
    """Copies among the rows of a data set. ``repeats``: rows that are equal to an earlier one; ``labelled_apart``: rows
    that are equal to one of another class; ``parted``: test rows that are equal to a training row, of ``tested``, over
    all folds."""

    repeats: int
    rows: int
    labelled_apart: int
    parted: int
    tested: int

    @classmethod
    def of(cls, dataset: Dataset, runs: Sequence[Run]) -> Copies:
        number = numbered(dataset.x)
        pairs = np.unique(np.stack([number, dataset.y.astype(np.int64)]), axis=1)
        classes = np.bincount(pairs[0])
        tested = [(run.test.ids, run.task.train.ids) for run in runs if run.task.repeat == 0]
        return cls(
            repeats=len(number) - len(classes),
            rows=len(number),
            labelled_apart=int((classes[number] > 1).sum()) if dataset.classes else 0,
            parted=sum(int(np.isin(number[test], number[train]).sum()) for test, train in tested),
            tested=sum(len(test) for test, _ in tested),
        )

    def __str__(self) -> str:
        said = f"{self.repeats} of {self.rows} rows are copies of another"
        if self.labelled_apart:
            said += f", {self.labelled_apart} rows equal one of another class"
        share = f"{self.parted / self.tested:.1%} of the test rows are in the training part too"
        return said + (f"; {share}: dataset.copies=together keeps copies in one part" if self.parted else "")


def remarks(dataset: Dataset, protocol: Protocol, runs: Sequence[Run]) -> list[str]:
    """Remarks for the user on the rows and on how they were split."""
    said = [dataset.info["left_out"]] if "left_out" in dataset.info else []
    copies = Copies.of(dataset, runs)
    if copies.repeats:
        said.append(str(copies))
    if dataset.times is not None and not protocol.in_time:
        said.append(
            f"protocol={protocol.name} does not honour dataset.time, past and future are mixed: protocol=past_future "
            "trains on the past and tests on the future"
        )
    return said
