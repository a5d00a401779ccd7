"""The first minute with a stranger's table: the right number, or a message that says why not and what to change."""

from __future__ import annotations

import bz2
import datetime
import decimal
import gzip
import io
import json
import lzma
import re
import shlex
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from imbalance_bench.cells import run_cell
from imbalance_bench.data.base import Dataset
from imbalance_bench.data.summary import summary
from imbalance_bench.data.tasks import make_runs
from imbalance_bench.errors import BenchError
from imbalance_bench.methods.base import resampling_info
from imbalance_bench.registry import DATASETS, PROTOCOLS, RATIOS
from tests.cells import cell
from tests.tasks import method, option

N = 40


def amounts() -> np.ndarray:
    return np.random.default_rng(0).uniform(1, 99, N).round(2)


def frame(**columns: Any) -> pd.DataFrame:
    """Two columns of numbers and a class, 0 or 1; ``columns`` replace some or are put before the class."""
    table = {"amount": amounts(), "noise": np.arange(N) * 7 % 13, **columns}
    return pd.DataFrame(table | {"y": table.pop("y", np.where(np.arange(N) % 4 == 0, 1, 0))})


def text(**columns: Any) -> str:
    return frame(**columns).to_csv(index=False)


def load(content: str | bytes, name: str = "t.csv", folder: Path | None = None, **options: Any) -> Dataset:
    assert folder is not None
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return DATASETS.build(option("dataset", "csv") | {"path": str(path), "target": "y"} | options).load(Path())


@pytest.fixture
def read(tmp_path):
    return lambda content, name="t.csv", **options: load(content, name, tmp_path, **options)


def advised(message: str, *wanted: str) -> dict[str, Any]:
    """The overrides in a message that begin with one of ``wanted``, as Hydra reads what a shell makes of them."""
    found = [shlex.split(w)[0] for w in re.findall(r"'dataset\.\w+=(?:[^']|'\\'')*'|dataset\.\w+=\w+", message)]
    chosen = [f for f in found if f.startswith(tuple(f"dataset.{w}" for w in wanted))]
    assert chosen, message
    parsed = [OverridesParser.create().parse_override(f) for f in chosen]
    return {p.key_or_group.removeprefix("dataset."): p.value() for p in parsed}


def refused(read: Any, content: str | bytes, words: str, name: str = "t.csv", **options: Any) -> str:
    with pytest.raises(BenchError, match=words) as error:
        read(content, name, **options)
    return str(error.value)


def same(data: Dataset, reference: Dataset) -> None:
    rows = np.arange(N)
    np.testing.assert_allclose(data.encode(data.x, rows), reference.encode(reference.x, rows), rtol=1e-5, atol=1e-6)
    assert data.class_names == reference.class_names and (data.y == reference.y).all()


# Columns of numbers with marks in them


def marked(pattern: str, mark: str = ".") -> list[str]:
    return [pattern.format(v).replace(".", mark) for v in amounts()]


@pytest.mark.parametrize(
    ("column", "words", "keys"),
    [
        (marked("{:.2f}", ","), "40 of 40 values are numbers written as '\\d+,\\d\\d'", ["decimal"]),
        ([f"{v * 1000:,.0f}" for v in amounts()], "40 of 40 values are numbers written as", ["thousands"]),
        ([f"{v * 1000:,.2f}" for v in amounts()], "40 of 40", ["thousands"]),
        ([f"{v * 1000:,.2f}".translate({44: 46, 46: 44}) for v in amounts()], "40 of 40", ["decimal", "thousands"]),
        ([f"{v * 1000:,.0f}".replace(",", "\u202f") for v in amounts()], "40 of 40", ["thousands"]),
        ([f"{v * 1000:,.0f}".replace(",", "'") for v in amounts()], "40 of 40", ["thousands"]),
        (["?", "?", *marked("{}")[2:]], "38 of 40 values are numbers; '\\?' in 2 rows", ["missing"]),
        (["?", "n. a.", *marked("{}")[2:]], "38 of 40 values are numbers; .*'n. a.' in 1 row", ["missing"]),
        (["?", *marked("{}", ",")[1:]], "39 of 40 .* written as '.*'; '\\?' in 1 row", ["decimal", "missing"]),
        (["it's", *marked("{}")[1:]], "39 of 40 values", ["missing"]),
    ],
)
def test_numbers_with_marks_are_named_and_the_advice_reads_them(read, column, words, keys):
    content = text(amount=column)
    message = refused(read, content, f"column 'amount': {words}")
    data = read(
        content, **advised(message.replace('dataset.decimal=","\' (', "") if "or '" in message else message, *keys)
    )
    assert data.encode.numeric == ("amount", "noise")
    known = data.x["amount"].notna()
    ratio = data.x["amount"][known] / amounts()[known]
    np.testing.assert_allclose(ratio, ratio.iloc[0], rtol=0.01)
    assert known.sum() >= 38
    assert read(content, **advised(message, "categorical")).encode.numeric == ("noise",)


