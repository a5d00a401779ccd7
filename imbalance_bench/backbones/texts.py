"""Shared by the networks for texts of token ids."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from torch import nn

from imbalance_bench.backbones.base import Backbone
from imbalance_bench.data.base import Language
from imbalance_bench.data.text.tokens import PAD, LearnedTokens
from imbalance_bench.options import Count, Ge


@dataclass(frozen=True)
class LearnedVocabulary(Backbone):
    """Texts as ids of ``vocabulary`` subwords that the training texts teach, the first ``length`` of each text;
    ``stop_words``: whether stop words are left out before."""

    vocabulary: Annotated[int, Ge(16)]
    length: Count
    stop_words: bool

    def text_encoder(self, language: Language, folder: Path, device: str) -> LearnedTokens:
        return LearnedTokens(self.vocabulary, self.length, self.stop_words, language, folder)


class WordVectors(nn.Embedding):
    """Vectors of ids, started from U(-0.25, 0.25) as Kim (2014) starts those of words that word2vec lacks; zeros for
    padding. (With ``padding_idx`` instead, torch.func.vmap lets gradients reach the padding of all runs but the first.)
    """

    def reset_parameters(self) -> None:
        nn.init.uniform_(self.weight, -0.25, 0.25)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * (x != PAD)[..., None]
