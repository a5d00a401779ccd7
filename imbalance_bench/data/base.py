"""The types that data travels in: Source → Dataset → Task (made of Parts)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from imbalance_bench.errors import BenchError
from imbalance_bench.registry import DATASETS
from imbalance_bench.running.models import State, Surroundings, kept

Kind = Literal["classification", "regression"]
Modality = Literal["tabular", "image", "text"]
Language = Literal["en", "zh"]


class Encoder(Protocol):
    """Preprocessing that is fitted on training rows only. One that a model is to be saved with (save=true) also has
    ``fitted(x, fit_rows)``: what ``__call__`` does, as a function of any such rows, which ``models.kept`` registers."""

    def __call__(self, x: Any, fit_rows: np.ndarray) -> np.ndarray:
        """All rows of ``x`` as float32 (n, ...), scaled by what rows ``fit_rows`` say; row order kept. Images stay
        uint8 (n, channels, H, W); texts become what the backbone reads: vectors, or int32 token ids (n, L)."""


@kept("unfitted")
@dataclass(frozen=True)
class Unfitted:
    """Preprocessing that learns nothing of rows, as a fitted one."""

    encode: Encoder

    def __call__(self, x: Any) -> np.ndarray:
        return self.encode(x, np.arange(0))

    def state(self) -> State:
        return State()

    @classmethod
    def restored(cls, state: State, around: Surroundings) -> Unfitted:
        return cls(around.unfitted)


@dataclass(frozen=True)
class Vocabulary:
    """Meaning of the token ids of a text task: ``size`` ids 0..size-1; ``pad`` fills rows up on the right; a generated
    text starts after ``begin`` and stops at ``end``; every text closes with the ids ``tail``. ``decode``: ids (n, L) →
    n texts, without special tokens. ``info``: facts for the record of a run (how many texts were cut).
    """

    size: int
    pad: int
    begin: int
    end: int
    decode: Callable[[np.ndarray], list[str]]
    info: dict[str, Any] = field(default_factory=dict)
    tail: tuple[int, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """A data set in memory, before imbalance is induced and before anything is fitted.

    ``y``: (n,) int64 class indices 0..C-1; of two classes, 1 is the rarer one, the positive class (float64 targets for
    regression). ``x``: (n, ...) array or DataFrame, made numeric by ``encode``; texts are an object array of strings
    (n,) in ``language``, which the backbone makes numbers of (``data.text``). ``test_rows``: rows of the official
    test set where there is one. ``groups``: (n,) ints, where rows belong together (``grouped_by`` says why): those of
    one number are never in two parts of a split. ``times``: (n,) ints that order rows in time, equal where they are of
    one time. ``synthetic``: start points that come with the data (the sine task). ``slices``: name → (n,) bool, rows
    whose minority is scored apart in test parts. ``info``: facts for the record (e.g. the one-hot width).
    """

    name: str
    x: Any
    y: np.ndarray
    class_names: tuple[str, ...]
    encode: Encoder
    modality: Modality = "tabular"
    kind: Kind = "classification"
    language: Language = "en"
    test_rows: np.ndarray | None = None
    valid_rows: np.ndarray | None = None
    groups: np.ndarray | None = None
    grouped_by: str = "copies of one row"
    times: np.ndarray | None = None
    synthetic: tuple[np.ndarray, np.ndarray] | None = None
    slices: dict[str, np.ndarray] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        y, names = self.y, f"{len(self.class_names)} class_names"
        wrong = ""
        if not callable(self.encode):
            wrong = f"encode makes float32 rows, as ArrayEncoder('minmax') does, and is no {type(self.encode).__name__}"
        elif not isinstance(y, np.ndarray) or y.ndim != 1 or self.classes and y.dtype.kind not in "iu":
            wrong = f"y is an array (n,) of int64, and not {getattr(y, 'dtype', type(y).__name__)} {np.shape(y)}"
        elif len(self.x) != len(y):
            wrong = f"x has {len(self.x)} rows and y {len(y)}"
        elif self.classes and len(y) and not 0 <= y.min() <= y.max() < self.classes:
            wrong = f"y is from {y.min()} to {y.max()}, and {names} count from 0 to {self.classes - 1}"
        each = {"groups": self.groups, "times": self.times}
        each |= {f"slice {name}": mask for name, mask in self.slices.items()}
        for name, values in each.items():
            if values is not None and np.shape(values) != (len(y),):
                wrong = wrong or f"{name} has one value a row ({len(y)},), and not {np.shape(values)}"
        if wrong:
            raise BenchError(f"data set {self.name}: {wrong}")

    @property
    def classes(self) -> int:
        """Number of classes C; 0 for regression."""
        return len(self.class_names)


@dataclass(frozen=True)
class Facts:
    """Facts about a published data set. ``shape``: of one row, () of a text; ``classes``: 0 for regression; ``counts``:
    rows a class, in the order of the classes, where they are known; ``origin``: where it comes from; ``place``: its
    place in the collection that it is of."""

    rows: int
    shape: tuple[int, ...]
    classes: int
    counts: tuple[int, ...] | None
    origin: str = ""
    place: int | None = None

    @classmethod
    def counted(
        cls, counts: tuple[int, ...], origin: str, shape: tuple[int, ...] = (), place: int | None = None
    ) -> Facts:
        """Of a set whose rows a class are known."""
        return cls(sum(counts), shape, len(counts), counts, origin, place)

    @classmethod
    def of(cls, data: Dataset) -> Facts:
        """Those of a data set in memory."""
        counts = tuple(np.bincount(data.y, minlength=data.classes).tolist()) if data.classes else None
        return cls(len(data.y), tuple(data.x.shape[1:]), data.classes, counts)

    @property
    def ratio(self) -> float | None:
        """IR of the largest and the smallest class."""
        return max(self.counts) / min(self.counts) if self.counts else None

    def __str__(self) -> str:
        ir = f", IR {self.ratio:.2f}" if self.ratio else ""
        if len(self.shape) == 1:
            return f"{self.rows} rows, {self.shape[0]} features{ir}"
        if not self.shape:
            return f"{self.rows} texts, {self.classes} classes{ir}"
        return f"{self.rows} images of {'x'.join(map(str, self.shape))}, {self.classes} classes{ir}"


@DATASETS.base
class Source:
    """A data set as conf/dataset/*.yaml describes it: a dataclass registered in ``registry.DATASETS``. One of your own
    needs ``load``, and states what else it wants to; it need not inherit."""

    name: ClassVar[str]

    # Whether ``load`` holds the files to sums itself, of what they unpack to.
    holds_to_sums: ClassVar[bool] = False
    # Whether the source makes copies of its rows, and keeps them in one group.
    makes_copies: ClassVar[bool] = False

    def load(self, folder: Path) -> Dataset:
        """Reads (or first downloads) the data set under ``folder`` = ``paths.data``."""
        raise BenchError(f"dataset name={self.name} needs load(self, folder), which gives a Dataset")

    def fingerprint(self) -> dict[str, Any]:
        """Identifies the data besides the YAML keys (content hash of a user's file)."""
        return {}

    def paths(self, folder: Path) -> list[Path] | None:
        """Its files under ``folder``, none of what is built in; None where one is missing."""
        return []

    def sums(self) -> dict[str, str]:
        """Name of a file → its pinned sum, "sha256:..." or "md5:..."."""
        return {}

    @property
    def by_hand(self) -> bool:
        """Whether nothing fetches its files."""
        return False

    def facts(self) -> Facts | None:
        """Facts about a published set; None where nobody can know (files of a user's own), and of a part of a set."""
        return None


@dataclass(frozen=True)
class Part:
    """Rows that belong together: ``x`` (n, ...) float32, uint8 images (n, channels, H, W), or int32 token ids (n, L);
    ``y`` (n,) int64 (float64 for regression); ``ids`` (n,) rows of the data set, -1 for rows that were made."""

    x: np.ndarray
    y: np.ndarray
    ids: np.ndarray

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: np.ndarray) -> Part:
        return Part(self.x[rows], self.y[rows], self.ids[rows])

    def join(self, *others: Part) -> Part:
        parts = (self, *others)
        return Part(*(np.concatenate([getattr(p, f) for p in parts]) for f in ("x", "y", "ids")))


@dataclass(frozen=True)
class Task:
    """All that a method may see of one run: never the test part.

    ``withdrawn``: rows that the ratio took out of the training part's side of the data. As an unlabelled pool only
    ``withdrawn.x`` may be used; their labels are for oracles (``potential``). ``minority_classes``: those that the
    ratio calls so; what methods treat apart and what the class group "minority" is a mean over. ``seed`` drives
    whatever is random in this run; equal (fold, repeat) give equal seeds whichever other runs a cell has.
    ``vocabulary``: what token ids mean, where the rows are token ids. ``categories``: which columns of the rows stand
    for one category each, first and one past the last, where the data set says so.
    """

    train: Part
    valid: Part
    withdrawn: Part | None
    classes: int
    kind: Kind
    fold: int
    repeat: int
    seed: int
    synthetic: tuple[np.ndarray, np.ndarray] | None = None
    minority_classes: tuple[int, ...] = ()
    vocabulary: Vocabulary | None = None
    categories: tuple[tuple[int, int], ...] = ()

    @cached_property
    def counts(self) -> np.ndarray:
        """Training rows per class, (C,)."""
        return np.bincount(self.train.y.astype(np.int64), minlength=self.classes) if self.classes else np.zeros(0)

    @property
    def majority(self) -> int:
        return int(self.counts.argmax())

    @property
    def minority(self) -> int:
        """The rarest class that has rows; of two classes this is class 1, the positive one."""
        return int(np.where(self.counts > 0, self.counts, np.iinfo(np.int64).max).argmin())
