"""What comes from data stays text in Markdown, CSV and LaTeX."""

from __future__ import annotations

import io
import re

import pandas as pd
import pytest

from imbalance_bench.report.sheet import Block, Item, Sheet
from imbalance_bench.report.writing.formats import markdown, tidy_csv
from imbalance_bench.report.writing.latex import latex
from tests.latex import check_latex, compile_latex

HOSTILE = ["=1+1", "+1 city", "-a", "@SUM(A1)", "a|b", "two\nlines", "<b>x</b>", "*x*", "_x_", "a_b", "C #", "[l](u)"]


@pytest.fixture
def sheet():
    rows = [[Item(name), Item("0.5 [1]")] for name in HOSTILE] + [[Item("[1] first"), Item("*")]]
    frame = pd.DataFrame({"dataset": HOSTILE, "mean": [-0.5] * len(HOSTILE), "published": ["-0.50"] * len(HOSTILE)})
    notes = ["of two\nlines", "[1] reason", "* starred", "<its name>"]
    return Sheet(
        "t", "Title of a|b\nc", [Block("", ["data|set", "_x_"], 1, rows)], notes, ["command: a\nb --> c"], frame
    )


def test_markdown_shows_texts_as_they_stand(sheet):
    text = markdown(sheet)
    lines = text.splitlines()
    assert lines[:3] == ["<!-- command: a b -- > c -->", "", r"## Title of a\|b c"]
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == len(HOSTILE) + 3
    assert {line.replace(r"\|", "").count("|") for line in table} == {3}
    for shown in (r"a\|b", "two lines", r"\<b>x\</b>", r"\*x\*", r"\_x\_", "a_b", r"[l]\(u)", r"- \<its name>"):
        assert shown in text
    assert "- [1] reason" in lines and r"- \* starred" in lines


def test_csv_is_no_formula_and_reads_back(sheet):
    text = tidy_csv(sheet)
    assert text.startswith("# Title of a|b c\n# command: a b --> c\n# of two lines\n")
    back = pd.read_csv(io.StringIO(text), comment="#")
    guarded = [f"'{name}" if name[0] in "=+-@" else name for name in HOSTILE]
    assert back["dataset"].tolist() == guarded
    assert back["mean"].tolist() == back["published"].tolist() == [-0.5] * len(HOSTILE)


def test_no_line_of_latex_is_read_as_the_argument_of_the_one_above(sheet):
    text = latex(sheet)
    check_latex(text)
    lines = text.splitlines()
    assert r"{[}1] first & {*} & \\" in lines
    assert r"{[}1] reason \\" in lines and r"{*} starred \\" in lines


def column(*texts):
    """The spec and the cells of a column of such texts, "*" in front of a bold one, "(...)" of what is aside."""
    found = [re.fullmatch(r"(\*?)(.*?)(?: (\(.*\)))?", text).groups("") for text in texts]
    rows = [[Item("a"), Item(text, aside, bold=bool(bold))] for bold, text, aside in found]
    made = Sheet("t", "T", [Block("", ["k", "m"], 1, rows)], [], [], pd.DataFrame())
    text = latex(made)
    check_latex(text)
    (spec,) = re.findall(r"\\begin\{tabular\}\{l(.*)\}", text)
    return spec, re.findall(r"^a & (.*) \\\\$", text, re.M)


