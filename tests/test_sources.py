"""Sources: what they read, what they check, what they say of bad files."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from imbalance_bench.data.sources.imblearn import SETS
from imbalance_bench.data.tasks import make_runs, subset_hash
from imbalance_bench.errors import BenchError
from imbalance_bench.options import idle
from imbalance_bench.registry import PROTOCOLS, RATIOS
from tests.sources import adult_files, source
from tests.tasks import CONF, option

LABELS = sorted(p.stem for p in (CONF / "dataset").glob("*.yaml"))


def runs(data, ratio="native", **options):
    protocol = PROTOCOLS.build(option("protocol", "holdout_kfold") | options)
    return make_runs(data, RATIOS.build(option("ratio", ratio)), protocol, 0)


@pytest.mark.parametrize("label", LABELS)
def test_every_option_builds(label):
    assert source(label).name == option("dataset", label)["name"]
    assert option("dataset", label)["label"] == label
    if label not in ("csv", "image_folder", "texts"):
        assert source(label).fingerprint() == {}


@pytest.mark.parametrize(
    ("label", "shape", "counts"),
    [
        ("breast_cancer", (569, 30), [357, 212]),
        ("wine", (178, 13), [59, 71, 48]),
        ("digits", (1797, 64), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]),
    ],
)
def test_built_in_sets(label, shape, counts):
    data = source(label).load(Path("nowhere"))
    assert data.x.shape == shape
    assert np.bincount(data.y).tolist() == counts
    assert data.classes == len(data.class_names) == len(counts)
    assert not Path("nowhere").exists()


def test_malignant_is_positive():
    assert source("breast_cancer").load(Path()).class_names == ("benign", "malignant")


# The sine task


def test_sine():
    data = source("sine").load(Path())
    assert data.kind == "regression" and data.classes == 0
    np.testing.assert_allclose(data.y, np.sin(np.pi / 2 * data.x[:, 0]), atol=1e-12)
    assert (len(data.valid_rows), len(data.test_rows)) == (5, 201)
    assert data.x[data.test_rows][[0, -1], 0].tolist() == [-5, 5]
    assert (np.abs(data.x) <= 5).all()
    start_x, start_y = data.synthetic
    assert start_x.shape == (20, 1) and start_y.shape == (20,)
    assert (np.abs(start_y) <= 1).all()


def test_sine_points_of_one_kind_do_not_move_those_of_another():
    few, many = (source("sine", valid=n).load(Path()) for n in (5, 50))
    assert (few.x[:5] == many.x[:5]).all()
    assert (few.synthetic[0] == many.synthetic[0]).all()
    assert (few.x[:5] != source("sine", seed=1).load(Path()).x[:5]).all()


@pytest.mark.parametrize(("key", "value"), [("train", 0), ("low", 9.0), ("seed", -1)])
def test_bad_sine(key, value):
    with pytest.raises(BenchError, match=f"dataset.{key}"):
        source("sine", **{key: value})


# The benchmark sets of imbalanced-learn


def write_set(folder, number, rows, features, positives, place="imblearn_benchmark/zenodo"):
    label = np.where(np.arange(rows) < positives, 1, -1)
    path = folder / place / f"x{number}data.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, data=np.zeros((rows, features)), label=label)
    return path


@pytest.mark.parametrize("place", ["imblearn_benchmark/zenodo", "zenodo"])
def test_benchmark_set_from_either_folder(tmp_path, place):
    write_set(tmp_path, 1, 336, 7, 35, place)
    data = source("ecoli").load(tmp_path)
    assert data.x.shape == (336, 7)
    assert np.bincount(data.y).tolist() == [301, 35]
    assert data.y[0] == 1


def test_protein_homo_in_its_true_format(tmp_path):
    """The one set that is rarely at hand: 145,751 rows, 74 features, 1,296 positives."""
    write_set(tmp_path, 26, *SETS["protein_homo"][1:])
    data = source("protein_homo").load(tmp_path)
    assert data.x.shape == (145_751, 74)
    assert np.bincount(data.y).tolist() == [144_455, 1296]


@pytest.mark.parametrize(("rows", "features", "positives"), [(335, 7, 35), (336, 8, 35), (336, 7, 36)])
def test_a_benchmark_set_with_other_content_is_refused(tmp_path, rows, features, positives):
    path = write_set(tmp_path, 1, rows, features, positives)
    with pytest.raises(BenchError, match=f"not ecoli: found {rows} rows, {features} features, {positives} pos.*336, 7"):
        source("ecoli").load(tmp_path)
    assert path.exists()


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 cut"])
def test_a_damaged_benchmark_set_is_refused(tmp_path, content):
    write_set(tmp_path, 1, 336, 7, 35).write_bytes(content)
    with pytest.raises(BenchError, match="x1data.npz cannot be read"):
        source("ecoli").load(tmp_path)


def test_pickles_are_not_opened(tmp_path):
    path = write_set(tmp_path, 1, 336, 7, 35)
    np.savez(path, data=np.array([{}], dtype=object), label=np.ones(1))
    with pytest.raises(BenchError, match="cannot be read"):
        source("ecoli").load(tmp_path)


def test_unknown_benchmark_set():
    with pytest.raises(BenchError, match="unknown dataset.set='ecol': did you mean ecoli"):
        source("ecoli", set="ecol")


def test_the_27_sets_have_their_options_and_numbers():
    assert set(SETS) <= set(LABELS)
    assert [f.number for f in SETS.values()] == list(range(1, 28))


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["ecoli", "oil", "abalone_19"])
def test_real_benchmark_sets_are_imbalanced_learns(real_data, name):
    from imblearn.datasets import fetch_datasets

    folder = real_data(name)
    data = source(name).load(folder)
    home = folder / "imblearn_benchmark"
    reference = fetch_datasets(data_home=str(home), filter_data=(name,), download_if_missing=False)[name]
    assert (data.x == reference.data).all()
    assert (data.y == (reference.target == 1)).all()
    assert runs(data)[0].task.train.x.min() == 0


# Adult


@pytest.fixture
def small_adult(tmp_path, monkeypatch):
    """Files in Adult's format: 60 and 20 rows, of which 10 and 2 lack a value; a quarter earns more."""
    adult_files(tmp_path, monkeypatch)
    return tmp_path


