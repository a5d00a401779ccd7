"""TextRNN: a bidirectional LSTM over word vectors, as public code for text classification has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from imbalance_bench.backbones.network import Dropout, Unmapped
from imbalance_bench.backbones.texts import LearnedVocabulary, WordVectors
from imbalance_bench.data.text.tokens import PAD
from imbalance_bench.options import BelowOne, Count
from imbalance_bench.registry import BACKBONES


@BACKBONES.register("textrnn")
@dataclass(frozen=True)
class TextRNNBackbone(LearnedVocabulary):
    """``embedding``: width of the word vectors; ``hidden`` units in each direction of ``layers`` layers; ``dropout``
    after each of them."""

    maps: ClassVar[bool] = False

    embedding: Count
    hidden: Count
    layers: Count
    dropout: BelowOne

    def build(self, shape: tuple[int, ...], classes: int, head: str = "linear") -> TextRNN:
        """The LSTM for token ids (n, L) and ``classes`` classes (0: regression)."""
        return TextRNN(self, classes, head)


class TextRNN(Unmapped):
    """Word vectors → layers of LSTMs (Hochreiter & Schmidhuber, 1997), one in each direction, dropout after each; head.

    f (n, 2 x hidden): where each direction of the last layer ends, dropped out: at the text's last token and at its
    first. Code that takes the outputs at the last position instead (as the public TextRNN does) reads padding forwards,
    and a single token backwards. The backward LSTM reads the text reversed within its own length, so that padding comes
    last for both, where it has no influence.
    """

    pad = PAD

    def __init__(self, options: TextRNNBackbone, classes: int, head: str) -> None:
        hidden = options.hidden
        super().__init__(2 * hidden, classes, head)
        self.vectors = WordVectors(options.vocabulary, options.embedding)
        widths = [options.embedding] + [2 * hidden] * (options.layers - 1)
        self.forwards = nn.ModuleList(nn.LSTM(width, hidden, batch_first=True) for width in widths)
        self.backwards = nn.ModuleList(nn.LSTM(width, hidden, batch_first=True) for width in widths)
        self.between = nn.ModuleList(Dropout(options.dropout, by_place=True) for _ in widths[1:])
        self.dropout = Dropout(options.dropout)

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        length = (x != PAD).sum(1, keepdim=True).clamp(min=1)
        place = torch.arange(x.shape[1], device=x.device)
        reverse = torch.where(place < length, length - 1 - place, place)[..., None]  # its own inverse
        h = self.vectors(x)
        for i, (forward, backward) in enumerate(zip(self.forwards, self.backwards)):
            if i:
                h = self.between[i - 1](h)
            there, _ = forward(h)
            back, _ = backward(h.take_along_dim(reverse, 1))
            h = torch.cat([there, back.take_along_dim(reverse, 1)], 2)
        half = h.shape[2] // 2
        ends = torch.cat([h.take_along_dim(length[..., None] - 1, 1)[:, 0, :half], h[:, 0, half:]], 1)
        return self.dropout(ends)
