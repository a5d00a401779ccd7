"""What comes from data stays text in Markdown, CSV and LaTeX."""

from __future__ import annotations

import io

import pandas as pd
import pytest

from imbalance_bench.report.sheet import Block, Item, Sheet
from imbalance_bench.report.writing.formats import latex, markdown, tidy_csv

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
    lines = latex(sheet).splitlines()
    assert not [line for line in lines if line.lstrip().startswith(("[", "*"))]
    assert r"{[}1] first & * \\" in lines and r"{[}1] reason \\" in lines and r"{*} starred \\" in lines
    rows = [line for line in lines if line.endswith(r"\\") and "&" in line]
    assert {line.count("&") for line in rows} == {1} and len(rows) == len(HOSTILE) + 2