def test_adult_drops_incomplete_rows_and_reports_its_width(small_adult):
    data = source("adult", pca=3).load(small_adult)
    assert data.x.shape == (68, 14)
    assert data.y.sum() == 12 + 4  # rows 12, 16, ... 56 of the first file, 4, 8, ... 16 of the second
    assert len(data.test_rows) == 18
    # 6 numbers, 2 work classes, 3 schools, one value of each of the other six
    assert data.info == {"one_hot_width": 6 + 2 + 3 + 6}
    assert data.encode(data.x, np.arange(50)).shape == (68, 3)


def test_adult_balanced_first_thins_the_majority_alone(small_adult):
    data = source("adult_balanced_first").load(small_adult)
    assert np.bincount(data.y).tolist() == [16, 16]
    other = source("adult_balanced_first", seed=1).load(small_adult)
    assert data.x.index.tolist() == other.x.index.tolist() == list(range(32))
    assert not data.x.equals(other.x)


def test_adult_in_14_columns(small_adult):
    data = source("adult_14").load(small_adult)
    out = data.encode(data.x, np.arange(len(data.y)))
    assert out.shape == (68, 14)
    assert out.min() == 0 and out.max() == 1
    assert set(np.unique(out[:, 3])) == {0.0, 0.5, 1.0}  # 11th, Bachelors, Masters
    assert "dataset.pca=64" in idle(source("adult_14", pca=64), "dataset")


def test_a_cut_adult_file_is_refused(small_adult):
    path = small_adult / "adult/adult.data"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:50]))
    with pytest.raises(BenchError, match="not Adult: found 50 rows .* expected 60"):
        source("adult").load(small_adult)


@pytest.mark.real_data
def test_real_adult(real_data):
    folder = real_data("adult")
    data = source("adult").load(folder)
    assert np.bincount(data.y).tolist() == [34_014, 11_208]
    assert len(data.test_rows) == 15_060
    assert data.info == {"one_hot_width": 104}
    assert np.bincount(source("adult_balanced_first").load(folder).y).tolist() == [11_208, 11_208]
    (first, *others) = runs(source("adult_14").load(folder), "ir_50")
    assert (len(first.task.train) + len(first.task.valid) + len(first.test)) == 34_694
    assert len(first.task.withdrawn) == 11_208 - 680
    assert len({subset_hash(r.test.ids) for r in (first, *others)}) == 4


# The user's own table


