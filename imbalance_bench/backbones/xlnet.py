"""XLNet (Yang et al., 2019), pretrained, fine-tuned as a classifier."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from torch import nn

from imbalance_bench.backbones.base import Backbone
from imbalance_bench.backbones.network import Dropout, Unmapped
from imbalance_bench.data.base import Language
from imbalance_bench.data.text.tokens import PretrainedTokens
from imbalance_bench.errors import BenchError
from imbalance_bench.options import Ge, Text
from imbalance_bench.pretrained import load
from imbalance_bench.registry import BACKBONES

CLS_SEGMENT = 2  # the kind of token that <cls> is; those of the text are 0


@BACKBONES.register("xlnet")
@dataclass(frozen=True)
class XLNetBackbone(Backbone):
    """``model``: a folder in which transformers has saved an XLNet with its tokenizer, or a name on the Hugging Face
    hub; no code of either is run. ``length``: tokens of a text that are read; ``stop_words``: whether stop words are
    left out before."""

    maps: ClassVar[bool] = False

    model: Text
    length: Annotated[int, Ge(3), "two tokens end each text"]
    stop_words: bool

    def text_encoder(self, language: Language, folder: Path, device: str) -> PretrainedTokens:
        tokenizer, config = load(self.model, "AutoTokenizer"), load(self.model, "AutoConfig")
        if config.model_type != "xlnet":
            raise BenchError(f"backbone.model={self.model} is a {config.model_type}; backbone=xlnet needs an xlnet")
        if len(tokenizer) > config.vocab_size or tokenizer.pad_token_id != config.pad_token_id:
            raise BenchError(
                f"backbone.model={self.model}: its tokenizer ({len(tokenizer)} ids, padding {tokenizer.pad_token_id}) "
                f"is not that of its network ({config.vocab_size} ids, padding {config.pad_token_id})"
            )
        # Where texts that are written begin and end, and what stands for a text without a token.
        needed = ("bos_token", "eos_token", "unk_token", "sep_token", "cls_token")
        if lacking := [name for name in needed if getattr(tokenizer, name) is None]:
            raise BenchError(f"backbone.model={self.model}: its tokenizer has no {', '.join(lacking)}")
        made = PretrainedTokens(tokenizer, self.length, self.stop_words, language, folder)
        ends = [tokenizer.sep_token_id, tokenizer.cls_token_id]
        if (added := tokenizer("a")["input_ids"])[-2:] != ends:
            raise BenchError(
                f"backbone.model={self.model}: its tokenizer does not end texts with {tokenizer.sep_token} and "
                f"{tokenizer.cls_token}, whose state is what is classified, but with "
                f"{' '.join(tokenizer.convert_ids_to_tokens(added[-2:]))}: save it with the post-processor of XLNet"
            )
        return made

    def build(self, shape: tuple[int, ...], classes: int, head: str = "linear") -> XLNet:
        """The pretrained network for token ids (n, L) and ``classes`` classes (0: regression), with a fresh summary
        and head."""
        body, found = load(self.model, "XLNetModel", dtype=torch.float32, output_loading_info=True)
        if lacking := sorted(found["missing_keys"]) + sorted(map(str, found["mismatched_keys"])):
            raise BenchError(
                f"backbone.model={self.model} lacks {len(lacking)} of the network's weights (the first: {lacking[0]})"
            )
        return XLNet(body, classes, head)


class XLNet(Unmapped):
    """XLNet → the state of the text's last token (<cls>, which stands last) → linear, tanh, dropout → head. f (n, d) is
    what the head is given: the summary with which the authors fine-tune. It is new, as the head is; sizes and shares of
    dropout are those of the model's configuration. Dropout of its relative positions depends on how long a batch is,
    so that a run is reproducible only when it is trained by itself, as the engine does.
    """

    def __init__(self, body: Any, classes: int, head: str) -> None:
        config = body.config
        super().__init__(config.d_model, classes, head)
        self.pad: int = config.pad_token_id
        self.body = body
        for module in [*body.modules()]:
            for name, layer in module.named_children():
                if isinstance(layer, nn.Dropout):  # which draws from the global generator
                    setattr(module, name, Dropout(layer.p))
        self.summary = nn.Linear(config.d_model, config.d_model)
        nn.init.normal_(self.summary.weight, std=config.initializer_range)
        nn.init.zeros_(self.summary.bias)
        self.dropout = Dropout(config.summary_last_dropout)

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        real = torch.ne(x, self.pad)
        last = real.sum(1, keepdim=True).clamp(min=1) - 1
        segments = torch.zeros_like(last).expand(x.shape).scatter(1, last, CLS_SEGMENT)
        mask = real.to(self.summary.weight.dtype)
        states = self.body(x, attention_mask=mask, token_type_ids=segments, use_mems=False).last_hidden_state
        summary = self.summary(states.take_along_dim(last[..., None], 1)[:, 0])
        return self.dropout(summary.tanh())
