"""Texts as token ids: subwords learned from the training texts, or the tokenizer of a pretrained network."""

from __future__ import annotations

import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from imbalance_bench.data.base import Language, Unfitted, Vocabulary
from imbalance_bench.data.fetch import cached
from imbalance_bench.data.text.reading import texts_hash
from imbalance_bench.data.text.words import jieba_version, segmenter, stop_words
from imbalance_bench.errors import BenchError
from imbalance_bench.running.models import State, Surroundings, kept

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

log = logging.getLogger("imbalance_bench")

SPECIAL = ("<pad>", "<unk>", "<s>", "</s>")
PAD, UNKNOWN, BEGIN, END = range(4)
SPACE = "▁"  # begins a word; in a text it is a space
FORMAT = 2  # raised when texts are made into ids in another way
LONGEST = 1000  # characters of a word that count: learning subwords takes the square of them
AT_ONCE = 4096  # texts given to a tokenizer in one call

Tokenize = Callable[[list[str]], "list[Encoding]"]


class Encoded(NamedTuple):
    """``ids`` (n, length) int32; ``arrays``: what is kept: ``flat``, the tokens of all texts in a row; ``sizes`` (n,):
    tokens of each; ``cut`` and ``empty`` (n,): whether it was cut, whether nothing was left of it."""

    ids: np.ndarray
    arrays: dict[str, np.ndarray]


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
        """What the ids of texts ``x`` (n,) mean, as fitted on ``fit_rows`` of them."""

    @abstractmethod
    def settings(self, fit_rows: np.ndarray) -> Any:
        """Settings that determine the ids, besides the texts and the arguments of ``__init__``."""

    @abstractmethod
    def reader(self) -> Callable[[str], str]:
        """Function from a text to the input of the tokenizer."""

    @abstractmethod
    def tokenizer(self, lines: list[str], fit_rows: np.ndarray) -> tuple[Tokenize, dict[str, np.ndarray]]:
        """Function from lines to tokens, at most ``length`` each; and arrays to cache with them."""

    def encoded(self, x: np.ndarray, fit_rows: np.ndarray) -> Encoded:
        """Token ids of texts ``x`` when rows ``fit_rows`` are the training rows."""
        if x is not self._texts:
            self._texts, self._hash, self._lines = x, texts_hash(x), None
        given = (self.length, sorted(self.stop), self.language)
        settings = (FORMAT, version("tokenizers"), given, self.settings(fit_rows))
        name = f"tokens_{texts_hash([self._hash], settings)}"
        if self._last is None or self._last[0] != name:
            arrays = cached(self.folder, name, lambda: self._make(fit_rows))
            self._last = name, Encoded(self._ids(arrays), arrays)
            cut, empty = int(arrays["cut"].sum()), int(arrays["empty"].sum())
            if cut or empty:
                log.info("%d of %d texts cut to %d tokens, %d without a token", cut, len(x), self.length, empty)
        return self._last[1]

    def info(self, arrays: dict[str, np.ndarray], **facts: Any) -> dict[str, Any]:
        """Facts for the record of a run; counts are over all rows of the data set."""
        return {
            "texts": len(arrays["sizes"]),
            "cut": int(arrays["cut"].sum()),
            "empty": int(arrays["empty"].sum()),
            "tokens_mean": round(float(arrays["sizes"].mean()), 2),
            "stop_words": len(self.stop),
            **facts,
        }

    def kept_words(self) -> Callable[[str], list[str]]:
        """Function that splits a text into words and leaves the stop words out."""
        split, stop = segmenter(self.language), self.stop
        return lambda text: [word for word in split(text) if word.lower() not in stop]

    def _make(self, fit_rows: np.ndarray) -> dict[str, np.ndarray]:
        if self._lines is None:
            self._lines = self._read(self._texts)  # type: ignore[arg-type]
        tokenize, extra = self.tokenizer(self._lines, fit_rows)
        return self._tokens(self._lines, tokenize) | extra

    def _read(self, texts: np.ndarray) -> list[str]:
        """The input of the tokenizer for each text."""
        return list(map(self.reader(), map(_clean, texts)))

    def _ids(self, arrays: dict[str, np.ndarray]) -> np.ndarray:
        """Ids (n, length) of ``Encoded.arrays``."""
        ids = np.full((len(arrays["sizes"]), self.length), self.pad, np.int32)
        ids[np.arange(self.length) < arrays["sizes"][:, None]] = arrays["flat"]
        return ids

    def _tokens(self, lines: list[str], tokenize: Tokenize) -> dict[str, np.ndarray]:
        """``Encoded.arrays`` of lines."""
        flat, sizes, cut, empty = [], [], [], []
        for i in range(0, len(lines), AT_ONCE):
            for encoding in tokenize(lines[i : i + AT_ONCE]):
                ids = encoding.ids or [self.unknown]
                flat.append(np.array(ids, np.int32))
                sizes.append(len(ids))
                cut.append(bool(encoding.overflowing))
                empty.append(len(encoding.ids) == sum(encoding.special_tokens_mask))
        columns = {"sizes": np.array(sizes), "cut": np.array(cut), "empty": np.array(empty)}
        return {"flat": np.concatenate(flat), **columns}


