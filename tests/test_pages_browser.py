"""The pages in a real browser, without a window: slow, and skipped where there is no Chromium or no playwright."""

from __future__ import annotations

import csv
import importlib.util
import json
import math
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from imbalance_bench.report.cli import main
from imbalance_bench.report.records.selection import natural
from tests.records import cell, fail
from tests.test_pages import NASTY, scored

ROOT = Path(__file__).parents[1]
PROGRAM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
MISSING = [
    *(["Chromium (Debian's package, or CHROMIUM=<program>)"] if not PROGRAM else []),
    *(["playwright (pip install -e '.[browser]')"] if importlib.util.find_spec("playwright") is None else []),
]
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(MISSING), reason=f"needs {' and '.join(MISSING)}")]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The report of the committed tables and of some runs of one's own."""
    place = tmp_path_factory.mktemp("outputs")
    for name in ("tables", "figures"):
        (place / name).symlink_to(ROOT / "outputs" / name)
    for number, method in enumerate(("smote", "focal", "ldam", NASTY)):
        scored(place, cell(method, "mine"), seed=number)
        scored(place, cell(method, "yours"), seed=10 + number)
    scored(place, cell("focal", "several"), classes=3, names=("a", "b", NASTY))
    fail(place, cell("mesa", "several"), f"{NASTY} " + "a long line of a traceback " * 20)
    assert main(["--all", "--outputs", str(place)]) == 0
    return place / "report"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        folder = str(tmp_path_factory.mktemp("profile"))
        opened = playwright.chromium.launch_persistent_context(
            folder, executable_path=PROGRAM, headless=True, args=FLAGS, viewport={"width": 1280, "height": 900}
        )
        yield opened
        opened.close()


@pytest.fixture
def page(browser):
    """A page of which every request and everything that it says is kept."""
    opened = browser.new_page()
    opened.said, opened.asked = [], []
    opened.on("console", lambda message: opened.said.append(message.text))
    opened.on("pageerror", lambda error: opened.said.append(str(error)))
    opened.on("request", lambda request: opened.asked.append(request.url))
    yield opened
    assert opened.said == []
    assert [url for url in opened.asked if not url.startswith(("file:", "data:"))] == []
    opened.close()


def all_pages(report):
    return [report / "index.html", *sorted((report / "cells").iterdir())]


def failed_page(report):
    (path,) = [path for path in all_pages(report) if "there are no numbers of this cell" in path.read_text()]
    return path


def cell_of(report, method, dataset="mine"):
    (folder,) = (report.parent / "runs" / dataset / "native" / "mlp" / method).iterdir()
    return folder, report / "cells" / f"{folder.name}.html"


def test_pages_ask_for_nothing_and_say_nothing(report, page):
    for path in all_pages(report):
        page.asked.clear()
        page.goto(path.as_uri())
        assert [url for url in page.asked if url.startswith("file:")] == [path.as_uri()]
        found = page.evaluate("[...document.querySelectorAll('[id]')].map((part) => part.id)")
        assert len(found) == len(set(found))
        links = page.evaluate("[...document.querySelectorAll('a[href]')].map((link) => link.getAttribute('href'))")
        for link in links:
            file, _, part = link.partition("#")
            assert (path.parent / file).exists(), link
            assert part in found or file, link
        assert page.evaluate("document.querySelectorAll('img[src=x]').length") == 0


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_the_body_never_scrolls_sideways(report, page, width):
    page.set_viewport_size({"width": width, "height": 800})
    for path in [*all_pages(report)[:3], failed_page(report)]:
        page.goto(path.as_uri())
        page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def column(table, number):
    return table.evaluate(
        "(table, number) => [...table.tBodies[0].rows].filter((row) => !row.hidden)"
        ".map((row) => row.cells[number].textContent.trim())",
        number,
    )


def test_a_table_sorts_by_mouse_and_keyboard_and_filters(report, page):
    page.goto((report / "index.html").as_uri())
    table = page.locator("#explicit_gradient--table2 table").first
    before = column(table, 1)
    heads = table.locator("thead th")
    head, button = heads.nth(1), heads.nth(1).locator("button")
    assert heads.evaluate_all("heads => heads.map((head) => head.ariaSort)") == ["none"] * heads.count()

    def numbers():
        said = [re.match(r"\d+\.\d+", text) for text in column(table, 1)]
        return [float(found[0]) for found in said if found]

    button.click()
    assert head.get_attribute("aria-sort") == "descending" and numbers() == sorted(numbers(), reverse=True)
    button.focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending" and numbers() == sorted(numbers())
    page.keyboard.press("Space")
    assert head.get_attribute("aria-sort") == "none" and column(table, 1) == before
    heads.nth(0).locator("button").click()
    assert heads.nth(0).get_attribute("aria-sort") == "ascending"
    assert column(table, 0) == sorted(column(table, 0), key=natural)

    tools = page.locator("#explicit_gradient--table2 .tools").first
    tools.locator("input").fill("car eval")
    assert column(table, 0) == ["car_eval_4", "car_eval_34"]
    assert tools.locator("output").inner_text().startswith("2 of ")


