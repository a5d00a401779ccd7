"""Preprocessing learns from training rows only, and from no other."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from imbalance_bench.data.encode import ArrayEncoder, TableEncoder
from imbalance_bench.data.text.tokens import LearnedTokens
from imbalance_bench.data.text.vectors import LsaEncoder
from imbalance_bench.errors import BenchError
from imbalance_bench.running.models import Surroundings, packed, restored, state_of, unpacked

TRAIN = np.arange(30)


def numbers(n=50, d=4, seed=0):
    return np.random.default_rng(seed).normal(3, 5, size=(n, d))


def table(n=50, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "size": np.where(rng.random(n) < 0.2, np.nan, rng.normal(5, 2, n)),
            "colour": rng.choice(["red", "green", None], n),
            "count": rng.integers(0, 9, n),
            "kind": rng.choice(list("abc"), n),
        }
    )


@pytest.mark.parametrize(("scale", "reference"), [("minmax", MinMaxScaler()), ("zscore", StandardScaler())])
def test_scaling_is_scikit_learns(scale, reference):
    x = numbers()
    out = ArrayEncoder(scale)(x, TRAIN)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, reference.fit(x[TRAIN]).transform(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scale", ["minmax", "zscore"])
@pytest.mark.parametrize("kind", ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_whole_numbers_are_scaled_as_the_same_numbers_in_floating_point(scale, kind):
    ends = (0, 1) if kind == "bool" else (np.iinfo(kind).min, np.iinfo(kind).max)
    x = np.array([[ends[1], ends[1]], [0, ends[0]], [1, 1], [ends[0], ends[0]]], kind)  # the last ones are test rows
    fit_rows = np.array([0, 1])
    expected = ArrayEncoder(scale)(x.astype(np.float64), fit_rows)
    np.testing.assert_array_equal(ArrayEncoder(scale)(x, fit_rows), expected)
    np.testing.assert_array_equal(ArrayEncoder(scale)(x.astype(object), fit_rows), expected)


def test_without_scale_values_stay():
    assert (ArrayEncoder("none")(numbers(), TRAIN) == numbers().astype(np.float32)).all()


@pytest.mark.parametrize("scale", ["minmax", "zscore"])
@pytest.mark.parametrize("constant", [0.0, 0.1, 1e12])
def test_a_constant_column_becomes_zero(scale, constant):
    x = numbers()
    x[:, 1] = constant
    assert (ArrayEncoder(scale)(x, TRAIN)[:, 1] == 0).all()


@pytest.mark.parametrize("scale", ["minmax", "zscore"])
def test_rows_outside_training_keep_their_distance_to_a_constant_column(scale):
    x = np.array([[3.0, 0.0], [3.0, 2.0], [5.5, 1.0]])
    assert ArrayEncoder(scale)(x, np.array([0, 1])).tolist()[2] == [2.5, 0.5 if scale == "minmax" else 0.0]


@settings(max_examples=20)
@given(st.sampled_from(["minmax", "zscore"]), st.integers(0, 50))
def test_other_rows_do_not_reach_the_training_features(scale, seed):
    x = numbers(seed=seed)
    changed = x.copy()
    changed[30:] = 1e6 * numbers(seed=seed + 1)[30:]
    assert (ArrayEncoder(scale)(x, TRAIN)[TRAIN] == ArrayEncoder(scale)(changed, TRAIN)[TRAIN]).all()


@pytest.mark.parametrize("pca", [None, 3])
def test_other_rows_of_a_table_do_not_reach_the_training_features(pca):
    frame, other = table(), table(seed=1)
    changed = pd.concat([frame[:30], other[30:].assign(size=1e9, count=-7)], ignore_index=True)
    encoder = TableEncoder.of(frame, "zscore", pca)
    assert (encoder(frame, TRAIN)[TRAIN] == encoder(changed, TRAIN)[TRAIN]).all()


def test_table_columns():
    frame = table()
    encoder = TableEncoder.of(frame, "none")
    assert encoder.numeric == ("size", "count")
    assert encoder.columns[:5] == ("size", "count", "colour=(missing)", "colour=green", "colour=red")
    assert encoder.categories == {"colour": ("(missing)", "green", "red"), "kind": ("a", "b", "c")}
    out = encoder(frame, TRAIN)
    assert out.shape == (50, encoder.width) == (50, 8)
    assert out.dtype == np.float32
    assert (out[:, 2] == frame["colour"].isna()).all()
    assert (out[:, 4] == (frame["colour"] == "red")).all()
    assert (out[:, 5:].sum(axis=1) == 1).all()
    gaps = frame["size"].isna()
    np.testing.assert_allclose(out[gaps, 0], frame["size"][TRAIN].median(), rtol=1e-6)
    np.testing.assert_allclose(out[~gaps, 0], frame["size"][~gaps], rtol=1e-6)


def test_a_category_that_training_lacks_is_all_zeros():
    frame = pd.DataFrame({"kind": list("ab" * 5 + "cc"), "n": range(12)})
    out = TableEncoder.of(frame, "minmax")(frame, np.arange(10))
    assert out[10:, 1:].tolist() == [[0, 0, 0], [0, 0, 0]]
    new = frame.assign(kind=frame["kind"].replace("c", "never heard of"))
    assert TableEncoder.of(frame, "minmax")(new, np.arange(10))[10:, 1:].sum() == 0


def test_a_column_without_training_values_is_kept():
    frame = pd.DataFrame({"gap": [np.nan] * 8 + [1.0, 2.0], "n": range(10)})
    out = TableEncoder.of(frame, "zscore")(frame, np.arange(8))
    assert out.shape == (10, 2)
    assert (out[:8, 0] == 0).all()


def test_columns_of_one_sort_only():
    frame = table()
    assert TableEncoder.of(frame[["kind"]], "minmax")(frame[["kind"]], TRAIN).shape == (50, 3)
    assert TableEncoder.of(frame[["count"]], "minmax")(frame[["count"]], TRAIN).shape == (50, 1)


def test_booleans_and_nullable_integers_are_numbers():
    frame = pd.DataFrame({"flag": [True, False] * 5, "n": pd.array([1, None] * 5, dtype="Int64")})
    out = TableEncoder.of(frame, "none")(frame, np.arange(10))
    assert out.tolist() == [[1, 1], [0, 1]] * 5


def test_pca_is_scikit_learns():
    from sklearn.decomposition import PCA

    frame = table()
    plain = TableEncoder.of(frame, "zscore")(frame, TRAIN).astype(np.float64)
    out = TableEncoder.of(frame, "zscore", pca=3)(frame, TRAIN)
    expected = PCA(3, svd_solver="full").fit(plain[TRAIN]).transform(plain)
    np.testing.assert_allclose(np.abs(out), np.abs(expected), atol=1e-4)
    with pytest.raises(BenchError, match="dataset.pca=9 must lie between 1 and 8"):
        TableEncoder.of(frame, "zscore", pca=9)(frame, TRAIN)


def test_free_text_is_no_category():
    frame = pd.DataFrame({"id": [f"row {i}" for i in range(600)]})
    with pytest.raises(BenchError, match=r"'id' has 600 different values.*dataset.drop=\[id\]"):
        TableEncoder.of(frame, "minmax")


def saved(fitted):
    """A fitted preprocessing as the files of a model have it."""
    return restored(unpacked(packed({"it": state_of(fitted)}, {}))[1]["it"], Surroundings())


@pytest.mark.parametrize("scale", ["minmax", "zscore", "none"])
def test_a_saved_preprocessing_encodes_new_rows_as_it_did_in_training(scale):
    x, frame = numbers().astype(np.float32), table()
    array, tabular = ArrayEncoder(scale), TableEncoder.of(frame, scale)
    new = pd.concat([frame[40:], frame[:3].assign(kind="unknown")], ignore_index=True)
    for encoder, rows, some in ((array, x, x[40:]), (tabular, frame, new)):
        fitted = encoder.fitted(rows, TRAIN)
        assert saved(fitted)(some).tobytes() == fitted(some).tobytes()
        assert (saved(fitted)(some)[:10] == encoder(rows, TRAIN)[40:]).all()
    unseen = saved(tabular.fitted(frame, TRAIN)).unseen(new)
    assert unseen["kind"].tolist() == [False] * 10 + [True] * 3
    assert not unseen["colour"].any()
    without = frame.assign(kind=np.where(np.arange(50) < 30, "a", "b"))
    assert TableEncoder.of(without, scale).fitted(without, TRAIN).unseen(without)["kind"].tolist() == [
        *([False] * 30), *([True] * 20),
    ]  # fmt: skip


def test_a_saved_pca_is_the_fitted_one():
    pytest.importorskip("skops")
    frame = table()
    encoder = TableEncoder.of(frame, "zscore", 3)
    assert saved(encoder.fitted(frame, TRAIN))(frame).tobytes() == encoder(frame, TRAIN).tobytes()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_saved_texts_readers_give_new_texts_what_they_had_in_training(tmp_path, language):
    words = np.random.default_rng(0).choice(["win", "a", "prize", "see", "you", "at", "six", "now"], (40, 6))
    texts = np.array([" ".join(row) for row in words], object)
    encoders = [LsaEncoder(3, 1, language, tmp_path)]
    if language == "en":
        encoders.append(LearnedTokens(20, 5, False, language, tmp_path))
        encoders[1].stop = frozenset({"see"})
    for encoder in encoders:
        expected = encoder(texts, TRAIN)
        assert (saved(encoder.fitted(texts, TRAIN))(texts[30:]) == expected[30:]).all()
        assert len(np.unique(expected, axis=0)) > 20
