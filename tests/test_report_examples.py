"""Generated texts beside their sources, from made-up artifacts."""

from __future__ import annotations

import re

import numpy as np
import pytest

from imbalance_bench.report.records.records import NothingRun
from imbalance_bench.report.sheets.examples import examples, shortened
from imbalance_bench.report.writing.page import rendered
from imbalance_bench.store import Store
from tests.records import FakePreset, cell, write
from tests.test_report_page import Reader

PAPER = {
    "name": "miso",
    "table": "table6",
    "title": "Table 6",
    "examples": 4,
    "width": 30,
    "header": ["difficult sample", "anchor instance"],
    "metrics": ["copies", "distinct_2"],
    "sections": {"paper": {"miso": "MISO", "cag": "CAG"}},
    "titles": {"dataset": {"sms_spam": "SMS Spam"}, "ratio": {"native": ""}, "backbone": {"textcnn": ""}},
    "readings": ["A reading."],
}


def texts_of(run, n):
    pairs = [[f"source {run}.{i}", f"anchor {run}.{i}"] for i in range(n)]
    return {f"run{run}_texts_class1": np.array(pairs, np.str_), f"run{run}_anchors_class1": np.zeros((n, 3), np.int32)}


@pytest.fixture
def sheet(tmp_path):
    cells = [cell(m, "sms_spam", backbone="textcnn") for m in ("miso", "cag", "miso_alpha_half")]
    infos = [{"generator": {"1": {"copies": c, "distinct_2": 0.5}}} for c in (0.1, 0.3)]
    write(tmp_path, cells[0], [0.5, 0.6], artifacts=texts_of(0, 5) | texts_of(1, 1), infos=infos)
    odd = [["win  a|prize <br>\n*now*", "win a|prize <br> *now*"], ["a " * 20, "狐狸" * 20]]
    write(tmp_path, cells[1], [0.5, 0.6], artifacts={"run0_texts_class1": np.array(odd, np.str_)})
    return examples(FakePreset(PAPER, cells), Store(tmp_path), "make it")


def test_pairs_are_spread_over_runs_and_headed_by_what_is_known_of_all(sheet):
    miso, cag = sheet.blocks
    assert miso.heading == "SMS Spam, MISO: copies 0.200 ± 0.141, distinct-2 0.500 ± 0.000"
    assert miso.header == ["difficult sample", "anchor instance"]
    assert [[i.text for i in row] for row in miso.rows] == [
        ["source 0.0", "anchor 0.0"], ["source 0.4", "anchor 0.4"], ["source 1.0", "anchor 1.0"]
    ]  # fmt: skip
    assert cag.heading == "SMS Spam, CAG"
    assert sheet.notes[1:] == ["A reading.", "Not run: SMS Spam, miso_alpha_half."]
    assert sheet.frame["generated"][0] == "anchor 0.0" and "command: make it" in sheet.provenance


def test_long_texts_are_cut_and_copies_are_named(sheet):
    copy, long = sheet.blocks[1].rows
    assert copy[0].text == "win a|prize <br> *now*" and copy[1].aside == "(a copy of its source)"
    assert long[0].text == "a " * 15 + "…" and long[1].text == "狐狸" * 15 + " …"


def test_every_format_escapes_texts(sheet):
    assert r"win a\|prize \<br> \*now\*" in rendered(sheet, "md")
    page = rendered(sheet, "html")
    Reader(page)
    assert "&lt;br&gt;" in page and 'class="prose"' in page
    assert re.search(r"\{(>\{[^}]*\}p\{\d+pt\}){2}\}", rendered(sheet, "tex"))  # sentences are broken into lines
    assert rendered(sheet, "csv").startswith("# Table 6")


@pytest.mark.parametrize(
    ("text", "width", "cut"),
    [
        ("short", 10, "short"),
        ("  two\nlines ", 10, "two lines"),
        ("one two three", 9, "one two …"),
        ("one two three", 7, "one two …"),
        ("a verylongword", 8, "a verylo …"),
        ("", 5, "(empty)"),
    ],
)
def test_texts_are_cut_at_words(text, width, cut):
    assert shortened(text, width) == cut


def test_without_runs_or_texts_it_says_so(tmp_path):
    made = cell("miso", "sms_spam", backbone="textcnn")
    with pytest.raises(NothingRun):
        examples(FakePreset(PAPER, [made]), Store(tmp_path))
    write(tmp_path, made, [0.5])
    assert "No generated text is kept of: SMS Spam, MISO." in examples(FakePreset(PAPER, [made]), Store(tmp_path)).notes
