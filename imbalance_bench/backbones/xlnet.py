"""XLNet (Yang et al., 2019), pretrained, fine-tuned as a classifier."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from imbalance_bench.backbones.network import Dropout, Unmapped
from imbalance_bench.data.base import Language
from imbalance_bench.data.tokens import PretrainedTokens
from imbalance_bench.errors import BenchError
from imbalance_bench.registry import BACKBONES


@BACKBONES.register("xlnet")
@dataclass(frozen=True)
class XLNetBackbone:
    """``model``: a folder in which transformers has saved an XLNet with its tokenizer, or a name on the Hugging Face
    hub; no code of either is run. ``length``: tokens of a text that are read; ``stop_words``: whether stop words are
    left out before."""

    maps: ClassVar[bool] = False

    model: str
    length: int
    stop_words: bool

    def __post_init__(self) -> None:
        if self.length < 3:
            raise BenchError(f"backbone.length={self.length} must be at least 3: two tokens end each text")

    def text_encoder(self, language: Language, folder: Path) -> PretrainedTokens:
        from transformers import AutoTokenizer

        tokenizer = self._load(AutoTokenizer)
        config = self._config()
        if (tokenizer.pad_token_id, len(tokenizer) <= config.vocab_size) != (config.pad_token_id, True):
            raise BenchError(
                f"backbone.model={self.model}: the tokenizer ({len(tokenizer)} ids, padding {tokenizer.pad_token_id}) is "
                f"not that of the network ({config.vocab_size} ids, padding {config.pad_token_id})"
            )
        return PretrainedTokens(tokenizer, self.length, self.stop_words, language, folder)

    def build(self, shape: tuple[int, ...], classes: int, head: str = "linear") -> XLNet:
        """The pretrained network for token ids (n, L) and ``classes`` classes (0: regression), with a fresh summary
        and head."""
        return XLNet(self._weights(), classes, head)
