"""How a cell is split: protocols, each giving the (train, valid, test) rows of its folds, stratified by class."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from imbalance_bench.data.base import Kind
from imbalance_bench.errors import BenchError
from imbalance_bench.registry import PROTOCOLS
from imbalance_bench.rounding import snapped
from imbalance_bench.seeds import derived


class Split(NamedTuple):
    """Row numbers (sorted, int64) of one fold; no row is in two of them."""

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Protocol:
    """``seeds``: how often each split is trained, each time with another training seed. ``seed``: which rows go where;
    apart from the training seed."""

    name: ClassVar[str]
    may_skip_valid: ClassVar[bool] = False  # whether valid_fraction may be 0: no validation rows

    seeds: int
    seed: int

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise BenchError(f"protocol.seeds={self.seeds} must be at least 1")
        if not 0 <= self.seed < 2**32:
            raise BenchError(f"protocol.seed={self.seed} must lie between 0 and 2^32 - 1")
        for key in ("valid_fraction", "test_fraction"):
            share = getattr(self, key, 0.5)
            if not 0 < share < 1 and not (share == 0 and self.may_skip_valid):
                raise BenchError(f"protocol.{key}={share} must lie between 0 and 1")
        if getattr(self, "folds", 2) < 2:
            raise BenchError(f"protocol.folds={self.folds} must be at least 2")  # type: ignore[attr-defined]
        for key in ("repeats", "trials"):
            if getattr(self, key, 1) < 1:
                raise BenchError(f"protocol.{key}={getattr(self, key)} must be at least 1")

    def splits(
        self, y: np.ndarray, test_rows: np.ndarray | None, valid_rows: np.ndarray | None, kind: Kind
    ) -> list[Split]:
        """The folds of rows 0..n-1 with labels ``y`` (n,). ``test_rows`` and ``valid_rows``: what the data set itself
        says; regression tasks always use these, having no classes to stratify by. Raises BenchError where a class has
        too few rows for every part to have one."""
        if kind == "regression":
            return [own_rows(y, test_rows, valid_rows)]
        counts = np.bincount(y)
        if (counts == 1).any():
            what = f"class {(counts == 1).argmax()} has a single row, and a training and a test part need one each"
            raise too_few(y, what, "leave the class out of the data, or set one against all others (dataset.positive)")
        found = [Split(*(np.sort(part).astype(np.int64) for part in s)) for s in self._splits(y, test_rows, valid_rows)]
        for split in found:
            for part, rows in zip(Split._fields, split):
                if part == "valid" and not len(rows) and self.may_skip_valid:
                    continue
                counts = np.bincount(y[rows], minlength=int(y.max()) + 1)
                if counts.min() == 0:
                    raise too_few(
                        y,
                        f"the {part} part of a split gets no row of class {counts.argmin()}",
                        "fewer folds (protocol.folds), or larger parts (protocol.valid_fraction, test_fraction)",
                    )
        return found

    def _splits(
        self, y: np.ndarray, test_rows: np.ndarray | None, valid_rows: np.ndarray | None
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        raise NotImplementedError


@PROTOCOLS.register("holdout_kfold")
@dataclass(frozen=True)
class HoldoutKFold(Protocol):
    """A stratified share of all rows held out once for validation, stratified k-fold on the rest: with 0.2 and 4
    folds 60 % train, 20 % validation, 20 % test (MESA, Liu et al. 2020; Explicit Gradient, Section 6)."""

    folds: int
    valid_fraction: float

    def _splits(self, y, test_rows, valid_rows):  # type: ignore[no-untyped-def]
        rest, valid = hold_out(y, np.arange(len(y)), self.valid_fraction, self.seed)
        for train, test in k_folds(y, rest, self.folds, self.seed):
            yield train, valid, test


@PROTOCOLS.register("stratified_kfold")
@dataclass(frozen=True)
class StratifiedKFold(Protocol):
    """Stratified k-fold over all rows; of each fold's training part a stratified share is for validation: with 5
    folds and 0.2 64 % train, 16 % validation, 20 % test (Explicit Gradient, Section 5)."""

    folds: int
    valid_fraction: float

    def _splits(self, y, test_rows, valid_rows):  # type: ignore[no-untyped-def]
        for fold, (rest, test) in enumerate(k_folds(y, np.arange(len(y)), self.folds, self.seed)):
            train, valid = hold_out(y, rest, self.valid_fraction, derived(self.seed, fold))
            yield train, valid, test


@PROTOCOLS.register("repeated_holdout")
@dataclass(frozen=True)
class RepeatedHoldout(Protocol):
    """``repeats`` independent stratified splits: ``test_fraction`` of all rows for testing, ``valid_fraction`` of the
    rest for validation."""

    repeats: int
    test_fraction: float
    valid_fraction: float

    def _splits(self, y, test_rows, valid_rows):  # type: ignore[no-untyped-def]
        for repeat in range(self.repeats):
            seed = derived(self.seed, repeat)
            rest, test = hold_out(y, np.arange(len(y)), self.test_fraction, seed)
            train, valid = hold_out(y, rest, self.valid_fraction, seed)
            yield train, valid, test


@PROTOCOLS.register("official_test")
@dataclass(frozen=True)
class OfficialTest(Protocol):
    """The test rows that the data set comes with, and its validation rows; where it names none, a stratified
    ``valid_fraction`` of the other rows, 0: no validation rows."""

    may_skip_valid: ClassVar[bool] = True

    valid_fraction: float

    def _splits(self, y, test_rows, valid_rows):  # type: ignore[no-untyped-def]
        if valid_rows is not None:
            yield own_rows(y, test_rows, valid_rows)
            return
        if test_rows is None:
            raise BenchError(f"protocol={self.name}: this data set comes with no test rows; set protocol=holdout_kfold")
        train, valid = np.setdiff1d(np.arange(len(y)), test_rows), np.zeros(0, np.int64)
        if self.valid_fraction:
            train, valid = hold_out(y, train, self.valid_fraction, self.seed)
        yield train, valid, test_rows


@PROTOCOLS.register("official_trials")
@dataclass(frozen=True)
class OfficialTrials(OfficialTest):
    """``official_test``, ``trials`` times: a trial is a fold with the same rows, its own training seed, and its own
    draw of a ratio that is redrawn."""

    trials: int

    def _splits(self, y, test_rows, valid_rows):  # type: ignore[no-untyped-def]
        yield from [*super()._splits(y, test_rows, valid_rows)] * self.trials


def own_rows(y: np.ndarray, test_rows: np.ndarray | None, valid_rows: np.ndarray | None) -> Split:
    """The split that the data set itself prescribes: train on all rows that are neither test nor validation."""
    if test_rows is None or valid_rows is None:
        raise BenchError("this data set names no test and validation rows of its own, which its protocol needs")
    train = np.setdiff1d(np.arange(len(y)), np.concatenate([test_rows, valid_rows]))
    return Split(train, np.sort(valid_rows), np.sort(test_rows))


def hold_out(y: np.ndarray, rows: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(the rest, the part held out), stratified."""
    from sklearn.model_selection import train_test_split

    try:
        size = math.ceil(snapped(fraction * len(rows)))
        rest, part = train_test_split(rows, test_size=size, stratify=y[rows], random_state=seed)
    except ValueError as error:
        what = f"a stratified part of {fraction:g} cannot be held out of {len(rows)} rows"
        raise too_few(y, what, "larger parts (protocol.valid_fraction, test_fraction)") from error
    return rest, part


def k_folds(y: np.ndarray, rows: np.ndarray, folds: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(rows of the other folds, rows of this one), stratified."""
    from sklearn import model_selection

    counts = np.bincount(y[rows], minlength=int(y.max()) + 1)
    if counts.min() < folds:
        what = f"class {counts.argmin()} has {counts.min()} rows left for protocol.folds={folds}"
        raise too_few(y, what, f"fewer folds, e.g. protocol.folds={max(2, counts.min())}")
    splitter = model_selection.StratifiedKFold(folds, shuffle=True, random_state=seed)
    for train, test in splitter.split(rows, y[rows]):
        yield rows[train], rows[test]


def too_few(y: np.ndarray, what: str, remedy: str) -> BenchError:
    counts = np.bincount(y)
    shown = ", ".join(f"{c}: {n}" for c, n in enumerate(counts[:20])) + (", ..." if len(counts) > 20 else "")
    return BenchError(f"{what} (rows a class: {shown}): choose a lower ratio, e.g. ratio=native, or {remedy}")
