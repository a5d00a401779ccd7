"""Texts as words: segmentation, and which words are left out."""

from __future__ import annotations

import logging
import re
import zipfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from imbalance_bench.data.base import Language
from imbalance_bench.data.fetch import SITES, fetch_file
from imbalance_bench.errors import BenchError

# A word with the apostrophes inside it, or one sign.
ENGLISH = re.compile(r"\w+(?:'\w+)*|[^\w\s]")

# The list of 1,395 entries (words, and signs that stand alone) that goes by Baidu's name.
BAIDU = "goto456/stopwords/master/baidu_stopwords.txt"
BAIDU_SUM = "sha256:b11ff810ee5c8934dc46b57f3a1ba85457e3893e89acdafb5cd286570fe793a3"
# NLTK's lists of all languages. That of NLTK 3.5, 179 English words, has grown since.
NLTK = "nltk/nltk_data/gh-pages/packages/corpora/stopwords.zip"
NLTK_MEMBER = "stopwords/english"


class NoJieba(BenchError):
    def __init__(self) -> None:
        super().__init__("Chinese texts are segmented by jieba, which is not installed: pip install -e '.[chinese]'")


def jieba_version() -> str:
    try:
        return version("jieba")
    except PackageNotFoundError:
        raise NoJieba from None


def segmenter(language: Language) -> Callable[[str], list[str]]:
    """Function that splits a text into words. English: at whitespace and signs, each sign by itself; Chinese: Jieba.
    Raises BenchError where jieba is not installed."""
    if language == "en":
        return lambda text: ENGLISH.findall(text.replace("’", "'"))
    try:
        import jieba
    except ImportError:
        raise NoJieba from None
    jieba.setLogLevel(logging.WARNING)
    cutter = jieba.Tokenizer()  # not the module's own, to whose dictionary others may have added
    return lambda text: [word for word in cutter.lcut(text) if not word.isspace()]


def stop_words(language: Language, folder: Path) -> frozenset[str]:
    """NLTK's English or Baidu's Chinese list, lower-cased, from ``folder/stopwords``, fetched where it is missing."""
    place = folder / "stopwords"
    try:
        if language == "zh":
            path = fetch_file(f"{SITES['github_raw']}/{BAIDU}", folder, "stopwords/baidu_stopwords.txt", BAIDU_SUM)
            text = path.read_text("utf-8")
        elif (path := place / "nltk_english.txt").exists():
            text = path.read_text("utf-8")
        else:
            text = _english(fetch_file(f"{SITES['github_raw']}/{NLTK}", folder, "stopwords/nltk.zip", None, _check))
    except (BenchError, UnicodeDecodeError) as error:
        if isinstance(error, UnicodeDecodeError):
            error = BenchError(f"a list in {place} is not UTF-8 text ({error}): save it as one")
        remedy = "" if language == "zh" else f"a file of one word a line, {place / 'nltk_english.txt'}, does as well; "
        raise BenchError(f"stop words: {error}; {remedy}backbone.stop_words=false keeps them in the texts") from error
    return frozenset(text.lower().split())


def _check(archive: Path) -> None:
    _english(archive)


def _english(archive: Path) -> str:
    try:
        with zipfile.ZipFile(archive) as file:
            return file.read(NLTK_MEMBER).decode()
    except (zipfile.BadZipFile, KeyError) as error:
        raise BenchError(f"{archive} is not a zip file with {NLTK_MEMBER} in it: remove it, and try again") from error