@pytest.mark.parametrize("pattern", ["${}", "{} %", "{}€", "{} kg", "({})"])
def test_marks_that_no_key_reads(read, pattern):
    content = text(amount=marked(pattern))
    message = refused(read, content, "column 'amount': 40 of 40 values .* Take the marks out of the file")
    assert read(content, **advised(message, "drop")).encode.numeric == ("noise",)


def test_codes_and_words_stay_categories(read):
    kinds = {
        "code": [f"p{i:03d}" for i in range(N)], "size": ["S", "M", "L", "2"] * 10, "place": ["1st", "2nd"] * 20,
        "net": [f"10.0.{i % 4}.1" for i in range(N)], "span": ["10-20", "20-30"] * 20,
    }  # fmt: skip
    data = read(text(**kinds))
    assert list(data.encode.categories) == list(kinds)


def test_a_number_with_a_point_beside_decimal_commas_is_named(read):
    column = [*marked("{:.2f}", ",")[1:], "1.5"]
    words = "39 of 40 values are numbers; '1.5' in 1 row. Write all numbers alike"
    refused(read, text(amount=column), words, decimal=",")
    with pytest.raises(BenchError, match="dataset.thousands=',' is the decimal mark too"):
        read(text(), decimal=",", thousands=",")


def test_a_badly_grouped_number_is_not_read_as_grouped(read):
    column = [*[f"{v * 1000:,.0f}" for v in amounts()][1:], "1,5"]
    refused(read, text(amount=column), "values are numbers written as '1,5'", thousands=",")


def test_codes_as_categories(read):
    data = read(text(), categorical=["noise"])
    assert data.encode.categories == {"noise": tuple(sorted(map(str, range(13))))}
    gaps = read(text(noise=[None, *range(1, N)]), categorical=["noise"])
    assert "1" in gaps.encode.categories["noise"] and "(missing)" in gaps.encode.categories["noise"]
    refused(read, text(), "dataset.categorical: .* has no column 'nose': did you mean noise", categorical=["nose"])


def test_numbers_that_stand_for_a_gap(read):
    data = read(text(noise=[-999, *range(1, N)]), missing=[-999])
    assert data.x["noise"].isna().tolist() == [True] + [False] * (N - 1)
    table = frame(noise=[-999, *range(1, N)], city=["?", "a"] * 20)
    data = read(parquet(table), "t.parquet", missing=["-999", "?"])
    assert data.x["noise"].isna().sum() == 1 and data.encode.categories == {"city": ("(missing)", "a")}


def test_numbers_too_long_for_an_integer_are_numbers(read):
    data = read(text(noise=[str(10**30 + i) for i in range(N)]))
    assert data.encode.numeric == ("amount", "noise")


# Classes


def test_a_class_called_none(read):
    data = read(text(y=["None", "Insomnia", "Insomnia", "Insomnia"] * 10))
    assert data.class_names == ("Insomnia", "None") and data.y.sum() == 10
    assert "'None' in 10 rows is a class of y" in data.info["warnings"][0]


