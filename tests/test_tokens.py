"""Texts as token ids: what is learned from which texts, stop words, cuts, Chinese, what is kept and what goes wrong."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
import time
import zipfile
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest

from imbalance_bench.data.base import Dataset
from imbalance_bench.data.tasks import make_runs
from imbalance_bench.data.text.reading import RawTexts, as_read_by
from imbalance_bench.data.text.tokens import BEGIN, END, PAD, SPECIAL, UNKNOWN, LearnedTokens, learn
from imbalance_bench.data.text.words import NLTK, segmenter, stop_words
from imbalance_bench.errors import BenchError
from imbalance_bench.registry import PROTOCOLS, RATIOS
from tests.tasks import backbone, option

TEXTS = np.array(
    ["The cat isn't on the mat.", "A dog -- the DOG!", "the", "cat cat dog mat", "zebra zebra zebra quagga", ""], object
)
TRAIN = np.array([0, 1, 2, 3, 5])


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "stopwords").mkdir()
    (tmp_path / "stopwords" / "nltk_english.txt").write_text("the\na\non\nisn't\n")
    (tmp_path / "stopwords" / "baidu_stopwords.txt").write_text("的\n，\n")
    return tmp_path


def encoder(folder: Path, size: int = 64, length: int = 24, stop: bool = True, language: str = "en") -> LearnedTokens:
    return LearnedTokens(size, length, stop, language, folder)


def words_of(encode: LearnedTokens, x: np.ndarray = TEXTS, rows: np.ndarray = TRAIN) -> list[str]:
    return encode.vocabulary(x, rows).decode(encode(x, rows))


def test_texts_become_rows_of_ids_that_fill_up_on_the_right(folder):
    encode = encoder(folder)
    ids = encode(TEXTS, TRAIN)
    assert (ids.shape, ids.dtype) == ((6, 24), np.int32)
    real = ids != PAD
    assert (np.sort(~real, 1) == ~real).all()  # padding is last
    assert real.any(1).all()
    assert not np.isin(ids, (BEGIN, END)).any()
    assert ids[5].tolist() == ids[2].tolist() == [UNKNOWN] + 23 * [PAD]  # nothing, and nothing but a stop word
    assert words_of(encode) == ["cat mat .", "dog - - dog !", "", "cat cat dog mat", "a a a agga", ""]  # no z, e, b, r


def test_a_word_without_end_does_not_hold_up_the_subwords(folder, caplog):
    caplog.set_level(logging.INFO)
    texts = np.array([*TEXTS[:5], "cat " + "ab" * 10**6], object)
    encode = encoder(folder)
    start = time.process_time()
    encode(texts, TRAIN)
    assert time.process_time() - start < 5  # minutes without a cut
    assert encode.vocabulary(texts, TRAIN).info["long_words"] == 1
    assert "1 words cut to 1000 characters" in caplog.text
    assert "long_words" not in encode.vocabulary(TEXTS, TRAIN).info


def test_stop_words_may_stay_and_then_what_is_decoded_gives_the_same_ids(folder):
    encode = encoder(folder, stop=False, length=30)
    words = words_of(encode)
    assert words[:2] == ["the cat isn't on the mat .", "a dog - - the dog !"]
    again = np.array([*words[:4], "", ""], object)
    rows = np.array([0, 1, 2, 3])
    np.testing.assert_array_equal(encoder(folder, stop=False, length=30)(again, rows)[:4], encode(TEXTS, rows)[:4])


def test_the_vocabulary_comes_from_training_texts_only(folder):
    encode = encoder(folder)
    before = encode(TEXTS, TRAIN)
    other = TEXTS.copy()
    other[4] = "a great many words that no training text has ever had"
    made = encode(other, TRAIN)
    np.testing.assert_array_equal(made[TRAIN], before[TRAIN])
    assert encode.vocabulary(other, TRAIN).info["learned"] == encode.vocabulary(TEXTS, TRAIN).info["learned"]
    assert "zebra" in words_of(encode, rows=np.arange(6))[4]


def test_networks_see_one_size_however_few_ids_a_split_has(folder):
    vocabulary = encoder(folder, size=500).vocabulary(TEXTS, TRAIN)
    assert (vocabulary.size, vocabulary.pad, vocabulary.begin, vocabulary.end) == (500, PAD, BEGIN, END)
    assert len(SPECIAL) < vocabulary.info["learned"] < 100
    assert vocabulary.decode(np.array([[BEGIN, 499, END, PAD]])) == [""]  # a network may name an id that is nothing


def test_a_small_vocabulary_keeps_the_frequent_characters(folder):
    lines = ["aaa bbb ab"] * 3 + ["xyz"] * 2 + list("klmnop")
    known = learn(lines, 16)
    assert known.get_vocab_size() <= 16
    assert {"a", "b", "x", "y", "z", "▁"} <= set(known.get_vocab())
    assert not {"k", "l"} & set(known.get_vocab())


def test_equal_texts_give_equal_ids_in_every_process():
    code = (
        "from imbalance_bench.data.text.tokens import learn\n"
        "print(learn(['%s %s ab%d' % (chr(97 + i), chr(0x4E00 + i), i % 7) for i in range(26)] * 2, 60).to_str())"
    )
    root = Path(__file__).parent.parent
    made = {subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout
            for _ in range(3)}  # fmt: skip
    assert len(made) == 1
    assert len(made.pop()) > 1000


def test_cut_and_empty_texts_are_counted_and_logged(folder, caplog):
    encode = encoder(folder, length=3)
    with caplog.at_level(logging.INFO, "imbalance_bench"):
        ids = encode(TEXTS, TRAIN)
    info = encode.vocabulary(TEXTS, TRAIN).info
    assert {key: info[key] for key in ("texts", "cut", "empty", "stop_words")} == {
        "texts": 6, "cut": 4, "empty": 2, "stop_words": 4
    }  # fmt: skip
    assert caplog.messages == ["4 of 6 texts cut to 3 tokens, 2 without a token"]
    assert (ids[[0, 1, 3, 4]] != PAD).all()


def test_no_word_left_is_an_error(folder):
    with pytest.raises(BenchError, match="no word is left of the training texts.*backbone.stop_words=false"):
        encoder(folder)(TEXTS, np.array([2, 5]))


def test_odd_characters_are_read(folder):
    odd = np.array(["half \ud83d pair", "▁mark", "naïve 😀 x" + chr(0)], object)
    assert words_of(encoder(folder, size=80), odd, np.arange(3))[:2] == ["half pair", "mark"]


def test_ids_are_kept_by_content(folder):
    first = encoder(folder)(TEXTS, TRAIN)
    (kept,) = (folder / "cache").glob("tokens_*.npz")
    stamp = kept.stat().st_mtime_ns
    np.testing.assert_array_equal(encoder(folder)(TEXTS.copy(), TRAIN[::-1]), first)
    assert [p.stat().st_mtime_ns for p in (folder / "cache").glob("tokens_*.npz")] == [stamp]
    encoder(folder)(TEXTS, TRAIN[:4])
    encoder(folder, length=5)(TEXTS, TRAIN)
    encoder(folder, stop=False)(TEXTS, TRAIN)
    encoder(folder, size=65)(TEXTS, TRAIN)
    (folder / "stopwords" / "nltk_english.txt").write_text("the\n")
    encoder(folder)(TEXTS, TRAIN)
    assert len(list((folder / "cache").glob("tokens_*.npz"))) == 6


def test_runs_have_the_vocabulary_of_their_split(folder):
    words = ["good film", "bad film", "fine day", "poor day", "nice cat", "sad dog"]
    x = np.array([f"{w} {i}" for i, w in enumerate(words * 5)], object)
    data = Dataset("films", x, np.arange(30) % 2, ("bad", "good"), RawTexts(), "text")
    data = as_read_by(backbone("textcnn", length=16, vocabulary=100), data, folder, "cpu")
    native, folds = RATIOS.build(option("ratio", "native")), PROTOCOLS.build(option("protocol", "stratified_kfold"))
    runs = make_runs(data, native, folds, 0)
    assert {r.task.train.x.shape[1:] for r in runs} == {(16,)}
    assert {r.task.vocabulary.size for r in runs} == {100}
    for run in runs:
        assert run.task.vocabulary.decode(run.task.train.x) == list(x[run.task.train.ids])


# Stop words


def test_the_english_list_is_read_from_nltks_archive(upstream, tmp_path):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("stopwords/english", "I\nme\nDon't\n")
    upstream.files[f"/{NLTK}"] = archive.getvalue()
    assert stop_words("en", tmp_path) == {"i", "me", "don't"}
    assert stop_words("en", tmp_path) == {"i", "me", "don't"}
    assert upstream.asked == [f"/{NLTK}"]


@pytest.mark.parametrize("language, file", [("en", "nltk_english.txt"), ("zh", "baidu_stopwords.txt")])
def test_without_a_list_the_error_says_what_to_do(upstream, tmp_path, language, file):
    with pytest.raises(BenchError, match="stop words: cannot download") as error:
        backbone("textcnn").text_encoder(language, tmp_path, "cpu")
    assert str(tmp_path / "stopwords" / file) in str(error.value)
    assert "backbone.stop_words=false" in str(error.value)
    backbone("textcnn", stop_words=False).text_encoder(language, tmp_path, "cpu")


def test_what_is_no_archive_of_lists_is_not_kept(upstream, tmp_path):
    upstream.files[f"/{NLTK}"] = b"not found"
    with pytest.raises(BenchError, match="not a zip file with stopwords/english"):
        stop_words("en", tmp_path)
    assert not (tmp_path / "stopwords" / "nltk.zip").exists()


# Chinese


def test_chinese_is_segmented_by_jieba(folder):
    pytest.importorskip("jieba")
    x = np.array(["我来到北京清华大学，买iPhone", "清华大学的学生来到北京", "北京大学"], object)
    encode = encoder(folder, size=100, length=20, language="zh")
    assert words_of(encode, x, np.arange(3)) == [
        "我 来到 北京 清华大学 买 iphone",
        "清华大学 学生 来到 北京",
        "北京大学",
    ]
    assert encode.vocabulary(x, np.arange(3)).info["stop_words"] == 2


def test_without_jieba_the_error_names_the_extra(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "jieba", None)
    with pytest.raises(BenchError, match=r"pip install -e '.\[chinese\]'"):
        segmenter("zh")


def test_without_jieba_texts_are_not_encoded(folder, monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("imbalance_bench.data.text.words.version", missing)
    with pytest.raises(BenchError, match=r"pip install -e '.\[chinese\]'"):
        encoder(folder, size=100, length=20, language="zh")(np.array(["北京大学"], object), np.arange(1))


@pytest.mark.parametrize("language, name", [("en", "nltk_english.txt"), ("zh", "baidu_stopwords.txt")])
def test_stop_words_that_are_no_utf_8(tmp_path, monkeypatch, language, name):
    path = tmp_path / "stopwords" / name
    path.parent.mkdir()
    path.write_bytes(b"caf\xe9\n")
    monkeypatch.setattr("imbalance_bench.data.text.words.fetch_file", lambda *args: path)
    with pytest.raises(BenchError, match="stopwords is not UTF-8 text.*backbone.stop_words=false"):
        stop_words(language, tmp_path)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"vocabulary": 5}, "backbone.vocabulary=5 must be a whole number, at least 16"),
        ({"length": 0}, "backbone.length=0 must be a whole number, at least 1"),
        ({"embedding": 0}, "backbone.embedding=0 must be a whole number, at least 1"),
        ({"filters": 0}, "backbone.filters=0 must be a whole number, at least 1"),
        ({"dropout": 1.0}, "backbone.dropout=1.0 must be a number, at least 0 and below 1"),
        ({"dropout": -0.5}, "backbone.dropout=-0.5 must be a number, at least 0 and below 1"),
        (
            {"widths": []},
            r"backbone.widths=\[\] must be a list of one or more whole numbers, each at least 1",
        ),
    ],
)
def test_settings_that_make_no_sense(options, message):
    with pytest.raises(BenchError, match=message):
        backbone("textcnn", **options)
