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
    if groups is not None:
        parts = dealt(y[rows], groups[rows], np.array([1 - fraction, fraction]), seed)
        return rows[parts == 0], rows[parts == 1]
    size = math.ceil(snapped(fraction * len(rows)))
    rest, part = _parted(y[rows], size, np.random.RandomState(seed))
    return rows[rest], rows[part]


def k_folds(
    y: np.ndarray, groups: np.ndarray | None, rows: np.ndarray, folds: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(rows of the other folds, rows of this one), stratified; rows of one group stay together."""
    if groups is not None:
        parts = dealt(y[rows], groups[rows], np.full(folds, 1 / folds), seed)
    else:
        parts = _folded(y[rows], folds, np.random.RandomState(seed))
    yield from ((rows[parts != fold], rows[parts == fold]) for fold in range(folds))


def _parted(y: np.ndarray, size: int, rng: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """Places of ``y`` (n,) in two parts, ``size`` of them in the second, each class in proportion. They are those that
    scikit-learn's StratifiedShuffleSplit draws, without the seconds that its import takes.

    Raises ValueError where a part has fewer places than there are classes, or a class a single row."""
    _, of, counts = np.unique(y, return_inverse=True, return_counts=True)
    if counts.min() < 2 or min(size, len(y) - size) < len(counts):
        raise ValueError(f"{counts.tolist()} rows cannot be parted in {len(y) - size} and {size}")
    first = _apportioned(counts, len(y) - size, rng)
    second = _apportioned(counts - first, size, rng)
    classes = np.split(np.argsort(of, kind="stable"), np.cumsum(counts)[:-1])
    mixed = [rows[rng.permutation(len(rows))] for rows in classes]
    one = np.concatenate([rows[:k] for rows, k in zip(mixed, first)])
    other = np.concatenate([rows[k : k + more] for rows, k, more in zip(mixed, first, second)])
    return rng.permutation(one), rng.permutation(other)


def _apportioned(counts: np.ndarray, size: int, rng: np.random.RandomState) -> np.ndarray:
    """How many rows of each class (C,) are among ``size`` ones: in proportion to ``counts`` (C,), the largest
    remainders first, equal ones drawn."""
    exact = counts / counts.sum() * size
    found = np.floor(exact)
    remainders, left = exact - found, int(size - found.sum())
    for remainder in np.unique(remainders)[::-1] if left > 0 else ():
        alike = np.flatnonzero(remainders == remainder)
        drawn = rng.choice(alike, size=min(len(alike), left), replace=False)
        found[drawn] += 1
        left -= len(drawn)
        if not left:
            break
    return found.astype(np.int64)


def _folded(y: np.ndarray, folds: int, rng: np.random.RandomState) -> np.ndarray:
    """The fold (n,) of each row: that of scikit-learn's StratifiedKFold, which deals the rows of each class out in
    turn, classes in the order in which they appear, and shuffles them within the class."""
    _, first, of = np.unique(y, return_index=True, return_inverse=True)
    of = np.argsort(np.argsort(first))[of]
    ordered, found = np.sort(of), np.empty(len(y), np.int64)
    dealt_out = np.stack([np.bincount(ordered[fold::folds], minlength=len(first)) for fold in range(folds)])
    for c, of_class in enumerate(dealt_out.T):
        mixed = np.arange(folds).repeat(of_class)
        rng.shuffle(mixed)
        found[of == c] = mixed
    return found


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
