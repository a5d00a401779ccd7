"""Texts as token ids: subwords learned from the training texts, or the tokenizer of a pretrained network."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from imbalance_bench.data.base import Language, Vocabulary
from imbalance_bench.data.fetch import cached
from imbalance_bench.data.text import texts_hash
from imbalance_bench.data.words import segmenter, stop_words
from imbalance_bench.errors import BenchError

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

log = logging.getLogger("imbalance_bench")

SPECIAL = ("<pad>", "<unk>", "<s>", "</s>")
PAD, UNKNOWN, BEGIN, END = range(4)
SPACE = "▁"  # begins a word; in a text it is a space
AT_ONCE = 4096  # texts given to a tokenizer in one call


class Encoded(NamedTuple):
    """``ids`` (n, length) int32; ``counts`` (n,): tokens of each text before it was cut; ``extra``: what else is kept."""

    ids: np.ndarray
    counts: np.ndarray
    extra: dict[str, np.ndarray]


class Tokens(ABC):
    """An encoder of texts as ids (n, ``length``), padded on the right. Longer texts are cut, and a text without a token
    gets the unknown id; how many there are of each is logged, and is in the vocabulary's ``info``.

    The ids are kept on disk under a hash of all that determines them, and texts are split into words once, however many
    splits of the data ask.
    """

    pad: int
    unknown: int

    def __init__(self, length: int, without_stop_words: bool, language: Language, folder: Path) -> None:
        self.length, self.language, self.folder = length, language, folder
        self.stop = stop_words(language, folder) if without_stop_words else frozenset()
        self._texts: np.ndarray | None = None
        self._lines: list[str] | None = None
        self._last: tuple[str, Encoded] | None = None

    def __call__(self, x: np.ndarray, fit_rows: np.ndarray) -> np.ndarray:
        return self.encoded(x, fit_rows).ids

    @abstractmethod
    def vocabulary(self, x: np.ndarray, fit_rows: np.ndarray) -> Vocabulary:
        """See ``data.text.TokenEncoder``."""

    @abstractmethod
    def settings(self, fit_rows: np.ndarray) -> Any:
        """What determines the ids besides the texts and what ``__init__`` was given."""

    @abstractmethod
    def reader(self) -> Callable[[str], str]:
        """What makes of a text what the tokenizer is given."""

    @abstractmethod
    def tokenize(self, lines: list[str], fit_rows: np.ndarray) -> tuple[Iterator[Encoding], dict[str, np.ndarray]]:
        """The tokens of each line, and what else is kept with them."""

    def encoded(self, x: np.ndarray, fit_rows: np.ndarray) -> Encoded:
        """What is made of texts ``x`` when rows ``fit_rows`` are the training rows."""
        if x is not self._texts:
            self._texts, self._hash, self._lines = x, texts_hash(x), None
        settings = (self.length, sorted(self.stop), self.language, version("tokenizers"), self.settings(fit_rows))
        name = f"tokens_{texts_hash([self._hash], settings)}"
        if self._last is None or self._last[0] != name:
            arrays = cached(self.folder, name, lambda: self._make(fit_rows))
            counts, flat = arrays.pop("counts"), arrays.pop("flat")
            ids = np.full((len(x), self.length), self.pad, np.int32)
            ids[np.arange(self.length) < counts.clip(1, self.length)[:, None]] = flat
            self._last = name, Encoded(ids, counts, arrays)
            cut, empty = self.losses(counts)
            if cut or empty:
                log.info("%d of %d texts cut to %d tokens, %d without a token", cut, len(x), self.length, empty)
        return self._last[1]

    def losses(self, counts: np.ndarray) -> tuple[int, int]:
        """How many texts are cut, and how many have no token."""
        return int((counts > self.length).sum()), int((counts == 0).sum())

    def info(self, counts: np.ndarray, **facts: Any) -> dict[str, Any]:
        """Facts for the record of a run; counts are over all rows of the data set."""
        cut, empty = self.losses(counts)
        return {
            "texts": len(counts),
            "texts_cut": cut,
            "texts_without_tokens": empty,
            "tokens_mean": round(float(counts.mean()), 2),
            "stop_words": len(self.stop),
            **facts,
        }

    def kept_words(self) -> Callable[[str], list[str]]:
        """What splits a text into words and leaves the stop words out."""
        split, stop = segmenter(self.language), self.stop
        return lambda text: [word for word in split(text) if word.lower() not in stop]

    def _make(self, fit_rows: np.ndarray) -> dict[str, np.ndarray]:
        if self._lines is None:
            self._lines = list(map(self.reader(), map(_clean, self._texts)))  # type: ignore[arg-type]
        encodings, extra = self.tokenize(self._lines, fit_rows)
        counts, flat = [], []
        for encoding in encodings:
            counts.append(len(encoding.ids) + sum(map(len, encoding.overflowing)))
            flat.append(np.array(encoding.ids[: self.length] or [self.unknown], np.int32))
        return {"counts": np.array(counts, np.int32), "flat": np.concatenate(flat), **extra}


class LearnedTokens(Tokens):
    """Lower-cased words in subwords of ``size`` ids, learned from the training texts of each split.

    Byte-pair encoding (Sennrich, Haddow & Birch, 2016) over characters, with a mark before each word. Not WordPiece: the
    trainers of the tokenizers library number WordPiece's inner pieces in the order of a hash table, so that equal texts
    give other ids in each process. At most half of the ids are single characters, the frequent ones; others are
    unknown. ``size`` is the setting, and not how many ids a split happens to use, so that networks of all splits have
    one shape.
    """

    pad, unknown = PAD, UNKNOWN

    def __init__(self, size: int, *args: Any) -> None:
        super().__init__(*args)
        self.size = size

    def settings(self, fit_rows: np.ndarray) -> Any:
        return self.size, np.sort(fit_rows).tobytes(), version("jieba") if self.language == "zh" else None

    def reader(self) -> Callable[[str], str]:
        split = self.kept_words()
        return lambda text: " ".join(split(text.lower()))

    def tokenize(self, lines: list[str], fit_rows: np.ndarray) -> tuple[Iterator[Encoding], dict[str, np.ndarray]]:
        tokenizer = learn([lines[row] for row in np.sort(fit_rows)], self.size)
        parts = (lines[i : i + AT_ONCE] for i in range(0, len(lines), AT_ONCE))
        encodings = (encoding for part in parts for encoding in tokenizer.encode_batch_fast(part))
        return encodings, {"tokenizer": np.frombuffer(tokenizer.to_str().encode(), np.uint8)}

    def vocabulary(self, x: np.ndarray, fit_rows: np.ndarray) -> Vocabulary:
        """Decoded texts have spaces between words (Chinese ones too: the words are Jieba's), so that they give the same
        ids again."""
        from tokenizers import Tokenizer

        _, counts, extra = self.encoded(x, fit_rows)
        tokenizer = Tokenizer.from_str(extra["tokenizer"].tobytes().decode())

        def decode(ids: np.ndarray) -> list[str]:
            return tokenizer.decode_batch(ids.tolist())

        return Vocabulary(
            self.size, PAD, BEGIN, END, decode, self.info(counts, tokens_learned=tokenizer.get_vocab_size())
        )


def learn(lines: list[str], size: int) -> Tokenizer:
    """Byte-pair encoding of at most ``size`` ids. Equal lines give equal ids. Raises BenchError where no word is left."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    # The trainer breaks ties between rare characters at random, so they are chosen here.
    points = np.bincount(np.frombuffer("".join(lines).encode("utf-32-le"), np.uint32), minlength=ord(" ") + 1)
    points[ord(" ")] = 0
    order = np.argsort(-points, kind="stable")[: (size - len(SPECIAL)) // 2 - 1]
    characters = [chr(point) for point in order if points[point]]
    if not characters:
        raise BenchError("no word is left of the training texts: keep stop words by backbone.stop_words=false")
    tokenizer = Tokenizer(models.BPE(unk_token=SPECIAL[UNKNOWN], fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(SPACE)
    tokenizer.decoder = decoders.Metaspace(SPACE)
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        special_tokens=list(SPECIAL),
        initial_alphabet=[SPACE, *characters],
        limit_alphabet=len(characters) + 1,
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer


class PretrainedTokens(Tokens):
    """The ids of a pretrained network's own ``tokenizer`` (transformers, the fast kind), with its special tokens, which
    a text that is cut keeps. Texts are given as they are, or, without stop words, as the words that are left."""

    def __init__(self, tokenizer: Any, *args: Any) -> None:
        super().__init__(*args)
        self.tokenizer = tokenizer
        self.pad, self.unknown = tokenizer.pad_token_id, tokenizer.unk_token_id

    def settings(self, fit_rows: np.ndarray) -> Any:
        versions = version("transformers"), version("jieba") if self.stop and self.language == "zh" else None
        return *versions, self.tokenizer.backend_tokenizer.to_str()

    def reader(self) -> Callable[[str], str]:
        if not self.stop:
            return lambda text: text
        split, between = self.kept_words(), "" if self.language == "zh" else " "
        return lambda text: between.join(split(text))

    def tokenize(self, lines: list[str], fit_rows: np.ndarray) -> tuple[Iterator[Encoding], dict[str, np.ndarray]]:
        parts = (lines[i : i + AT_ONCE] for i in range(0, len(lines), AT_ONCE))
        made = (self.tokenizer(part, truncation=True, max_length=self.length) for part in parts)
        return (encoding for batch in made for encoding in batch.encodings), {}

    def vocabulary(self, x: np.ndarray, fit_rows: np.ndarray) -> Vocabulary:
        t = self.tokenizer

        def decode(ids: np.ndarray) -> list[str]:
            return t.batch_decode(ids, skip_special_tokens=True)

        return Vocabulary(
            len(t), t.pad_token_id, t.bos_token_id, t.eos_token_id, decode, self.info(self.encoded(x, fit_rows).counts)
        )


def _clean(text: str) -> str:
    """Without what no tokenizer takes: halves of surrogate pairs, and the mark that begins a word."""
    return text.encode("utf-8", "ignore").decode().replace(SPACE, " ")
