"""The recipes of docs/extend.md, run as they stand: the files that the page shows, then its commands."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator

import pytest

from tests.commands import Commands, commands
from tests.tasks import CONF

ROOT = CONF.parent
PAGE = (ROOT / "docs/extend.md").read_text()
RECIPES = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.S | re.M))
FILES = dict(re.findall(r"^\| \[(.+?)\]\(#.+?\) \| (.+?) \|$", PAGE, re.M))
BLOCK = re.compile(r"`([\w/]+\.(?:py|yaml))`[^\n`]*:\n\n```\w+\n(.*?)```", re.S)
# What each recipe's commands print in the end.
SHOWN = {
    "A loss": ["poly1 epsilon=2", "cross_entropy"],
    "A method of several stages": ["two_phase breast_cancer ir_20: auc_pr", "2 cells: 2 done"],
    "A data set": ["bearings: 400 rows, 6 features, IR 9.00", "smote bearings native: auc_pr"],
    "A network": ["crt breast_cancer native: auc_pr", "4 cells: 4 done"],
    "A metric": [
        "added positive recall_in_top_tenth",
        "recall in top tenth (positive), ir_20",
        "focal breast_cancer ir",
    ],
    "A table": ["8 of 8 cells of this grid run", "tables/mine/report.html"],
}


@pytest.fixture(scope="module")
def shell() -> Iterator[Commands]:
    own = {key: value for key, value in os.environ.items() if key != "IMBALANCE_BENCH_DATA"}
    with commands(own | {"OMP_NUM_THREADS": "1"}) as made:
        yield made


def test_each_recipe_is_run():
    assert list(RECIPES) == [*SHOWN, "Into the package"]


@pytest.mark.parametrize("name", SHOWN)
def test_a_recipe_works_as_it_is_printed(tmp_path, shell, name):
    files = dict(BLOCK.findall(RECIPES[name]))
    data = {"make_bearings.py"}
    assert re.findall(r"`(.+?)`", FILES[name]) == [path for path in files if path not in data]
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    (lines,) = re.findall(r"```bash\n(.*?)```", RECIPES[name], re.S)
    printed = ""
    for line in lines.splitlines():
        python, script, *words = shlex.split(line)
        assert python == "python"
        if script == "scripts/train.py" and "+paper" not in line:
            words += ["trainer.epochs=2", "protocol.folds=2", "device=cpu"]
        script = str(ROOT / script) if script.startswith("scripts/") else script
        done = shell.call(tmp_path, [script, *words])
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        printed += done.stdout
    for text in SHOWN[name]:
        assert text in printed, printed
