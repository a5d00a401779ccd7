"""Texts as vectors: TF-IDF with truncated SVD, or the hidden states of a frozen transformer, kept on disk once made."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from imbalance_bench.data.base import Language, Unfitted
from imbalance_bench.data.fetch import cache_folders, cached
from imbalance_bench.data.text.reading import texts_hash
from imbalance_bench.errors import BenchError
from imbalance_bench.running import progress
from imbalance_bench.running.models import State, Surroundings, kept

if TYPE_CHECKING:
    import torch

log = logging.getLogger("imbalance_bench")

_IN_MEMORY: dict[str, np.ndarray] = {}  # the last vectors: the folds of a cell, and the cells of a sweep, share them
LSA_FORMAT = 1  # of what is kept on disk: raised when LSA is computed in another way
SHARD = 2048  # texts between two files on disk: what an interrupted encoding loses at most


@dataclass(frozen=True)
class LsaEncoder:
    """Latent semantic analysis (Deerwester et al., 1990): TF-IDF with logarithmic counts, then the ``dims`` largest
    singular directions, both from the training texts only. Words of fewer than ``min_df`` training texts are left out;
    Chinese, which has no spaces, is counted by single and pairs of characters.

    Where the training texts have fewer directions than ``dims``, the last columns are zero.
    """

    dims: int
    min_df: int
    language: Language
    folder: Path

    def __call__(self, x: np.ndarray, fit_rows: np.ndarray) -> np.ndarray:
        key = texts_hash(x, LSA_FORMAT, self.dims, self.min_df, self.language, fit_rows.astype("<i8").tobytes())
        return cached(self.folder, f"lsa-{key}", lambda: {"x": self.fitted(x, fit_rows)(x)})["x"]

    def fitted(self, x: np.ndarray, fit_rows: np.ndarray) -> FittedLsa:
        from sklearn.decomposition import TruncatedSVD

        counts = tf_idf(self.language, min_df=min(self.min_df, len(fit_rows)))
        try:
            known = counts.fit_transform(x[fit_rows])
        except ValueError as error:
            raise BenchError(
                f"backbone=lsa finds no word that is in at least {self.min_df} of {len(fit_rows)} training texts: set "
                "backbone.min_df=1, or another backbone"
            ) from error
        most = min(self.dims, min(known.shape) - 1)
        svd = TruncatedSVD(most, random_state=0).fit(known) if most > 0 else None
        return FittedLsa(self.dims, self.language, counts, svd)


@kept("lsa")
@dataclass(frozen=True)
class FittedLsa:
    """scikit-learn's fitted TF-IDF and truncated SVD, None where there is no direction; vectors (n, dims)."""

    dims: int
    language: Language
    counts: Any
    svd: Any

    def __call__(self, x: np.ndarray) -> np.ndarray:
        out = np.zeros((len(x), self.dims), np.float32)
        if self.svd is not None:
            found = self.svd.transform(self.counts.transform(x))
            out[:, : found.shape[1]] = found
        return out

    def state(self) -> State:
        arrays = {"idf": self.counts.idf_} | ({} if self.svd is None else {"components": self.svd.components_})
        terms = sorted(self.counts.vocabulary_, key=self.counts.vocabulary_.__getitem__)
        return State({"dims": self.dims, "language": self.language, "terms": terms}, arrays)

    @classmethod
    def restored(cls, state: State, around: Surroundings) -> FittedLsa:
        from sklearn.decomposition import TruncatedSVD

        facts, svd = state.facts, None
        counts = tf_idf(facts["language"], vocabulary=facts["terms"])
        counts.idf_ = state.arrays["idf"]
        if "components" in state.arrays:
            svd = TruncatedSVD(len(state.arrays["components"]))
            svd.components_, svd.n_features_in_ = state.arrays["components"], len(facts["terms"])
        return cls(facts["dims"], facts["language"], counts, svd)


