"""A data set with fewer rows, against the rows of the whole one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from imbalance_bench.errors import BenchError
from imbalance_bench.registry import DATASETS
from tests.tasks import option

WHOLE = option("dataset", "breast_cancer")


def subset(keep, seed=0, of=WHOLE):
    return DATASETS.build({"name": "subset", "of": of, "keep": keep, "seed": seed})


def test_so_many_rows_of_each_class_stay_in_their_order():
    whole, fewer = DATASETS.build(WHOLE).load(Path()), subset({0: 120, 1: 0.5}).load(Path())
    assert np.bincount(fewer.y).tolist() == [120, 106]
    place = {row.tobytes(): i for i, row in enumerate(whole.x)}
    rows = [place[row.tobytes()] for row in fewer.x]
    assert rows == sorted(set(rows))
    np.testing.assert_array_equal(fewer.y, whole.y[rows])
    assert (fewer.name, fewer.class_names, fewer.modality) == (whole.name, whole.class_names, whole.modality)


def test_which_rows_is_drawn_by_the_seed_and_fewer_lie_within_more():
    few, more, other = (subset({1: n}, seed).load(Path()).x for n, seed in ((20, 0), (40, 0), (20, 1)))
    assert {row.tobytes() for row in few} < {row.tobytes() for row in more}
    assert not np.array_equal(few, other)


@pytest.mark.parametrize("frame", [False, True])
def test_test_rows_stay_test_rows_and_copies_stay_copies(monkeypatch, frame):
    source = type(DATASETS.build(WHOLE))
    whole = DATASETS.build(WHOLE).load(Path())
    official = replace(
        whole,
        x=pd.DataFrame(whole.x) if frame else whole.x,
        test_rows=np.arange(300, 569),
        valid_rows=np.arange(50),
        groups=np.arange(569) // 2,
        slices={"every third": np.arange(569) % 3 == 0},
    )
    monkeypatch.setattr(source, "load", lambda self, folder: official)
    fewer = subset({0: 60, 1: 60}).load(Path())
    x = np.asarray(fewer.x)
    for rows, place in ((fewer.test_rows, official.test_rows), (fewer.valid_rows, official.valid_rows)):
        known = {row.tobytes() for row in whole.x[place]}
        assert [i for i, row in enumerate(x) if row.tobytes() in known] == rows.tolist()
    place = {row.tobytes(): i for i, row in enumerate(whole.x)}
    assert fewer.groups.tolist() == [place[row.tobytes()] // 2 for row in x]
    assert fewer.slices["every third"].tolist() == [place[row.tobytes()] % 3 == 0 for row in x]


def test_a_data_set_with_other_than_a_value_a_row_is_an_error_that_names_it():
    whole, few = DATASETS.build(WHOLE).load(Path()), np.zeros(9, int)
    for name, part in (("groups", {"groups": few}), ("times", {"times": few}), ("slice odd", {"slices": {"odd": few}})):
        with pytest.raises(BenchError, match=rf"{name} has one value a row \(569,\), and not \(9,\)"):
            replace(whole, **part)


def test_it_lies_where_the_whole_one_lies(tmp_path):
    assert subset({1: 5}).paths(tmp_path) == []
    assert subset({1: 5}, of=option("dataset", "ecoli")).paths(tmp_path) is None


def test_mistakes():
    with pytest.raises(BenchError, match=r"dataset.keep\[1\]=5000 asks for more rows than class 1 has"):
        subset({1: 5000}).load(Path())
    with pytest.raises(BenchError, match=r"dataset.keep={1: 2.5} must be a mapping .*: \[1\] is 2.5"):
        subset({1: 2.5})
    with pytest.raises(BenchError, match="dataset.of is a published data set"):
        subset({1: 5}, of={"name": "csv", "path": "table.csv"})


def test_class_1_stays_the_smaller_one():
    with pytest.raises(BenchError, match="^dataset.name=subset leaves 100 rows of class 0 and 106 of class 1") as error:
        subset({0: 100, 1: 0.5}).load(Path())
    assert "keep fewer rows of class 1 (dataset.keep)" in str(error.value)
