"""What every registered source must do, whoever wrote it: a new one is examined without being told, and fails until
``tests.sources`` can write a tiny file for it."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest

from imbalance_bench.errors import BenchError
from imbalance_bench.registry import DATASETS
from tests.sources import TINY

# Without a file: there is none to damage.
MADE = {"sine": "a formula", "sklearn": "comes with scikit-learn"}
# Nobody can state what these hold.
UNKNOWN = {
    "csv": "a user's own file",
    "texts": "a user's own file",
    "image_folder": "a user's own folder",
    "subset": "a part of another set",
}
# Damage that such a file cannot show.
UNSEEN = {("semeval", "cut"): "a last line that is not whole is left out, and counted"}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache_home"))


@pytest.fixture(params=DATASETS.names())
def name(request):
    assert request.param in TINY, "a new source: write a tiny file of its format in tests/sources.py"
    return request.param


def same(one, other):
    assert (one.name, one.class_names, one.info) == (other.name, other.class_names, other.info)
    if isinstance(one.x, pd.DataFrame):
        pd.testing.assert_frame_equal(one.x, other.x)
    else:
        np.testing.assert_array_equal(one.x, other.x)
    for part in ("y", "test_rows", "valid_rows", "groups", "times"):
        np.testing.assert_array_equal(getattr(one, part), getattr(other, part))


def test_it_loads_and_loads_the_same_again(name, tmp_path, monkeypatch):
    source, path = TINY[name](tmp_path / "here", monkeypatch)
    data = source.load(tmp_path / "here")
    n = len(data.y)
    assert len(data.x) == n > 0
    if data.kind == "classification":
        assert data.y.dtype == np.int64 and data.classes >= 2 and set(data.y) <= set(range(data.classes))
    kind = {"tabular": (2, None), "image": (4, np.uint8), "text": (1, object)}[data.modality]
    assert data.x.ndim == kind[0] and (kind[1] is None or data.x.dtype == kind[1])
    assert len(data.encode(data.x, np.arange(n))) == n
    for rows in (data.test_rows, data.valid_rows):
        assert rows is None or (0 < len(rows) < n and set(rows) <= set(range(n)))
    same(source.load(tmp_path / "here"), data)  # what was kept
    shutil.rmtree(tmp_path / "here/cache", ignore_errors=True)
    same(source.load(tmp_path / "here"), data)
    files = source.paths(tmp_path / "here")
    assert (path in files) if name not in MADE else files == []
    assert isinstance(source.fingerprint(), dict) and source.fingerprint() == source.fingerprint()


def test_it_says_that_its_files_are_missing(name, tmp_path, monkeypatch):
    source, path = TINY[name](tmp_path, monkeypatch)
    if name not in MADE:
        shutil.rmtree(path.parent) if name == "image_folder" else path.unlink()
        shutil.rmtree(tmp_path / "pets", ignore_errors=True)
        assert source.paths(tmp_path) is None


def test_it_states_what_it_holds(name, tmp_path, monkeypatch):
    source, _ = TINY[name](tmp_path, monkeypatch)
    facts = source.facts()
    assert (facts is None) == (name in UNKNOWN)
    if facts is None:
        return
    data = source.load(tmp_path)
    assert (facts.shape, facts.classes) == (tuple(data.x.shape[1:]), data.classes)
    assert facts.counts is None or (len(facts.counts), sum(facts.counts)) == (facts.classes, facts.rows)
    assert facts.origin.startswith("by hand") == source.by_hand and facts.origin
    assert all(":" in total for total in source.sums().values())


@pytest.mark.parametrize("damage", ["cut", "bytes", "words", "empty"])
def test_it_refuses_a_damaged_file(name, damage, tmp_path, monkeypatch):
    source, path = TINY[name](tmp_path, monkeypatch)
    if name in MADE or (name, damage) in UNSEEN:
        return
    content = path.read_bytes()
    cut, words = content[: len(content) * 2 // 3], b"no such file\n" * 9
    path.write_bytes({"cut": cut, "bytes": b"\x93" + words, "words": words, "empty": b""}[damage])
    with pytest.raises(BenchError) as error:
        source.load(tmp_path)
    assert path.name in str(error.value) or str(path.parent) in str(error.value)