def tf_idf(language: Language, **options: Any) -> Any:
    """scikit-learn's vectoriser with logarithmic counts: of words, of Chinese single and pairs of characters."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    units: dict[str, Any] = {"analyzer": "char", "ngram_range": (1, 2)} if language == "zh" else {}
    return TfidfVectorizer(sublinear_tf=True, dtype=np.float32, **units, **options)


@dataclass(frozen=True)
class TransformerEncoder:
    """Hidden states of the last layer of a frozen transformer: that of the first token ("cls"), or the mean over the
    text's tokens ("mean"); ``normalise``: scaled to length one. Texts of more than ``max_length`` tokens are cut.

    ``batch_tokens``: how many tokens, with padding, go through the network at once; texts of like length do, and
    padding is masked, so that texts of a batch do not influence each other. ``precision``: bfloat16 computes products
    so. ``identity``: what tells the model from others (``pretrained.fingerprint``).
    """

    model: str
    pooling: Literal["cls", "mean"]
    normalise: bool
    max_length: int
    batch_tokens: int
    precision: Literal["float32", "bfloat16"]
    identity: str
    device: str
    folder: Path

    def __call__(self, x: np.ndarray, fit_rows: np.ndarray) -> np.ndarray:
        name = f"vectors-{texts_hash(x, *self._settings)}"
        if name not in _IN_MEMORY:
            _IN_MEMORY.clear()
            _IN_MEMORY[name] = cached(self.folder, name, lambda: {"x": self.encode(x, name)})["x"]
            _Shards(self.folder, name).remove()
        return _IN_MEMORY[name]

    def fitted(self, x: np.ndarray, fit_rows: np.ndarray) -> Unfitted:
        return Unfitted(self)

    @property
    def _settings(self) -> tuple[Any, ...]:
        return self.identity, self.pooling, self.normalise, self.max_length, self.precision

    def encode(self, texts: np.ndarray, name: str) -> np.ndarray:
        """Vectors (n, d) of texts (n,); an interrupted call of the same ``name`` continues where it stopped."""
        from imbalance_bench.pretrained import load
        from imbalance_bench.running import devices

        device = devices.choose_device(self.device)
        devices.set_arithmetic(device)
        network = load(self.model, "AutoModel").to(device).eval()
        most = getattr(network.config, "max_position_embeddings", None) or 0
        if 0 < most < self.max_length:  # XLNet, whose places are relative, says -1
            raise BenchError(f"backbone.max_length={self.max_length}, but {self.model} reads {most} tokens at most")
        distinct, inverse = np.unique(texts, return_inverse=True)
        tokenizer = load(self.model, "AutoTokenizer")
        read = [text.encode("utf-8", "ignore").decode() for text in distinct]  # halves of surrogate pairs are no text
        rows = tokenizer(read, truncation=True, max_length=self.max_length, verbose=False)["input_ids"]
        order = np.argsort([len(r) for r in rows], kind="stable")[::-1]  # the longest first: memory runs out at once
        kept = _Shards(self.folder, name)
        shards = []
        for i, shard in enumerate(np.split(order, range(SHARD, len(order), SHARD))):
            made = kept.read(i)
            if made is None:
                batches = _batches([rows[j] for j in shard], self.batch_tokens)
                made = np.concatenate([self._through(network, batch, tokenizer.pad_token_id) for batch in batches])
                if not np.isfinite(made).all():
                    raise BenchError(
                        f"backbone.model={self.model} gives vectors that are not finite numbers, and none is "
                        "kept: set backbone.precision=float32, or look at its weights"
                    )
                kept.write(i, made)
                progress.report("encoding", min((i + 1) * SHARD, len(order)), len(order), "texts")
            shards.append(made)
        vectors = np.concatenate(shards)
        out = np.empty_like(vectors)
        out[order] = vectors
        log.info("%s: %d texts, %d different, vectors of %d", self.model, len(texts), len(distinct), out.shape[1])
        return out[inverse]

    def _through(self, network: Any, rows: Sequence[Sequence[int]], pad: int) -> np.ndarray:
        """Vectors (B, d) of B rows of token ids."""
        import torch

        device = next(network.parameters()).device
        tokens = [torch.tensor(r) for r in rows]
        ids = torch.nn.utils.rnn.pad_sequence(tokens, batch_first=True, padding_value=pad or 0).to(device)
        lengths = torch.tensor([len(r) for r in rows], device=device)
        mask = torch.arange(ids.shape[1], device=device) < lengths[:, None]
        bfloat16 = self.precision == "bfloat16"
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            states = network(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        return self._pooled(states.float(), mask).cpu().numpy()

    def _pooled(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Vectors (B, d) of hidden states (B, L, d), ``mask`` (B, L) true at real tokens."""
        import torch

        if self.pooling == "cls":
            vectors = states[:, 0]
        else:
            vectors = (states * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
        return torch.nn.functional.normalize(vectors, dim=1) if self.normalise else vectors


class _Shards:
    """Arrays that an unfinished piece of work has made so far, one file each."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folders = [home / f"{name}.parts" for home in cache_folders(folder)]

    def read(self, i: int) -> np.ndarray | None:
        for folder in self.folders:
            try:
                return np.load(folder / f"{i}.npy", allow_pickle=False)
            except (OSError, ValueError, EOFError):
                continue
        return None

    def write(self, i: int, array: np.ndarray) -> None:
        for folder in self.folders:
            part = folder / f".{i}.{os.getpid()}.npy"
            try:
                folder.mkdir(parents=True, exist_ok=True)
                np.save(part, array)
                part.replace(folder / f"{i}.npy")
                return
            except OSError:
                continue

    def remove(self) -> None:
        import shutil

        for folder in self.folders:
            shutil.rmtree(folder, ignore_errors=True)


def _batches(rows: Sequence[Sequence[int]], tokens: int) -> Iterator[Sequence[Sequence[int]]]:
    """Rows, longest first, in runs of at most ``tokens`` tokens with padding (one row at least)."""
    start = 0
    while start < len(rows):
        size = max(1, tokens // max(1, len(rows[start])))
        yield rows[start : start + size]
        start += size