def test_a_gap_among_numbers_is_no_class(read):
    content = text(y=["NA", *[0, 1, 0] * 13])
    refused(read, content, "dataset.target=y: the word 'NA' stands among numbers in 1 of 40 rows, the first is row 0")
    refused(read, text(y=["?", *["a", "b", "a"] * 13]), "1 of 40 rows have no class", missing=["?"])
    refused(read, text(y=[None, *["a", "b", "a"] * 13]), "1 of 40 rows have no class")


def test_blanks_around_a_class_do_not_count(read):
    data = read(text(y=["yes ", "no", "no ", " no"] * 10))
    assert data.class_names == ("no", "yes") and data.y.sum() == 10
    assert (read(text(y=["yes ", "no", "no ", " no"] * 10), positive="yes").y == data.y).all()


@pytest.mark.parametrize("pair", [("Yes", "yes"), ("high  risk", "high risk"), ("1.0 x", "1.0 X")])
def test_classes_that_look_alike_are_named(read, pair):
    refused(read, text(y=[*pair, "no", "no"] * 10), r"'.*' \(10 rows\) and '.*' \(10 rows\) would be two classes")


# Columns of the file


def test_two_columns_of_one_name(read):
    content = "amount,y,y\n" + "".join(f"{i},{i % 2},{i % 2}\n" for i in range(N))
    message = refused(read, content, "two columns are called 'y', number 2 and number 3: rename one")
    assert list(read(content, **advised(message, "drop")).x) == ["amount"]
    blank = content.replace("y,y\n", "y, y \n")
    assert "drop" not in refused(read, blank, "two columns are called 'y', number 2 and number 3", drop=["y"])


def test_rows_that_end_in_the_separator(read):
    content = "y,member,age\n" + "".join(f"{i % 2},{i % 3},{i * i % 7},\n" for i in range(N))
    refused(read, content, r"rows have more fields \(4\) than the header line has names \(3\), every row ends in ','")
    named = content.replace("age\n", "age,end\n")
    assert "column 'end' is empty" in read(named).info["warnings"][-1]


def test_rows_with_fewer_fields_are_named(read):
    content = "a,b,y,c\n" + "".join(f"{i},{i % 5},{i % 2},\n" for i in range(N)) + "7,1,0\n"
    refused(read, content, f"line {N + 2}: 3 fields where the header line has 4")


@pytest.mark.parametrize("separator", ["tab", "\\t", "\\\\t", "\t", "", ","])
def test_tabs_in_every_spelling(read, separator):
    content = frame().to_csv(index=False, sep="\t")
    same(read(content, "t.tsv", separator=separator), read(text()))
    if separator not in ("", ","):
        same(read(content, separator=separator), read(text()))


@pytest.mark.parametrize(("separator", "word"), [(";", "semicolon"), ("\t", "tab"), ("|", "pipe")])
def test_a_wrong_separator_is_named(read, separator, word):
    content = frame().to_csv(index=False, sep=separator)
    message = refused(read, content, f"has one column only, .* set dataset.separator={word}")
    same(read(content, **advised(message, "separator")), read(text()))


def test_bad_separators(read):
    for bad in ("::", '"', "a"):
        refused(read, text(), "dataset.separator=", separator=bad)
    same(read(text().replace(",", "  "), separator=r"\s+"), read(text()))


# Remarks: read, and said


@pytest.mark.parametrize(
    ("column", "values", "words"),
    [
        ("", range(N), "column 'Unnamed: 2' numbers the rows: .*'dataset.drop=.\"Unnamed: 2\".'"),
        ("place", list(range(N, 0, -1)), "column 'place' numbers the rows"),
        ("customer_id", np.arange(N) ** 2 * 3 + 7, "'customer_id' is a different whole number in every row"),
        ("name", [f"n{i}" for i in range(N)], "'name' is different in every row"),
        ("day", [f"day {max(i, 6)}" for i in range(N)], "'day' has 34 different values in 40 rows"),
        ("leak", np.where(np.arange(N) % 4 == 0, "late", "in time"), "'leak' decides y alone"),
        ("score", np.where(np.arange(N) % 4 == 0, 5, 0) + amounts() / 100, "'score' decides y alone"),
        ("void", [None] * N, "'void' is empty"),
    ],
)  # fmt: skip
def test_columns_worth_a_word(read, column, values, words):
    (remark,) = read(text(**{column: values})).info["warnings"]
    assert re.search(words, remark)


