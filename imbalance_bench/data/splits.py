"""How a cell is split: protocols, each giving the (train, valid, test) rows of its folds, stratified by class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np

from imbalance_bench.data import dividing
from imbalance_bench.data.base import Kind
from imbalance_bench.errors import BenchError
from imbalance_bench.options import BelowOne, Count, Ge, Seed, Share, Whole
from imbalance_bench.registry import PROTOCOLS
from imbalance_bench.rounding import snapped
from imbalance_bench.seeds import derived


class Split(NamedTuple):
    """Row numbers (sorted, int64) of one fold; no row is in two of them."""

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray


class TooFew(Exception):
    """There are too few rows, or of a class, for every part to have some. The message says which; ``Protocol.splits``
    adds a remedy that works."""


@dataclass(frozen=True)
class RowsToSplit:
    """The rows 0..n-1 that a protocol splits, as far as it knows them: ``y`` (n,), the class ``names``, and of a data
    set its own ``test`` and ``valid`` rows, ``groups`` (n,) and ``times`` (n,). ``whole``: all rows, where a ratio left
    these of them."""

    y: np.ndarray
    names: tuple[str, ...] = ()
    kind: Kind = "classification"
    test: np.ndarray | None = None
    valid: np.ndarray | None = None
    groups: np.ndarray | None = None
    times: np.ndarray | None = None
    whole: RowsToSplit | None = None

    def __len__(self) -> int:
        return len(self.y)

    def called(self, label: Any) -> str:
        """A class by its name."""
        return f"class {self.names[label]!r}" if self.names else f"class {label}"

    def counts(self, rows: np.ndarray | None = None) -> np.ndarray:
        """Of each class (C,), all rows or some."""
        return np.bincount(self.y if rows is None else self.y[rows], minlength=int(self.y.max()) + 1)

    def hold_out(self, rows: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """(the rest, the part held out), stratified, groups kept together."""
        try:
            return dividing.hold_out(self.y, self.groups, rows, fraction, seed)
        except ValueError as error:
            raise TooFew(f"a stratified part of {fraction:g} cannot be held out of {len(rows)} rows") from error

    def k_folds(self, rows: np.ndarray, folds: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(rows of the other folds, rows of this one), stratified, groups kept together."""
        counts, unit = self.counts(rows), "row"
        if self.groups is not None:  # as many as groups that a class is in
            pairs = np.unique(np.stack([self.groups[rows], self.y[rows]]), axis=1)
            counts, unit = np.bincount(pairs[1], minlength=len(counts)), "group"
        if (few := counts.min()) < folds:
            left = f"{few} {unit}{'' if few == 1 else 's'}"
            raise TooFew(f"{self.called(counts.argmin())} has {left} left for protocol.folds={folds}")
        yield from dividing.k_folds(self.y, self.groups, rows, folds, seed)


