"""The pages that explore: whole, escaped, linked, small, and the same numbers as the tables."""

from __future__ import annotations

import base64
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from sklearn.metrics import auc, roc_auc_score

from imbalance_bench import metrics, status
from imbalance_bench.metrics.scoring import score_predictions, to_csv
from imbalance_bench.registry import GROUPS
from imbalance_bench.report import collect
from imbalance_bench.report.cli import main
from imbalance_bench.report.pages import coverage, index, predictions
from imbalance_bench.report.pages.cells import cell_page
from imbalance_bench.report.pages.charts import HEIGHT, WIDTH, Line, chart, ticks
from imbalance_bench.report.pages.committed import stored
from imbalance_bench.report.pages.coverage import Coverage, printed_items, within
from imbalance_bench.report.pages.failures import failure_page
from imbalance_bench.report.pages.html import Grid, shade, table, td
from imbalance_bench.report.pages.predictions import HELD
from imbalance_bench.report.records.failures import Failure
from imbalance_bench.report.sheets.scores import Score
from imbalance_bench.settings.presets import labels_named, load_preset, node_of, presets
from imbalance_bench.store import Store
from tests.records import FakeCell, cell, decline, edit, fail, write
from tests.test_report_page import Reader

ROOT = Path(__file__).parents[1]
NASTY = "</script><img src=x onerror=alert(1)>"


def scored(outputs, made, classes=2, rows=60, seed=0, names=("no", "yes")):
    """A cell with predictions, validation rows and the numbers of scoring.py; two runs."""
    draw = np.random.default_rng(seed)
    arrays = {}
    for prefix in ("", "valid_"):
        labels = np.tile(np.r_[np.zeros(rows - 4 * classes, int), np.repeat(np.arange(classes), 4)], 2)
        logits = draw.normal(size=(len(labels), classes)) + 1.5 * np.eye(classes)[labels] * draw.random(
            (len(labels), 1)
        )
        scores = (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32)
        arrays |= {f"{prefix}run": np.repeat([0, 1], rows).astype(np.int32), f"{prefix}label": labels}
        arrays[f"{prefix}scores_last"] = scores
    group = "positive" if classes == 2 else "macro"
    history = [{"run": r, "epoch": e, "train_loss": 1 / e, "valid_score": e / 9} for r in (0, 1) for e in (1, 2, 3)]
    data = {"classes": classes, "class_names": list(names)}
    folder = write(
        outputs, made, [0.5, 0.6], class_group=group, valid=[0.4, 0.5], arrays=arrays, history=history, data=data
    )
    found = score_predictions(arrays, [(0, 0), (1, 0)], list(names), "classification", [[1], [1]])
    (folder / "metrics.csv").write_text(to_csv(found))
    return folder