def test_an_ordinary_table_has_no_remarks(read):
    assert "warnings" not in read(text(city=["a", "b", "b", "a", None] * 8)).info


def test_copies_of_rows_do_not_make_each_column_decide_the_class(read):
    header, *rows = text().splitlines()
    assert "warnings" not in read("\n".join([header, *rows * 4]) + "\n").info


# Kinds of files


def zipped(content: bytes, *names: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            archive.writestr(name, content)
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("t.csv.gz", gzip.compress), ("t.csv.xz", lzma.compress), ("t.csv.bz2", bz2.compress), ("t.csv", gzip.compress),
        ("t.csv.zip", lambda c: zipped(c, "t.csv")), ("t.zip", lambda c: zipped(c, "in/t.csv", "__MACOSX/in/._t.csv")),
    ],
)  # fmt: skip
def test_packed_tables(read, name, pack):
    same(read(pack(text().encode()), name), read(text()))


def test_a_packed_table_is_read_by_the_name_within(read):
    tabs = frame().to_csv(index=False, sep="\t").encode()
    same(read(gzip.compress(tabs), "t.tsv.gz"), read(text()))
    same(read(zipped(tabs, "t.tsv"), "t.zip"), read(text()))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.zip", zipped(b"a,y\n", "a.csv", "b.csv"), r"holds 2 files \(a.csv, b.csv\): unpack it"),
        ("t.xlsx", zipped(b"", "[Content_Types].xml", "xl/workbook.xml"), "is a spreadsheet: save it as CSV"),
        ("t.csv.gz", b"\x1f\x8b cut", "cannot be unpacked"),
        ("t.csv.gz", b"a,y\n1,2\n", "cannot be unpacked .* not a .gz file"),
        ("t.zip", b"PK\x03\x04 cut", "cannot be unpacked"),
        ("t.tar", b"\0" * 257 + b"ustar" + b"\0" * 250, "is a tar archive: unpack it"),
        ("t.csv", b"<!DOCTYPE html><html>", "is a page of markup"),
        ("t.csv", b'[{"a": 1, "y": 0}]', "is JSON, not a table"),
        ("t.xls", b"\xd0\xcf\x11\xe0\xa1\xb1", "is a spreadsheet, not text"),
        ("t.csv", b"# by me\na,b,y\n1,2,0\n", "the first line, '# by me', is not a header line"),
        ("t.csv", b"a,y\n" + b"1,0\n" * 9 + b"a,y\n", "The header line comes again among the rows"),
        ("t.csv", "a,y\n1,2\n".encode("utf-16"), "is not utf-8: set dataset.encoding, e.g. utf-16"),
        ("t.csv", "a,y\n1,2\n".encode("utf-16-le"), "NUL character"),
        ("t.csv", b"1,2,3\n4,5,6\n", "has no column 'y': .*; its first line must name the columns, and has numbers"),
        ("t.csv", b'a,y\n"1,2\n', "cannot be read as a table"),
        ("t.csv", b"a,y\n1e400,1\n2,0\n", "1 infinite values, the first in column 'a', row 0"),
    ],
)
def test_files_that_are_no_table(read, name, content, words):
    refused(read, content, words, name)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-8-sig"])
def test_encodings(read, encoding):
    content = text(city=["Köln", "Genève", "Köln", "Málaga"] * 10)
    same(read(content.encode(encoding), encoding=encoding), read(content))


@pytest.mark.parametrize(
    "change",
    [
        lambda c: "\ufeff" + c,
        lambda c: c.replace("\n", "\r\n"),
        lambda c: "\n" + c.replace("\n", "\n\n"),
        lambda c: c.replace("amount,", '"amount",').replace(",", ", "),
        lambda c: c.rstrip("\n"),
        lambda c: c.replace("amount,noise,y", "amount , noise,y "),
    ],
)
def test_harmless_oddities(read, change):
    same(read(change(text())), read(text()))