def own(path, target="y", **options):
    return source("csv", path=str(path), target=target, **options)


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "id": [f"customer {i}" for i in range(120)],
            "age": np.where(np.arange(120) % 7 == 0, np.nan, rng.integers(18, 90, 120)),
            "city": rng.choice(["Oslo", "Rome", None], 120),
            "y": np.where(np.arange(120) % 6 == 0, "churned", "stayed"),
        }
    )


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".tsv"])
def test_own_table(tmp_path, table, suffix):
    path = tmp_path / f"customers{suffix}"
    separator = "\t" if suffix == ".tsv" else ","
    table.to_parquet(path) if suffix == ".parquet" else table.to_csv(path, index=False, sep=separator)
    data = own(path, drop=["id"], separator=separator).load(Path("unused"))
    assert data.name == "customers"
    assert data.class_names == ("stayed", "churned")
    assert np.bincount(data.y).tolist() == [100, 20]
    assert data.info == {"one_hot_width": 4, "categorical": ["city"]}
    run = runs(data)[0]
    assert run.task.train.x.shape == (72, 4)
    assert run.task.counts.tolist() == [60, 12]


def test_own_table_with_a_positive_value(tmp_path, table):
    path = tmp_path / "t.csv"
    table.drop(columns="id").assign(y=np.arange(120) % 3).to_csv(path, index=False)
    many = own(path).load(Path())
    assert many.class_names == ("0", "1", "2")
    one = own(path, positive=2).load(Path())
    assert one.class_names == ("rest", "2")
    assert (one.y == (many.y == 2)).all()
    with pytest.raises(BenchError, match="dataset.positive='3' is not a value of y: .*0, 1, 2"):
        own(path, positive="3").load(Path())


def test_own_table_with_two_values_and_a_positive_one(tmp_path, table):
    path = tmp_path / "t.csv"
    table.drop(columns="id").to_csv(path, index=False)
    data = own(path, positive="stayed").load(Path())
    assert data.class_names == ("churned", "stayed")
    assert data.y.sum() == 100


def test_whole_numbers_read_as_floats_keep_their_names(tmp_path):
    path = tmp_path / "t.parquet"
    pd.DataFrame({"x": range(9), "y": [0.0, 1.0, 1.0] * 3}).to_parquet(path)
    assert own(path).load(Path()).class_names == ("1", "0")


def test_own_table_is_known_by_its_content(tmp_path, table):
    one, copy, other = (tmp_path / n for n in ("a.csv", "b.csv", "c.csv"))
    table.to_csv(one)
    table.to_csv(copy)
    table[1:].to_csv(other)
    assert own(one).fingerprint() == own(copy).fingerprint() != own(other).fingerprint()


GOOD = "a,b,y\n1,2,0\n3,4,1\n"


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        (None, {}, "t.csv cannot be read: No such file"),
        ("", {}, "t.csv is empty"),
        ("a,b,y\n", {}, "is empty: it has a header and no rows"),
        ("a,y\n1,2\n3,4,5,6\n7,8\n", {}, "cannot be read as a table"),
        (b"a,y\n\xff\xfe,1\n", {}, "line 2: byte 0xff .* is not utf-8: set dataset.encoding, e.g. latin-1"),
        (GOOD, {"target": "Y2"}, "dataset.target: .* has no column 'Y2'"),
        ("target,b\n1,2\n", {"target": "taget"}, "has no column 'taget': did you mean target"),
        (GOOD, {"target": None}, "needs dataset.target=<column>: one of a, b, y"),
        (GOOD, {"path": None}, "dataset=csv needs a file: dataset.path="),
        (GOOD, {"drop": ["c"]}, "dataset.drop: .* has no column 'c'"),
        (GOOD, {"drop": ["a", "b"]}, "no columns beside the target"),
        ("a,y\n1,0\n2,0\n", {}, "dataset.target=y has one class only"),
        ("a,y\n1,0\n2,\n", {}, "1 of 2 rows have no class, the first is row 1"),
        ("a,y\n" + "".join(f"{i},{i}\n" for i in range(500)), {}, "y has 500 different values .* dataset.positive"),
        ("a,b,y\n1,1,0\n2,inf,1\n", {}, "1 infinite values, the first in column 'b', row 1 .*dataset.drop=.b"),
        ("a;b;y\n1;2;0\n", {}, "has one column only, 'a;b;y', .* set dataset.separator=semicolon"),
        ("b,y\n" + "".join(f"text {i},{i % 2}\n" for i in range(501)), {}, r"dataset.drop=\[b\]"),
    ],
)
def test_bad_tables_say_what_to_change(tmp_path, content, options, words):
    path = tmp_path / "t.csv"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    spec = source("csv", **({"path": str(path), "target": "y"} | options))
    with pytest.raises(BenchError, match=words):
        spec.load(Path())


def test_a_file_that_is_no_parquet(tmp_path):
    (tmp_path / "t.parquet").write_text("a,b")
    with pytest.raises(BenchError, match="cannot be read as Parquet"):
        own(tmp_path / "t.parquet").load(Path())