@pytest.mark.parametrize(
    "texts, spec, cells",
    [
        (["0.734 ± 0.254", "*12.5 ± 1.004"], "S[table-format=2.3(4)]", ["0.734 +- 0.254", r"\bfseries 12.5 +- 1.004"]),
        (["+0.5", "-0.25", "–"], "S[table-format=+1.2]", ["+0.5", "-0.25", "{--}"]),
        (["12", "7", "n/a"], "S[table-format=2.0]", ["12", "7", "{n/a}"]),
        (
            ["0.5 [1] [2] (0.4, +0.1)", "not run [3]", "0.6 ± 0.1"],
            r"S[table-format=1.1(1)]@{\,}l",
            [r"0.5 & {\scriptsize [1] [2] (0.4, +0.1)}", r"{not run} & {\scriptsize [3]}", "0.6 +- 0.1 &"],
        ),
        (["3 / 0 / 2", "1.5"], "r", ["3 / 0 / 2", "1.5"]),
        (["+0.03 [-0.01, +0.05]"], "r", ["+0.03 [$-$0.01, +0.05]"]),
        (["holds", "undecided"], "r", ["holds", "undecided"]),
    ],
)
def test_numbers_stand_in_columns_of_siunitx(texts, spec, cells):
    assert column(*texts) == (spec, cells)


def wide_sheet(methods, rows, name="ecoli"):
    body = [[Item(f"{name}_{i}"), *[Item("0.734 ± 0.254", "(0.64, -0.09)")] * methods] for i in range(rows)]
    header = ["dataset", *(f"method_{i} with a long name" for i in range(methods))]
    mean = [[Item("mean"), *[Item("0.7")] * methods]]
    return Sheet("t", "T", [Block("", header, 1, body, mean)], ["a note"], ["command: x"], pd.DataFrame())


@pytest.mark.parametrize(
    "methods, rows, environments",
    [
        (3, 20, ["table*", "tabular"]),
        (3, 60, ["longtable"]),
        (6, 10, ["table*", "tabular"] * 2),  # short: broken
        (4, 30, ["landscape", "longtable"]),  # turned
        (8, 30, ["landscape", "longtable"] * 2),  # turned, and broken
    ],
)
def test_what_is_wide_turns_or_breaks_and_what_is_long_goes_on(methods, rows, environments):
    text = latex(wide_sheet(methods, rows))
    check_latex(text)
    names = [name for name in re.findall(r"\\begin\{(.*?)\}", text) if name != "flushleft"]
    assert names == environments
    assert text.count("a note") == 1
    parts = environments.count("longtable") + environments.count("tabular")
    assert text.count(r"ecoli\_7 &") == parts and text.count("mean &") == parts
    headings = {f"method\\_{i}" for i in range(methods)}
    assert headings <= set(re.findall(r"method\\_\d", text))
    assert ("part 1 of 2" in text) == (parts == 2)


def test_long_headings_are_broken():
    block = Block("", ["k", "random_forest_weighted, F1 (positive)"], 1, [[Item("a"), Item("0.5")]])
    item = Sheet("t", "T", [block], [], [], pd.DataFrame())
    assert r"k & {\shortstack{random\_forest\_ \\ weighted, F1 \\ (positive)}} \\" in latex(item)


@pytest.mark.slow
def test_no_number_is_set_differently_than_it_is_written(tmp_path):
    """siunitx leaves out an uncertainty of nought and a plus, unless it is told not to."""
    pypdf = pytest.importorskip("pypdf")
    texts = ["0.500 ± 0.000", "+0.250 ± 0.125"]
    block = Block("", ["k", "m"], 1, [[Item("a"), Item(text, bold=text[0] == "+")] for text in texts])
    path = tmp_path / "one.tex"
    path.write_text(latex(Sheet("t", "T", [block], [], [], pd.DataFrame())))
    compile_latex([path], tmp_path)
    shown = pypdf.PdfReader(tmp_path / "all.pdf").pages[0].extract_text()
    assert all(text in shown for text in texts)


@pytest.mark.slow
def test_sheets_of_any_shape_and_name_compile(sheet, tmp_path):
    made = [
        sheet,
        *(wide_sheet(m, n, name) for m, n, name in ((3, 20, "a"), (6, 10, "b"), (9, 60, "c"), (2, 5, "x" * 60))),
    ]
    paths = [tmp_path / f"s{i}.tex" for i in range(len(made))]
    for path, one in zip(paths, made):
        path.write_text(latex(one))
    compile_latex(paths, tmp_path)