def test_a_quoted_line_break_is_part_of_a_value(read):
    assert read(text(city=["a\nb", "c"] * 20)).encode.categories == {"city": ("a\nb", "c")}


def parquet(table: pd.DataFrame) -> bytes:
    out = io.BytesIO()
    table.to_parquet(out)
    return out.getvalue()


@pytest.mark.parametrize("name", ["t.parquet", "t.pq", "table"])
def test_parquet_columns_that_are_numbers(read, name):
    table = frame()
    reference = read(parquet(table), "reference.parquet")
    table["amount"] = [decimal.Decimal(str(v)) for v in table["amount"]]
    table["noise"] = pd.to_timedelta(table["noise"], unit="s")
    data = read(parquet(table), name)
    assert data.encode.numeric == ("amount", "noise")
    same(data, reference)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (pd.date_range("2024", periods=N), "column 'when' holds dates or times"),
        ([datetime.date(2024, 1, 1)] * N, "column 'when' holds dates or times"),
        ([[1, 2]] * N, "column 'when' holds values of type"),
        ([b"x"] * N, "column 'when' holds values of type bytes"),
        (["1,5", "2,25"] * 20, "column 'when': 40 of 40 values are numbers written as"),
    ],
)
def test_parquet_columns_that_are_none(read, values, words):
    content = parquet(frame(when=values))
    message = refused(read, content, words, "t.parquet")
    assert "when" not in read(content, "t.parquet", drop=["when"]).x
    assert "'dataset.drop=[when]'" in message or "dataset.decimal" in message


