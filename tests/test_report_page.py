"""The HTML page: whole, valid, and loading nothing from anywhere."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import pytest

from imbalance_bench.report.figures import bars
from imbalance_bench.report.sheet import Block, Item, Sheet
from imbalance_bench.report.sheets.summary import scores_in, summary
from imbalance_bench.report.writing.page import page, rendered
from imbalance_bench.store import Store
from tests.records import cell, write

VOID = {"meta", "img", "br", "link", "input"}


class Reader(HTMLParser):
    """Checks nesting and collects what a browser would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.feed(text)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)
        for key, value in attributes:
            if key in ("src", "href", "srcset", "poster", "data"):
                self.loads.append(value)
            if key == "id":
                self.ids.append(value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def sheet(tmp_path):
    for method in ("smote", "a<b>&c"):
        for dataset in ("ecoli", "oil"):
            write(tmp_path, cell(method, dataset), [0.5, 0.6])
    return summary(Store(tmp_path))


def test_the_page_loads_nothing_and_nests_well(sheet):
    drawing = bars(scores_in(sheet), "Bars", sheet.provenance)
    text = page("A <title>", [sheet], [drawing], "A lead.")
    reader = Reader(text)
    assert reader.loads
    assert all(load.startswith(("#", "data:image/svg+xml;base64,")) for load in reader.loads)
    assert "@import" not in text and "url(" not in text and "<script" not in text
    assert len(reader.ids) == len(set(reader.ids))
    assert {load[1:] for load in reader.loads if load.startswith("#")} <= set(reader.ids)


def test_sheets_of_alike_names_have_ids_of_their_own(sheet):
    reader = Reader(page("Three", [sheet, replace(sheet, name="Summary!"), replace(sheet, name="summary-2")]))
    assert reader.ids == ["summary", "summary-2", "summary-2-2"]
    assert [load for load in reader.loads if load.startswith("#")] == [f"#{name}" for name in reader.ids]


def test_labels_are_escaped(sheet):
    text = rendered(sheet, "html")
    Reader(text)
    assert "a&lt;b&gt;&amp;c" in text
    assert "a<b>" not in text


def test_it_suits_phones_and_dark_rooms(sheet):
    text = rendered(sheet, "html")
    assert 'name="viewport"' in text
    assert "prefers-color-scheme: dark" in text


def test_best_aside_and_verdict(sheet):
    items = [Item("a claim"), Item("does not hold", bold=True), Item("0.5 ± 0.1", "(0.4, +0.1)", bold=True)]
    made = Sheet("claims", "Claims", [Block("", ["claim", "verdict", "x"], 2, [items])], [], [], sheet.frame)
    text = page("Claims", [made])
    assert "<b>0.5 ± 0.1</b>" in text
    assert '<span class="aside">(0.4, +0.1)</span>' in text
    assert "verdict does-not-hold" in text
