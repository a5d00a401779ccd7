"""Difficult samples: minority rows with a majority row among their nearest training rows (MISO, Section 7.1)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imbalance_bench.errors import BenchError
from imbalance_bench.slices import Slice, declare

if TYPE_CHECKING:
    import torch

    from imbalance_bench.data.base import Dataset, Part
    from imbalance_bench.data.tasks import Run
    from imbalance_bench.engine.classifier import Classifier

NEIGHBOURS = 5
DIMS, MIN_DF = 100, 2  # of the vectors that texts are compared by


@declare("difficult")
def difficult_rows(
    dataset: Dataset, runs: Sequence[Run], classifiers: Sequence[Classifier], folder: Path
) -> list[Slice]:
    """The test rows that are of a minority class and difficult.

    Texts are compared by the direction of their LSA vectors, fitted on the training part (kept under ``folder``): so
    the slice is that of the split, whatever network or method was trained. ``share``: how many of the training part's
    minority rows are difficult, each leaving itself out; ``share_own``: the same by the Euclidean distance of the
    trained network's own features (an ordinary module shows none).
    """
    import torch

    from imbalance_bench.data.text.vectors import LsaEncoder
    from imbalance_bench.engine import NetworkClassifier

    if dataset.modality != "text":
        raise BenchError(f"it compares texts, and {dataset.name} has none")
    if not all(run.task.minority_classes for run in runs):
        raise BenchError("no class is called a minority: choose a ratio that makes some, e.g. ratio=ir_20")
    encode = LsaEncoder(DIMS, MIN_DF, dataset.language, folder)
    known: dict[int, tuple[np.ndarray, float]] = {}  # repeats share their split
    found = []
    for run, classifier in zip(runs, classifiers):
        train, test = run.task.train, run.test
        few = run.task.minority_classes
        if id(train) not in known:
            vectors = torch.nn.functional.normalize(torch.from_numpy(encode(dataset.x, train.ids)), dim=1)
            of_test, features = vectors[test.ids], vectors[train.ids]
            known[id(train)] = marked(of_test, test, features, train, few), share(features, train, few)
        mask, of_split = known[id(train)]
        facts: dict[str, Any] = {"share": of_split}
        if not classifier.failure and isinstance(classifier, NetworkClassifier) and classifier.stack.traits.staged:
            facts["last"] = {"share_own": share(classifier.features(train.x), train, few)}
        found.append(Slice(mask, facts))
    return found


def marked(rows: torch.Tensor, part: Part, features: torch.Tensor, train: Part, minority: Sequence[int]) -> np.ndarray:
    """Which of the rows (n, d) of ``part`` are of a minority class and have a row of another among the nearest of
    ``train``'s ``features`` (m, d)."""
    from imbalance_bench.neighbours import k_nearest

    few = np.isin(part.y, minority)
    out = few.copy()
    if few.any():
        _, found = k_nearest(rows[few], features, min(NEIGHBOURS, len(train)))
        out[few] = ~np.isin(train.y[found.cpu().numpy()], minority).all(1)
    return out


def share(features: torch.Tensor, train: Part, minority: Sequence[int]) -> float:
    """The share of difficult rows among the minority rows of ``train``, by its ``features`` (n, d)."""

    few = np.isin(train.y, minority)
    return float(difficult(features[few], [], features[~few], NEIGHBOURS).mean())


def difficult(own: torch.Tensor, others: Sequence[torch.Tensor], majority: torch.Tensor, k: int) -> np.ndarray:
    """Which of the minority's embeddings (n, d) have one of the majority's (m, d) among their k nearest (γ > 0, Section
    7.1 of MISO). ``others``: further ones of the minority, which are neighbours only."""
    import torch

    from imbalance_bench.neighbours import k_nearest, not_itself

    keys = torch.cat([own, *others, majority])
    k = min(k, len(keys) - 1)
    with torch.autocast(keys.device.type, enabled=False):  # distances in bfloat16 have other neighbours
        _, found = k_nearest(own, keys, k + 1)
    return (found.gather(1, not_itself(found)) >= len(keys) - len(majority)).any(1).cpu().numpy()
