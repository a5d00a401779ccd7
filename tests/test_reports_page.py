"""The commands of docs/reports.md on tables and statistics, on records of the demo's methods and data sets that nothing
was trained for."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from imbalance_bench.report.arguments import parser
from imbalance_bench.report.cli import main
from imbalance_bench.report.sheets.differences import ROPE, TESTS
from imbalance_bench.report.writing.latex import PACKAGES
from tests.latex import check_latex
from tests.records import cell, write

PAGE = (Path(__file__).parents[1] / "docs" / "reports.md").read_text()
SECTIONS = re.search(r"^## Tables\n.*?(?=^## Figures|\Z)", PAGE, re.M | re.S)[0]
COMMANDS = re.findall(r"^    python scripts/report.py (.*)$", SECTIONS, re.M)
METHODS = ("cross_entropy", "random_oversampling", "smote", "focal", "ldam", "explicit_gradient")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("demo"), np.random.default_rng(0)
    for dataset in ("breast_cancer", "digits_8"):
        for method in METHODS:
            metrics = {name: list(rng.uniform(0.3, 0.9, 4)) for name in ("auc_pr", "f1", "g_mean", "brier")}
            classes = {("last", f"class:{name}", "recall"): list(rng.uniform(0, 1, 4)) for name in ("no", "yes")}
            options = {"method": {"gamma": 2.0}} if method == "focal" else {}
            made = cell(method, dataset, "ir_20", options)
            write(folder, made, metrics, best=[0.5] * 4, more=classes, valid=metrics["f1"])
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_of_the_page_work(demo, capsys, command):
    words = shlex.split(command)
    assert words[:2] == ["--outputs", "outputs/demo"]
    status = main(["--outputs", str(demo), *words[2:]])
    out, error = capsys.readouterr()
    assert (status, error) == (0, "")
    if "tex" in words:
        check_latex(out)
    if "--test" in words or "--versus" in words:
        assert "Which differ" in out and re.search(r"n = \d", out)


def test_the_page_says_the_words_that_there_are():
    tests = re.findall(r"^\| `(\w+)` \| (?:data sets|runs on each data set) \|", SECTIONS, re.M)
    assert sorted(tests) == sorted(TESTS)
    assert f"`--rope` ({ROPE:g})" in SECTIONS and f"`{PACKAGES}`" in SECTIONS
    known = {word for action in parser()._actions for word in action.option_strings}
    assert set(re.findall(r"(?<!\w)--[a-z][\w-]*", SECTIONS)) <= known