class LearnedTokens(Tokens):
    """Lower-cased words in subwords of ``size`` ids, learned from the training texts of each split.

    Byte-pair encoding (Sennrich, Haddow & Birch, 2016) over characters, with a mark before each word. Not WordPiece:
    the tokenizers library numbers WordPiece's inner pieces in the order of a hash table, so that equal texts give other
    ids in each process. At most half of the ids are single characters, the frequent ones; others are
    unknown. ``size`` is the setting, and not how many ids a split happens to use, so that networks of all splits have
    one shape.
    """

    pad, unknown = PAD, UNKNOWN

    def __init__(self, size: int, *args: Any) -> None:
        super().__init__(*args)
        self.size = size

    def settings(self, fit_rows: np.ndarray) -> Any:
        return self.size, np.sort(fit_rows).tobytes(), jieba_version() if self.language == "zh" else None

    def reader(self) -> Callable[[str], str]:
        split = self.kept_words()
        return lambda text: " ".join(word[:LONGEST] for word in split(text.lower()))

    def tokenizer(self, lines: list[str], fit_rows: np.ndarray) -> tuple[Tokenize, dict[str, np.ndarray]]:
        learned = learn([lines[row] for row in np.sort(fit_rows)], self.size)
        learned.enable_truncation(self.length)
        long = sum(len(word) >= LONGEST for line in lines if len(line) >= LONGEST for word in line.split(" "))
        if long:
            log.info("%d words cut to %d characters", long, LONGEST)
        kept = {"tokenizer": np.frombuffer(learned.to_str().encode(), np.uint8), "long_words": np.array(long)}
        return learned.encode_batch_fast, kept

    def vocabulary(self, x: np.ndarray, fit_rows: np.ndarray) -> Vocabulary:
        """Decoded texts have spaces between words (Chinese ones too: the words are Jieba's)."""
        from tokenizers import Tokenizer

        arrays = self.encoded(x, fit_rows).arrays
        learned = Tokenizer.from_str(arrays["tokenizer"].tobytes().decode())

        def decode(ids: np.ndarray) -> list[str]:
            return learned.decode_batch(ids.tolist())

        facts = {"learned": learned.get_vocab_size()}
        if long := int(arrays.get("long_words", 0)):  # absent from caches of earlier versions
            facts["long_words"] = long
        return Vocabulary(self.size, PAD, BEGIN, END, decode, self.info(arrays, **facts))

    def fitted(self, x: np.ndarray, fit_rows: np.ndarray) -> FittedTokens:
        return FittedTokens(self, self.encoded(x, fit_rows).arrays["tokenizer"].tobytes().decode())


@kept("learned_tokens")
class FittedTokens:
    """Token ids by subwords that were learned: ``described`` is their tokenizer as JSON, which cuts texts too."""

    def __init__(self, encoder: LearnedTokens, described: str) -> None:
        self.encoder, self.described = encoder, described

    def __call__(self, x: np.ndarray) -> np.ndarray:
        from tokenizers import Tokenizer

        tokenize = Tokenizer.from_str(self.described).encode_batch_fast
        return self.encoder._ids(self.encoder._tokens(self.encoder._read(x), tokenize))

    def state(self) -> State:
        made = self.encoder
        facts = {"size": made.size, "length": made.length, "language": made.language, "stop": sorted(made.stop)}
        return State(facts | {"tokenizer": self.described})

    @classmethod
    def restored(cls, state: State, around: Surroundings) -> FittedTokens:
        facts = state.facts
        encoder = LearnedTokens(facts["size"], facts["length"], False, facts["language"], Path())
        encoder.stop = frozenset(facts["stop"])
        return cls(encoder, facts["tokenizer"])


def learn(lines: list[str], size: int) -> Tokenizer:
    """Byte-pair encoding of at most ``size`` ids; equal lines give equal ids. Raises BenchError where no word is
    left."""
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
    """The ids of a pretrained network's own tokenizer (``own``, of transformers), with its special tokens, which a text
    that is cut keeps. Texts are given as they are, or, without stop words, as the words that are left."""

    def __init__(self, own: Any, *args: Any) -> None:
        super().__init__(*args)
        self.own, self.described = own, own.backend_tokenizer.to_str()  # before a call has changed how it truncates
        self.pad, self.unknown = own.pad_token_id, own.unk_token_id

    def settings(self, fit_rows: np.ndarray) -> Any:
        segments = jieba_version() if self.stop and self.language == "zh" else None
        return version("transformers"), segments, self.described

    def reader(self) -> Callable[[str], str]:
        # What is written like a special token in a text, <pad> say, is text: a blank after its first sign tells.
        names = [re.escape(s[0]) + f"(?={re.escape(s[1:])})" for s in self.own.all_special_tokens if len(s) > 1]
        special = re.compile("|".join(names) or "(?!)")  # without any: what matches nothing

        def plain(text: str) -> str:
            return special.sub(lambda found: f"{found[0]} ", text)

        if not self.stop:
            return plain
        split, between = self.kept_words(), "" if self.language == "zh" else " "
        return lambda text: plain(between.join(split(text)))

    def tokenizer(self, lines: list[str], fit_rows: np.ndarray) -> tuple[Tokenize, dict[str, np.ndarray]]:
        return lambda part: self.own(part, truncation=True, max_length=self.length).encodings, {}

    def fitted(self, x: np.ndarray, fit_rows: np.ndarray) -> Unfitted:
        return Unfitted(self)

    def vocabulary(self, x: np.ndarray, fit_rows: np.ndarray) -> Vocabulary:
        own, info = self.own, self.info(self.encoded(x, fit_rows).arrays)

        def decode(ids: np.ndarray) -> list[str]:
            return own.batch_decode(ids, skip_special_tokens=True)

        tail = tuple(own("")["input_ids"])  # of XLNet, which has its special tokens at the end
        return Vocabulary(len(own), own.pad_token_id, own.bos_token_id, own.eos_token_id, decode, info, tail)


def _clean(text: str) -> str:
    """Removes characters that no tokenizer takes: halves of surrogate pairs, and the mark that begins a word."""
    return text.encode("utf-8", "ignore").decode().replace(SPACE, " ")
