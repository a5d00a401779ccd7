"""Made-up tasks of token ids, and a small backbone that reads them, for tests."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from imbalance_bench.backbones.network import Network
from imbalance_bench.data.base import Part, Task, Vocabulary
from tests.tasks import task

SIZE, LENGTH = 40, 9


def decode(ids: np.ndarray) -> list[str]:
    return [" ".join(f"w{i}" for i in row if i >= 3) for row in ids]


VOCABULARY = Vocabulary(size=SIZE, pad=0, begin=1, end=2, decode=decode)


def text_task(seed: int = 0, n: tuple[int, ...] = (40, 12)) -> Task:
    """Texts of 3 to 9 words; each class has words of its own and words that all share."""
    flat = task(seed, n)
    rng = np.random.default_rng(seed)

    def written(part: Part) -> Part:
        x = np.zeros((len(part), LENGTH), np.int32)
        for row, y in zip(x, part.y):
            length = rng.integers(3, LENGTH + 1)
            own = 3 + 8 * y + rng.integers(0, 8, length)
            row[:length] = np.where(rng.random(length) < 0.6, own, rng.integers(30, SIZE, length))
        return Part(x, part.y, part.ids)

    parts = {name: written(getattr(flat, name)) for name in ("train", "valid", "withdrawn")}
    return replace(flat, **parts, vocabulary=VOCABULARY)


@dataclass(frozen=True)
class MeanOfWords:
    """The mean of the embeddings of the words, and a head."""

    def build(self, shape: tuple[int, ...], classes: int, head: str = "linear") -> WordNetwork:
        return WordNetwork(classes, head)


class WordNetwork(Network):
    def __init__(self, classes: int, head: str) -> None:
        words = nn.Embedding(SIZE, 8)
        super().__init__(8, classes, head)
        self.words = words

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        real = (x != VOCABULARY.pad)[..., None]
        return (self.words(x) * real).sum(-2) / real.sum(-2)