@pytest.mark.parametrize("form", ["2024-03-{:02d}", "2024-03-{:02d} 14:05:00", "{:02d}.03.2024", "{:02d}/3/2024"])
def test_dates_written_as_words_are_no_categories(read, form):
    content = text(when=[form.format(1 + i % 9) for i in range(N)])
    message = refused(read, content, f"column 'when' holds dates or times .{form.format(1)}.")
    assert "'dataset.drop=[when]'" in message and "dataset.time=when" in message
    if "written as 2024-12-31" not in message:
        assert read(content, time="when").encode.numeric == ("amount", "noise")
    assert list(read(content, **advised(message, "categorical")).encode.categories) == ["when"]
    assert list(read(text(when=["2024-03-01", "soon"] * (N // 2))).encode.categories) == ["when"]


def test_an_index_of_parquet_is_said_to_be_left_out(read):
    assert (
        "the index of the table, patient"
        in read(parquet(frame().set_index(pd.Index(range(N), name="patient") * 2)), "t.parquet").info["warnings"][0]
    )


ARFF = """% a comment
@RELATION 'a table'
@attribute amount REAL
@attribute 'the noise' integer [0, 12]
@attribute grade {1, 2, 'a b'}
@attribute y {neg, pos}
@data
{rows}
"""


def arff(lines: list[str], head: str = ARFF) -> str:
    return head.replace("{rows}", "\n".join(lines))


LINES = [f"{v}, {i * 7 % 13}, {(1, 2)[i % 2]}, {'pos' if i % 4 == 0 else 'neg'}" for i, v in enumerate(amounts())]


def test_arff(read):
    rows = [*LINES[:-2], "?, 3, 'a b', neg", "% the last one", "5,?,?,neg"]
    data = read(arff(rows), "t.arff")
    assert data.encode.numeric == ("amount", "the noise")
    assert data.encode.categories == {"grade": ("(missing)", "1", "2", "a b")}
    assert data.class_names == ("neg", "pos") and data.y.sum() == 10
    assert data.x["amount"].isna().sum() == data.x["the noise"].isna().sum() == 1


def test_keel(read):
    head = ARFF.replace("@data", "@inputs amount, 'the noise', grade\n@outputs y\n@data").replace("% a comment\n", "")
    data = read(arff(["<null>, 3, 1, pos", *LINES[1:]], head), "t.dat", target=None)
    assert data.class_names == ("neg", "pos") and data.x["amount"].isna().sum() == 1
    assert list(data.encode.categories) == ["grade"]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["1, 2, 1"], "line 8: 3 fields where the header declares 4 columns"),
        (["x, 2, 1, neg"], "line 8: 'x' in the numeric column 'amount'"),
        (["1, 2, 3, neg"], "line 8: '3' is none of the values that column 'grade' declares"),
        (["{0 1, 3 pos}"], "line 8: rows of sparse ARFF are not read"),
        (["1, 2, 'a, neg"], "line 8: a quotation mark that does not close"),
    ],
)
def test_bad_arff(read, lines, words):
    refused(read, arff(lines), words, "t.arff")


def test_arff_headers_that_are_none(read):
    refused(read, "@relation x\n@attribute a real\n", "has no @data line", "t.arff")
    refused(read, "@relation x\n@attribute a relational\n@data\n", "'relational' are not read", "t.arff")
    refused(read, "@relation x\n@attribute a real\n@attribute a real\n@data\n", "two columns are called 'a'", "t.arff")


def test_rows_made_between_two_categories_are_counted(read):
    data = read(text(city=["a", "b", "c", "a", "b"] * 8))
    split = make_runs(
        data, RATIOS.build(option("ratio", "native")), PROTOCOLS.build(option("protocol", "holdout_kfold")), 0
    )
    task = split[0].task
    for label, whole in (("smote", False), ("random_oversampling", True)):
        made = method(label, **({} if whole else {"k_neighbors": 3})).resample(task, task.train)
        share = resampling_info(task, made)["synthetic"].get("between_categories", 0) if (made.ids < 0).any() else 0
        assert (share == 0) == whole


# What was read, in one line


def test_what_was_read_is_said_in_one_line(read):
    city = ["a", "b", "b", "a", None] * 8
    said = "40 rows: 30 of '0', 10 of '1' (positive); 2 numeric features, 3 one-hot of 1 column (city)"
    assert summary(read(text(city=city))) == said
    many = summary(read(text(y=np.arange(N) % 20)))
    assert many == "40 rows: 20 classes of 2 to 2; 2 numeric features"


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("breast_cancer", "569 rows: 357 of 'benign', 212 of 'malignant' (positive); 30 numeric features"),
        ("wine", "178 rows: 59 of 'class_0', 71 of 'class_1', 48 of 'class_2'; 13 numeric features"),
        ("sine", "211 rows, 201 of them for testing: numbers from -1 to 1 to predict; 1 numeric feature"),
    ],
)
def test_what_published_sets_hold_is_said_too(label, words):
    assert summary(DATASETS.build(option("dataset", label)).load(Path())) == words


def test_the_line_and_warnings_are_shown_once_and_recorded(tmp_path, capsys):
    path = tmp_path / "t.csv"
    path.write_text(text(**{"": range(N)}))
    options = [f"dataset.path={path}", "dataset.target=y", "dataset.label=once_only", "method=logistic_regression"]
    records = []
    for seed in ("0", "1"):
        outcome = run_cell(cell(tmp_path, "dataset=csv", *options, f"seed={seed}"))
        records.append(json.loads((outcome.path / "record.json").read_text())["data"])
        assert "once_only: 40 rows" in (outcome.path / "train.log").read_text()
    shown = capsys.readouterr().err
    assert shown.count("once_only: 40 rows: 30 of '0', 10 of '1' (positive); 3 numeric features") == 1
    assert shown.count("warning: once_only: column 'Unnamed: 2' numbers the rows") == 1
    for record in records:
        assert record["read"].startswith("40 rows") and "numbers the rows" in record["info"]["warnings"][0]


def test_a_number_too_large_is_named_by_its_column(read):
    data = read(text(city=["a", "b"] * 20, amount=[*amounts()[1:], 1e200]))
    protocol = PROTOCOLS.build(option("protocol", "holdout_kfold"))
    with pytest.raises(BenchError, match="in row 39 .from 0., column 'amount': too large for float32"):
        make_runs(data, RATIOS.build(option("ratio", "native")), protocol, 0)
