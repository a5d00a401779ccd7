"""A sweep reads a data set once, and never one that is no longer what its files say."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from sklearn import datasets

from imbalance_bench.data import last
from imbalance_bench.data.base import Dataset, Source
from imbalance_bench.data.encode import ArrayEncoder
from imbalance_bench.data.sources.sklearn import HELD, SklearnSource, held
from imbalance_bench.data.sources.subset import SubsetSource


class OneFile(SklearnSource):
    """A source of the package, as far as its module says, with a file of numbers."""

    __module__ = SklearnSource.__module__

    def paths(self, folder: Path) -> list[Path] | None:
        path = folder / "rows.txt"
        return [path] if path.exists() else None

    def load(self, folder: Path) -> Dataset:
        self.read.append(folder)
        x = np.loadtxt(folder / "rows.txt", ndmin=2)
        return Dataset("rows", x, np.arange(len(x)) % 2, ("a", "b"), ArrayEncoder("none"), info={"seen": []})


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setattr(last, "_last", {})
    made = OneFile("wine", None, "none")
    object.__setattr__(made, "read", [])
    write(tmp_path, "1\n2\n")
    return made


def write(folder: Path, text: str, age: float = 60) -> None:
    path = folder / "rows.txt"
    path.write_text(text)
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime - age))


def settled(monkeypatch) -> None:
    """As if all that was written lay back a minute: a file's change of state cannot be set."""
    now = last.time.time()
    monkeypatch.setattr(last.time, "time", lambda: now + 60)


def load(source, folder, options="options"):
    return last.read_once(source, options, folder, lambda: source.load(folder))


def test_a_set_is_read_once_and_again_when_its_file_or_an_option_changes(source, tmp_path, monkeypatch):
    settled(monkeypatch)
    first = load(source, tmp_path)
    again = load(source, tmp_path)
    assert again.x is first.x and len(source.read) == 1
    first.info["seen"].append("a cell's remark")
    assert load(source, tmp_path).info == {"seen": []}
    write(tmp_path, "3\n4\n")
    assert load(source, tmp_path).x.ravel().tolist() == [3, 4]
    load(source, tmp_path, "others")
    assert len(source.read) == 3 and len(last._last) == 1
    load(source, tmp_path)  # one at a time is kept
    assert len(source.read) == 4


def test_a_file_that_was_written_just_now_is_read_again(source, tmp_path):
    load(source, tmp_path)
    load(source, tmp_path)
    assert len(source.read) == 2


def test_a_set_too_large_or_of_unknown_files_is_not_kept(source, tmp_path, monkeypatch):
    settled(monkeypatch)

    class Own(Source):
        """Of a user: nobody knows what else it reads."""

        load, paths, read = OneFile.load, OneFile.paths, source.read

    load(Own(), tmp_path)
    load(Own(), tmp_path)
    part = SubsetSource({"name": "sklearn", "set": "wine", "positive": None, "scale": "none"}, {0: 5}, 0)
    monkeypatch.setattr(SubsetSource, "whole", Own())
    assert last._key(part, "options", tmp_path) is None
    monkeypatch.setattr(last, "MOST", 8)
    load(source, tmp_path)
    load(source, tmp_path)
    assert len(source.read) == 4


def test_built_in_sets_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(last, "_last", {})
    wine = SklearnSource("wine", None, "none")
    assert load(wine, tmp_path).x is load(wine, tmp_path).x


@pytest.mark.parametrize("name", HELD)
def test_built_in_sets_are_those_of_scikit_learn(name):
    theirs = getattr(datasets, f"load_{name}")()
    x, y, names = held(name)
    assert names == [str(name) for name in theirs.target_names] and x.strides == theirs.data.strides
    np.testing.assert_array_equal(x, theirs.data)
    np.testing.assert_array_equal(y, theirs.target)
