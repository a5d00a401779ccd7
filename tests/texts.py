"""Made-up tasks of token ids, a small backbone that reads them, and small pretrained networks, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from imbalance_bench.backbones.base import Backbone
from imbalance_bench.backbones.network import Network
from imbalance_bench.data.base import Part, Task, Vocabulary
from tests.tasks import task

SIZE, LENGTH = 40, 9
WORDS = ("win", "cash", "prize", "call", "now", "are", "you", "home", "me")


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
class MeanOfWords(Backbone):
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


def save_xlnet(folder: Path) -> Path:
    """An XLNet of two small layers with random weights and a tokenizer of ``WORDS``, saved as its library does."""
    from transformers import XLNetConfig, XLNetLMHeadModel, XLNetTokenizer

    special = ["<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>", "<eod>", "<eop>"]
    pieces = [
        *((name, 0.0) for name in special),
        *((f"▁{w}", -1.0) for w in WORDS),
        *((c, -9.0) for c in "abcdefghijklmno"),
    ]
    tokenizer = XLNetTokenizer(vocab=pieces)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    size = {"d_model": 8, "n_layer": 2, "n_head": 2, "d_inner": 12}
    # Weights of the usual size 0.02 would leave hardly a trace of the text.
    config = XLNetConfig(vocab_size=len(pieces), pad_token_id=5, initializer_range=0.3, **size)
    XLNetLMHeadModel(config).save_pretrained(folder)
    return folder


def save_bert(folder: Path, words: Sequence[str] = WORDS) -> Path:
    """A BERT of two small layers with random weights and a tokenizer of ``words``, saved as its library does."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir(exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]))
    torch.manual_seed(0)
    size = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(words) + 5, **size)).save_pretrained(folder)
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder
