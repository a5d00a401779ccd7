"""New rows are read as those of training were: any rows of a file, alone, are what they were among all of it."""

from __future__ import annotations

import datetime
import decimal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from imbalance_bench.data.encode import ArrayEncoder
from imbalance_bench.data.new_rows import Trained, new_rows
from imbalance_bench.data.sources.csv import CsvSource
from imbalance_bench.errors import BenchError
from imbalance_bench.registry import DATASETS
from tests.tasks import option

N = 24
EVERY = np.arange(N)
RNG = np.random.default_rng(0)
Y = np.where(EVERY % 3 == 0, "yes", "no")


def cycled(*values: Any) -> list[Any]:
    return [values[i * 5 % len(values)] for i in EVERY]


# Lines of a text file and the options that read it.
TEXTS: dict[str, tuple[dict[str, list[Any]], dict[str, Any]]] = {
    "numbers, some of them missing": ({"a": cycled(1, 2.5, "", -3e2), "b": cycled(1, 2, "NA")}, {}),
    "digits that are categories": ({"a": cycled("0123", "0456", "9"), "b": EVERY}, {"categorical": ["a"]}),
    "digits among words": ({"a": cycled("1st", "3", "07", "2nd"), "b": EVERY}, {}),
    "digits with gaps": ({"a": cycled(1, 2, "", 4), "b": EVERY}, {"categorical": ["a"]}),
    "true and false": ({"a": cycled("True", "False"), "b": cycled("true", "", "false")}, {}),
    "words and gaps": ({"a": cycled("x", "", "y z", "None"), "b": EVERY}, {}),
    "decimal commas": ({"a": cycled('"1,5"', '"2,25"', '""'), "b": cycled('"1.000"', '"12.500,5"')},
                       {"decimal": ",", "thousands": "."}),
    "a word for a gap": ({"a": cycled("?", "1", "2"), "b": cycled("?", "u", "v")}, {"missing": ["?"]}),
    "numbers for a gap": ({"a": cycled(-999, 1, 2), "b": cycled("-999", "u", "v")}, {"missing": [-999]}),
}  # fmt: skip


def check(path: Path, data: Any, source: Any, write: Any) -> None:
    """Each row alone, a few, and all of them."""
    fitted = data.encode.fitted(data.x, EVERY)
    whole = fitted(data.x)
    trained = Trained(source, "tabular", (), data.class_names)
    for rows in ([0], [1], [2], [3], [5, 4], EVERY):
        write(rows)
        new = new_rows(path, trained, fitted, {})
        np.testing.assert_array_equal(fitted(new.x), whole[rows])
        np.testing.assert_array_equal(new.labels, data.y[rows])
        assert not new.remarks
        assert not any(strange.any() for strange in fitted.unseen(new.x).values())


@pytest.mark.parametrize("name", TEXTS)
def test_rows_of_a_text_file(tmp_path, name):
    columns, options = TEXTS[name]
    lines = [",".join([*columns, "y"]), *(",".join(map(str, row)) for row in zip(*columns.values(), Y))]
    path, new = tmp_path / "all.csv", tmp_path / "new.csv"
    path.write_text("\n".join(lines))
    source: CsvSource = DATASETS.build(option("dataset", "csv") | {"path": str(path), "target": "y"} | options)
    check(
        new,
        source.load(Path()),
        source,
        lambda rows: new.write_text("\n".join([lines[0], *(lines[1 + r] for r in rows)])),
    )


def test_rows_of_parquet(tmp_path):
    table = pd.DataFrame(
        {
            "whole": RNG.integers(0, 9, N), "flag": RNG.random(N) < 0.5, "gaps": cycled(True, None, False),
            "exact": cycled(decimal.Decimal("1.5"), None, decimal.Decimal("2.25")),
            "long": pd.to_timedelta(RNG.integers(0, 99, N), unit="s"),
            "word": pd.Categorical(cycled("u", "v", None)), "nullable": pd.array(cycled(1, None, 3), dtype="Int64"),
            "some_time": cycled(datetime.timedelta(1), datetime.timedelta(2)), "y": EVERY % 3 == 0,
        }
    )  # fmt: skip
    path, new = tmp_path / "all.parquet", tmp_path / "new.parquet"
    table.to_parquet(path)
    source: CsvSource = DATASETS.build(option("dataset", "csv") | {"path": str(path), "target": "y"})
    check(new, source.load(Path()), source, lambda rows: table.iloc[rows].to_parquet(new))


def test_rows_of_arff(tmp_path):
    head = (
        "@relation r\n@attribute size numeric\n@attribute grade {1,2,3}\n@attribute y {no,yes}\n"
        "@inputs size, grade\n@outputs y\n@data\n"
    )
    lines = [f"{a},{b},{c}" for a, b, c in zip(cycled("1.5", "?", "3"), cycled(1, 2, 3), Y)]
    path, new = tmp_path / "all.dat", tmp_path / "new.dat"
    path.write_text(head + "\n".join(lines))
    source: CsvSource = DATASETS.build(option("dataset", "csv") | {"path": str(path)})
    check(new, source.load(Path()), source, lambda rows: new.write_text(head + "\n".join(lines[r] for r in rows)))


@pytest.mark.parametrize("names", [[f"x{i}" for i in range(3)], ["height", "width", "depth"]])
def test_rows_of_published_data_without_names(tmp_path, names):
    x = RNG.normal(size=(N, 3))
    fitted = ArrayEncoder("minmax").fitted(x, EVERY)
    trained = Trained(DATASETS.build(option("dataset", "ecoli")), "tabular", (3,), ("majority", "minority"))
    path = tmp_path / "new.csv"
    table = pd.DataFrame(x, columns=names)
    table[names[::-1] if names[0] == "x0" else names].assign(**{"class": cycled("minority", "majority", "")}).to_csv(
        path, index=False
    )
    rows = new_rows(path, trained, fitted, {})
    np.testing.assert_array_equal(fitted(rows.x), fitted(x))
    assert rows.labels.tolist() == cycled(1, 0, -1)
    table[names[:2]].assign(id=EVERY, more=1).to_csv(path, index=False)
    with pytest.raises(BenchError, match=r"lacks . of the 3 columns .*'x2'"):
        new_rows(path, trained, fitted, {})
    table.where(table > table.min()).to_csv(path, index=False)
    with pytest.raises(BenchError, match="3 rows have gaps, and the model was trained on data without any"):
        new_rows(path, trained, fitted, {})


def test_a_file_of_published_data_without_a_header_line_loses_no_row(tmp_path):
    x = np.random.default_rng(0).normal(size=(N, 3)).round(3)
    fitted = ArrayEncoder("minmax").fitted(x, EVERY)
    trained = Trained(DATASETS.build(option("dataset", "ecoli")), "tabular", (3,), ("majority", "minority"))
    path = tmp_path / "new.csv"
    pd.DataFrame(x).to_csv(path, index=False, header=False)
    with pytest.raises(
        BenchError, match=r"first line, .*, holds numbers only .* put a header line above it: x0,x1,x2$"
    ):
        new_rows(path, trained, fitted, {})
    path.write_text("x0,x1,x2\n" + path.read_text())
    assert len(new_rows(path, trained, fitted, {}).x) == N
    pd.DataFrame(x).to_csv(path, index=False)  # the names 0, 1, 2
    assert len(new_rows(path, trained, fitted, {}).x) == N


def test_classes_that_are_not_known_are_counted_and_one_against_the_rest_knows_all(tmp_path):
    path = tmp_path / "t.csv"
    pd.DataFrame({"a": EVERY, "y": cycled("u", "v", "w")}).to_csv(path, index=False)
    new = tmp_path / "new.csv"
    pd.DataFrame({"a": EVERY, "y": cycled("u", "v", "new", "")}).to_csv(new, index=False)
    for positive, labels, remarks in ((None, (0, 1, -1, -1), 1), ("u", (1, 0, 0, -1), 0)):
        source = DATASETS.build(option("dataset", "csv") | {"path": str(path), "target": "y", "positive": positive})
        data = source.load(Path())
        trained = Trained(source, "tabular", (), data.class_names)
        rows = new_rows(new, trained, data.encode.fitted(data.x, EVERY), {})
        assert rows.labels.tolist() == cycled(*labels)
        assert len(rows.remarks) == remarks
        if remarks:
            assert rows.remarks == ["not scored: 'new' in 6 rows of y are none of the classes u, v, w"]


