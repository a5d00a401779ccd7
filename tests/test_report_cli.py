"""scripts/report.py as a user meets it."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from imbalance_bench.report.cli import main
from imbalance_bench.settings.presets import load_preset, papers, presets
from tests.cells import composed_once
from tests.records import preset, write

ROOT = Path(__file__).resolve().parents[1]
TABLES = [(paper, name) for paper in papers() for name in presets(paper, "table")]
FIGURES = [(paper, name) for paper in papers() for name in presets(paper, "figure")]
NARROW = ["dataset=ecoli,oil,scene", "method=cross_entropy,smote,explicit_gradient,explicit_gradient/eta2_0"]


@pytest.fixture(scope="module", autouse=True)
def grids_composed_once():
    with composed_once():
        yield


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """A few real cells of Table 2 with made-up numbers."""
    folder = tmp_path_factory.mktemp("outputs")
    for i, made in enumerate(load_preset("explicit_gradient", "table2", NARROW).cells):
        write(folder, made, [0.5 + 0.01 * i, 0.6 + 0.01 * i], best=[0.6, 0.7])
    return folder


def run(capsys, outputs, *arguments):
    status = main(["--outputs", str(outputs), *arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_a_table_in_every_format(capsys, outputs):
    for form, start in {"md": "<!--", "csv": "# ", "tex": "% ", "html": "<!doctype html>"}.items():
        arguments = ["--paper", "explicit_gradient", "--table", "2", "--format", form, *NARROW]
        status, out, _ = run(capsys, outputs, *arguments)
        assert status == 0
        assert out.startswith(start)
        assert "12 of 12 cells of this grid run; the paper prints 162, of which 9 are run" in out


def test_a_plain_table_is_ours_alone(capsys, outputs):
    arguments = ["--paper", "explicit_gradient", "--table", "2", "--plain", *NARROW]
    for form in ("md", "tex", "csv"):
        status, out, _ = run(capsys, outputs, *arguments, "--format", form)
        assert status == 0 and "12 of 12 cells of this grid run" in out
        assert "printed" not in out.replace("--plain", "") and "(0.64" not in out
    status, out, _ = run(capsys, outputs, *arguments, "--write")
    assert status == 0 and all("/table2_plain,dataset" in line for line in out.splitlines())
    for words in (["--plain"], ["--paper", "explicit_gradient", "--all", "--plain"]):
        status, _, error = run(capsys, outputs, *words)
        assert status == 1 and "--plain" in error


def test_overrides_may_stand_anywhere(capsys, outputs):
    paper = ["--paper", "explicit_gradient", "--table", "table2"]
    status, out, _ = run(capsys, outputs, "dataset=ecoli", *paper, "method=cross_entropy,smote,focal")
    assert status == 0
    assert "2 of 3 cells of this grid run" in out


def test_the_command_of_a_file_makes_it_again(capsys, outputs):
    """--outputs, --format and the readout are part of it, quoted as a shell needs it."""
    asked = ["--paper", "explicit_gradient", "--table", "2", "--readout", "best", "--format", "csv"]
    for arguments in (asked, [*asked, "--write"], ["--readout", "best"], ["method=smo*", "--format", "tex"]):
        status, out, _ = run(capsys, outputs, *arguments, *(["dataset=ecoli"] if arguments[0] == "--paper" else []))
        assert status == 0
        text = Path(out.strip()).read_text() if "--write" in arguments else out
        command = re.search(r"command: (.*?)(?: -->)?$", text, re.M)[1].rpartition("; ")[2]
        words = shlex.split(command)
        assert words[:2] == ["python", "scripts/report.py"]
        assert main(words[2:]) == 0
        again = capsys.readouterr().out
        assert again == out and ("--write" not in arguments or Path(again.strip()).read_text() == text)


def test_write_stores_a_table_as_text(capsys, outputs):
    arguments = ["--paper", "explicit_gradient", "--table", "2", "--write", "--readout", "best", *NARROW]
    status, out, _ = run(capsys, outputs, *arguments)
    assert status == 0
    written = [Path(line) for line in out.splitlines()]
    folder = outputs / "tables" / "explicit_gradient"
    said = ",".join(sorted(NARROW)).replace("/", "_")
    assert written == [folder / f"table2_best,{said}.{form}" for form in ("md", "csv", "tex")]
    for path in written:
        assert "--readout best" in path.read_text()
    assert len(pd.read_csv(written[1], comment="#")) == 12 + 6


def test_a_figure_is_written(capsys, outputs):
    arguments = ["--paper", "explicit_gradient", "--figure", "critical_difference"]
    status, out, _ = run(capsys, outputs, *arguments, "dataset=ecoli,oil,scene")
    assert status == 0
    folder = outputs / "figures" / "explicit_gradient"
    assert (folder / "critical_difference,dataset=ecoli,oil,scene.png").exists()
    assert not (folder / "critical_difference.png").exists()


def test_a_part_of_a_table_leaves_the_file_of_the_whole(capsys, outputs):
    folder = outputs / "tables" / "explicit_gradient"
    arguments = ["--paper", "explicit_gradient", "--table", "2", "--write", "--format", "csv"]
    assert run(capsys, outputs, *arguments)[0] == 0
    whole = (folder / "table2.csv").read_text()
    for overrides in (["dataset=ecoli"], ["dataset=glob(e*)", "method=smote,focal"]):
        status, out, _ = run(capsys, outputs, *arguments, *overrides)
        assert status == 0
        part = Path(out.strip())
        named = set(pd.read_csv(part, comment="#").dataset)
        assert "ecoli" in named and not named & {"oil", "scene"}
        assert part.parent == folder and (folder / "table2.csv").read_text() == whole
    assert part.name == "table2,dataset=glob_e__,method=smote,focal.csv"


def test_many_overrides_make_no_name_that_file_systems_refuse(capsys, outputs):
    many = "method=cross_entropy,random_oversampling,smote,adasyn,borderline_smote,explicit_gradient," + ",".join(
        f"{name}/balanced" for name in ("random_oversampling", "smote", "adasyn", "borderline_smote")
    )
    status, out, _ = run(capsys, outputs, "--paper", "explicit_gradient", "--table", "2", "--write", many)
    assert status == 0
    assert all(Path(line).exists() and len(Path(line).name) < 30 for line in out.splitlines())


def test_summary_prints_and_writes(capsys, outputs):
    status, out, _ = run(capsys, outputs, "method=smote,explicit_gradient")
    assert status == 0
    assert "| ecoli" in out
    status, out, _ = run(capsys, outputs, "--write")
    assert status == 0
    for name in ("summary.md", "summary.csv", "summary.tex", "summary.png", "summary.svg"):
        assert any(line.endswith(name) and Path(line).exists() for line in out.splitlines())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--paper", "explicit_gradent"], "did you mean explicit_gradient?"),
        (["--paper", "explicit_gradient", "--table", "22"], "unknown --table 22 of explicit_gradient: did you mean"),
        (["--paper", "setconv", "--table", "3"], "table3 of setconv is drawn as a figure: --figure table3"),
        (["--paper", "explicit_gradient", "--figure", "convergense"], "did you mean convergence?"),
        (["--table", "2"], "--table needs --paper"),
        (["--paper", "explicit_gradient", "dataset=ecoli"], "say which by --table or --figure"),
        (
            ["--paper", "explicit_gradient", "--table", "1", "method=focal"],
            "train.py -m +paper=explicit_gradient/table1",
        ),
        (["--paper", "explicit_gradient", "--table", "2", "method=smotte"], "did you mean smote"),
        (["--paper", "explicit_gradient", "--table", "2", "datset=oil"], "did you mean dataset"),
        (["methd=smote"], "did you mean method"),
    ],
)
def test_mistakes_get_one_message(capsys, outputs, arguments, message):
    status, out, err = run(capsys, outputs, *arguments)
    assert status == 1
    assert out == ""
    assert err.startswith("error: ") and all(line.startswith("  ") for line in err.splitlines()[1:])
    assert message in err


def test_no_records_at_all(capsys, tmp_path):
    status, _, err = run(capsys, tmp_path)
    assert status == 1 and "python scripts/train.py" in err


def test_reports_pay_for_no_torch(outputs):
    """In a fresh process: a table, a figure and the summary, and torch was never imported."""
    code = (
        "import sys\n"
        "from imbalance_bench.report.cli import main\n"
        f"at = ['--outputs', {str(outputs)!r}]\n"
        "paper = [*at, '--paper', 'explicit_gradient']\n"
        "assert main([*paper, '--table', '2', 'dataset=ecoli', 'method=smote']) == 0\n"
        "main([*paper, '--figure', 'critical_difference', 'dataset=ecoli,oil,scene'])\n"
        "main([*at, '--write'])\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, timeout=120)


@pytest.mark.parametrize(("paper", "name"), TABLES)
def test_every_table_preset_builds(paper, name, tmp_path):
    """With one cell run: the layout holds whatever is missing, and every printed cell has its place."""
    from imbalance_bench.report.published.printed import PrintedTable
    from imbalance_bench.report.published.sides import Side
    from imbalance_bench.report.sheets.examples import examples
    from imbalance_bench.report.sheets.tables import table
    from imbalance_bench.store import Store

    made = preset(paper, name)
    counted = made.paper.get("counted", False)
    if counted:  # the data sets themselves: none lies in an empty folder
        made = load_preset(paper, name, [])
    sections = [row for heads in made.paper["sections"].values() for row in heads]
    assert {Side.of(row).method for row in sections} == {c.labels["method"] for c in made.cells}, "no section"
    assert len(sections) == len(set(sections))
    if not counted:
        write(tmp_path, made.cells[0], [0.5, 0.6])
    sheet = examples(made, Store(tmp_path)) if "examples" in made.paper else table(made, Store(tmp_path), data=tmp_path)
    split = made.paper.get("blocks")
    if "examples" in made.paper:
        assert not sheet.blocks and "No generated text is kept of" in "".join(sheet.notes)
    else:
        assert len(sheet.blocks) == len(made.paper["sections"]) if not split else sheet.blocks
    for axis, titles in (made.paper.get("titles") or {}).items():
        if axis in made.cells[0].labels:
            assert {c.labels[axis] for c in made.cells} == set(titles), axis
    if not made.paper.get("published"):
        return
    printed = PrintedTable(paper, made.paper["published"], made.paper.get("published_as"))
    stand_ins = made.paper.get("stand_ins") or {}
    found, beside = set(), set()
    for labels in [c.labels for c in made.cells]:
        for row in [
            r for r in sections if Side.of(r).method == labels["method"] and Side.of(r).holds(labels["backbone"])
        ]:
            places = printed.places(row, labels["dataset"], labels["ratio"], labels["backbone"])
            (beside if labels["dataset"] in stand_ins else found).update(places)
    if found:
        assert len(found | beside) == printed.cells
    else:  # nothing but stand-ins
        assert beside
    frame = sheet.frame[sheet.frame["published"] != ""]
    numbers = set(zip(frame["method"], frame["dataset"], frame["ratio"], frame["class_group"], frame["metric"]))
    assert len(numbers) >= len([r for r in printed.rows if r["value"] and r["dataset"] in set(frame["dataset"])]) / 2


@pytest.mark.parametrize(("paper", "name"), FIGURES)
def test_every_figure_preset_is_one(paper, name):
    from imbalance_bench.registry import build
    from imbalance_bench.report.figures import DRAWINGS
    from imbalance_bench.report.style import FigureSpec

    made = preset(paper, name)
    assert build(FigureSpec, made.paper, "paper").draw in DRAWINGS
    assert {c.labels["method"] for c in made.cells} == set(made.paper["methods"])
    assert len({c.id for c in made.cells}) == len(made.cells)


def test_presets_say_their_command_and_their_runs():
    for paper, name in TABLES + FIGURES:
        head = (ROOT / "conf" / "paper" / paper / f"{name}.yaml").read_text().split("defaults:")[0]
        assert f"# python scripts/train.py -m +paper={paper}/{name}\n" in head
        assert "runs" in head


def test_all_writes_claims_tables_figures_and_one_page(capsys, outputs, monkeypatch):
    """Narrowed to a few cells, since composing every preset takes half a minute."""
    few = {"table": ["table2"], "figure": ["critical_difference", "convergence"]}
    monkeypatch.setattr("imbalance_bench.report.paper.presets", lambda paper, kind, own: few[kind])
    narrow = {"table2": NARROW, "critical_difference": NARROW[:1], "convergence": []}
    loaded = {name: load_preset("explicit_gradient", name, overrides) for name, overrides in narrow.items()}
    monkeypatch.setattr("imbalance_bench.report.paper.PaperReport._preset", lambda self, name: loaded[name])
    status, out, err = run(capsys, outputs, "--paper", "explicit_gradient")
    assert status == 0
    assert out.index("claims, tested") < out.index("Table 2")
    assert "3 cells run, of 27" in out
    status, out, err = run(capsys, outputs, "--paper", "explicit_gradient", "--all")
    assert status == 0
    assert err.startswith("left out: nothing of convergence was run yet: python scripts/train.py")
    assert err.count("\n") == 1
    written = {Path(line).name for line in out.splitlines()}
    for stem, forms in {"claims": "md csv tex", "table2": "md csv", "table2_best": "md csv"}.items():
        assert {f"{stem}.{form}" for form in forms.split()} <= written
    assert {"critical_difference.png", "critical_difference.svg", "report.html"} <= written
    page = (outputs / "tables" / "explicit_gradient" / "report.html").read_text()
    assert page.index('id="claims"') < page.index('id="table2"') < page.index('id="drawing-critical-difference"')
    claims = pd.read_csv(outputs / "tables" / "explicit_gradient" / "claims.csv", comment="#")
    points = claims[(claims.id == "moving_points_helps") & (claims.against == "best other")].iloc[0]
    assert (points["verdict"], points["cells"], points["needed"]) == ("not run", 3, 27)