def test_what_was_not_run_is_folded_away_behind_its_count(report, page):
    page.goto((report / "index.html").as_uri())
    button = page.locator("button.fold").first
    table = page.locator(f"#{button.get_attribute('aria-controls')}")
    count, folded = int(button.inner_text().split()[0]), len(column(table, 0))
    button.click()
    assert button.get_attribute("aria-expanded") == "true"
    assert len(column(table, 0)) == folded + count
    button.click()
    assert len(column(table, 0)) == folded


def test_headers_and_keys_stay_in_sight(report, page):
    page.set_viewport_size({"width": 900, "height": 600})
    page.goto((report / "index.html").as_uri() + "#dos--table6")
    box = page.locator("#dos--table6 .scroll").first
    box.evaluate("(box) => box.scrollTo(200, 300)")
    page.wait_for_timeout(100)
    ends = box.evaluate(
        """(box) => {
          const table = box.querySelector("table"), place = (part) => part.getBoundingClientRect();
          const keys = [...table.tBodies[0].rows[12].cells].slice(0, 3).map(place);
          return [place(table.tHead.rows[0].cells[0]).top - place(box).top, keys[0].left - place(box).left,
            keys[1].left - keys[0].right, keys[2].left - keys[1].right];
        }"""
    )
    assert all(abs(end) < 3 for end in ends), ends


def test_a_link_into_a_folded_part_unfolds_it(report, page):
    page.goto((report / "index.html").as_uri() + "#dos--table8")
    assert page.locator("#dos--table8").is_visible()


def metrics_of(folder):
    """Run, class group and metric → value, of test rows."""
    rows = csv.DictReader((folder / "metrics.csv").open())
    return {
        (int(r["run"]), r["class_group"], r["metric"]): float(r["value"] or "nan") for r in rows if r["part"] == "test"
    }


COLUMNS = {"precision": 6, "recall": 7, "specificity": 8, "f1": 9, "g_mean": 10, "cost": 11}


def shown(page, metric, run):
    row = page.locator("#threshold-numbers tbody").first.locator("tr").nth(run)
    value = row.locator("th, td").nth(COLUMNS[metric]).get_attribute("data-v")
    return math.nan if value is None else float(value)


@pytest.mark.parametrize("method", ["smote", "focal", "ldam"])
def test_the_threshold_gives_the_numbers_of_metrics_py(report, page, method):
    folder, path = cell_of(report, method)
    saved = metrics_of(folder)
    page.goto(path.as_uri())
    for run in (0, 1):
        for metric in ("precision", "recall", "specificity", "f1", "g_mean"):
            assert shown(page, metric, run) == pytest.approx(saved[run, "positive", metric], abs=1e-12, nan_ok=True)
        assert shown(page, "cost", run) == pytest.approx(saved[run, "all", "cost"], abs=1e-12)
    for objective in ("f1", "g_mean", "cost"):
        page.locator(f"#threshold button[value={objective}]").click()
        group = "all" if objective == "cost" else "positive"
        for run in (0, 1):
            assert shown(page, objective, run) == pytest.approx(saved[run, group, f"{objective}_tuned"], abs=1e-12)


def test_the_slider_moves_the_numbers(report, page):
    import numpy as np

    folder, path = cell_of(report, "smote")
    arrays = np.load(folder / "predictions.npz")
    page.goto(path.as_uri())
    page.locator("#threshold-cost").fill("25")
    for p in (0.1, 0.3, 0.8):
        page.locator("#threshold-p").fill(str(p))
        for run in (0, 1):
            mine = arrays["run"] == run
            labels, log_probs = arrays["label"][mine], arrays["scores_last"][mine].astype(float)
            called = log_probs[:, 1] - log_probs[:, 0] > np.log(p / (1 - p))
            hits = int((called & (labels == 1)).sum())
            assert shown(page, "recall", run) == pytest.approx(hits / (labels == 1).sum(), abs=1e-12)
            assert shown(page, "precision", run) == pytest.approx(hits / called.sum() if hits else 0.0, abs=1e-12)
            assert shown(page, "f1", run) == pytest.approx(2 * hits / (called.sum() + (labels == 1).sum()), abs=1e-12)
            wrong = 25 * ((labels == 1) & ~called).sum() + ((labels == 0) & called).sum()
            assert shown(page, "cost", run) == pytest.approx(wrong / len(labels), abs=1e-12)
    slider = page.locator("#threshold-slider")
    slider.focus()
    page.keyboard.press("Home")
    assert shown(page, "recall", 0) == 1.0
    page.keyboard.press("End")
    assert shown(page, "recall", 0) == 0.0
    counts = [page.locator(f".curves .{kind} circle").count() for kind in ("pr", "roc")]
    assert counts == [0, 2]  # nothing is called: there is no precision
    page.locator("#threshold-p").fill("0.3")
    assert page.locator(".curves .pr circle").count() == 2


