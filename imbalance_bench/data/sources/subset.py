"""A data set with fewer rows: what is left out is neither encoded nor in any pool."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from imbalance_bench.data.base import Dataset, Source
from imbalance_bench.data.ratio import ClassList
from imbalance_bench.errors import BenchError
from imbalance_bench.options import Count, Seed, Share, Whole
from imbalance_bench.registry import DATASETS


@DATASETS.register("subset")
@dataclass(frozen=True)
class SubsetSource(Source):
    """``of``: another data set's options; ``keep``: what stays of each class, as in ``ratio=class_list``; ``seed``:
    which rows. For data sets of which a machine cannot encode or train on all; imbalance is what ratios are for."""

    of: dict
    keep: Annotated[dict[Whole, Share | Count], "class index: the share or the number of its rows to keep"] | None
    seed: Seed

    def __post_init__(self) -> None:
        if not self.keep:
            raise BenchError("name=subset needs the rows to keep, e.g. 'dataset.keep={0: 0.1, 1: 50}'")
        if "path" in self.of:
            raise BenchError("dataset.of is a published data set; of a table of your own, keep fewer rows in its file")
        DATASETS.build(self.of, "dataset.of")

    def load(self, folder: Path) -> Dataset:
        whole = self.whole.load(folder)
        rows = self._ratio(whole.y)

        def within(part: np.ndarray | None) -> np.ndarray | None:
            return None if part is None else np.flatnonzero(np.isin(rows, part))

        info = {key: fact for key, fact in whole.info.items() if key != "printed"}  # which is of the whole
        x = whole.x[rows] if isinstance(whole.x, np.ndarray) else whole.x.iloc[rows]
        parts = {"test_rows": within(whole.test_rows), "valid_rows": within(whole.valid_rows)}
        groups, times = (None if each is None else each[rows] for each in (whole.groups, whole.times))
        slices = {name: np.asarray(mask)[rows] for name, mask in whole.slices.items()}
        return replace(whole, x=x, y=whole.y[rows], groups=groups, times=times, slices=slices, info=info, **parts)

    def _ratio(self, y: np.ndarray | None = None) -> np.ndarray:
        """Rows that stay of labels ``y`` (n,); without any, whether ``keep`` and ``seed`` can be."""
        try:
            ratio = ClassList(self.seed, "all", self.keep)
            return np.arange(0) if y is None else ratio.indices(y, self.seed)
        except BenchError as error:
            own_keys = str(error).replace("ratio.name=class_list", "dataset.name=subset").replace("ratio.", "dataset.")
            raise BenchError(own_keys) from None

    def paths(self, folder: Path) -> list[Path] | None:
        """The other data set's files; None where one is missing."""
        return self.whole.paths(folder)

    @property
    def by_hand(self) -> bool:
        return self.whole.by_hand

    def fingerprint(self) -> dict[str, Any]:
        return self.whole.fingerprint()

    @property
    def whole(self) -> Any:
        """The source of the other data set."""
        return DATASETS.build(self.of)