@dataclass(frozen=True)
class Protocol:
    """``seeds``: how often each split is trained, each time with another training seed. ``seed``: which rows go where;
    apart from the training seed."""

    name: ClassVar[str]
    may_skip_valid: ClassVar[bool] = False  # whether valid_fraction may be 0: no validation rows
    in_time: ClassVar[bool] = False  # whether validation rows come after training rows, and test rows after both

    seeds: Count
    seed: Seed

    def splits(self, rows: RowsToSplit) -> list[Split]:
        """The folds of ``rows``. Regression tasks always use the test and validation rows that the data set names,
        having no classes to stratify by. Raises BenchError where a class has too few rows for every part to have
        one."""
        if rows.kind == "regression":
            return [own_rows(rows)]
        try:
            return self._tried(rows)
        except TooFew as error:
            raise BenchError(f"{error} ({_counts(rows)}): {self._remedy(rows)}") from error

    def _tried(self, rows: RowsToSplit) -> list[Split]:
        counts = rows.counts()
        if (counts == 1).any():
            alone = rows.called((counts == 1).argmax())
            raise TooFew(f"{alone} has a single row, and a training and a test part need one each")
        found = [Split(*(np.sort(part).astype(np.int64) for part in s)) for s in self._splits(rows)]
        for split in found:
            for part, of_part in zip(Split._fields, split):
                if part == "valid" and not len(of_part) and self.may_skip_valid:
                    continue
                counts = rows.counts(of_part)
                if counts.min() == 0:
                    raise TooFew(f"the {part} part of a split gets no row of {rows.called(counts.argmin())}")
        return found

    def _splits(self, rows: RowsToSplit) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        raise NotImplementedError

    def _remedy(self, rows: RowsToSplit) -> str:
        """Advice on what to change so that ``rows`` can be split: only what was tried and works."""
        remedies = []
        if rows.whole is not None and self._works(rows.whole):
            remedies.append("choose a lower ratio, e.g. ratio=native")
        for other in self._others():
            if self._works(rows, **other):
                remedies.append("set " + " ".join(f"protocol.{key}={value:g}" for key, value in other.items()))
                break
        if rows.groups is not None and self._works(replace(rows, groups=None)):
            remedies.append("split groups (dataset.group=null, dataset.copies=apart)")
        if len(rows.counts()) > 2:
            remedies.append("leave the class out of the data, or set one class against all others (dataset.positive)")
        if not remedies and StratifiedKFold(self.seeds, self.seed, 5, 0.2)._works(rows):
            remedies.append("set protocol=stratified_kfold protocol.folds=5 protocol.valid_fraction=0.2")
        return "; or ".join(remedies) or "add rows of that class, which are too few for any protocol"

    def _others(self) -> Iterator[dict[str, float]]:
        """Options of this protocol to try instead: fewer folds, parts of other sizes, both."""
        folds = getattr(self, "folds", None)
        fewest = 1 if self.in_time else 2
        fewer: list[dict[str, float]] = [{"folds": n} for n in range(min(folds or 0, 11) - 1, fewest - 1, -1)]
        yield from fewer
        for key in ("valid_fraction", "test_fraction"):
            if (now := getattr(self, key, 0)) > 0:
                shares = sorted((0.1, 0.2, 0.3, 0.4, 0.5), key=lambda share: abs(share - now))
                none = (0,) if self.may_skip_valid and key == "valid_fraction" else ()
                for share in (s for s in (*shares, *none) if s != now):
                    yield {key: share}
                    yield from ({**less, key: share} for less in fewer[-1:])

    def _works(self, rows: RowsToSplit, **options: Any) -> bool:
        try:
            return bool(replace(self, **options)._tried(rows))
        except (TooFew, BenchError):
            return False


@PROTOCOLS.register("holdout_kfold")
@dataclass(frozen=True)
class HoldoutKFold(Protocol):
    """A stratified share of all rows held out once for validation, stratified k-fold on the rest: with 0.2 and 4
    folds 60 % train, 20 % validation, 20 % test (MESA, Liu et al. 2020; Explicit Gradient, Section 6)."""

    folds: Annotated[int, Ge(2)]
    valid_fraction: Share

    def _splits(self, rows):  # type: ignore[no-untyped-def]
        rest, valid = rows.hold_out(np.arange(len(rows)), self.valid_fraction, self.seed)
        for train, test in rows.k_folds(rest, self.folds, self.seed):
            yield train, valid, test


@PROTOCOLS.register("stratified_kfold")
@dataclass(frozen=True)
class StratifiedKFold(Protocol):
    """Stratified k-fold over all rows; of each fold's training part a stratified share is for validation: with 5
    folds and 0.2 64 % train, 16 % validation, 20 % test (Explicit Gradient, Section 5)."""

    folds: Annotated[int, Ge(2)]
    valid_fraction: Share

    def _splits(self, rows):  # type: ignore[no-untyped-def]
        for fold, (rest, test) in enumerate(rows.k_folds(np.arange(len(rows)), self.folds, self.seed)):
            train, valid = rows.hold_out(rest, self.valid_fraction, derived(self.seed, fold))
            yield train, valid, test


@PROTOCOLS.register("repeated_holdout")
@dataclass(frozen=True)
class RepeatedHoldout(Protocol):
    """``repeats`` independent stratified splits: ``test_fraction`` of all rows for testing, ``valid_fraction`` of the
    rest for validation."""

    repeats: Count
    test_fraction: Share
    valid_fraction: Share

    def _splits(self, rows):  # type: ignore[no-untyped-def]
        for repeat in range(self.repeats):
            seed = derived(self.seed, repeat)
            rest, test = rows.hold_out(np.arange(len(rows)), self.test_fraction, seed)
            train, valid = rows.hold_out(rest, self.valid_fraction, seed)
            yield train, valid, test


@PROTOCOLS.register("development_kfold")
@dataclass(frozen=True)
class DevelopmentKFold(Protocol):
    """Cross-validation within the development part of ``repeated_holdout``, for choosing options: its split ``repeat``
    (from 0) with the same ``seed`` and ``test_fraction``, whose test rows are in no part here. Stratified ``folds``,
    each once the validation part, the fold before it the test part, all others the training part."""

    folds: Annotated[int, Ge(3)]
    test_fraction: Share
    repeat: Whole

    def _splits(self, rows):  # type: ignore[no-untyped-def]
        development, _ = rows.hold_out(np.arange(len(rows)), self.test_fraction, derived(self.seed, self.repeat))
        parts = [part for _, part in rows.k_folds(development, self.folds, self.seed)]
        for before, valid in zip([parts[-1], *parts], parts):
            yield np.setdiff1d(development, np.concatenate([valid, before])), valid, before


