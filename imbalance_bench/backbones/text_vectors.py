"""Frozen encoders of texts under an MLP: what is trained sees vectors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from imbalance_bench.backbones import pretrained
from imbalance_bench.backbones.mlp import MLPBackbone
from imbalance_bench.data.base import Language
from imbalance_bench.data.vectors import LsaEncoder, TransformerEncoder
from imbalance_bench.errors import BenchError
from imbalance_bench.registry import BACKBONES


@BACKBONES.register("lsa")
@dataclass(frozen=True)
class LsaBackbone(MLPBackbone):
    """Vectors (n, dims) by TF-IDF and truncated SVD (``LsaEncoder``), then the MLP."""

    dims: int
    min_df: int

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("dims", "min_df"):
            if getattr(self, key) < 1:
                raise BenchError(f"backbone.{key}={getattr(self, key)} must be at least 1")

    def text_encoder(self, language: Language, folder: Path, device: str) -> LsaEncoder:
        return LsaEncoder(self.dims, self.min_df, language, folder)


@BACKBONES.register("frozen_transformer")
@dataclass(frozen=True)
class FrozenTransformerBackbone(MLPBackbone):
    """Vectors (n, d) by a pretrained transformer that is not fine-tuned (``TransformerEncoder``), then the MLP.
    ``model``: see ``pretrained.locate``."""

    model: str | None
    pooling: Literal["cls", "mean"]
    normalise: bool
    max_length: int
    batch_tokens: int
    precision: Literal["float32", "bfloat16"]

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("max_length", "batch_tokens"):
            if getattr(self, key) < 2:
                raise BenchError(f"backbone.{key}={getattr(self, key)} must be at least 2")

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
