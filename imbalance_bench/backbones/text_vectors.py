"""Frozen encoders of texts under an MLP: what is trained sees vectors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from imbalance_bench import pretrained
from imbalance_bench.backbones.mlp import MLPBackbone
from imbalance_bench.data.base import Language
from imbalance_bench.data.text.vectors import LsaEncoder, TransformerEncoder
from imbalance_bench.errors import BenchError
from imbalance_bench.options import Count, Ge, Text
from imbalance_bench.registry import BACKBONES


@BACKBONES.register("lsa")
@dataclass(frozen=True)
class LsaBackbone(MLPBackbone):
    """Vectors (n, dims) by TF-IDF and truncated SVD (``LsaEncoder``), then the MLP."""

    dims: Count
    min_df: Count

    def text_encoder(self, language: Language, folder: Path, device: str) -> LsaEncoder:
        return LsaEncoder(self.dims, self.min_df, language, folder)


@BACKBONES.register("frozen_transformer")
@dataclass(frozen=True)
class FrozenTransformerBackbone(MLPBackbone):
    """Vectors (n, d) by a pretrained transformer that is not fine-tuned (``TransformerEncoder``), then the MLP.
    ``model``: see ``pretrained.locate``."""

    model: Text | None
    pooling: Literal["cls", "mean"]
    normalise: bool
    max_length: Annotated[int, Ge(2)]
    batch_tokens: Annotated[int, Ge(2)]
    precision: Literal["float32", "bfloat16"]

    def text_encoder(self, language: Language, folder: Path, device: str) -> TransformerEncoder:
        if self.model is None:
            raise BenchError("backbone=frozen_transformer needs backbone.model=<a folder, or a name on the hub>")
        return TransformerEncoder(
            model=self.model,
            pooling=self.pooling,
            normalise=self.normalise,
            max_length=self.max_length,
            batch_tokens=self.batch_tokens,
            precision=self.precision,
            identity=pretrained.fingerprint(self.model),
            device=device,
            folder=folder,
        )
