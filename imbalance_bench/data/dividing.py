"""Dividing rows by class: at random, by whole groups, or in time."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from imbalance_bench.rounding import snapped

SPARE = 30  # groups of a kind that are placed one by one, as many as let the classes come out even


def hold_out(
    y: np.ndarray, groups: np.ndarray | None, rows: np.ndarray, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """(the rest, the part held out) of ``rows``, stratified by ``y`` (n,); rows of one of the ``groups`` (n,) stay
    together. Raises ValueError where that is impossible."""
    from sklearn.model_selection import train_test_split

    if groups is not None:
        parts = dealt(y[rows], groups[rows], np.array([1 - fraction, fraction]), seed)
        return rows[parts == 0], rows[parts == 1]
    size = math.ceil(snapped(fraction * len(rows)))
    rest, part = train_test_split(rows, test_size=size, stratify=y[rows], random_state=seed)
    return rest, part


def k_folds(
    y: np.ndarray, groups: np.ndarray | None, rows: np.ndarray, folds: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(rows of the other folds, rows of this one), stratified; rows of one group stay together."""
    from sklearn.model_selection import StratifiedKFold

    if groups is not None:
        parts = dealt(y[rows], groups[rows], np.full(folds, 1 / folds), seed)
        yield from ((rows[parts != fold], rows[parts == fold]) for fold in range(folds))
        return
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    for train, test in splitter.split(rows, y[rows]):
        yield rows[train], rows[test]


def dealt(y: np.ndarray, groups: np.ndarray, shares: np.ndarray, seed: int) -> np.ndarray:
    """The part (n,) in 0..P-1 of each row: whole groups, such that each part has its share of the rows of each class,
    as nearly as they allow.

    Groups are placed by the rule of scikit-learn's StratifiedGroupKFold, for parts of any ``shares`` (P,): one goes to
    the part where the classes are then the most evenly filled, those of one class and many rows first. Of many groups
    that are alike (single rows of a class, say) each part first gets its share of all but ``SPARE``.
    """
    rng = np.random.RandomState(seed)
    codes = np.unique(groups, return_inverse=True)[1]
    table = np.zeros((codes.max() + 1, y.max() + 1), np.int32)  # rows of each class in each group
    np.add.at(table, (codes, y), 1)
    _, examples, kind = np.unique(table.view(f"V{table[0].nbytes}"), return_index=True, return_inverse=True)
    kind = kind.reshape(-1)
    order = rng.permutation(len(table))
    order = order[np.argsort(kind[order], kind="stable")]

    parts, here = np.full(len(table), -1), np.arange(len(shares))
    filled = np.zeros((len(shares), table.shape[1]))
    for example, first in zip(examples, np.split(order, np.cumsum(np.bincount(kind))[:-1])):
        each = np.floor(snapped(shares * max(len(first) - SPARE, 0))).astype(np.int64)
        parts[first[: each.sum()]] = np.repeat(here, each)
        filled += each[:, None] * table[example]

    wanted = shares[:, None] * np.maximum(table.sum(axis=0), 1)
    left = rng.permutation(np.flatnonzero(parts < 0))
    for group in left[np.argsort(-table[left].std(axis=1), kind="stable")]:
        tried = np.repeat(filled[None], len(shares), axis=0)  # (part it goes to, part, class)
        tried[here, here] += table[group]
        unevenness = (tried / wanted).std(axis=1).mean(axis=1)
        best = np.flatnonzero(np.isclose(unevenness, unevenness.min()))
        parts[group] = best[np.argmin(filled[best].sum(axis=1) / shares[best])]
        filled[parts[group]] += table[group]
    return parts[codes]


def cut(times: np.ndarray, fraction: float) -> int | None:
    """The time from which on ``fraction`` of the rows of ``times`` (n,) lie, as nearly as equal times allow, which are
    never parted; None where all are equal."""
    ordered = np.sort(times)
    bounds = np.flatnonzero(np.diff(ordered)) + 1
    if not len(bounds):
        return None
    wanted = snapped((1 - fraction) * len(times))
    return int(ordered[bounds[np.argmin(np.abs(bounds - wanted))]])
