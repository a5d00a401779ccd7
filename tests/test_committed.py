"""The tables that are committed under outputs/tables: whole, readable, and in the words of the report."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from imbalance_bench.report.cli import main as report
from imbalance_bench.report.sheets.judgement import VERDICTS
from tests.latex import check_latex, compile_latex
from tests.test_report_page import Reader

TABLES = Path(__file__).parents[1] / "outputs" / "tables"
PAPERS = sorted(path.parent for path in TABLES.glob("*/report.html"))


def files(form):
    return {f"{path.parent.name}/{path.stem}": path for path in sorted(TABLES.glob(f"*/*.{form}"))}


def named(form):
    return pytest.mark.parametrize("path", files(form).values(), ids=list(files(form)))


def test_every_table_stands_in_every_format():
    assert set(files("md")) == set(files("csv")) == set(files("tex"))
    assert [paper.name for paper in PAPERS] == ["dos", "explicit_gradient", "miso", "selectnet", "setconv"]
    assert set(files("html")) == {f"{paper.name}/report" for paper in PAPERS}, "one page a paper, none for a survey"


@named("tex")
def test_latex_has_the_cells_that_it_declares_and_nothing_that_breaks_it(path):
    check_latex(path.read_text())


@pytest.mark.slow
def test_latex_compiles(tmp_path):
    """All of them as one document."""
    compile_latex(list(files("tex").values()), tmp_path)


@named("html")
def test_pages_have_ids_once_and_links_that_lead_somewhere(path):
    reader = Reader(path.read_text())
    assert not [name for name, n in Counter(reader.ids).items() if n > 1]
    assert {load[1:] for load in reader.loads if load.startswith("#")} <= set(reader.ids)


@named("md")
def test_rows_of_markdown_have_as_many_cells_as_their_header(path):
    tables = re.findall(r"(?:^\|.*\|\n)+", path.read_text(), re.M)
    for one in tables:
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in one.splitlines()}) == 1
    assert tables or path.stem.startswith("table6")


@named("csv")
def test_csv_reads_back_and_is_no_formula(path):
    frame = pd.read_csv(path, comment="#", dtype=str, keep_default_na=False)
    numbers = r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?|-?inf"
    texts = {cell for column in frame for cell in frame[column] if not re.fullmatch(numbers, cell)}
    assert not [cell for cell in texts if cell.startswith(("=", "+", "-", "@"))]


@pytest.mark.parametrize("form", ["md", "csv", "tex", "html"])
def test_no_table_says_that_a_run_is_going_on_or_that_a_ranking_collapsed(form):
    """A table outlives the run; of a paper's records, none is known to have lost its ranking; of a survey's, some."""
    for path in files(form).values():
        words = r"\b(?:running|started|collapsed)\b" if path.parent in PAPERS else r"\b(?:running|started)\b"
        assert not re.findall(words, path.read_text()) or path.stem.startswith("table6"), path


@pytest.mark.parametrize("folder", PAPERS, ids=lambda folder: folder.name)
def test_verdicts_are_the_same_in_every_format(folder):
    claims = pd.read_csv(folder / "claims.csv", comment="#").drop_duplicates("id")
    expected = claims.verdict.tolist()
    assert set(expected) <= set(VERDICTS)
    rows = re.findall(r"^\|.*?\| (?:\*\*)?([a-z ]+?)(?:\*\*)? +\|", (folder / "claims.md").read_text(), re.M)
    assert [word for word in rows if word in VERDICTS] == expected
    rows = re.findall(r" & (?:\\textbf\{)?([a-z ]+?)\}? & .*\\\\$", (folder / "claims.tex").read_text(), re.M)
    assert [word for word in rows if word in VERDICTS] == expected
    (section,) = re.findall(r'<section id="claims">.*?</section>', (folder / "report.html").read_text(), re.S)
    found = re.findall(r'class="text (?:muted )?verdict ([\w-]+)"', section)
    assert [verdict.replace("-", " ") for verdict in found] == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("records", "words", "made"),
    [
        ("survey", ["--paper", "survey", "--table", "tabular"], {"survey/tabular": "survey/tabular"}),
        ("survey_tuned", ["--tuned"], {"summary/tuned": "survey/tabular_tuned"}),
    ],
)
def test_tables_of_the_survey_are_made_of_its_records(tmp_path, capsys, records, words, made):
    file = TABLES.parent / "records" / f"{records}.parquet"
    assert report([*words, "--from", str(file), "--outputs", str(tmp_path), "--write"]) == 0
    capsys.readouterr()

    def body(path):
        return [line for line in path.read_text().splitlines() if not line.startswith("<!--")]

    for new, committed in made.items():
        assert body(tmp_path / "tables" / f"{new}.md") == body(TABLES / f"{committed}.md")