def test_one_of_several_classes_against_the_rest(report, page):
    folder, path = cell_of(report, "focal", "several")
    saved = metrics_of(folder)
    page.goto(path.as_uri())
    for number, name in enumerate(("a", "b", NASTY)):
        page.locator("#threshold-class").select_option(str(number))
        for run in (0, 1):
            for metric in ("precision", "recall", "specificity", "f1"):
                assert shown(page, metric, run) == pytest.approx(saved[run, f"class:{name}", metric], abs=1e-12)
        assert page.locator(f'.curves[data-class="{number}"]').is_visible()
        assert page.locator(".curves circle").count() == 0
        assert "the likeliest class is no threshold" in page.locator("#threshold-dots").inner_text()
    page.locator("#threshold-p").fill("0.3")
    assert page.locator(f'.curves[data-class="{number}"] .roc circle').count() == 2
    certain = "(scores.last.set([0, -Infinity, -Infinity]), [0, 1].map((c) => logOdds('last', 0, c)))"
    assert page.evaluate(certain) == [math.inf, -math.inf]


def test_dots_are_on_the_curves_or_there_are_none(report, page):
    _, path = cell_of(report, "smote")
    page.goto(path.as_uri())
    for p in (0.5, 0.2, 0.7):
        page.locator("#threshold-p").fill(str(p))
        far = page.evaluate(
            """() => [...document.querySelectorAll(".curves:not([hidden]) svg")].flatMap((drawing) =>
              [...drawing.querySelectorAll("circle")].map((dot) => Math.min(
                ...[...drawing.querySelectorAll("path.run")].flatMap((line) =>
                  [...Array(4001).keys()].map((i) => {
                    const at = line.getPointAtLength((line.getTotalLength() * i) / 4000);
                    return Math.hypot(at.x - dot.cx.baseVal.value, at.y - dot.cy.baseVal.value);
                  })))))"""
        )
        assert len(far) == 4 and max(far) < 0.7
    page.evaluate("saved.curved.readout = null; update()")
    assert page.locator(".curves circle").count() == 0
    assert "their ranks are the method's own" in page.locator("#threshold-dots").inner_text()


def test_printed_on_a4_no_column_is_lost(report, page):
    """As wide as A4 landscape within its margins: 277 mm at 96 dots an inch."""
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 1047, "height": 700})
    for path in all_pages(report)[:2]:
        page.goto(path.as_uri())
        ends = page.evaluate(
            "[...document.querySelectorAll('table')].map((table) => [table.id, table.getBoundingClientRect().right])"
        )
        assert [end for end in ends if end[1] > 1047.5] == []


@pytest.mark.skipif(not shutil.which("pdftotext"), reason="needs pdftotext (Debian's poppler-utils)")
def test_a_table_over_several_printed_pages_has_its_header_on_each(report, page, tmp_path):
    page.goto(cell_of(report, "smote")[1].as_uri())
    page.pdf(path=tmp_path / "cell.pdf", prefer_css_page_size=True)
    command = ["pdftotext", "-layout", str(tmp_path / "cell.pdf"), "-"]
    sheets = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\f")
    header = r"rows +readout +classes +metric +mean ± sd +run 0 +run 1"
    row = r"^ *(test|valid) .* \d\.\d{4} +\d\.\d{4}$"
    with_rows = [sheet for sheet in sheets if re.search(row, sheet, re.M)]
    assert len(with_rows) > 1 and all(re.search(header, sheet) for sheet in with_rows)


def test_dark_mode_is_dark(report, page):
    page.emulate_media(color_scheme="dark")
    page.goto((report / "index.html").as_uri())
    ink, paper = page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    light, dark = (sum(json.loads(f"[{colour[4:-1]}]")) for colour in (ink, paper))
    assert light > 600 and dark < 120