def test_group_and_time_are_kept_beside_and_need_not_be_there(tmp_path):
    path = tmp_path / "t.csv"
    table = pd.DataFrame({"a": EVERY, "who": cycled("p", "q"), "day": EVERY, "y": Y})
    table.to_csv(path, index=False)
    source = DATASETS.build(
        option("dataset", "csv") | {"path": str(path), "target": "y", "group": "who", "time": "day"}
    )
    data = source.load(Path())
    fitted, trained = data.encode.fitted(data.x, EVERY), Trained(source, "tabular", (), data.class_names)
    assert list(new_rows(path, trained, fitted, {}).beside) == ["who", "day", "y"]
    table[["a"]].to_csv(tmp_path / "new.csv", index=False)
    assert new_rows(tmp_path / "new.csv", trained, fitted, {}).labels is None


def test_texts_are_read_as_in_training_and_empty_ones_are_named(tmp_path):
    path = tmp_path / "new.jsonl"
    source = DATASETS.build(option("dataset", "texts") | {"path": "mails.jsonl", "text": "body", "target": "kind"})
    trained = Trained(source, "text", (), ("ham", "spam"))
    path.write_text('{"body": "see you", "id": 7}\n{"body": "win", "kind": "spam"}\n{"body": " ", "kind": "ham"}\n')
    with pytest.raises(BenchError, match=r"1 of 3 rows of .* have no text \(rows 2, from 0\).*dataset.drop_empty=true"):
        new_rows(path, trained, None, {})
    rows = new_rows(path, trained, None, {"drop_empty": True})
    assert rows.x.tolist() == ["see you", "win"] and rows.labels.tolist() == [-1, 1]
    assert rows.beside.index.tolist() == [0, 1] and rows.beside["id"].tolist()[0] == 7
    assert rows.remarks == ["1 rows without a text left out"]
    with pytest.raises(BenchError, match="has no column 'body'"):
        (tmp_path / "new.csv").write_text("text\nhello\n")
        new_rows(tmp_path / "new.csv", trained, None, {})
    # Published texts stand in a column of that name.
    published = Trained(DATASETS.build(option("dataset", "sms_spam")), "text", (), ("ham", "spam"))
    assert new_rows(tmp_path / "new.csv", published, None, {}).x.tolist() == ["hello"]


def test_images_of_another_size_are_named_or_resized(tmp_path):
    source = DATASETS.build(option("dataset", "image_folder") | {"path": "pets", "channels": 1})
    trained = Trained(source, "image", (1, 4, 4), ("cat", "dog"))
    for place, words in (("absent", "is no folder of images"), (".", r"holds no image \(.png")):
        with pytest.raises(BenchError, match=words):
            new_rows(tmp_path / place, trained, None, {})
    for name in ("dog/1.png", "2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((6, 6), 9, np.uint8)).save(tmp_path / name)
    (tmp_path / "read.me").write_text("")
    with pytest.raises(BenchError, match=r"of 6 x 6, and the model was trained on 4 x 4.*'dataset.size=\[4,4\]'"):
        new_rows(tmp_path, trained, None, {})
    rows = new_rows(tmp_path, trained, None, {"size": [4, 4]})
    assert rows.x.shape == (2, 1, 4, 4) and (rows.x == 9).all()
    assert rows.beside["file"].tolist() == ["2.png", "dog/1.png"] and rows.labels.tolist() == [-1, 1]
    assert rows.remarks == ["1 file .me, no images"]
    mnist = replace(trained, source=DATASETS.build(option("dataset", "mnist")), shape=(1, 6, 6))
    assert new_rows(tmp_path, mnist, None, {}).x.shape == (2, 1, 6, 6)
