"""Names in any script in figures, whatever fonts a machine has."""

from __future__ import annotations

import warnings
from pathlib import Path

import matplotlib
import pytest
from matplotlib.ft2font import FT2Font

from imbalance_bench.report import glyphs
from imbalance_bench.report.cli import main
from imbalance_bench.report.figures.any_figure import figure_of_records
from imbalance_bench.report.figures.shown import Wanted, name_of
from imbalance_bench.store import Store
from tests.records import cell, write

STIX = str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "STIXGeneral.ttf")
CIRCLED = "Ⓐ"  # which STIXGeneral has and DejaVu Sans has not


@pytest.fixture
def fonts(monkeypatch):
    """The fonts that the machine has beside matplotlib's own."""
    there: list[str] = []
    monkeypatch.setattr(glyphs, "installed", lambda: there)
    glyphs._say.cache_clear()
    return there


def test_letters_of_the_figures_own_font_change_nothing(fonts, capsys):
    found = glyphs.letters_for(["smote", "Größe α ≥ 5", "Ж", "שלום"])
    assert found.style == {} and found.readable("Größe Ж") == "Größe Ж" and not found.note
    assert not capsys.readouterr().err


def test_another_font_is_taken_where_it_has_the_letters(fonts, capsys):
    fonts.append(STIX)
    found = glyphs.letters_for([f"class {CIRCLED}"])
    assert found.style == {"font.family": ["DejaVu Sans", FT2Font(STIX).family_name]}
    assert found.readable(CIRCLED) == CIRCLED and not found.note and not capsys.readouterr().err


def test_what_no_font_has_is_a_number_that_the_caption_explains(fonts, capsys):
    found = glyphs.letters_for(["体育", "sports 财经!", "体育 a"])
    assert [found.readable(name) for name in ("体育", "sports 财经!", "体育 a")] == ["[1]", "sports [2]!", "[1] a"]
    assert found.note == "Letters that no font here has: [1] 体育, [2] 财经."
    glyphs.letters_for(["财经", "体育"])
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith("note: no font on this machine has the letters 体")
    assert "apt install fonts-noto-cjk)" in said


def test_signs_that_only_join_others_are_left_out(fonts, capsys):
    tag = "\U000e0001"  # of no font
    assert glyphs.letters_for([f"a{tag}b"]).readable(f"a{tag}b") == "ab"
    assert not capsys.readouterr().err


def test_files_that_are_no_font_or_of_pictures_have_no_letters(tmp_path):
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    assert not glyphs.letters_of(str(tmp_path / "broken.ttf"))
    last = next(Path(matplotlib.get_data_path()).glob("fonts/ttf/LastResort*"), None)
    assert last is None or not glyphs.letters_of(str(last))


def test_wide_letters_take_half_as_many_a_line():
    assert name_of("体育体育", 4) == "体育\n体育" and name_of("abcd", 4) == "abcd"


@pytest.mark.parametrize("has", [True, False])
def test_a_figure_has_no_boxes(fonts, tmp_path, capsys, has):
    fonts += [STIX] if has else []
    for dataset in ("ecoli", "oil"):
        for i, method in enumerate((f"method {CIRCLED}", "smote", "focal")):
            write(tmp_path, cell(method, dataset), [0.5 + i / 10])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of a glyph that is missing
        drawing = figure_of_records("cd", Store(tmp_path), [], Wanted())
    assert ("Letters that no font here has: [1] Ⓐ." in drawing.caption) != has
    assert f"method {CIRCLED}" in set(drawing.values["method"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert main(["--outputs", str(tmp_path), "--write"]) == 0
    told = (tmp_path / "figures" / "summary" / "summary.txt").read_text()
    assert ("[1] Ⓐ" in told) != has
    assert capsys.readouterr().err.count("note: no font") == (not has)
