"""The commands of docs/tuning.md, run as they stand there."""

from __future__ import annotations

import re
import shlex

import pytest

from tests.commands import shared
from tests.tasks import CONF

ROOT = CONF.parent
PAGE = (ROOT / "docs/tuning.md").read_text()
SHORT = ["trainer.epochs=1", "protocol.folds=2", "device=cpu"]


def run(folder, line):
    python, script, *words = shlex.split(line)
    assert python == "python"
    done = shared().call(folder, [str(ROOT / script), *words, *([] if "report.py" in script else SHORT)])
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


GRID, SEARCH = (block.splitlines() for block in re.findall(r"```bash\n(.*?)```", PAGE, re.S))


def test_the_commands_of_a_grid(tmp_path):
    run(tmp_path, GRID[0])
    assert "focal, tuned over 6" in run(tmp_path, GRID[2])


@pytest.mark.slow
def test_all_commands_of_a_grid(tmp_path):
    printed = [run(tmp_path, line) for line in GRID]
    assert "focal, tuned over 6" in printed[2] and "cross_entropy, tuned over 2" in printed[2]
    assert (tmp_path / "outputs/tables/summary/tuned.csv").exists()


@pytest.mark.slow
def test_the_commands_of_a_search(tmp_path):
    pytest.importorskip("optuna")
    printed = [run(tmp_path, line) for line in SEARCH]
    assert "4 of 6 trials done" in printed[1] and "[5/6]" in printed[1] and "[4/6]" not in printed[1]
    assert "a new study" not in printed[2].splitlines()[0] and "cross_entropy breast_cancer native: best" in printed[2]
    assert "of another space, metric or configuration: focal-breast_cancer-" in printed[3]
    assert "focal, tuned over 7" in printed[4]
    (again,) = re.findall(r"on other data: (.*)", printed[1])
    (path,) = re.findall(r"on test \((.*)\)", printed[1])
    assert f"done before: {path}" in run(tmp_path, again)
    assert "ir_20: auc_pr" in run(tmp_path, f"{again} ratio=ir_20")