def write_all(place, *words):
    """``report.py --all`` of one's own runs: making the pages of the papers takes a second, and one test does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "all_papers", lambda request, run: [])
        return main(["--all", "--outputs", str(place), *words])


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    place = tmp_path_factory.mktemp("outputs")
    scored(place, cell("smote", "mine"))
    scored(place, cell("focal", "mine"), seed=1)
    scored(place, cell("focal", "several"), classes=3, names=("a", "b", NASTY))
    scored(place, cell(NASTY, "other<b>"), seed=2)
    decline(place, cell("mesa", "several"), "two classes only")
    assert write_all(place) == 0
    return place


def pages(outputs):
    return [outputs / "report" / "index.html", *sorted((outputs / "report" / "cells").glob("*.html"))]


def test_each_page_is_whole_and_leads_somewhere(outputs):
    found = pages(outputs)
    assert len(found) == 1 + 5
    for path in found:
        text = path.read_text()
        reader = Reader(text)
        assert len(reader.ids) == len(set(reader.ids)), path
        for link in reader.loads:
            if link.startswith("#"):
                assert link[1:] in reader.ids, (path, link)
            elif not link.startswith("data:"):
                file, _, part = link.partition("#")
                assert (path.parent / file).is_file(), (path, link)
                assert not part or part in Reader((path.parent / file).read_text()).ids
        assert not re.search(r"(src|href)=\"?(https?:)?//|@import|url\(", text)
        assert "default-src 'none'" in text


def test_labels_that_are_markup_are_text(outputs):
    for path in pages(outputs):
        text = path.read_text()
        assert "<img src=x" not in text and "</script><img" not in text and "other<b>" not in text
    (folder,) = (outputs / "runs" / "several" / "native" / "mlp" / "focal").iterdir()
    assert data_of(outputs / "report" / "cells" / f"{folder.name}.html")["classes"] == ["a", "b", NASTY]


def data_of(page):
    found = re.search(r'<script type="application/json" id="predictions">(.*?)</script>', page.read_text(), re.S)
    return json.loads(found[1])


def test_a_page_holds_the_predictions_as_they_were_saved(outputs):
    (folder,) = (outputs / "runs" / "mine" / "native" / "mlp" / "smote").iterdir()
    data = data_of(outputs / "report" / "cells" / f"{folder.name}.html")
    saved = np.load(folder / "predictions.npz")
    scores = np.frombuffer(base64.b64decode(data["scores"]["last"]), "<f4").reshape(-1, 2)
    assert (scores == saved["scores_last"]).all()
    assert (np.frombuffer(base64.b64decode(data["labels"]), "<i4") == saved["label"]).all()
    assert set(data["tuned"]["last"]) == {"f1", "g_mean", "balanced_accuracy", "cost"}
    assert data["curved"] == {"runs": 12, "readout": "last"}


def test_curves_of_ranks_have_no_thresholds(tmp_path):
    made = cell("smote", "mine")
    folder = scored(tmp_path, made)
    saved = dict(np.load(folder / "predictions.npz"))
    np.savez(folder / "predictions.npz", **saved, ranks_last=saved["scores_last"] ** 3)
    record = Store(tmp_path).cell(made.labels, made.id).record()
    found = re.search(r'id="predictions">(.*?)</script>', cell_page(record), re.S)
    assert json.loads(found[1])["curved"]["readout"] is None


def test_large_cells_hold_the_first_runs_that_fit(tmp_path, monkeypatch):
    made = cell("smote", "mine")
    scored(tmp_path, made)
    record = Store(tmp_path).cell(made.labels, made.id).record()
    for held, runs in ((HELD, ["run 0", "run 1"]), (4 * 2 * 60, ["run 0"]), (4 * 2 * 59, None)):
        monkeypatch.setattr("imbalance_bench.report.pages.predictions.HELD", held)
        text = cell_page(record)
        found = re.search(r'id="predictions">(.*?)</script>', text, re.S)
        assert (json.loads(found[1])["names"] if found else None) == runs
        assert ("larger than a page holds" in text) == (runs is None)


def test_a_cell_says_what_is_missing(tmp_path):
    made = cell("smote", "mine")
    folder = scored(tmp_path, made)
    (folder / "predictions.npz").unlink()
    text = cell_page(Store(tmp_path).cell(made.labels, made.id).record())
    assert "The run wrote no predictions.npz." in text and 'id="training"' in text
    assert f"-cp {folder} -cn config cache=overwrite paths.outputs={tmp_path}" in text


def test_a_regression_has_no_classes(tmp_path):
    made = cell("squared_error", "sine")
    arrays = {"run": np.zeros(4, int), "label": np.arange(4.0), "scores_last": np.ones((4, 1), np.float32)}
    write(tmp_path, made, {"mse": [0.5]}, class_group="all", arrays=arrays, kind="regression")
    text = cell_page(Store(tmp_path).cell(made.labels, made.id).record())
    assert "A regression has no classes" in text and 'id="predictions"' not in text
    Reader(text)


def test_cells_of_a_file_of_collected_records_have_their_numbers(outputs, tmp_path):
    assert collect.main(["--outputs", str(outputs), "--name", "mine", "dataset=mine"]) == 0
    file = outputs / "records" / "mine.parquet"
    assert write_all(tmp_path, "--from", str(file)) == 0
    found = pages(tmp_path)
    assert len(found) == 1 + 2
    text = found[1].read_text()
    assert "holds numbers only" in text and "Trained again by" not in text and "AUC-PR" in text


@pytest.fixture(scope="module")
def unwell(tmp_path_factory):
    """A cell that is done and was trained again in vain, a copy of its folder, and four without numbers, whose folders
    stand by what is wrong with them; of the bare one no configuration is kept."""
    place = tmp_path_factory.mktemp("unwell")
    done = write(place, cell("smote", "mine"), [0.5, 0.6])
    (done / "error.txt").write_text("out of luck\n\nTraceback ...")
    folders = {}
    for state, method in (("failed", "focal"), ("bare", NASTY), ("damaged", "ldam"), ("outdated", "mesa")):
        made = cell(method, "mine", options={"method": {"gamma": 7}})
        folders[state] = folder = Store(place).cell(made.labels, made.id).path
        if state in ("failed", "bare"):
            fail(place, made, f"{NASTY} is no number: set trainer.lr")
            (folder / "train.log").write_text("".join(f"line {i} {NASTY}\n" for i in range(50)))
        else:
            write(place, made, [0.5, 0.6])
            (folder / "record.json").write_text("{") if state == "damaged" else edit(folder, schema=1)
        if state != "bare":
            (folder / "config.yaml").write_text(yaml.safe_dump(made.config))
    shutil.copytree(done, done.parent / "a copy")
    assert write_all(place) == 0
    return place, folders


def test_a_cell_without_numbers_has_a_page(unwell):
    place, folders = unwell
    found = pages(place)
    assert len(found) == 1 + 5
    index = found[0].read_text()
    assert "2 failed, 1 damaged, 1 outdated" in index and "a copy" in index
    made = {state: place / "report" / "cells" / f"{folder.name}.html" for state, folder in folders.items()}
    for state, folder in folders.items():
        text = made[state].read_text()
        reader = Reader(text)
        assert len(reader.ids) == len(set(reader.ids)) and "<img src=x" not in text
        assert f'href="cells/{folder.name}.html"' in index and f"<code>{folder.name}</code>" in text
        assert ("method.gamma" in text) == (state != "bare") == (f"-cp {folder} -cn config" in text)
        assert ("cache=overwrite" in text) == (state in ("damaged", "outdated"))
    failed, bare = (made[state].read_text() for state in ("failed", "bare"))
    assert "is no number: set trainer.lr" in failed and "Traceback ..." in failed and "protocol" in failed
    assert "line 49" in failed and "line 10 " in failed and "line 9 " not in failed
    assert "<dd>mine</dd>" in bare and "no config.yaml" in bare


def test_a_failed_cell_of_a_collected_file_has_no_folder(tmp_path):
    names = dict.fromkeys(GROUPS, "") | {"method": "focal", "dataset": "oil", "id": "0123456789ab"}
    date = "2026-01-02T03:04:05+00:00"
    page = failure_page(Failure(tmp_path / "runs.parquet" / "0123456789ab", names, "failed", "no memory", "", date))
    assert "It was collected, without the folder" in page
    assert "config.yaml" not in page and "runs.parquet" not in page


def test_what_was_trained_again_in_vain_says_so_beside_its_earlier_numbers(unwell):
    (page,) = [text for path in pages(unwell[0])[1:] if "out of luck" in (text := path.read_text())]
    assert "0.550 ± 0.071" in page and "this is the earlier record" in page


def test_cells_that_failed_are_listed_and_selected(unwell, tmp_path):
    place, folders = unwell
    listed = (place / "report" / "cells.csv").read_text()
    assert re.search(rf"{folders['failed'].name},focal,mine,native,mlp,.*,failed,.*set trainer.lr", listed)
    assert write_all(place, "method=ldam,focal") == 0
    assert len(pages(place)) == 1 + 2
    assert write_all(place) == 0
    fail(tmp_path, cell("smote", "mine"), "no luck")
    assert write_all(tmp_path, "dataset=mine") == 0
    assert "no luck" in pages(tmp_path)[1].read_text() and "1 failed" in pages(tmp_path)[0].read_text()


def test_runs_that_diverged_are_said_at_the_top_and_beside_the_run(tmp_path):
    folder = write(tmp_path, cell("smote", "mine"), [0.5, 0.6])
    runs = json.loads((folder / "record.json").read_text())["runs"]
    runs[1] |= {"failure": "train_loss is nan", "status": "failed"}
    edit(folder, runs=runs)
    assert write_all(tmp_path) == 0
    index, page = (path.read_text() for path in pages(tmp_path))
    assert "1 of 2 runs diverged" in index and "1 of 2 runs diverged" in page and "train_loss is nan" in page


def test_a_table_counts_what_failed_beside_what_was_not_run():
    rows = [[td("a"), td("failed [1]"), td("0.5", 0.5)], [td("b"), td("failed [2]"), td("outdated [3]")]]
    text = table(Grid(["k", "x", "y"], rows), "t", "t", lambda cell: "")
    assert '<span class="bad">2 failed, 1 outdated</span>' in text


def test_more_cells_than_pages_are_said(tmp_path, monkeypatch, capsys):
    for method in ("smote", "focal", "ldam"):
        write(tmp_path, cell(method, "mine"), [0.5, 0.6])
    monkeypatch.setattr(index, "PAGES", 2)
    monkeypatch.setattr(index, "LISTED", 2)
    assert write_all(tmp_path) == 0
    said = capsys.readouterr().err
    assert "2 of 3 cells have a page" in said and "2 of 3 cells are listed here" in said
    assert len(list((tmp_path / "report" / "cells").iterdir())) == 2
    text = (tmp_path / "report" / "index.html").read_text()
    assert text.count('<th scope="row" class="text k0"><a href="cells/') == 2 and "All of them as a file" in text
    assert "<code>python scripts/report.py --all dataset=...</code>" in text
    assert (tmp_path / "report" / "cells.csv").read_text().count("\n") == 2 + 3
    assert write_all(tmp_path, "method=ldam") == 0
    assert len(list((tmp_path / "report" / "cells").iterdir())) == 1


@pytest.mark.parametrize(
    ("failed", "trained", "shown"),
    [(5, 5, (2, 2)), (5, 1, (3, 1)), (1, 5, (1, 3)), (0, 5, (0, 4)), (5, 0, (4, 0)), (2, 1, (2, 1))],
)
def test_what_failed_takes_half_of_the_pages_or_what_the_others_leave(
    failed, trained, shown, tmp_path, monkeypatch, capsys
):
    for i in range(failed):
        fail(tmp_path, cell(f"a{i}", "mine"), "no luck")
    for i in range(trained):
        write(tmp_path, cell(f"b{i}", "mine"), [0.5, 0.6])
    monkeypatch.setattr(index, "PAGES", 4)
    monkeypatch.setattr(index, "LISTED", 4)
    assert write_all(tmp_path) == 0
    texts = [path.read_text() for path in (tmp_path / "report" / "cells").iterdir()]
    assert (sum("no luck" in text for text in texts), sum("no luck" not in text for text in texts)) == shown
    text = (tmp_path / "report" / "index.html").read_text()
    assert text.count('<th scope="row" class="text k0"><a href="cells/') == sum(shown)
    said = capsys.readouterr().err
    assert ("the newest that failed and the newest others" in said) == (
        failed + trained > 4 and bool(failed and trained)
    )


def test_a_selection_of_nothing_is_an_error(outputs, capsys):
    assert write_all(outputs, "method=smotte") == 1
    assert "did you mean smote" in capsys.readouterr().err


def test_a_stored_table_is_laid_out_as_its_preset_says(outputs_of_papers):
    text = outputs_of_papers.read_text()
    assert 'id="dos--table6"' in text and "As it was stored" in text
    assert re.search(r'class="(near|off|far) (above|below)"', text)
    assert "not run here" in text and "as the paper prints it" in text
    assert len(text) < 4_000_000


def test_a_table_of_a_paper_is_made_from_records_where_there_are_some(tmp_path, monkeypatch):
    monkeypatch.setattr("imbalance_bench.report.pages.papers.papers", lambda own: ["dos"])
    monkeypatch.setattr("imbalance_bench.report.pages.papers.presets", lambda paper, kind, own: ["table1"])
    monkeypatch.setattr("imbalance_bench.report.paper.PaperReport.claims", lambda report: [])
    cells = load_preset("dos", "table1", []).cells
    named = labels_named("dos", "table1")
    assert all(planned.labels[axis] in labels for planned in cells for axis, labels in named.items())
    digits = {("last", f"class:{i}", name): [0.5, 0.75] for i in range(10) for name in ("precision", "recall", "f1")}
    for planned in cells[:3]:
        write(tmp_path, FakeCell(planned.labels, planned.config, planned.id), {"accuracy": [0.9, 0.8]}, more=digits)
    assert main(["--all", "--outputs", str(tmp_path)]) == 0
    text = (tmp_path / "report" / "index.html").read_text()
    table = text[text.index('<section id="dos--table1">') :]
    table = table[: table.index("</section>")]
    assert f'<a href="cells/{cells[0].id}.html">0.625 ± 0.177</a>' in table
    shown = (tmp_path / "report" / "cells" / f"{cells[0].id}.html").read_text()
    assert '<a href="../index.html#dos--table1">DOS, Table 1' in shown


@pytest.fixture(scope="module")
def outputs_of_papers(tmp_path_factory):
    place = tmp_path_factory.mktemp("papers")
    for name in ("tables", "figures"):
        (place / name).symlink_to(ROOT / "outputs" / name)
    assert main(["--all", "--outputs", str(place)]) == 0
    return place / "report" / "index.html"


def score_of(**more):
    where = dict.fromkeys(("section", "ratio", "backbone", "protocol", "trainer", "class_group"), "")
    said = {"method": "focal", "dataset": "oil", "metric": "f1", "iterate": "last", "state": "done", "reason": ""}
    return Score(**(where | said | {"mean": 0.5, "sd": 0.1, "runs": 4, "of": 4, "id": "a"} | more))


@pytest.mark.parametrize(
    ("more", "spreads", "near"),
    [
        ({"published": "0.45", "published_sd": "0.10", "difference": 0.05}, 0.5, True),
        ({"published": "0.30", "published_sd": "0.10", "difference": 0.2}, 2.0, False),
        ({"published": "0.40", "published_sd": "", "difference": 0.1, "sd": 0.2}, 0.5, True),
        ({"published": "0.49", "published_sd": "0.00", "difference": 0.012, "sd": 0.001}, 12.0, False),
        ({"published": "0.5", "published_sd": "", "difference": 0.04, "sd": None}, None, True),
        ({"published": "0.5", "published_sd": "", "difference": 0.06, "sd": None}, None, False),
    ],
)
def test_a_difference_is_counted_in_spreads(more, spreads, near):
    score = score_of(**more)
    assert score.spreads == (None if spreads is None else pytest.approx(spreads))
    assert within(score) is near


def test_coverage_counts_numbers_and_their_direction():
    scores = [
        score_of(id="a", published="0.4", published_sd="0.2", difference=0.1),
        score_of(id="b", published="0.9", published_sd="0.1", difference=-0.4),
        score_of(id="c", published="0.9", mean=None, state="not run"),
        score_of(id="d", published="0.9", stand_in=True),
        score_of(id="e", mean=None, state="failed"),
    ]
    assert Coverage.of(scores) == Coverage(5, 3, 1, 3, 2, 1, 1, 1, pytest.approx(-1.75))


def test_a_table_is_run_once_a_printed_number_stands_beside_ours(tmp_path, monkeypatch):
    def tables_run(*scores):
        file = SimpleNamespace(scores=list(scores), header=[])
        monkeypatch.setattr(coverage, "of_paper", lambda folder, names: {"table1": folder})
        monkeypatch.setattr(coverage, "stored", lambda path: file)
        return coverage.paper_row("dos", tmp_path)[3]

    assert tables_run(score_of(published="0.4", published_sd="0.2", difference=0.1)) == "1"
    assert tables_run(score_of(), score_of(published="0.4", stand_in=True)) == "0"
    assert tables_run(score_of(published="0.4", mean=None, state="not run")) == "0"


def test_every_preset_that_is_named_exists_and_every_number_has_one():
    items = printed_items()
    assert len({(item.paper, item.item) for item in items}) == len(items)
    for paper in {item.paper for item in items}:
        named = [name for item in items if item.paper == paper for name in item.presets]
        assert set(named) <= set(presets(paper)) and len(named) == len(set(named))
        assert all(node_of(paper, name)["title"] for name in presets(paper))


def test_status_says_how_much_is_covered_and_so_does_the_readme(capsys):
    assert status.main(["--papers", "--outputs", str(ROOT / "outputs")]) == 0
    table = capsys.readouterr().out.partition("\n\n")[0]
    assert table.count("\n") == 1 + 5 and table in (ROOT / "README.md").read_text()
    with pytest.raises(SystemExit):
        status.main(["--papers", "method=focal"])


def test_stored_tables_read_back():
    for path in sorted((ROOT / "outputs" / "tables").glob("*/table*.csv")):
        file = stored(path)
        assert file.title and file.provenance[0].startswith("command: ") and file.rows
        assert file.scores or "generated" in file.header, path


def test_a_table_is_escaped_and_marked():
    item = td("0.512 ± 0.1", 0.5123456789, bold=True, aside="(<0.4>)", spreads=1.5, cell="abc")
    grid = Grid(["<k>", "f1"], [[td("<a>"), item], [td('"q"'), td("0.5", 0.5, aside="(0.4)")]], prose=False)
    text = table(grid, 'say "x"', "t", lambda cell: f"cells/{cell}.html")
    Reader(text)
    assert '<th scope="row" class="text k0">&lt;a&gt;</th>' in text and "&lt;k&gt;" in text
    assert (
        '<td class="off above" data-v="0.512346" title="+1.5 spreads"><a href="cells/abc.html"><b>0.512 ± 0.1</b></a>'
        '<span class="aside">(&lt;0.4&gt;)</span></td>' in text
    )
    assert '<td>0.5<span class="aside">(0.4)</span></td>' in text
    assert 'aria-label="say &quot;x&quot;"' in text and "not run" not in text


def test_rows_begin_groups_and_fold_what_was_not_run():
    grid = Grid(
        ["ratio", "method", "f1"],
        [
            [td("a"), td("x"), td("0.5", 0.5)],
            [td("a"), td("y"), td("not run [1]")],
            [td("b"), td("x"), td("–")],
            [td("b"), td("y"), td("not finished")],
        ],
        keys=2,
    )
    assert [row.starts for row in grid.lines] == [False, False, True, False]
    assert [row.same for row in grid.lines] == [0, 1, 0, 1]
    assert [row.unrun for row in grid.lines] == [False, True, False, True]
    assert not grid.unrun
    none = Grid(["method", "f1"], [[td("x"), td("not run")], [td("y"), td("not run")]])
    assert none.unrun and not any(row.unrun for row in none.lines)
    few = Grid(["k", "l"], [[td(text), td("x")] for text in "abbcde"], keys=2)
    assert not any(row.starts or row.same for row in few.lines)
    assert [shade(td("", spreads=s)) for s in (0.9, -1.5, 3.0)] == ["near above", "off below", "far above"]


def test_a_line_goes_through_its_points():
    drawn = chart("<t>", "x", "y", [Line(np.array([0.0, 1.0]), np.array([0.0, 1.0]))], (0, 1), (0, 1))
    left, top, width, height = map(float, re.search(r'data-plot="([^"]+)"', drawn)[1].split())
    assert f'd="M{left:.1f} {top + height:.1f}L{left + width:.1f} {top:.1f}"' in drawn
    assert left + width < WIDTH and top + height < HEIGHT and "&lt;t&gt;" in drawn
    assert chart("t", "x", "y", [Line(np.array([0.0]), np.array([np.nan]))]) == ""
    assert [text for _, text in ticks(0.0, 1.0)] == ["0", "0.2", "0.4", "0.6", "0.8", "1"]
    assert [text for _, text in ticks(1.0, 3.0, least=1.0)] == ["1", "2", "3"]
    many = chart("t", "x", "y", [Line(np.arange(50000.0), np.arange(50000.0) % 7)])
    assert len(points_of(many, "run")) < 4 * 2 * WIDTH  # a point every half unit, and its ends


def points_of(drawn, kind):
    """The points of the first line of a kind, as shares of the drawing's width and height."""
    left, top, width, height = map(float, re.search(r'data-plot="([^"]+)"', drawn)[1].split())
    found = re.search(rf'class="line {kind} c\d" d="M([^"]+)"', drawn)[1]
    x, y = np.array([pair.split() for pair in found.split("L")], float).T
    return np.c_[(x - left) / width, 1 - (y - top) / height]


def test_the_area_under_a_drawn_curve_is_that_of_the_records():
    """Of a rare class, whose curve is a few of very many points; and of a ranking that steps often."""
    draw = np.random.default_rng(0)
    for rare, shift in ((40, 4.0), (40, 1.5), (6000, 1.0)):
        label = (np.arange(20000) < rare).astype(int)
        odds = draw.normal(size=len(label)) + shift * label
        log_probs = -np.logaddexp(0, np.c_[odds, -odds])
        test = {"run": np.zeros_like(label), "label": label, "scores_last": log_probs}
        pr, roc = (points_of(drawn, "run") for drawn in predictions._curves(test, "last", 1, "yes"))
        ranked = metrics.ranking_scores(log_probs, 1)
        assert auc(*pr.T) == pytest.approx(metrics.average_precision(label, ranked), abs=0.01)
        assert auc(*roc.T) == pytest.approx(roc_auc_score(label, ranked), abs=0.01)
        assert len(pr) < 3000 and len(roc) < 3000
