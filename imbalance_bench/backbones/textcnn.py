"""TextCNN: Kim (2014), "Convolutional neural networks for sentence classification"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import nn

from imbalance_bench.backbones.network import Dropout, Network
from imbalance_bench.backbones.texts import LearnedVocabulary, WordVectors
from imbalance_bench.data.text.tokens import PAD
from imbalance_bench.options import BelowOne, Count, MinLen
from imbalance_bench.registry import BACKBONES


@BACKBONES.register("textcnn")
@dataclass(frozen=True)
class TextCNNBackbone(LearnedVocabulary):
    """``embedding``: width of the word vectors; ``filters`` of each of the ``widths``; ``dropout`` before the head."""

    embedding: Count
    widths: Annotated[tuple[Count, ...], MinLen(1), "numbers of tokens"]
    filters: Count
    dropout: BelowOne

    def build(self, shape: tuple[int, ...], classes: int, head: str = "linear") -> TextCNN:
        """The CNN for token ids (n, L) and ``classes`` classes (0: regression)."""
        return TextCNN(self, classes, head)


class TextCNN(Network):
    """Word vectors → convolutions of some widths → ReLU → the largest over the text → dropout → head; f (n, widths x
    filters) is what the head is given. Trained from scratch (CNN-rand); without the paper's bound on the weights' norm.

    A window counts where it lies within the text; of a text shorter than a window, the one that begins with it does,
    filled up with zeros.
    """

    pad = PAD

    def __init__(self, options: TextCNNBackbone, classes: int, head: str) -> None:
        super().__init__(len(options.widths) * options.filters, classes, head)
        self.vectors = WordVectors(options.vocabulary, options.embedding)
        self.convolutions = nn.ModuleList(nn.Conv1d(options.embedding, options.filters, k) for k in options.widths)
        self.widths, self.filters = options.widths, options.filters
        self.dropout = Dropout(options.dropout)

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        x = F.pad(x, (0, max(0, max(self.widths) - x.shape[1])), value=PAD)
        real = x != PAD
        # One matrix product for every place in every window, then sums over shifted rows: on a CPU faster than the
        # grouped convolutions that vmap makes of those of several runs.
        kernels: list[torch.Tensor] = [c.weight for c in self.convolutions]  # type: ignore[misc]
        weights = torch.cat([kernel.permute(2, 0, 1).flatten(0, 1) for kernel in kernels])
        shares = iter((self.vectors(x) @ weights.T).split(self.filters, -1))
        pooled = []
        for k, convolution in zip(self.widths, self.convolutions):
            windows = sum(next(shares)[:, j : j + x.shape[1] - k + 1] for j in range(k)) + convolution.bias
            # The window's last token is one of the text. After the ReLU nothing is below zero: zeros never win.
            within = torch.cat([torch.ones_like(real[:, :1]), real[:, k:]], 1)
            pooled.append((windows.relu() * within[..., None]).amax(1))
        return self.dropout(torch.cat(pooled, 1))