@PROTOCOLS.register("past_future")
@dataclass(frozen=True)
class PastFuture(Protocol):
    """Learning from the past, tested on the future, by ``dataset.time``: the newest rows are tested on, a share
    ``test_fraction`` of all in each of ``folds`` (as scikit-learn's TimeSeriesSplit); all rows before those of a fold
    are for training, but for the newest ``valid_fraction`` of them, which are for validation (0: none). Rows of one
    time stay together. Not stratified: a class comes as often as it comes."""

    may_skip_valid: ClassVar[bool] = True
    in_time: ClassVar[bool] = True

    folds: Count
    test_fraction: Share
    valid_fraction: Annotated[BelowOne, "0: no validation rows"]

    def __post_init__(self) -> None:
        if self.test_fraction * self.folds >= 1:
            raise BenchError(
                f"protocol.test_fraction={self.test_fraction:g} in each of protocol.folds={self.folds} leaves no rows "
                f"to learn from: set a test_fraction above 0 and below {1 / self.folds:g}"
            )

    def _splits(self, rows):  # type: ignore[no-untyped-def]
        if rows.times is None:
            raise BenchError(
                f"protocol={self.name} needs dataset.time=<column>, which says when each row was (your own table or "
                "texts); without one set protocol=stratified_kfold"
            )
        times = rows.times
        cuts = [dividing.cut(times, snapped(self.test_fraction * left)) for left in range(self.folds, 0, -1)]
        if None in cuts or len(set(cuts)) < len(cuts):
            tests = f"{self.folds} test part{'s' if self.folds > 1 else ''} of {self.test_fraction:g} of the rows"
            raise TooFew(f"dataset.time has {len(np.unique(times))} different times, too few for {tests}")
        for begin, end in zip(cuts, [*cuts[1:], int(times.max()) + 1]):
            before, train = np.flatnonzero(times < begin), times < begin
            if self.valid_fraction:
                since = dividing.cut(times[before], self.valid_fraction)
                if since is None:
                    raise TooFew("all rows before a test part are of one time, so that none can be for validation")
                train &= times < since
            test = np.flatnonzero((times >= begin) & (times < end))
            yield np.flatnonzero(train), before[~train[before]], test


@PROTOCOLS.register("official_test")
@dataclass(frozen=True)
class OfficialTest(Protocol):
    """The test rows that the data set comes with, and its validation rows; where it names none, a stratified
    ``valid_fraction`` of the other rows, 0: no validation rows."""

    may_skip_valid: ClassVar[bool] = True

    valid_fraction: Annotated[BelowOne, "0: no validation rows"]

    def _splits(self, rows):  # type: ignore[no-untyped-def]
        if rows.valid is not None:
            yield own_rows(rows)
            return
        if rows.test is None:
            raise BenchError(f"protocol={self.name}: this data set comes with no test rows; set protocol=holdout_kfold")
        train, valid = np.setdiff1d(np.arange(len(rows)), rows.test), np.zeros(0, np.int64)
        if self.valid_fraction:
            train, valid = rows.hold_out(train, self.valid_fraction, self.seed)
        yield train, valid, rows.test


@PROTOCOLS.register("official_trials")
@dataclass(frozen=True)
class OfficialTrials(OfficialTest):
    """``official_test``, ``trials`` times: a trial is a fold with the same rows, its own training seed, and its own
    draw of a ratio that is redrawn."""

    trials: Count

    def _splits(self, rows):  # type: ignore[no-untyped-def]
        yield from [*super()._splits(rows)] * self.trials


def own_rows(rows: RowsToSplit) -> Split:
    """The split that the data set itself prescribes: train on all rows that are neither test nor validation."""
    if rows.test is None or rows.valid is None:
        raise BenchError(
            "a regression data set must name test and validation rows of its own (Dataset.test_rows, valid_rows)"
        )
    train = np.setdiff1d(np.arange(len(rows)), np.concatenate([rows.test, rows.valid]))
    return Split(train, np.sort(rows.valid), np.sort(rows.test))


def _counts(rows: RowsToSplit) -> str:
    counts = rows.counts()
    names = rows.names or range(len(counts))
    shown = ", ".join(f"{name}: {n}" for name, n in [*zip(names, counts)][:20])
    return f"rows a class: {shown}" + (", ..." if len(counts) > 20 else "")
