"""Resamplers over imbalanced-learn, and what they know of categories, against imbalanced-learn itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from imblearn import combine, over_sampling, under_sampling

from imbalance_bench.data.base import Part
from imbalance_bench.data.encode import ArrayEncoder, TableEncoder, one_hot_blocks
from imbalance_bench.errors import BenchError
from imbalance_bench.methods.shared.oversampling import warn_of_fractions
from tests.tasks import method, task


def near(n: tuple[int, ...] = (60, 20)):
    """A task whose classes overlap."""
    t = task(n=n, d=3)
    return replace(
        t, train=replace(t.train, x=t.train.x * 0.5 + np.random.default_rng(1).normal(0, 1, t.train.x.shape))
    )


def rows_of(part: Part) -> list[tuple[float, ...]]:
    return sorted((*map(float, np.float32(x)), int(y)) for x, y in zip(part.x.reshape(len(part), -1), part.y))


@pytest.mark.parametrize("n", [(60, 20), (40, 20, 15)])
@pytest.mark.parametrize(
    "label, sampler",
    [
        ("tomek_links", under_sampling.TomekLinks()),
        ("enn", under_sampling.EditedNearestNeighbours()),
        ("near_miss", under_sampling.NearMiss()),
        ("cluster_centroids", under_sampling.ClusterCentroids(random_state=1000)),
        ("smote_enn", combine.SMOTEENN(random_state=1000)),
        ("smote_tomek", combine.SMOTETomek(random_state=1000)),
    ],
)
def test_a_resampler_is_imbalanced_learns(label, sampler, n):
    t = near(n)
    rows = replace(t.train, x=t.train.x.astype(np.float32))
    made = method(label).resample(t, rows)
    x, y = sampler.fit_resample(rows.x, rows.y)
    np.testing.assert_allclose(rows_of(made), rows_of(Part(x, y, np.arange(len(y)))), rtol=1e-5)
    assert len(made) != len(rows)
    own = made.take(made.ids >= 0)
    np.testing.assert_array_equal(own.x, rows.x[own.ids])
    np.testing.assert_array_equal(own.y, rows.y[own.ids])


def test_too_few_rows_for_near_miss_say_what_serves():
    t = task(n=(60, 2))
    with pytest.raises(BenchError, match="fold 0 has 2 of one: set method.neighbours=2"):
        method("near_miss").resample(t, t.train)
    assert np.bincount(method("near_miss", neighbours=2).resample(t, t.train).y).tolist() == [2, 2]


def test_a_class_of_which_nothing_is_kept_is_said(caplog):
    t = task(n=(40, 20, 3))
    middle = replace(t.train, x=t.train.x * 0)  # nobody's neighbours are its own
    method("enn").resample(t, middle)
    assert "every row of class 1 was left out" in caplog.text


def table(n: int = 120) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "colour": rng.choice(["blue", "green", "red"], n),
            "age": rng.normal(40, 10, n),
            "size": rng.choice(["large", "small"], n),
            "income": rng.normal(2, 1, n),
        }
    )
    return frame, (np.arange(n) % 5 == 0).astype(np.int64)


@pytest.mark.parametrize("columns", [["colour", "age", "size", "income"], ["colour", "size"]])
def test_smotenc_is_imbalanced_learns_on_the_raw_columns(columns):
    frame, y = table()
    frame = frame[columns]
    every = np.arange(len(y))
    encoder = TableEncoder.of(frame, "zscore")
    x = encoder(frame, every)
    t = replace(task(), train=Part(x, y, every), categories=encoder.blocks)
    made = method("smotenc").resample(t, t.train)
    assert (made.ids[: len(y)] == every).all()

    numbers = [c for c in columns if c in ("age", "income")]
    raw = np.hstack([x[:, : len(numbers)].astype(object), frame[["colour", "size"]].to_numpy(object)])
    if numbers:
        sampler = over_sampling.SMOTENC(categorical_features=[2, 3], random_state=t.seed)
    else:
        sampler = over_sampling.SMOTEN(random_state=t.seed)
    wanted, labels = sampler.fit_resample(raw, y)
    np.testing.assert_array_equal(made.y, labels)
    np.testing.assert_allclose(made.x[:, : len(numbers)], wanted[:, : len(numbers)].astype(float), rtol=1e-5)
    names = np.array(encoder.columns[len(numbers) :])
    for (start, end), values in zip(encoder.blocks, wanted[:, len(numbers) :].T):
        assert (made.x[:, start:end].sum(1) == 1).all()
        found = names[start - len(numbers) : end - len(numbers)][made.x[:, start:end].argmax(1)]
        assert [name.partition("=")[2] for name in found] == values.tolist()


def test_smotenc_keeps_rows_without_a_known_category_and_scaled_codes():
    """All zeros are a value like another, and so are codes that were scaled."""
    t = task(d=2)
    codes = np.eye(3, dtype=np.float32)[np.arange(len(t.train)) % 3] * 2 - 0.5
    codes[::4] = 0
    t = replace(t, train=replace(t.train, x=np.hstack([codes, t.train.x])), categories=((0, 3),))
    made = method("smotenc").resample(t, t.train)
    known = {tuple(row) for row in codes.tolist()}
    assert {tuple(row) for row in made.x[made.ids < 0, :3].tolist()} <= known


def test_smotenc_declines_data_without_categories():
    assert "SMOTE-NC is method=smote there" in method("smotenc").declines(task())
    assert method("smotenc").declines(replace(task(), categories=((0, 2),))) is None


@pytest.mark.parametrize("label", ["smote", "adasyn", "borderline_smote"])
def test_interpolation_between_categories_is_said_once(label, caplog):
    warn_of_fractions.cache_clear()
    t = near()
    coded = replace(t, categories=((0, 2),))
    for each in (t, coded, coded):
        method(label).resample(each, each.train)
    (said,) = [r.getMessage() for r in caplog.records if "interpolates" in r.getMessage()]
    assert f"method={label} interpolates, and 2 columns are one-hot codes of 1 categories" in said


def test_blocks_of_one_hot_columns_are_found_where_data_were_coded_before():
    rng = np.random.default_rng(0)
    a, b = np.eye(3)[rng.integers(3, size=50)], np.eye(2)[rng.integers(2, size=50)]
    alone, both = rng.integers(2, size=(50, 1)), np.tile([[1, 1]], (50, 1))
    x = np.hstack([rng.normal(size=(50, 1)), a, b, alone, both, a])
    assert one_hot_blocks(x) == ((1, 4), (4, 6), (9, 12))
    assert one_hot_blocks(rng.normal(size=(5, 3))) == ()
    assert ArrayEncoder("minmax").blocks == ()


def test_the_blocks_of_a_table_are_its_categories():
    frame, _ = table()
    encoder = TableEncoder.of(frame, "minmax")
    assert encoder.blocks == ((2, 5), (5, 7))
    assert [encoder.columns[start].partition("=")[0] for start, _ in encoder.blocks] == ["colour", "size"]
    assert replace(encoder, pca=2).blocks == ()
