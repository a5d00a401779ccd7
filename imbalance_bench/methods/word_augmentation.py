"""Word-level augmentation, the simplest way to new texts: a control for generated ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imbalance_bench.data.base import Part, Task
from imbalance_bench.methods.base import Method
from imbalance_bench.methods.shared.oversampling import Amount, target_counts
from imbalance_bench.methods.shared.token_ids import closed
from imbalance_bench.options import Fraction
from imbalance_bench.registry import METHODS
from imbalance_bench.rounding import snapped


@METHODS.register("word_augmentation")
@dataclass(frozen=True)
class WordAugmentation(Method):
    """Random deletion and random swap (two operations of EDA, Wei & Zou, 2019), on token ids: rows of the smaller
    classes are drawn with replacement, each token is left out with probability ``delete``, one at least staying, and
    then ``swap`` times the length, rounded up, two tokens of what is left change places."""

    reads = "tokens"

    amount: Amount
    delete: Fraction
    swap: Fraction

    def resample(self, task: Task, rows: Part) -> Part:
        assert task.vocabulary is not None
        pad, tail, rng = task.vocabulary.pad, task.vocabulary.tail, np.random.default_rng(task.seed)
        made = [rows]
        for label, wanted in target_counts(rows.y, self.amount).items():
            own = np.flatnonzero(rows.y == label)
            drawn = rows.x[rng.choice(own, wanted - len(own))]
            x = closed(np.stack([self.changed(text, [pad, *tail], rng) for text in drawn]), pad, tail)
            made.append(Part(x, np.full(len(x), label), np.full(len(x), -1)))
        return made[0].join(*made[1:])

    def changed(self, text: np.ndarray, special: Sequence[int], rng: np.random.Generator) -> np.ndarray:
        """A text (L,) with tokens left out and swapped, and without ``special`` ones, of which padding is the first."""
        tokens = text[~np.isin(text, special)]
        kept = rng.random(len(tokens)) >= self.delete
        if len(tokens) and not kept.any():
            kept[rng.integers(len(tokens))] = True
        tokens = tokens[kept]
        for _ in range(int(np.ceil(snapped(self.swap * len(tokens)))) if len(tokens) > 1 else 0):
            places = rng.choice(len(tokens), 2, replace=False)
            tokens[places] = tokens[places[::-1]]
        return np.concatenate([tokens, np.full(len(text) - len(tokens), special[0], text.dtype)])
